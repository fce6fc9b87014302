"""Which labelled examples does a user have, and how are they cut into outer folds?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tlbench.datasets import base, cache, pieces
from tlbench.datasets.duplicates import normalised
from tlbench.datasets.folder import TABLES
from tlbench.datasets.holdout import SEEN_ONCE
from tlbench.datasets.huggingface_files import FORMATS, SAVED
from tlbench.datasets.splits import seed
from tlbench.registry import DATASETS, Dataset, unknown
from tlbench.types import Arrays, Card, TlbenchError, sha256

FOLDS, FEWEST_FOLDS = 5, 3
FEWEST_LABELS = 4  # a class, on average: below, a fold tests one example of a class and trains on two
SINGLE_FROM = 3000  # examples from which one hold-out says enough, and folds would cost five times as much
COPIES = "copy of another example of its class"
CONTRADICTIONS = "copy of an example of another class"


@dataclass(frozen=True)
class Labelled:
    """All labelled examples of a dataset, pool and test together."""

    card: Card
    loaded: base.Loaded  # where they come from
    rows: np.ndarray  # [n] those that are used, among pool and test one behind the other
    y: np.ndarray  # [n] int64
    groups: np.ndarray | None  # [n]
    class_names: tuple[str, ...]
    left_out: dict[str, int]  # examples that are not used: how many, by reason

    @property
    def counts(self) -> np.ndarray:
        """Examples of each class [C]."""
        return np.bincount(self.y, minlength=len(self.class_names))

    @property
    def fingerprint(self) -> str:
        return sha256([self.loaded.fingerprint, self.rows.tolist()])

    def inputs(self, chosen: np.ndarray) -> np.ndarray:
        """Raw inputs of some of them [m, ...], in memory."""
        loaded, rows = self.loaded, self.rows[chosen]
        of_pool = rows < len(loaded.pool_x)
        found = np.empty((len(rows), *loaded.pool_x.shape[1:]), loaded.pool_x.dtype)
        found[of_pool] = loaded.pool_x[rows[of_pool]]
        found[~of_pool] = loaded.test_x[rows[~of_pool] - len(loaded.pool_x)]
        return found


@dataclass(frozen=True)
class Fold:
    """One outer fold: a registered dataset, and how many examples stand on each side of it."""

    dataset: str
    train: int
    test: int
    classes: np.ndarray  # [C] examples of each class that may be labelled


def reference_of(text: str) -> str:
    """What a user typed as a reference: a path becomes folder:PATH, or hf:PATH of what only `datasets` reads.

    Raises TlbenchError where there is neither such a file nor such a dataset.
    """
    path = Path(text.partition("?")[0]).expanduser()
    if path.exists():
        foreign = path.suffix.lower() in FORMATS and path.suffix.lower() not in TABLES
        foreign = foreign or any((path / name).exists() for name in SAVED)
        return f"{'hf' if foreign else 'folder'}:{text}"
    if text not in DATASETS:
        known = [*DATASETS, *(family.form for family in DATASETS.families.values())]
        raise TlbenchError(f"there is no file or folder {text!r}, and {unknown('dataset', text, known, _LOOK)}")
    return text


_LOOK = "tlbench list datasets, or name a folder of class folders or a CSV"


def labelled(reference: str, root: Path) -> Labelled:
    """Every usable labelled example, each once.

    Raises TlbenchError where nothing can be compared: one class, or fewer than about four labels a class.
    """
    loaded = base.load(DATASETS.name(reference), root)
    y = np.concatenate([loaded.pool_y, base.sealed_labels(loaded)])
    rows, left_out = np.arange(len(y)), dict(loaded.excluded)
    if loaded.duplicates_removed:
        left_out["copy of a test example"] = loaded.duplicates_removed
    names = loaded.class_names
    if len(y) < SINGLE_FROM:  # else the dataset's own two parts are used, as they are
        rows, names = _without_single(loaded, y, _without_copies(loaded, y, left_out), left_out)
        y = np.unique(y[rows], return_inverse=True)[1].astype(np.int64)
    groups = None if loaded.groups is None else _groups(loaded)[rows]
    found = Labelled(replace(loaded.card, classes=len(names)), loaded, rows, y, groups, names, left_out)
    _check_enough(found)
    return found


def outer_folds(data: Labelled) -> list[Fold]:
    """Registers a dataset for each outer fold: five, fewer where a class is small, or the dataset's own test part.

    Folds are stratified, and a group never stands on both sides. Raises TlbenchError where a class has one group.
    """
    if len(data.y) >= SINGLE_FROM:
        loaded = data.loaded
        return [Fold(data.card.name, len(loaded.pool_x), len(loaded.test_x), np.bincount(loaded.pool_y))]
    parts = _cut(data, min(FOLDS, max(FEWEST_FOLDS, int(data.counts.min()))))
    return [_registered(data, train, test, f"fold {i} of {len(parts)}") for i, (train, test) in enumerate(parts, 1)]


def whole(data: Labelled, root: Path) -> Path:
    """A folder of the dataset cache whose pool is every labelled example, for the fit that is kept.

    Its test part is some of the same: there is nothing to test on, and timing wants inputs.
    """
    folder = root / "datasets" / f"whole-{data.fingerprint[:32]}"
    with cache.building(folder) as place:
        if not folder.is_dir():
            facts = {"class_names": list(data.class_names), "fingerprint": data.fingerprint}
            sample = data.inputs(np.arange(min(64, len(data.y))))
            cache.write(folder, {"pool_x": _all_inputs(data, place), "test_x": sample}, facts, place=place)
    return folder


def _all_inputs(data: Labelled, place: Path) -> np.ndarray | pieces.OnDisk:
    first = data.loaded.pool_x
    if first.dtype == object:
        return data.inputs(np.arange(len(data.y)))
    some = np.array_split(np.arange(len(data.y)), 1 + len(data.y) // 256)
    file = place / "all.npy"
    pieces.write(file, map(data.inputs, some), (len(data.y), *first.shape[1:]), first.dtype)
    return pieces.OnDisk(file)


def _registered(data: Labelled, train: np.ndarray, test: np.ndarray, what: str) -> Fold:
    def arrays(root: Path) -> Arrays:
        groups = None if data.groups is None else data.groups[train]
        parts = (data.inputs(train), data.y[train], data.inputs(test), data.y[test])
        return Arrays(*parts, data.class_names, groups)

    card = replace(data.card, name=f"{data.card.name} {what}")
    state = sha256([data.fingerprint, test.tolist()])
    DATASETS.add(card.name, Dataset(card, arrays, state=lambda: state))
    counts = np.bincount(data.y[train], minlength=len(data.class_names))
    return Fold(card.name, len(train), len(test), counts)


def _cut(data: Labelled, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if data.groups is not None:
        number = min(number, len(np.unique(data.groups)))
        if number < 2:
            raise TlbenchError(f"{data.card.name}: all examples are of one group, so none can be held out; add others")
    state = seed("advise", data=data.fingerprint) % 2**32
    kind = StratifiedKFold if data.groups is None else StratifiedGroupKFold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer examples than folds, which the advice tells
        cut = list(kind(number, shuffle=True, random_state=state).split(data.y, data.y, data.groups))
    parts = [(train, test) for train, test in cut if len(test)]
    for train, _ in parts:
        gone = np.flatnonzero(np.bincount(data.y[train], minlength=len(data.class_names)) == 0)
        if len(gone):
            raise TlbenchError(
                f"{data.card.name}: all examples of class {data.class_names[gone[0]]!r} are of one group, so none can "
                "be tested while others train; add examples of another group, or leave the class out"
            )
    return parts


def _without_copies(loaded: base.Loaded, y: np.ndarray, left_out: dict[str, int]) -> np.ndarray:
    """Places of examples whose content comes first; the others are counted, those under another class apart."""
    first: dict[str, int] = {}
    kept, same, other = [], 0, 0
    for at, content in enumerate(_contents(loaded.pool_x) + _contents(loaded.test_x)):
        if content not in first:
            first[content] = at
            kept.append(at)
        elif y[first[content]] == y[at]:
            same += 1
        else:
            other += 1
    left_out |= {reason: count for reason, count in ((COPIES, same), (CONTRADICTIONS, other)) if count}
    return np.array(kept)


def _contents(x: np.ndarray) -> list[str]:
    if x.dtype == object:
        return [normalised(text) for text in x]
    return [sha256(np.ascontiguousarray(image).tobytes()) for image in x]


def _without_single(
    loaded: base.Loaded, y: np.ndarray, rows: np.ndarray, left_out: dict[str, int]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Rows of classes with two examples or more, and the names of these classes."""
    counts = np.bincount(y[rows], minlength=len(loaded.class_names))
    single = int((counts == 1).sum())
    if single:
        left_out[SEEN_ONCE] = left_out.get(SEEN_ONCE, 0) + single
    names = tuple(name for name, count in zip(loaded.class_names, counts, strict=True) if count > 1)
    return rows[counts[y[rows]] > 1], names


