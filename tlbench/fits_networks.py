"""Which networks does this process have open? A small one is read once for all blocks that follow one another."""

from __future__ import annotations

import functools
from functools import cached_property

import torch
from torch import Tensor, nn

from tlbench import backbones
from tlbench.backbones.base import Backbone
from tlbench.operations import Operations
from tlbench.precision import laid_out
from tlbench.types import TlbenchError

SMALL = 2**22  # parameters of a network that stays open, with its prefixes, when its block is done: memory is short


class Opened:
    """A network, and what is made of it once."""

    def __init__(self, reference: str) -> None:
        self.backbone = backbones.get(reference)
        self.fingerprint = self.backbone.fingerprint
        self._prefixes: dict[tuple[str, str], nn.Module] = {}
        self._flops: dict[tuple[str, torch.Size], int] = {}

    @cached_property
    def scratch(self) -> Backbone:
        """The same network freshly initialised: drawn where a strategy may begin with it."""
        return self.backbone.scratch()

    def prefix(self, tap: str, device: str) -> nn.Module:
        """The network below the tap, on the device."""
        if (tap, device) not in self._prefixes:
            self._prefixes[tap, device] = laid_out(self.backbone.prefix(tap), torch.device(device))
        return self._prefixes[tap, device]

    def flops(self, tap: str, one: Tensor) -> int:
        """Floating-point operations of bringing one encoded input [1, ...] to the tap."""
        if (tap, one.shape) not in self._flops:
            with torch.no_grad(), Operations() as counted:
                self.prefix(tap, str(one.device))(one)
            self._flops[tap, one.shape] = counted.total
        return self._flops[tap, one.shape]


def opened(reference: str, fingerprint: str) -> Opened:
    """The network of a reference. Raises TlbenchError where its weights are not those of the fingerprint; "" is any."""
    found = _recent(reference)
    if fingerprint not in ("", found.fingerprint):
        _recent.cache_clear()  # it may have been opened before they changed
        found = _recent(reference)
    if found.backbone.parameters > SMALL:
        _recent.cache_clear()
    if fingerprint not in ("", found.fingerprint):
        raise TlbenchError(f"the weights of {reference!r} changed during this run; run the command again")
    return found


@functools.lru_cache(maxsize=2)
def _recent(reference: str) -> Opened:
    return Opened(reference)
