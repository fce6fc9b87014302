"""How is an array that is too large for memory read and written, a piece at a time?"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

PIECE = 16 * 2**20  # bytes of one piece, at most; a piece has one row at least


class OnDisk:
    """Rows of a .npy file, read when asked for and kept nowhere: a memory map would count what was touched as used."""

    def __init__(self, path: Path, rows: np.ndarray | None = None) -> None:
        """`rows`: places in the file, ascending; None for all. Raises ValueError when the file is no plain .npy."""
        self.path = path
        with path.open("rb") as file:
            self.full_shape, fortran, self.dtype = _header(file)
            self._start = file.tell()
        if fortran or self.dtype.hasobject:
            raise ValueError(f"{path}: rows of such an array cannot be read one by one")
        self.rows = np.arange(self.full_shape[0]) if rows is None else rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.full_shape[1:])

    @property
    def whole(self) -> bool:
        """Are these all rows of the file?"""
        return len(self.rows) == self.full_shape[0]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, kept: np.ndarray) -> OnDisk:
        """The rows that a mask [n] keeps; nothing is read."""
        return OnDisk(self.path, self.rows[kept])

    def pieces(self) -> Iterator[np.ndarray]:
        """All rows in order, some at a time."""
        row = int(np.prod(self.full_shape[1:])) * self.dtype.itemsize
        with self.path.open("rb") as file:
            for some in _cut(self.rows, row):
                first, last = int(some[0]), int(some[-1])
                file.seek(self._start + first * row)
                flat = np.fromfile(file, self.dtype, (last + 1 - first) * int(np.prod(self.full_shape[1:])))
                yield flat.reshape(last + 1 - first, *self.full_shape[1:])[some - first]


def pieces(array: np.ndarray | OnDisk) -> Iterator[np.ndarray]:
    """The rows of an array in order, some at a time."""
    if isinstance(array, OnDisk):
        yield from array.pieces()
    else:
        row = int(np.prod(array.shape[1:])) * array.itemsize
        step = max(1, PIECE // max(1, row))
        for at in range(0, len(array), step):
            yield array[at : at + step]


def write(path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Writes arrays [., *shape[1:]] one behind the other into a .npy file of at most shape[0] rows.

    Returns how many rows there were.
    """
    rows = 0
    with path.open("wb") as file:
        head = _head(shape, dtype)
        file.write(head)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)
            rows += len(part)
        final = _head((rows, *shape[1:]), dtype)
        if len(final) != len(head):
            raise ValueError(f"{path}: the header for {rows} rows has another length than the one for {shape[0]}")
        file.seek(0)
        file.write(final)
    return rows


def _cut(rows: np.ndarray, row: int) -> Iterator[np.ndarray]:
    """Ascending places in runs that span at most a piece."""
    step = max(1, PIECE // max(1, row))
    at = 0
    while at < len(rows):
        end = max(at + 1, int(np.searchsorted(rows, rows[at] + step)))
        yield rows[at:end]
        at = end


def _head(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """The head of a .npy file; numpy leaves room for the number of rows to change."""
    text = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(text, description)
    return text.getvalue()


def _header(file: io.BufferedReader) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)
