"""What becomes of a registered dataset between its function and the benchmark?

It is checked, its test set capped, copies of test examples taken out of the pool, its fingerprint taken, and all of it
kept on disk, the test labels in a file of their own that only `sealed_labels` opens.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tlbench.datasets import cache
from tlbench.datasets.checks import check_every_class, checked, refuse
from tlbench.datasets.duplicates import copies
from tlbench.datasets.holdout import LARGEST_TEST, SMALLEST_TEST, stratified_by_hash
from tlbench.datasets.pictures import Pictures, common_side, decoded
from tlbench.datasets.seals import refuse_when_sealed, seal, sealed
from tlbench.datasets.versions import maker_version
from tlbench.registry import DATASETS, Dataset
from tlbench.types import Arrays, Card, DataFacts, TlbenchError, sha256

__all__ = ["Loaded", "fingerprint", "load", "prepared", "read_inputs", "seal", "sealed", "sealed_labels", "verify"]

log = logging.getLogger("tlbench")


@dataclass(frozen=True)
class Loaded:
    """A dataset as the benchmark sees it: everything but the test labels. Arrays are read-only."""

    card: Card
    pool_x: np.ndarray  # uint8 [N, H, W, 3], memory-mapped, or strings [N]
    pool_y: np.ndarray  # int64 [N]
    test_x: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray | None  # [N]
    fingerprint: str  # hex sha256 of all arrays, test labels included
    duplicates_removed: int  # pool examples that were copies of test examples
    excluded: dict[str, int]  # examples that could not be used: how many, by reason
    origin: str  # the exact state of what was read; "" where the code says it all
    folder: Path

    @property
    def test_is_small(self) -> bool:
        """Fewer than 500 test examples: reports flag it (PROTOCOL 1.2)."""
        return len(self.test_x) < SMALLEST_TEST

    @property
    def facts(self) -> DataFacts:
        """What a report tells of it."""
        sizes, names = (len(self.pool_x), len(self.test_x), len(self.class_names)), self.class_names
        return DataFacts(*sizes, self.test_is_small, self.duplicates_removed, self.excluded, self.origin, names)


def load(name: str, root: str | Path) -> Loaded:
    """The dataset of that name, from the cache under `root`/datasets or made now; safe for several processes at once.

    A damaged cache is said (logger "tlbench") and made again. Raises TlbenchError for an unknown name, bad data, a disk
    that refuses, and in a sealed process.
    """
    refuse_when_sealed(f"loading {name!r}")
    dataset, root = DATASETS[name], Path(root)
    folder = root / "datasets" / f"{_file_name(dataset.card.name)}-{maker_version(dataset)[:16]}"
    for _ in range(3):  # a third reading fails only when files are damaged as fast as they are written
        try:
            return _read(dataset.card, folder)
        except FileNotFoundError:
            pass
        except cache.Damaged as damage:
            log.warning("the cached dataset %r is damaged and is made again (%s)", name, damage)
            cache.remove(folder)
        _write(dataset, root, folder)
    raise TlbenchError(f"the dataset cache {folder} is damaged again and again; check the disk or choose another root")


def read_inputs(folder: Path, part: Literal["pool", "test"]) -> np.ndarray:
    """The inputs in a `Loaded.folder`: uint8 images [N, H, W, 3], memory-mapped, or an object array [N] of str.

    A sealed process may call it. Raises TlbenchError when the files are missing or damaged.
    """
    try:
        inputs = cache.read(folder, f"{part}_x")
    except (cache.Damaged, FileNotFoundError) as damage:
        raise TlbenchError(f"the dataset cache is gone or damaged ({damage}); run again to make it anew") from damage
    if inputs is None:
        raise TlbenchError(f"there are no {part} inputs in {folder}; delete that folder and run again")
    return inputs


def verify(loaded: Loaded) -> None:
    """Reads all files of a loaded dataset whole, where `load` compares the size and some pieces of the large ones.

    Raises TlbenchError when one is not as it was written, and in a sealed process.
    """
    refuse_when_sealed(f"verifying {loaded.card.name!r}")
    try:
        cache.verify(loaded.folder)
    except (cache.Damaged, OSError) as damage:
        refuse(loaded.card, f"its cache is damaged ({damage}); delete {loaded.folder} and run again")


def sealed_labels(loaded: Loaded) -> np.ndarray:
    """Test labels [m] int64; for the scorer alone. Raises TlbenchError in a sealed process or when they are damaged."""
    refuse_when_sealed(f"reading the test labels of {loaded.card.name!r}")
    try:
        labels = cache.read(loaded.folder, "test_y")
    except (cache.Damaged, FileNotFoundError) as damage:
        log.warning("the sealed labels of %r are damaged and are made again (%s)", loaded.card.name, damage)
        cache.remove(loaded.folder)
        again = load(loaded.card.name, loaded.folder.parent.parent)
        if again.fingerprint != loaded.fingerprint:
            refuse(loaded.card, "it came out differently when its damaged cache was made again; start the run anew")
        labels = cache.read(again.folder, "test_y")
    if labels is None:
        refuse(loaded.card, f"there are no test labels in {loaded.folder}; delete that folder and run again")
    return labels


def prepared(arrays: Arrays, card: Card, place: Path | None = None) -> tuple[Arrays, int]:
    """Checked arrays with at most 10,000 test examples and no copies of them in the pool; and how many copies went.

    `Pictures` become files in `place`, and come back as `pieces.OnDisk`.
    """
    arrays = checked(arrays, card)
    if len(arrays.test_y) > LARGEST_TEST:
        kept = stratified_by_hash(arrays.test_x, arrays.test_y, LARGEST_TEST)
        arrays = arrays._replace(test_x=arrays.test_x[kept], test_y=arrays.test_y[kept])
    if isinstance(arrays.pool_x, Pictures):
        assert place is not None, "pictures need a place to be decoded in"
        arrays = _decoded(arrays, card, place)
    fresh = ~copies(arrays.pool_x, arrays.test_x)
    removed = int(np.sum(~fresh))
    if removed:
        arrays = _of_pool(arrays, fresh)
    lost = {**(arrays.excluded or {}), "copy of a test example": removed}
    check_every_class(arrays.pool_y, arrays.class_names, card, lost)
    return arrays, removed


def fingerprint(arrays: Arrays) -> str:
    """Hex sha256 of everything in the arrays; it is what identifies data."""
    values = arrays._asdict()
    names = values.pop("class_names")
    del values["excluded"], values["origin"]
    return sha256([list(names), {key: cache.content(value) for key, value in values.items() if value is not None}])


def _read(card: Card, folder: Path) -> Loaded:
    facts = cache.facts(folder)
    if missing := {"class_names", "fingerprint", "duplicates_removed", "excluded", "origin"} - set(facts):
        raise cache.Damaged(f"{folder}: it was written by an older tlbench and lacks {', '.join(sorted(missing))}")
    pool_x, pool_y, test_x = (cache.read(folder, part) for part in ("pool_x", "pool_y", "test_x"))
    if pool_x is None or pool_y is None or test_x is None:
        raise cache.Damaged(f"{folder}: an array is missing from its manifest")
    return Loaded(
        card=replace(card, classes=len(facts["class_names"])),
        pool_x=pool_x,
        pool_y=pool_y,
        test_x=test_x,
        class_names=tuple(facts["class_names"]),
        groups=cache.read(folder, "groups"),
        fingerprint=facts["fingerprint"],
        duplicates_removed=facts["duplicates_removed"],
        excluded=facts["excluded"],
        origin=facts["origin"],
        folder=folder,
    )


def _write(dataset: Dataset, root: Path, folder: Path) -> None:
    """Makes a dataset and puts it in `folder`, where no other process was first."""
    with cache.building(folder) as place:
        if folder.is_dir():
            return
        arrays, removed = prepared(_made(dataset, root), dataset.card, place)
        facts = {
            "class_names": list(arrays.class_names),
            "fingerprint": fingerprint(arrays),
            "duplicates_removed": removed,
            "excluded": arrays.excluded or {},
            "origin": arrays.origin,
        }
        values: dict[str, Any] = arrays._asdict()
        del values["class_names"], values["excluded"], values["origin"]
        cache.write(folder, {key: value for key, value in values.items() if value is not None}, facts, place=place)


def _decoded(arrays: Arrays, card: Card, place: Path) -> Arrays:
    """The arrays with pixels [., S, S, 3] on disk for pictures, without those that cannot be decoded."""
    pool_x, test_x = (x for x in (arrays.pool_x, arrays.test_x) if isinstance(x, Pictures))
    side = common_side(pool_x, test_x)
    pool = decoded(pool_x, place / "pool.npy", side=side, name=f"{card.name}, pool")
    test = decoded(test_x, place / "test.npy", side=side, name=f"{card.name}, test")
    for part, found in (("pool", pool), ("test", test)):
        if not found.kept.any():
            counted = ", ".join(f"{reason}: {count}" for reason, count in found.reasons.items())
            refuse(card, f"no {part} image can be used ({counted}); repair the files or name others")
    excluded = Counter(arrays.excluded or {}) + Counter(pool.reasons) + Counter(test.reasons)
    arrays = _of_pool(arrays, pool.kept)
    x: tuple[Any, Any] = pool.x, test.x  # read like arrays, a piece at a time
    return arrays._replace(pool_x=x[0], test_x=x[1], test_y=arrays.test_y[test.kept], excluded=dict(excluded))


def _of_pool(arrays: Arrays, kept: np.ndarray) -> Arrays:
    """Without the pool examples that a mask [n] leaves out."""
    groups = None if arrays.groups is None else arrays.groups[kept]
    return arrays._replace(pool_x=arrays.pool_x[kept], pool_y=arrays.pool_y[kept], groups=groups)


def _made(dataset: Dataset, root: Path) -> Arrays:
    try:
        return dataset.make(root)
    except TlbenchError:
        raise
    except Exception as error:
        place = f"{dataset.__module__}.{dataset.__qualname__}"
        raise TlbenchError(f"dataset {dataset.card.name!r}: {place} failed: {type(error).__name__}: {error}") from error


def _file_name(name: str) -> str:
    """A dataset's name as a folder may have it; the version behind it keeps apart what this makes equal."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
