"""How do computed arrays stay on disk: made once, by one process while others wait, intact, and within a bound?"""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlbench.caches import GIGABYTES, size
from tlbench.datasets import cache, pieces
from tlbench.datasets.pieces import OnDisk

log = logging.getLogger("tlbench")
ARRAY = "x"
Make = Callable[[], Iterator[np.ndarray]]  # an array's rows in order, some at a time


class Entry(NamedTuple):
    """Something in the folder of kept arrays."""

    path: Path
    bytes: int
    used: float  # when it was last asked for; seconds since the epoch

    @property
    def about(self) -> Mapping[str, str]:
        """What it is; nothing is known of what a process left that died, or an older tlbench."""
        try:
            return cache.facts(self.path).get("about", {})
        except (FileNotFoundError, cache.Damaged):
            return {}


def kept(path: Path, make: Make, *, rows: int, about: Mapping[str, str], most: int) -> np.ndarray | None:
    """The array [`rows`, ...] of the folder `path`, memory-mapped; what is written into it stays with the process.

    Where it is not there, or damaged (which is said), `make` gives it, in one process while others that ask for it
    wait. First the arrays beside it that were not asked for longest go, until all take `most` bytes; a process that
    has one of them open keeps it. None where this array alone would take more. Raises TlbenchError when the disk
    refuses.
    """
    try:
        return _opened(path)
    except (FileNotFoundError, cache.Damaged):
        pass
    with cache.building(path) as place:
        try:
            return _opened(path)  # another process made it meanwhile
        except FileNotFoundError:
            pass
        except cache.Damaged as damage:
            log.warning("cached activations (%s) are damaged and computed again: %s", _words(about), damage)
            cache.remove(path)
        parts = make()
        first = next(parts)
        needed = rows * first[:1].nbytes
        if needed > most:
            log.warning(
                "activations (%s) would take %s, and %s allows %s: they are computed whenever they are needed",
                *(_words(about), size(needed), GIGABYTES, size(most)),
            )
            return None
        _make_room(path.parent, most - needed)
        draft = place / "draft.npy"
        pieces.write(draft, chain([first], parts), (rows, *first.shape[1:]), first.dtype)
        cache.write(path, {ARRAY: OnDisk(draft)}, {"about": dict(about)}, place=place)
        return _opened(path)


def entries(folder: Path) -> list[Entry]:
    """What is kept in a folder, and what processes that died left there; what was not asked for longest comes first."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        known = [entry for entry in map(_entry, found) if entry is not None]
    return sorted(known, key=lambda entry: (entry.used, entry.path.name))


def removed(entry: Entry) -> bool:
    """Takes it away, unless a process is making it at this moment."""
    left = entry.path.name.startswith(".")
    owner = entry.path.name[1:].rpartition("-")[0] if left else entry.path.name
    with cache.claimed(entry.path.with_name(owner)) as ours:
        if not ours:
            return False
        if left:
            shutil.rmtree(entry.path, ignore_errors=True)  # another process may be at it
        elif entry.path.is_dir():
            cache.remove(entry.path)
        else:
            entry.path.unlink(missing_ok=True)
        return True


def _opened(path: Path) -> np.ndarray:
    """Raises FileNotFoundError where it is not there, Damaged where it is not as it was written."""
    file, manifest = path / f"{ARRAY}.npy", path / cache.MANIFEST
    if not path.is_dir():
        raise FileNotFoundError(path)
    try:
        state, size = file.stat(), manifest.stat().st_size
    except FileNotFoundError as error:
        raise cache.Damaged(f"{error.filename} is missing") from error
    _verified(path, state.st_ino, state.st_size, state.st_mtime_ns, size)
    if os.access(manifest, os.W_OK):  # a cache may be lent for reading only
        os.utime(manifest)
    return np.load(file, mmap_mode="c", allow_pickle=False)


@functools.cache
def _verified(path: Path, *_state: int) -> None:
    """Reads it whole: once in a process, as long as its files stay as they were."""
    cache.verify(path)


def _words(about: Mapping[str, str]) -> str:
    return ", ".join(about.values())


def _make_room(folder: Path, most: int) -> None:
    found = entries(folder)
    total = sum(entry.bytes for entry in found)
    for entry in found:
        if total > most and removed(entry):
            total -= entry.bytes


def _entry(found: os.DirEntry) -> Entry | None:
    """None where it went away meanwhile."""
    try:
        if not found.is_dir():
            return Entry(Path(found.path), found.stat().st_size, found.stat().st_mtime)
        manifest = f"{found.path}/{cache.MANIFEST}"
        used = os.stat(manifest if os.path.exists(manifest) else found.path).st_mtime
        return Entry(Path(found.path), _bytes(found.path), used)
    except FileNotFoundError:
        return None


def _bytes(folder: str) -> int:
    with os.scandir(folder) as held:
        return sum(_bytes(each.path) if each.is_dir() else each.stat().st_size for each in held)
