"""How are the large matrix products of a network done on a CPU? By oneDNN, where torch would take MKL.

On an AMD processor, one thread, oneDNN did 235 to 255 GFLOP/s and MKL 105 to 112 (512 to 2048 rows, 384 to 1536
columns, float32; forward, input gradient and weight gradient alike).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

WIDE = 256  # features in and out from which a layer is done so; smaller ones keep torch's products and their rounding
LARGE = 2**20  # multiplications of one product from which oneDNN is as fast as MKL; twice as fast at ten times as many
PRESENT = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Linear(nn.Linear):
    """The same layer with the same parameters; its products may round unlike torch's own."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cpu or x.dtype != torch.float32:
            return F.linear(x, self.weight, self.bias)
        product = Product.apply(x.contiguous(), self.weight)  # at odd strides oneDNN is a hundred times slower
        return product if self.bias is None else product + self.bias


class Frozen(nn.Linear):
    """The same layer in a network that nobody trains; oneDNN does its large products, whatever its width."""

    def forward(self, x: Tensor) -> Tensor:
        large = x.numel() * self.out_features >= LARGE
        if not large or not x.is_cpu or x.dtype != torch.float32 or torch.is_grad_enabled():
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), self.weight, self.bias, "none", [], "")


def hastened(network: nn.Module) -> None:
    """Turns the wide linear layers of a network into `Linear`."""
    for module in network.modules():
        if PRESENT and type(module) is nn.Linear and min(module.in_features, module.out_features) >= WIDE:
            module.__class__ = Linear


def frozen(network: nn.Module) -> None:
    """Turns all linear layers of a network into `Frozen`."""
    for module in network.modules():
        if PRESENT and type(module) in (nn.Linear, Linear):
            module.__class__ = Frozen


class Product(torch.autograd.Function):
    """x [..., i] times w [o, i] transposed; [..., o]."""

    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w = ctx.saved_tensors
        wanted_x, wanted_w = ctx.needs_input_grad
        gradient = gradient.contiguous()
        of_x = Product.apply(gradient, w.T) if wanted_x else None
        of_w = Product.apply(gradient.flatten(0, -2).T, x.flatten(0, -2).T) if wanted_w else None
        return of_x, of_w

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], x: Tensor, w: Tensor) -> tuple[Tensor, int]:
        """Lanes that share w are rows more of one product; lanes with a w each are done one after the other."""
        x_dim, w_dim = in_dims
        if w_dim is None:
            return Product.apply(x.movedim(x_dim or 0, 0), w), 0
        own = [x] * w.shape[w_dim] if x_dim is None else x.unbind(x_dim)
        return torch.stack([Product.apply(*pair) for pair in zip(own, w.unbind(w_dim), strict=True)]), 0


if PRESENT:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _operations(x_shape: Any, w_shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        rows = 1
        for size in x_shape[:-1]:
            rows *= size
        return 2 * rows * w_shape[0] * w_shape[1]
