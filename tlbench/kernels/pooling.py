"""How are small maps of stacked lanes pooled on a CPU? By one product for all, with a matrix that holds the shares.

torch goes number by number: 16 images with 16 maps of 16 x 16 took it 238 us forward and backward, a product 34 us (one
thread of an AMD processor with AVX-512).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tlbench.kernels.convolutions import pair
from tlbench.kernels.products import linear, suits

WIDE = 64  # pixels across, up to which a product with mostly zeros is the faster way


def avg_pool2d(x: Tensor, kernel_size: Any, stride: Any = None, *rest: Any, **named: Any) -> Tensor | None:
    """x [K, m, c, h, w] -> [K, m, c, h', w']. None unless windows tile small maps that lie one after the other."""
    kernel = pair(kernel_size)
    tiled = not (rest or named) and (stride is None or stride == [] or pair(stride) == kernel)
    if not (tiled and suits(x) and x.ndim == 5 and x.shape[4] <= WIDE):
        return None
    beside = x.transpose(0, 1)
    lying = beside if beside.is_contiguous() else x
    (down, across), (height, width) = kernel, x.shape[3:]
    if not lying.is_contiguous() or height % down or width % across:
        return None
    shares = torch.eye(width // across, device=x.device) / (down * across)
    bands = lying.reshape(*lying.shape[:3], height // down, down * width)  # rows of pixels that are pooled into one row
    out = linear(bands, shares.repeat_interleave(across, dim=1).repeat(1, down))
    return out if out is None or lying is x else out.transpose(0, 1)
