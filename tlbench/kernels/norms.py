"""How do stacked lanes normalise on a CPU? Small ones in one call for all, others a lane at a time.

torch's LayerNorm without a scale takes a slow path, so that it is given one of ones. vmap normalises without scales and
applies them after, which costs two passes more (tests/perf/lane_kernels.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.kernels.products import suits

SMALL = 2**16  # numbers of a lane, up to which a call of its own costs more than passing over them once more


def layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor | None:
    """x [K, ..., d] over its last dimension; weight and bias [K, d], or [d] of all lanes. None for other shapes."""
    if not suits(x) or len(shape) != 1:
        return None
    scale, shift = _affine(x, shape[0], weight, bias)
    if scale.ndim == shift.ndim == 1:
        return F.layer_norm(x, shape, scale, shift, eps)
    scales, shifts = scale.expand(len(x), -1), shift.expand(len(x), -1)
    if x[0].numel() > SMALL:
        lanes = zip(x.unbind(), scales.unbind(), shifts.unbind(), strict=True)
        return torch.stack([F.layer_norm(own, shape, w, b, eps) for own, w, b in lanes])
    between = (len(x), *[1] * (x.ndim - 2), -1)
    common, none = _affine(x, shape[0], scale if scale.ndim == 1 else None, None)
    normal = F.layer_norm(x, shape, common, none, eps)
    if scale.ndim == 1:
        return normal + shifts.view(between)
    return (normal * scales.view(between)).add_(shifts.view(between))  # of addcmul a gradient takes one pass more


def group_norm(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor | None:
    """x [K, m, c, h, w] over groups of channels of an image; weight and bias [K, c], or [c] of all lanes.

    None for other shapes. Small lanes are groups of one norm of images [m, K * c, h, w], and stay side by side.
    """
    if not suits(x) or x.ndim != 5:
        return None
    scales, shifts = (each.expand(len(x), -1) for each in _affine(x, x.shape[2], weight, bias))
    if x[0].numel() > SMALL:
        lanes = zip(x.unbind(), scales.unbind(), shifts.unbind(), strict=True)
        return torch.stack([F.group_norm(own, groups, w, b, eps).movedim(1, 3) for own, w, b in lanes]).movedim(4, 2)
    images = x.transpose(0, 1).flatten(1, 2)
    out = F.group_norm(images, len(x) * groups, scales.flatten(), shifts.flatten(), eps)
    return out.unflatten(1, (len(x), -1)).transpose(0, 1)


def _affine(x: Tensor, size: int, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scale and shift; ones and zeros where there are none."""
    return torch.ones(size) if weight is None else weight, torch.zeros(size) if bias is None else bias
