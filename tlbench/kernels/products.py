"""How are the many small matrix products of stacked lanes done on a CPU? By numpy's library, which is OpenBLAS.

Where torch's own was measured to be faster a process is told so when it begins.

One thread of an AMD processor with AVX-512, float32, 256 rows and 64 to 192 columns: OpenBLAS told to use those
instructions did 208 to 235 GFLOP/s, MKL as torch calls it 107 to 115 (results/perf/lane_kernels.md).
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlbench.kernels import tape

# Times as many outputs as rows, from which a layer's product is done with the weights first: of 16 rows with 128 x 1024
# numbers it took 46 us instead of 69, of 32 rows 66 instead of 88.
FEW = 4
LIBRARY = "TLBENCH_PRODUCTS"  # the environment variable: numpy or torch
BY_TORCH = os.environ.get(LIBRARY) == "torch"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """x [K, ..., i] times weight [K, o, i], or [o, i] of all lanes, transposed, plus bias; [K, ..., o]."""
    if not suits(x, weight):
        return None
    lanes = weight.shape[0] if weight.ndim == 3 else 1  # lanes that share a weight are rows more of one product
    rows = x.reshape(lanes, -1, x.shape[-1])
    stacked = bias if bias is None else bias.reshape(-1, 1, bias.shape[-1])
    return _Linear.apply(rows, weight.view(lanes, *weight.shape[-2:]), stacked).view(*x.shape[:-1], -1)


def matmul(a: Tensor, b: Tensor) -> Tensor | None:
    """a [K, ..., n, k] times b [K, ..., k, m]; [K, ..., n, m]."""
    if not suits(a, b) or a.ndim < 3 or a.shape[:-2] != b.shape[:-2]:
        return None
    return _Product.apply(a, b)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a [..., n, k] times b [..., k, m]; strided views are taken as they are. Autograd does not see it."""
    a, b = a.detach(), b.detach()
    if BY_TORCH:
        return a @ b
    out = a.new_empty(*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    tape.filled(_multiplication, (a, b), (out,))
    return out


def _multiplication(a: Tensor, b: Tensor, out: Tensor) -> tape.Call:
    if b.stride(-2) == 1 and FEW * a.shape[-2] <= b.shape[-1]:
        return partial(_turned, b.mT.numpy(), a.mT.numpy(), out.mT.numpy(), np.empty(out.mT.shape, np.float32))
    return partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())


def _turned(a: np.ndarray, b: np.ndarray, out: np.ndarray, room: np.ndarray) -> None:
    """a times b by way of memory in the product's own order."""
    out[...] = np.matmul(a, b, out=room)


def suits(*tensors: Tensor) -> bool:
    """Can numpy multiply them? Not where torch is to choose their precision."""
    return all(t.is_cpu and t.dtype == torch.float32 for t in tensors) and not torch.is_autocast_enabled(
        tensors[0].device.type
    )


class _Linear(torch.autograd.Function):
    """x [L, n, i], weight [L, o, i], bias [K or 1, 1, o] -> [L, n, o]; L is K, or 1 where lanes share the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        out = product(x, weight.mT)
        if bias is not None:
            out.view(len(bias), -1, out.shape[-1]).add_(bias)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight, bias), wanted = ctx.saved_tensors, ctx.needs_input_grad
        of_x = product(gradient, weight) if wanted[0] else None
        of_weight = product(gradient.mT, x) if wanted[1] else None
        of_bias = gradient.reshape(len(bias), -1, bias.shape[-1]).sum(1, keepdim=True) if wanted[2] else None
        return of_x, of_weight, of_bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return product(a, b)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (a, b), wanted = ctx.saved_tensors, ctx.needs_input_grad
        of_a = product(gradient, b.mT) if wanted[0] else None
        of_b = product(a.mT, gradient) if wanted[1] else None
        return of_a, of_b
