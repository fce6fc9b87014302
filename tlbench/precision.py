"""In which precision does a network run? bfloat16 products where a GPU has units for them, float32 everywhere else.

States, gradients, optimisers and losses stay float32 everywhere. What runs on a GPU has not been tried on one yet.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from tlbench.backbones.linear import frozen

MIXED = ("cuda",)  # device types
LARGE = 5_000_000  # parameters from which a network that trains gains more than casting costs (a guess, not measured)


def mixed(device: torch.device, network: nn.Module | None = None) -> AbstractContextManager:
    """Autocast to bfloat16 on a GPU, for a frozen network or for a `network` that is large; else nothing.

    The cache of cast weights is off: it would keep tensors of a transform that has ended.
    """
    if device.type not in MIXED or (network is not None and parameters(network) < LARGE):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def laid_out(network: nn.Module, device: torch.device) -> nn.Module:
    """A frozen network on the device; with channels last on a GPU, where bfloat16 convolutions want them so."""
    frozen(network)
    moved = network.to(device)
    return moved.to(memory_format=torch.channels_last) if device.type in MIXED else moved


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
