"""How do a dataset's arrays stay on disk: written as a whole or not at all, and never read when damaged?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.datasets import pieces
from tlbench.datasets.pieces import OnDisk
from tlbench.types import TlbenchError, sha256

if TYPE_CHECKING:
    from filelock import BaseFileLock

MANIFEST = "manifest.json"
# Larger files are not read whole at each load: their size and some pieces are compared; `verify` reads all.
WHOLE_UP_TO = 64 * 2**20  # bytes
BLOCKS, BLOCK = 64, 2**16  # pieces, bytes of each


class Damaged(Exception):
    """Files that are not what their manifest says; the message names the file."""


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """An empty place beside `folder` to make it in, gone afterwards; one process at a time has it, others wait.

    Raises TlbenchError when the disk refuses.
    """
    with _writing(folder), _lock(folder):
        for left in folder.parent.glob(f".{folder.name}-*"):  # by a process that died: this one holds the lock
            shutil.rmtree(left, ignore_errors=True)
        place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Keeps others from making `folder` meanwhile; False where one is making it.

    Raises TlbenchError when the disk refuses.
    """
    from filelock import Timeout

    with _writing(folder):
        lock = _lock(folder)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def write(folder: Path, arrays: Mapping[str, np.ndarray | OnDisk], facts: dict[str, Any], *, place: Path) -> None:
    """Puts arrays and facts in `folder` in one step, by way of `place` on the same disk.

    Arrays of strings become two files, UTF-8 bytes and offsets; a whole file in `place` is moved, not copied.
    """
    draft = place / "whole"
    draft.mkdir()
    _fill(draft, arrays, facts)
    os.rename(draft, folder)


def verify(folder: Path) -> None:
    """Reads every file whole. Raises Damaged, and FileNotFoundError when there is no such folder."""
    for name, noted in _manifest(folder)["files"].items():
        if _checksum(folder / name) != noted["sha256"]:
            raise Damaged(f"{folder / name}: its checksum differs")


def facts(folder: Path) -> dict[str, Any]:
    """The facts beside the arrays. Raises Damaged, and FileNotFoundError when there is no such folder."""
    return _manifest(folder)["facts"]


def read(folder: Path, name: str) -> np.ndarray | None:
    """The array of that name, pixels memory-mapped; None when it was not written. Raises Damaged."""
    files = _manifest(folder)["files"]
    if f"{name}.npy" not in files:
        return None
    if f"{name}_offsets.npy" in files:
        return _strings(_array(folder, f"{name}.npy", files), _array(folder, f"{name}_offsets.npy", files))
    return _array(folder, f"{name}.npy", files)


def remove(folder: Path) -> None:
    """Takes a folder away; a process that has its files open keeps them."""
    grave = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        os.rename(folder, grave / "gone")
    except FileNotFoundError:
        pass  # another process was first
    finally:
        shutil.rmtree(grave, ignore_errors=True)


def content(array: np.ndarray | OnDisk) -> str:
    """Hex sha256 of an array's type, shape and values; strings count as their UTF-8 bytes."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "OU":
        blob, offsets = _bytes(array)
        return sha256([content(blob), content(offsets)])
    kind = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{kind.str}{array.shape}".encode())
    for piece in pieces.pieces(array):
        digest.update(np.ascontiguousarray(piece, kind).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        problem = (
            f"the cache {folder} cannot be written ({error}); free some space (tlbench cache --clear activations) or "
            "name another folder (TLBENCH_CACHE)"
        )
        raise TlbenchError(problem) from error


def _lock(folder: Path) -> BaseFileLock:
    from filelock import FileLock

    locks = folder.parent.parent / "locks"
    locks.mkdir(exist_ok=True)
    return FileLock(locks / f"{folder.name}.lock")


def _fill(draft: Path, arrays: Mapping[str, np.ndarray | OnDisk], facts: dict[str, Any]) -> None:
    for name, array in arrays.items():
        path = draft / f"{name}.npy"
        if isinstance(array, OnDisk) and array.whole:
            os.rename(array.path, path)
        elif isinstance(array, np.ndarray) and array.dtype.kind in "OU":
            blob, offsets = _bytes(array)
            np.save(path, blob)
            np.save(draft / f"{name}_offsets.npy", offsets)
        else:
            pieces.write(path, pieces.pieces(array), array.shape, array.dtype.newbyteorder("<"))
    files = {path.name: _noted(path) for path in sorted(draft.iterdir())}
    text = {"facts": facts, "files": files}
    (draft / MANIFEST).write_text(json.dumps({**text, "sha256": sha256(text)}, indent=1, sort_keys=True))


def _manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    try:
        text = json.loads((folder / MANIFEST).read_text())
        claimed = text.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise Damaged(f"{folder / MANIFEST}: {error}") from error
    if sha256(text) != claimed:
        raise Damaged(f"{folder / MANIFEST}: its checksum differs")
    return text


def _array(folder: Path, name: str, files: dict[str, dict[str, Any]]) -> np.ndarray:
    path, noted = folder / name, files[name]
    if not path.is_file():
        raise Damaged(f"{path}: it is missing")
    if path.stat().st_size != noted["bytes"]:
        raise Damaged(f"{path}: it has {path.stat().st_size} bytes, not {noted['bytes']}")
    if _sample(path) != noted["sample"]:
        raise Damaged(f"{path}: its checksum differs")
    try:
        array = np.load(path, mmap_mode="r" if path.stem.endswith("_x") else None, allow_pickle=False)
    except ValueError as error:
        raise Damaged(f"{path}: {error}") from error
    array.flags.writeable = False
    return array


def _noted(path: Path) -> dict[str, Any]:
    size, whole = path.stat().st_size, _checksum(path)
    return {"bytes": size, "sample": whole if size <= WHOLE_UP_TO else _sample(path), "sha256": whole}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sample(path: Path) -> str:
    """Hex sha256 of a small file, or of the first, the last and evenly spaced blocks of a large one."""
    size = path.stat().st_size
    if size <= WHOLE_UP_TO:
        return _checksum(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for at in range(BLOCKS):
            file.seek((size - BLOCK) * at // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _bytes(strings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    encoded = [str(text).encode() for text in strings]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def _strings(blob: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    data = blob.tobytes()
    return np.array([data[a:b].decode() for a, b in zip(offsets, offsets[1:], strict=False)], dtype=object)
