"""How do a dataset's arrays stay on disk: written as a whole or not at all, and never read when damaged?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tlbench.types import TlbenchError, sha256

MANIFEST = "manifest.json"


class Damaged(Exception):
    """Files that are not what their manifest says; the message names the file."""


def write(folder: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Puts arrays and facts in `folder` in one step; when another process was first, what it wrote stays.

    Arrays of strings become two files, UTF-8 bytes and offsets. Raises TlbenchError when the disk refuses.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _fill(draft, arrays, facts)
            _rename(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        problem = f"the dataset cache {folder} cannot be written ({error}); free some space or choose another root"
        raise TlbenchError(problem) from error


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


def content(array: np.ndarray) -> str:
    """Hex sha256 of an array's type, shape and values; strings count as their UTF-8 bytes."""
    if array.dtype.kind in "OU":
        blob, offsets = _bytes(array)
        return sha256([content(blob), content(offsets)])
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode())
    digest.update(plain.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _fill(draft: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    for name, array in arrays.items():
        if array.dtype.kind in "OU":
            blob, offsets = _bytes(array)
            np.save(draft / f"{name}.npy", blob)
            np.save(draft / f"{name}_offsets.npy", offsets)
        else:
            np.save(draft / f"{name}.npy", np.ascontiguousarray(array, array.dtype.newbyteorder("<")))
    files = {path.name: _checksum(path) for path in sorted(draft.iterdir())}
    text = {"facts": facts, "files": files}
    (draft / MANIFEST).write_text(json.dumps({**text, "sha256": sha256(text)}, indent=1, sort_keys=True))


def _rename(draft: Path, folder: Path) -> None:
    try:
        os.rename(draft, folder)
    except OSError:
        if not (folder / MANIFEST).is_file():
            raise


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


def _array(folder: Path, name: str, files: dict[str, str]) -> np.ndarray:
    path = folder / name
    if not path.is_file():
        raise Damaged(f"{path}: it is missing")
    if _checksum(path) != files[name]:
        raise Damaged(f"{path}: its checksum differs")
    array = np.load(path, mmap_mode="r" if path.stem.endswith("_x") else None, allow_pickle=False)
    array.flags.writeable = False
    return array


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(strings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    encoded = [str(text).encode() for text in strings]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def _strings(blob: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    data = blob.tobytes()
    return np.array([data[a:b].decode() for a, b in zip(offsets, offsets[1:], strict=False)], dtype=object)
