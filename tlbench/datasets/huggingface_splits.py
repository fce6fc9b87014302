"""Which splits of a Hugging Face dataset are the pool, and which one is for testing?"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from tlbench.registry import unknown
from tlbench.types import TlbenchError

TRAIN, VALIDATION, TEST = ("train", "training"), ("validation", "valid", "val", "dev"), ("test", "testing")
HIDDEN, UNUSED = "in a split whose labels are hidden", "in a split that is not used"

log = logging.getLogger("tlbench")


class Parts(NamedTuple):
    pool: tuple[str, ...]
    test: tuple[str, ...]  # none: a part of the pool, chosen by hash
    left_out: Counter[str]  # examples of other splits, by reason


def parts(labels: Mapping[str, Sequence[Any]], options: Mapping[str, str], reference: str) -> Parts:
    """The options `train` and `test` (splits joined by commas), or what the names of the splits say (PROTOCOL 1).

    `labels` are each split's, None where there is none. For testing: the test split where it has labels, else the
    validation split. The pool: train and validation splits that are not for testing. Others are left out, said and
    counted. Raises TlbenchError when a named split is missing or has no label, or none is plainly for training.
    """
    hidden = {split for split, values in labels.items() if all(value is None for value in values)}
    if len(hidden) == len(labels):
        raise TlbenchError(
            f"{reference}: no split has a label (all missing or -1); name another column with ?label=NAME"
        )
    test = _named(labels, options["test"], reference) if "test" in options else _for_testing(labels, hidden)
    if "train" in options:
        pool = _named(labels, options["train"], reference)
    else:
        pool = tuple(
            split
            for split in labels
            if split.lower() in TRAIN + VALIDATION and split not in hidden and split not in test
        ) or _only(labels, hidden.union(test), reference)
    for split in sorted({*pool, *test}):
        if split in pool and split in test:
            raise TlbenchError(f"{reference}: the split {split!r} cannot be for training and testing; name another")
        if split in hidden:
            raise TlbenchError(f"{reference}: the split {split!r} has no label (all missing or -1); name another")
    left_out = Counter[str]()
    for split in labels:
        if split not in pool and split not in test:
            reason = HIDDEN if split in hidden else UNUSED
            left_out[reason] += len(labels[split])
            log.warning("%s: %d examples are left out: %s (%r)", reference, len(labels[split]), reason, split)
    log.info("%s: pool %s, test %s", reference, "+".join(pool), "+".join(test) or "a fifth of it, by hash")
    return Parts(pool, test, left_out)


def _for_testing(splits: Collection[str], hidden: set[str]) -> tuple[str, ...]:
    for names in (TEST, VALIDATION):
        found = [split for split in splits if split.lower() in names and split not in hidden]
        if found and len(splits) > 1:
            return (found[0],)
    return ()


def _only(splits: Collection[str], taken: set[str], reference: str) -> tuple[str, ...]:
    """The one split that is left for training, whatever it is called."""
    left = tuple(split for split in splits if split not in taken)
    if len(left) == 1:
        return left
    has = f"it has {', '.join(map(repr, splits))}"
    raise TlbenchError(f"{reference}: no split is plainly for training; {has}; write ?train=A&test=B (A may be C,D)")


def _named(splits: Collection[str], value: str, reference: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    for name in names:
        if name not in splits:
            has = f"it has {', '.join(map(repr, splits))}"
            raise TlbenchError(f"{reference}: {unknown('split', name, splits, has)}")
    return names
