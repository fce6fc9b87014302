"""Where do arrays lie? In files named by the hash of their content, so that a wrong one cannot pass for a right one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from tlbench.types import TlbenchError, sha256

SUFFIX = ".safetensors"


def put(folder: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Writes the arrays, as float32, and returns the file's name; on return the file is whole and on the disk.

    Equal arrays give equal names. Raises TlbenchError when the disk refuses.
    """
    content = save({name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()})
    name = sha256(content) + SUFFIX
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _holds(folder / name, content):
            _write(folder / name, content)
    except OSError as error:
        raise TlbenchError(
            f"cannot write to {str(folder)!r}: {error.strerror}; what was stored before is safe; "
            "make room there and run the same command again"
        ) from error
    return name


def get(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of the file; raises TlbenchError when it is missing or its content does not match its name."""
    path = folder / name
    if not path.is_file():
        raise TlbenchError(f"{str(path)!r} is missing; run its cell again: tlbench retry {folder.parent.name}")
    content = path.read_bytes()
    if sha256(content) + SUFFIX != name:
        raise TlbenchError(
            f"{str(path)!r} is damaged: its content does not match its name; delete it and run its cell again: "
            f"rm {path} && tlbench retry {folder.parent.name}"
        )
    return load(content)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _write(path: Path, content: bytes) -> None:
    """A crash leaves the old file or the new one, never a part: the name appears only once the bytes are safe."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
