"""What is a backbone? A frozen network that can be cut at any of its taps into a prefix and a tail."""

from __future__ import annotations

import abc
import copy
import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench.backbones.linear import hastened
from tlbench.registry import unknown
from tlbench.types import Modality, TlbenchError

M = TypeVar("M", bound=nn.Module)


Groups = Callable[[Tensor], list[Tensor]]  # a batch [m, ...] -> rows that go through a network together; [] for all


def together(x: Tensor) -> list[Tensor]:
    return []


class Trunk(nn.Module):
    """A network as stem, blocks and head; what a tail is, with the blocks that remain in `blocks`."""

    def __init__(self, stem: nn.Module, blocks: list[nn.Module], head: nn.Module, *, groups: Groups = together) -> None:
        super().__init__()
        self.stem, self.blocks, self.head, self.groups = stem, nn.ModuleList(blocks), head, groups

    def forward(self, x: Tensor) -> Tensor:
        groups = self.groups(x)
        if not groups:
            return self._through(x)
        out = torch.cat([self._through(x[rows]) for rows in groups])
        return out[torch.argsort(torch.cat(groups))]

    def _through(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Named(NamedTuple):
    """A network that another library names; calling it makes the backbone."""

    modality: Modality
    make: Callable[[], Backbone]
    seen: Mapping[str, str] = MappingProxyType({})  # see Backbone.seen; nothing is known of what such a network saw

    def __call__(self) -> Backbone:
        return self.make()


class Backbone(abc.ABC):
    """A pretrained network. Law: tail(tap)(prefix(tap)(x)) == prefix("features")(x) for every tap.

    A subclass hands over a reader (raw input -> what the network takes), a trunk and the width d of its features,
    and says how to make the same network afresh.
    """

    name: str
    modality: Modality = "image"
    seen: Mapping[str, str] = MappingProxyType({})  # dataset to what pretraining, or a choice made for it, saw of it

    def __init__(self, reader: nn.Module, trunk: Trunk, *, dim: int) -> None:
        self.reader, self.trunk, self.dim = _frozen(reader), _frozen(trunk), dim
        hastened(self.trunk)

    @abc.abstractmethod
    def scratch(self, seed: int = 0) -> Backbone:
        """The same architecture freshly initialised: each parameter tells its initial mean and deviation."""

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return len(self.trunk.blocks)

    @property
    def parameters(self) -> int:
        """How many parameters it has."""
        return sum(p.numel() for p in self.trunk.parameters())

    @property
    def taps(self) -> tuple[str, ...]:
        """Where the network can be cut, from below: "input", "blocks.i" (what enters block i), "features"."""
        return ("input", *(f"blocks.{i}" for i in range(self.blocks)), "features")

    @property
    def fingerprint(self) -> str:
        """sha256 of every parameter and buffer (name, shape and bytes, by name) and of what the reader says it does."""
        digest = hashlib.sha256()
        state = nn.ModuleDict({"reader": self.reader, "trunk": self.trunk}).state_dict()
        for name, value in sorted(state.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        digest.update(self.reader.extra_repr().encode())
        return digest.hexdigest()

    def resolve(self, tap: str) -> str:
        """The tap's name in `taps`; "blocks.-2" counts from above: two blocks remain in the tail.

        Raises TlbenchError where the network has no such tap.
        """
        head, _, number = tap.partition(".")
        if head == "blocks" and number.startswith("-") and number[1:].isdigit():
            tap = f"blocks.{int(number) + self.blocks}"
        if tap not in self.taps:
            raise TlbenchError(f"{unknown('tap', tap, self.taps, 'the taps')} of {self.name}: {', '.join(self.taps)}")
        return tap

    def encoded(self, raw: np.ndarray) -> np.ndarray:
        """Raw inputs as numbers that a tensor can hold: images as they are, texts as int32 tokens [m, t]."""
        return raw

    def opening(self) -> nn.Module:
        """What begins a tail at a block: activations at the tap -> what the block takes."""
        return nn.Identity()

    def closing(self) -> nn.Module:
        """What ends a prefix at a block: what the block below gives -> activations at the tap."""
        return nn.Identity()

    def prefix(self, tap: str) -> nn.Module:
        """Encoded input (images: uint8 [m, H, W, 3]) -> activations at the tap; a frozen copy in eval mode."""
        tap, trunk = self.resolve(tap), self.trunk
        if tap == "input":
            return _frozen(self.reader)
        if tap == "features":
            return _frozen(nn.Sequential(self.reader, trunk))
        below = list(trunk.blocks[: _number(tap)])
        return _frozen(nn.Sequential(self.reader, Trunk(trunk.stem, below, self.closing(), groups=trunk.groups)))

    def tail(self, tap: str) -> Trunk:
        """Activations at the tap -> features [m, d]; a frozen copy in eval mode, with what remains in `.blocks`."""
        tap, trunk = self.resolve(tap), self.trunk
        if tap == "input":
            return _frozen(trunk)
        if tap == "features":
            return _frozen(Trunk(nn.Identity(), [], nn.Identity()))
        above = list(trunk.blocks[_number(tap) :])
        return _frozen(Trunk(self.opening(), above, trunk.head, groups=trunk.groups))


class Pixels(nn.Module):
    """uint8 [m, H, W, 3] -> normalised float32 [m, 3, S, S]; bilinear with antialiasing where the size differs."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        images = x.movedim(-1, 1).to(torch.float32) / 255
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return images.sub_(self.mean).div_(self.std)


def _number(tap: str) -> int:
    return int(tap.removeprefix("blocks."))


def _frozen(module: M) -> M:
    return copy.deepcopy(module).eval().requires_grad_(False)
