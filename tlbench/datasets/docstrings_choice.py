"""Which texts become examples, and which of them are for testing? No near-copies, no module on both sides."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from tlbench.datasets.duplicates import normalised
from tlbench.types import Arrays

TEST, POOL = 600, 500  # test examples in all; pool examples a class, at most
FROM_ONE_MODULE = 12  # test examples of a class that one module may give
NEAR = 0.6  # Jaccard similarity of the words and word pairs of two near-copies
CANDIDATES = 2500  # of a class, at most, so that a large library costs no more time than it must


class Example(NamedTuple):
    text: str
    label: int
    group: str


def chosen(examples: list[Example], class_names: tuple[str, ...]) -> Arrays:
    """Balanced arrays: 600 test examples and up to 500 a class in the pool, chosen by sha256 of their content.

    The test examples come from modules of their own, at most 12 of a class from one; groups are the pool's modules. A
    wording that occurs in several classes is left out, and so are near-copies: in one class, all but the first.
    """
    examples = _without_near_copies(_capped(_unambiguous(examples), CANDIDATES))
    test, modules = _test(examples, len(class_names))
    pool = [example for example in examples if example.group not in modules]
    size = min(POOL, *(sum(example.label == label for example in pool) for label in range(len(class_names))))
    pool = _capped(pool, size)
    return Arrays(
        pool_x=np.array([example.text for example in pool], object),
        pool_y=np.array([example.label for example in pool], np.int64),
        test_x=np.array([example.text for example in test], object),
        test_y=np.array([example.label for example in test], np.int64),
        class_names=class_names,
        groups=np.unique([example.group for example in pool], return_inverse=True)[1].astype(np.int64),
    )


def _unambiguous(examples: list[Example]) -> list[Example]:
    """One example of each wording (case, punctuation and spacing apart) that only one class has; in order of hash."""
    by_wording: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_wording[normalised(example.text)].append(example)
    kept = [same[0] for same in by_wording.values() if len({example.label for example in same}) == 1]
    return sorted(kept, key=lambda example: _digest(example.text))


def _capped(examples: list[Example], size: int) -> list[Example]:
    """The first of each class, up to `size`, in their order."""
    taken: dict[int, int] = defaultdict(int)
    kept = []
    for example in examples:
        if taken[example.label] < size:
            kept.append(example)
            taken[example.label] += 1
    return kept


def _without_near_copies(examples: list[Example]) -> list[Example]:
    """The first of each set of near-copies; none where they are of several classes."""
    neighbours = _near_pairs([example.text for example in examples])
    labels = [example.label for example in examples]
    kept: set[int] = set()
    for row in range(len(examples)):
        alike = neighbours[row]
        if all(labels[other] == labels[row] for other in alike) and not kept.intersection(alike):
            kept.add(row)
    return [examples[row] for row in sorted(kept)]


def _near_pairs(texts: list[str]) -> dict[int, list[int]]:
    """For each text the others whose sets of words and of word pairs are nearly its own."""
    from sklearn.feature_extraction.text import CountVectorizer

    bags = CountVectorizer(binary=True, ngram_range=(1, 2), dtype=np.float32).fit_transform(texts)
    sizes = np.asarray(bags.sum(1)).ravel()
    neighbours: dict[int, list[int]] = defaultdict(list)
    for start in range(0, len(texts), 500):
        common = (bags[start : start + 500] @ bags.T).toarray()
        union = sizes[start : start + 500, None] + sizes[None, :] - common
        for row, other in np.argwhere(common >= NEAR * union).tolist():
            if start + row != other:
                neighbours[start + row].append(other)
    return neighbours


def _test(examples: list[Example], classes: int) -> tuple[list[Example], set[str]]:
    """Test examples, equally many of each class, and the modules that they come from."""
    quota, counts = TEST // classes, np.zeros(classes, int)
    by_module: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_module[example.group].append(example)
    test, modules = [], set()
    for module in sorted(by_module, key=_digest):
        room = np.minimum(quota - counts, FROM_ONE_MODULE)
        given = [example for example in by_module[module] if room[example.label] > 0]
        for example in given:
            if room[example.label] > 0:
                test.append(example)
                room[example.label] -= 1
                counts[example.label] += 1
        if given:
            modules.add(module)
    return test, modules


def _digest(text: str) -> str:
    return hashlib.sha256(b"TLB-1 docstrings" + text.encode()).hexdigest()
