"""How do stacked lanes convolve on a CPU? In one of three forms, whose results lie as the next step reads them fastest.

Images come in lane by lane, channels last, or they do not. Those that do stay so: small ones become products of
windows, others go through torch a lane at a time. Small ones that do not, as after a GroupNorm, become one convolution
with lanes side by side as groups, and stay side by side; only maps of a few pixels become windows in any order. So
little is copied from one order into another on its way through a network. Which form is taken depends on shapes and
orders alone; tests/perf/lane_kernels.py measures them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.kernels import windows
from tlbench.kernels.products import linear, matmul, suits
from tlbench.kernels.windows import CHANNELS, FEW, Grid, Moves, Pair

NARROW = 8  # channels; torch takes a group that reads or makes fewer a slow way
SMALL = 2**26  # floating-point operations of a lane, up to which a call of its own costs more than lanes side by side


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **named: Any) -> Tensor | None:
    """x [K, m, c, h, w] with weight [K, o, c, kh, kw], or [o, c, kh, kw] of all lanes; [K, m, o, h', w'].

    The rest as torch's conv2d takes it. None for what torch does as well: another type or device, padding by name,
    images that are no batch.
    """
    moves = _moves(*rest, **named)
    if moves is None or not suits(x, weight) or x.ndim != 5:
        return None
    last = x.movedim(2, 4).is_contiguous()
    if weight.shape[-2:] == (1, 1) and moves.padding == (0, 0) and moves.groups == 1:
        seen = x[..., :: moves.stride[0], :: moves.stride[1]]
        return _pixels(seen, weight, bias) if last or seen[0, 0, 0].numel() < FEW else _maps(seen, weight, bias)
    if weight.ndim == 4:
        return _shared(x, weight, bias, moves)
    own = bias if bias is None else bias.expand(len(x), -1)
    if windows.suit(x, weight, moves, last=last):
        return windows.Windows.apply(x, weight, own, moves)
    if not last and min(weight.shape[1:3]) >= NARROW and _operations(x, weight, moves) <= SMALL:
        return _side_by_side(x, weight, own, moves)
    return Lanes.apply(x, weight, own, moves)


def _moves(stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Moves | None:
    return None if isinstance(padding, str) else Moves(pair(stride), pair(padding), pair(dilation), groups)


def pair(value: int | Sequence[int]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _pixels(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """A kernel of one pixel is a linear layer."""
    out = linear(x.movedim(2, 4), weight.flatten(-3), bias)
    return out if out is None else out.movedim(4, 2)


def _maps(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """Or, where channels do not lie last, a product with the maps of each image; lanes come to lie side by side."""
    maps = x.transpose(0, 1).flatten(3)  # [m, K, c, h * w]
    out = matmul(weight.flatten(-3).expand(*maps.shape[:2], -1, -1), maps)
    if out is None:
        return None
    shifted = out if bias is None else out + bias[..., None]
    return shifted.unflatten(3, x.shape[3:]).transpose(0, 1)


def _shared(x: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
    """Lanes with one weight are images more of one call, in the order they lie in; their biases may be their own."""
    common = bias if bias is None or bias.ndim == 1 else None
    if max(moves.stride) > 1 and not weight.requires_grad and windows.suit(x, weight[None], moves):
        out = windows.Frozen.apply(x, weight, common, moves)
    else:
        beside = x.transpose(0, 1)
        lying = beside if beside.is_contiguous() else x
        images = lying.flatten(0, 1)
        few = _channels_last(images) if images.shape[1] < CHANNELS else images
        out = F.conv2d(few, weight, common, *moves).unflatten(0, lying.shape[:2])
        out = out if lying is x else out.transpose(0, 1)
    return out if bias is None or common is not None else out + bias[:, None, :, None, None]


def _operations(x: Tensor, weight: Tensor, moves: Moves) -> int:
    """Floating-point operations of a lane."""
    return 2 * Grid.of(x, weight, moves).rows * weight[0].numel()


def _side_by_side(x: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
    """Lanes are groups of one convolution of images [m, K * c, h, w]."""
    lanes = len(x)
    how = moves._replace(groups=lanes * moves.groups)
    out = F.conv2d(
        x.transpose(0, 1).flatten(1, 2), weight.flatten(0, 1), bias if bias is None else bias.flatten(), *how
    )
    return out.unflatten(1, (lanes, -1)).transpose(0, 1)


class Lanes(torch.autograd.Function):
    """torch's own convolution, a lane at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
        images = [_channels_last(own) for own in x.unbind()]
        biases = [None] * len(x) if bias is None else bias.unbind()
        ctx.save_for_backward(weight, *images)
        ctx.moves = moves
        lanes = zip(images, weight.unbind(), biases, strict=True)
        return _stacked([F.conv2d(own, w, b, *moves) for own, w, b in lanes])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight, *images), wanted = ctx.saved_tensors, ctx.needs_input_grad
        stride, padding, dilation, groups = ctx.moves
        how = None, stride, padding, dilation, False, (0, 0), groups, (wanted[0], wanted[1], False)
        lanes = zip(gradient.unbind(), images, weight.unbind(), strict=True)
        back = [torch.ops.aten.convolution_backward(own, x, w, *how) for own, x, w in lanes]
        of_x = _stacked([each[0] for each in back]) if wanted[0] else None
        of_weight = torch.stack([each[1] for each in back]) if wanted[1] else None
        return of_x, of_weight, gradient.sum((1, 3, 4)) if wanted[2] else None, None


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _stacked(lanes: list[Tensor]) -> Tensor:
    """[K, m, o, h, w] from K tensors with channels last, and still so."""
    return torch.stack([lane.movedim(1, 3) for lane in lanes]).movedim(4, 2)
