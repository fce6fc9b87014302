"""Frozen activations, computed once per (data, backbone, tap, kind of device) and kept on disk under a name of these.

Workers map the same files, so that they are in memory once; what is cheaper to compute than to keep is read as needed.
Files hold float32. Where the network runs in bfloat16 they hold float16, which rounds 8 times finer than that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import precision
from tlbench.backbones.base import Backbone
from tlbench.features_kept import kept
from tlbench.footprint import footprint
from tlbench.precision import laid_out, mixed
from tlbench.types import sha256

LAYOUT = 2  # of the files; raised when their form changes
ROWS = 256  # inputs sent through the prefix at once, at most; a rule, so that a bank is the same wherever it is made
COMPUTING_BYTES = 256 * 2**20  # of the prefix's largest output for all of them
RESIDENT_BYTES = 256 * 2**20  # a larger bank stays where it is, and rows are brought to the device as needed
DEVICE_BYTES = 2 * 2**30  # of a bank's source that a GPU keeps as it is (uint8, float16), so that nothing is brought


class Bank:
    """Activations [N, ...] at a tap, brought to the device when rows of them are asked for."""

    def __init__(
        self, source: np.ndarray | Tensor, rows: np.ndarray | Tensor, read: nn.Module, device: str | torch.device
    ) -> None:
        """`source` [M, ...] may be memory-mapped, `rows` [N] of it are the bank's, `read` makes them activations.

        Both are arrays in the host's memory, or tensors on the device.
        """
        self.source, self.rows, self.read, self.device = source, rows, read, torch.device(device)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        with torch.no_grad():
            return self.read(self._raw(index))

    @property
    def nbytes(self) -> int:
        return len(self) * self[:1].nbytes

    def pieces(self, size: int) -> Iterator[Tensor]:
        """All activations, `size` rows at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def uploaded(self) -> Bank:
        """The same with its source on the device; itself where that is a CPU's memory or would take DEVICE_BYTES."""
        if isinstance(self.source, Tensor) or self.device.type == "cpu":
            return self
        if len(self) * self.source[:1].nbytes > DEVICE_BYTES:
            return self
        own = torch.from_numpy(self.source[self.rows]).to(self.device)
        return Bank(own, torch.arange(len(own), device=self.device), self.read, self.device)

    def _raw(self, index: Tensor | slice) -> Tensor:
        if isinstance(self.source, Tensor):
            return self.source[self.rows[index]]
        chosen = self.rows[index.cpu().numpy() if isinstance(index, Tensor) else index]
        return torch.from_numpy(self.source[chosen]).to(self.device)


class Place(NamedTuple):
    """Where what is computed from some inputs is kept."""

    folder: Path
    content: str  # a fingerprint of the inputs
    about: Mapping[str, str]  # what they are
    most: int  # bytes, of all that the folder keeps


def bank(backbone: Backbone, tap: str, encoded: Bank, *, place: Place) -> Tensor | Bank:
    """Activations [N, ...], float32, of encoded inputs [N, ...] at a resolved tap.

    Kept on disk, but for inputs that are smaller as they are, what a stem makes where that is large, and what has no
    room. A file whose checksum is wrong is said, and computed again.
    """
    prefix = _Prefix(backbone.prefix(tap), encoded)
    computed = Bank(encoded.source, encoded.rows, nn.Sequential(prefix, _Float()), encoded.device)
    if tap == "input" and computed.nbytes >= encoded.nbytes:
        return computed
    if tap == "blocks.0" and computed.nbytes > RESIDENT_BYTES:
        return computed  # too large to keep for what a stem costs
    versions = [LAYOUT, torch.__version__, encoded.device.type]  # each rounds in its own way
    name = sha256([place.content, backbone.name, backbone.fingerprint, tap, versions])
    about = {**place.about, "backbone": backbone.name, "tap": tap}
    keep = partial(kept, place.folder / name, rows=len(encoded), about=about, most=place.most)
    try:
        array = keep(partial(_halves if encoded.device.type in precision.MIXED else _all, prefix, encoded))
    except OverflowError:
        array = keep(partial(_all, prefix, encoded))
    if array is None:
        return _resident(computed)
    if array.dtype == np.float32 and encoded.device.type == "cpu":
        return torch.from_numpy(array)
    return _resident(Bank(array, np.arange(len(array)), _Float(), encoded.device).uploaded())


def tokens(backbone: Backbone, texts: np.ndarray, *, place: Place) -> np.ndarray:
    """What the backbone makes of texts [N], int32 [N, t]; kept on disk."""
    name = sha256([LAYOUT, place.content, backbone.name, backbone.fingerprint])
    about = {**place.about, "backbone": backbone.name, "tap": "tokens"}
    make = lambda: iter([backbone.encoded(texts)])  # noqa: E731
    array = kept(place.folder / name, make, rows=len(texts), about=about, most=place.most)
    return backbone.encoded(texts) if array is None else array


def named(rows: np.ndarray) -> str:
    """A name for a choice of rows: sha256 of their numbers."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()


class _Prefix(nn.Module):
    """A prefix as it runs everywhere: in the device's precision, so many rows at once that memory suffices."""

    def __init__(self, network: nn.Module, encoded: Bank) -> None:
        super().__init__()
        self.network, self.device = laid_out(network, encoded.device), encoded.device
        self.size = max(1, min(ROWS, COMPUTING_BYTES // footprint(self.network, encoded[:1]).largest))

    def forward(self, x: Tensor) -> Tensor:
        with mixed(self.device):
            found = [self.network(piece).contiguous() for piece in x.split(self.size)]
        return found[0] if len(found) == 1 else torch.cat(found)


class _Float(nn.Module):
    """Activations as float32, tokens as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() if x.is_floating_point() else x


def _all(prefix: _Prefix, encoded: Bank) -> Iterator[np.ndarray]:
    for piece in encoded.pieces(prefix.size):
        with torch.no_grad():
            yield prefix(piece).float().cpu().numpy()


def _halves(prefix: _Prefix, encoded: Bank) -> Iterator[np.ndarray]:
    """float16; raises OverflowError where its range is too small."""
    for piece in _all(prefix, encoded):
        half = torch.from_numpy(piece).half()
        if bool(half.isinf().any()):
            raise OverflowError("an activation is larger than float16 can hold")
        yield half.numpy()


def _resident(found: Bank) -> Tensor | Bank:
    return torch.cat(list(found.pieces(ROWS))) if found.nbytes <= RESIDENT_BYTES else found
