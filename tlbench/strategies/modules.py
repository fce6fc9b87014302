"""The pieces that strategies build their modules from: heads, thawed copies, low-rank branches, bottlenecks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Drawn(nn.Parameter):
    """A parameter whose first value each lane draws by its own key: normal(centre, spread).

    Where `spread` is 0 the value it holds is kept; `kept` is a row that is kept in any case.
    """

    centre: float
    spread: float
    kept: int | None

    def __new__(cls, data: Tensor, *, centre: float = 0.0, spread: float = 0.0, kept: int | None = None) -> Drawn:
        drawn = super().__new__(cls, data.detach().clone(), requires_grad=True)
        drawn.centre, drawn.spread, drawn.kept = centre, spread, kept
        return drawn

    def __deepcopy__(self, memo: dict) -> Drawn:
        copied = Drawn(self.data, centre=self.centre, spread=self.spread, kept=self.kept)
        return memo.setdefault(id(self), copied)


class Classifier(nn.Module):
    """The tail and a linear head on its features; the head starts at zero, so the first logits are uniform."""

    def __init__(self, tail: nn.Module, dim: int, num_classes: int) -> None:
        super().__init__()
        self.tail = tail
        self.weight = nn.Parameter(torch.zeros(num_classes, dim))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.tail(x), self.weight, self.bias)


class LowRank(nn.Module):
    """A frozen linear or convolutional layer with a trained low-rank side branch (Hu et al. 2021, equation 3)."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float) -> None:
        super().__init__()
        self.layer, self.scale = layer, alpha / rank
        fan_in = layer.weight[0].numel()
        down = torch.zeros(rank, *layer.weight.shape[1:])
        up = torch.zeros(layer.weight.shape[0], rank, *([1] * (layer.weight.ndim - 2)))
        self.down = Drawn(down, spread=fan_in**-0.5)
        self.up = nn.Parameter(up)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return self.layer(x) + F.linear(F.linear(x, self.down), self.scale * self.up)
        inner = F.conv2d(x, self.down, None, self.layer.stride, self.layer.padding, self.layer.dilation)
        return self.layer(x) + F.conv2d(inner, self.scale * self.up)

    @property
    def weight(self) -> Tensor:
        """Layer and branch as one matrix, for blocks that read a layer's weight instead of calling it."""
        return self.layer.weight + self.scale * (self.up.flatten(1) @ self.down.flatten(1)).view_as(self.layer.weight)

    @property
    def bias(self) -> Tensor | None:
        return self.layer.bias


class Bottleneck(nn.Module):
    """A frozen block followed by a trained residual bottleneck (Houlsby et al. 2019, figure 2).

    Channels are the last dimension of tokens [m, t, d] and the second of maps [m, d, h, w].
    """

    def __init__(self, block: nn.Module, dim: int, width: int) -> None:
        super().__init__()
        self.block = block
        self.down = Drawn(torch.zeros(width, dim), spread=dim**-0.5)
        self.down_bias = nn.Parameter(torch.zeros(width))
        self.up = nn.Parameter(torch.zeros(dim, width))
        self.up_bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        h = self.block(x)
        return h + self._branch(h.movedim(1, -1)).movedim(-1, 1) if h.ndim == 4 else h + self._branch(h)

    def _branch(self, h: Tensor) -> Tensor:
        return F.linear(F.gelu(F.linear(h, self.down, self.down_bias)), self.up, self.up_bias)


def features_dim(tail: nn.Module, x: Tensor) -> int:
    """Width of the tail's features, found on one example x [1, ...]."""
    with torch.no_grad():
        return tail(x).shape[-1]


def frozen(tail: nn.Module) -> nn.Module:
    """A copy whose weights are shared with the original and do not train; its structure may be changed."""
    return copy.deepcopy(tail, {id(t): t for t in _tensors(tail)}).requires_grad_(False)


def thawed(tail: nn.Module) -> nn.Module:
    """A copy of which every parameter trains, from the pretrained values."""
    return copy.deepcopy(tail).requires_grad_(True)


def fresh(scratch: nn.Module) -> nn.Module:
    """A copy of which every parameter trains, each lane drawing its own first values.

    The template's own values tell the distribution: its mean and standard deviation; constants stay as they are, and so
    does an embedding of padding.
    """
    network = copy.deepcopy(scratch)
    for module in network.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            values = p.detach()
            spread = float(values.std(correction=0))
            kept = module.padding_idx if isinstance(module, nn.Embedding) else None
            module._parameters[name] = Drawn(values, centre=float(values.mean()), spread=spread, kept=kept)
    return network


def layers(root: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear | nn.Conv2d]]:
    """(parent, name, layer) of every linear layer and ungrouped convolution below `root`.

    Left out are depthwise and other grouped convolutions, which have no low rank to speak of, and those that pad by
    the size of their input, as a few layers of networks that came from TensorFlow do.
    """
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) or (isinstance(child, nn.Conv2d) and _plain(child)):
                yield parent, name, child


def _plain(convolution: nn.Conv2d) -> bool:
    return convolution.groups == 1 and not type(convolution).__name__.endswith("Same")  # timm's Conv2dSame


def blocks_of(tail: nn.Module) -> nn.ModuleList:
    """The blocks of a backbone above its tap, lowest first; assign to an index to replace one."""
    return cast(nn.ModuleList, tail.blocks)


def block_dims(tail: nn.Module, x: Tensor) -> list[int]:
    """Channels of each block's output, found on one example x [1, ...]."""
    dims: list[int] = []
    hooks = [
        block.register_forward_hook(lambda _m, _i, out: dims.append(out.shape[1 if out.ndim == 4 else -1]))
        for block in blocks_of(tail)
    ]
    with torch.no_grad():
        tail(x)
    for hook in hooks:
        hook.remove()
    return dims


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
