"""Frozen activations, computed once per (data, backbone, tap) and kept on disk under a name made of their content.

Few of them are held in memory whole; many stay in their file, and rows are read when they are asked for.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor, nn

from tlbench.backbones.base import Backbone
from tlbench.footprint import footprint
from tlbench.precision import laid_out, mixed
from tlbench.types import sha256

log = logging.getLogger("tlbench")
ROWS = 256  # inputs sent through the prefix at once, at most; a rule, so that a bank is the same wherever it is made
COMPUTING_BYTES = 256 * 2**20  # of the prefix's largest output for all of them
RESIDENT_BYTES = 256 * 2**20  # a larger bank stays in its file


class Bank:
    """Activations [N, ...] at a tap, brought to the device when rows of them are asked for."""

    def __init__(self, source: np.ndarray, rows: np.ndarray, read: nn.Module, device: str) -> None:
        """`source` [M, ...] may be memory-mapped, `rows` [N] of it are the bank's, `read` makes them activations."""
        self.source, self.rows, self.read, self.device = source, rows, read, torch.device(device)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        chosen = self.rows[index.cpu().numpy() if isinstance(index, Tensor) else index]
        with torch.no_grad():
            return self.read(torch.from_numpy(self.source[chosen]).to(self.device))

    @property
    def nbytes(self) -> int:
        return len(self) * self[:1].nbytes

    def pieces(self, size: int) -> Iterator[Tensor]:
        """All activations, `size` rows at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))


def file_name(backbone: Backbone, tap: str, content: str) -> str:
    """The name of the bank of inputs that `content` (a fingerprint) names."""
    return f"{sha256([content, backbone.name, backbone.fingerprint, tap])}.npy"


def bank(backbone: Backbone, tap: str, encoded: Bank, *, file: Path) -> Tensor | Bank:
    """Activations [N, ...] of encoded inputs [N, ...] at a resolved tap, float32; kept in `file`.

    A file whose checksum is wrong is said, and computed again.
    """
    if tap in ("input", "blocks.0"):
        below = backbone.prefix(tap).to(encoded.device)
        computed = Bank(encoded.source, encoded.rows, below, str(encoded.device))
        if tap == "input" or computed.nbytes > RESIDENT_BYTES:
            return _resident(computed)  # too large to keep for what a stem costs
    if not _kept(file):
        _write(file, _computed(backbone, tap, encoded), len(encoded))
    kept = np.load(file, mmap_mode="r", allow_pickle=False)
    return _resident(Bank(kept, np.arange(len(kept)), nn.Identity(), str(encoded.device)))


def tokens(backbone: Backbone, texts: np.ndarray, *, file: Path) -> np.ndarray:
    """What the backbone makes of texts [N], int32 [N, t]; kept in `file`."""
    if not _kept(file):
        _write(file, iter([torch.from_numpy(backbone.encoded(texts))]), len(texts))
    return np.load(file, mmap_mode="r", allow_pickle=False)


def named(rows: np.ndarray) -> str:
    """A name for a choice of rows: sha256 of their numbers."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()


def _resident(found: Bank) -> Tensor | Bank:
    return torch.cat(list(found.pieces(ROWS))) if found.nbytes <= RESIDENT_BYTES else found


def _computed(backbone: Backbone, tap: str, encoded: Bank) -> Iterator[Tensor]:
    prefix = laid_out(backbone.prefix(tap), encoded.device)
    size = max(1, min(ROWS, COMPUTING_BYTES // footprint(prefix, encoded[:1]).largest))
    for piece in encoded.pieces(size):
        with torch.no_grad(), mixed(encoded.device):
            yield prefix(piece).float().contiguous()


def _kept(path: Path) -> bool:
    seal = path.with_suffix(".sha256")
    if not (path.is_file() and seal.is_file()):
        return False
    with path.open("rb") as opened:
        intact = hashlib.file_digest(opened, "sha256").hexdigest() == seal.read_text()
    if not intact:
        log.warning("cached activations %s do not match their checksum; computing them again", path)
    return intact


def _write(path: Path, pieces: Iterator[Tensor], count: int) -> None:
    """Whole or not at all: under another name first, the checksum last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft, seal = Path(folder) / "draft.npy", Path(folder) / "seal"
        with draft.open("wb") as file:
            for number, piece in enumerate(pieces):
                array = np.ascontiguousarray(piece.cpu().numpy())
                if number == 0:
                    header = {"descr": npy.dtype_to_descr(array.dtype), "fortran_order": False}
                    npy.write_array_header_1_0(file, {**header, "shape": (count, *array.shape[1:])})
                file.write(array.data)
        with draft.open("rb") as file:
            seal.write_text(hashlib.file_digest(file, "sha256").hexdigest())
        os.replace(draft, path)
        os.replace(seal, path.with_suffix(".sha256"))