def _groups(loaded: base.Loaded) -> np.ndarray:
    """Groups of pool and test; which group a test example is of is not known, so all of them are one."""
    return np.concatenate([loaded.groups, np.full(len(loaded.test_x), "the test part", object)])


def _check_enough(data: Labelled) -> None:
    names, n = data.class_names, len(data.y)
    if len(names) < 2:
        said = f"only {names[0]!r}" if names else "none"
        problem = f"two classes with two examples or more are needed, and there is {said}"
        raise TlbenchError(f"{data.card.name}: {problem}{_reasons(data)}; label examples of another class")
    if n < FEWEST_LABELS * len(names):
        more = -(-(FEWEST_LABELS * len(names) - n) // len(names))
        raise TlbenchError(
            f"{data.card.name}: {n} labels for {len(names)} classes are too few to hold any out and learn from the rest"
            f"{_reasons(data)}; label about {more} more a class and ask again. Until then the safe choice is "
            "nearest_mean or linear_probe on a pretrained network: both have next to nothing to tune"
        )


def _reasons(data: Labelled) -> str:
    counted = ", ".join(f"{reason}: {count}" for reason, count in data.left_out.items())
    return f" ({counted})" if counted else ""


def budgets(folds: Sequence[Fold], shares: Sequence[float] = (0.25, 0.5)) -> tuple[int, ...]:
    """Labels a class that take about these shares of the labels of a fold, and all; ascending.

    A class with fewer gives all it has, so the shares are of labels, not of the largest class.
    """
    largest = max(int(fold.classes.max()) for fold in folds)
    counts = min(folds, key=lambda fold: fold.train).classes
    found = {largest}
    for share in shares:
        taken = np.minimum(counts[None, :], np.arange(1, largest + 1)[:, None]).sum(1)
        found.add(1 + int(np.searchsorted(taken, share * counts.sum())))
    return tuple(sorted(k for k in found if k > 1 or k == largest))
