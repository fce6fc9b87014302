"""Frozen activations, computed once per (data, backbone, tap, kind of device) and kept on disk under a name of these.

Workers map the same files, so that they are in memory once; what is cheaper to compute than to keep is read as needed.
Files hold float32: rounding to float16 moved logits by 1e-4 to 3e-3, another last bit of float32 by 4e-7
(tests/perf/half.py). Where the network runs in bfloat16 they hold float16, which rounds 8 times finer than that.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import precision
from tlbench.backbones.base import Backbone
from tlbench.footprint import footprint
from tlbench.precision import mixed
from tlbench.types import sha256

if TYPE_CHECKING:
    from tlbench.features_kept import Make

LAYOUT = 3  # of the files; raised when their form changes, or how what they hold is rounded
ROWS = 256  # inputs sent through the prefix at once, at most; a rule, so that a bank is the same wherever it is made
COMPUTING_BYTES = 256 * 2**20  # of the prefix's largest output for all of them
RESIDENT_BYTES = 256 * 2**20  # a larger bank stays where it is, and rows are brought to the device as needed
DEVICE_BYTES = 2 * 2**30  # of a bank's source that a GPU keeps as it is (uint8, float16), so that nothing is brought
Read = Callable[[Tensor], Tensor]  # of the rows of a source: activations


class Bank:
    """Activations [N, ...] at a tap, brought to the device when rows of them are asked for."""

    def __init__(
        self, source: np.ndarray | Tensor, rows: np.ndarray | Tensor, read: Read, device: str | torch.device
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
    """Where what a network gives for some inputs is kept."""

    folder: Path
    content: str  # fingerprints of the inputs and of the network
    about: Mapping[str, str]  # what they are, for people
    most: int  # bytes, of all that the folder keeps

    def at(self, tap: str, rounding: Sequence[str]) -> Path:
        """Where `kept` keeps it."""
        return self.folder / sha256([LAYOUT, self.content, tap, *rounding])

    def kept(self, tap: str, rounding: Sequence[str], make: Make, *, rows: int) -> np.ndarray | None:
        """What the network gives at the tap, where `rounding` names all else that it depends on; see features_kept."""
        from tlbench.features_kept import kept  # here, since a process that is shut off from data may not import it

        return kept(self.at(tap, rounding), make, rows=rows, about={**self.about, "tap": tap}, most=self.most)


def bank(tap: str, prefix: Callable[[], nn.Module], encoded: Bank, *, place: Place) -> Tensor | Bank:
    """Activations [N, ...], float32, of encoded inputs [N, ...] at a resolved tap, to which `prefix()` brings them.

    Kept on disk, but for inputs that are smaller as they are, what a stem makes where that is large, and what has no
    room. A file whose checksum is wrong is said, and computed again.
    """
    below = _Below(prefix, encoded)
    computed = Bank(encoded.source, encoded.rows, below, encoded.device)
    if not worth_keeping(tap, computed.nbytes, encoded.nbytes):
        return computed
    keep = partial(place.kept, tap, rounding(encoded.device), rows=len(encoded))
    try:
        array = keep(partial(_halves if encoded.device.type in precision.MIXED else _all, below, encoded))
    except OverflowError:
        array = keep(partial(_all, below, encoded))
    if array is None:
        return _resident(computed)
    if array.dtype == np.float32 and encoded.device.type == "cpu":
        return torch.from_numpy(array)
    return _resident(Bank(array, np.arange(len(array)), Tensor.float, encoded.device).uploaded())


def worth_keeping(tap: str, computed: int, encoded: int) -> bool:
    """Does a bank of `computed` bytes at a resolved tap, of inputs of `encoded` bytes, go to disk?"""
    if tap == "input":
        return computed < encoded
    return tap != "blocks.0" or computed <= RESIDENT_BYTES  # a larger one is too large to keep for what a stem costs


def rounding(device: torch.device) -> list[str]:
    """What activations depend on beside the inputs and the network: each rounds in its own way."""
    return [device.type, torch.__version__]


def tokens(backbone: Backbone, texts: np.ndarray, *, place: Place) -> np.ndarray:
    """What the backbone makes of texts [N], int32 [N, t]; kept on disk."""
    array = place.kept("tokens", [], lambda: iter([backbone.encoded(texts)]), rows=len(texts))
    return backbone.encoded(texts) if array is None else array


def named(rows: np.ndarray) -> str:
    """A name for a choice of rows: sha256 of their numbers."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()


class _Below:
    """A prefix as it runs everywhere: in the device's precision, so many rows at once that memory suffices."""

    def __init__(self, prefix: Callable[[], nn.Module], encoded: Bank) -> None:
        self._prefix, self._encoded = prefix, encoded

    def __call__(self, x: Tensor) -> Tensor:
        """Activations of encoded inputs x: float32, tokens as they are."""
        with mixed(self._encoded.device):
            found = [self._network(piece).contiguous() for piece in x.split(self.size)]
        whole = found[0] if len(found) == 1 else torch.cat(found)
        return whole.float() if whole.is_floating_point() else whole

    @functools.cached_property
    def size(self) -> int:
        """Rows at once."""
        return max(1, min(ROWS, COMPUTING_BYTES // footprint(self._network, self._encoded[:1]).largest))

    @functools.cached_property
    def _network(self) -> nn.Module:
        return self._prefix()


def _all(below: _Below, encoded: Bank) -> Iterator[np.ndarray]:
    for piece in encoded.pieces(below.size):
        with torch.no_grad():
            yield below(piece).cpu().numpy()


def _halves(below: _Below, encoded: Bank) -> Iterator[np.ndarray]:
    """float16; raises OverflowError where its range is too small."""
    for piece in _all(below, encoded):
        half = torch.from_numpy(piece).half()
        if bool(half.isinf().any()):
            raise OverflowError("an activation is larger than float16 can hold")
        yield half.numpy()


def _resident(found: Bank) -> Tensor | Bank:
    return torch.cat(list(found.pieces(ROWS))) if found.nbytes <= RESIDENT_BYTES else found
