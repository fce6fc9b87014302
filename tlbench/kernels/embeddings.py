"""How do stacked lanes look up rows of their own tables? vmap's rule forgets the padding of all but the first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def embedding(
    index: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, **others: Any
) -> Tensor | None:
    """Rows [K, ..., d] of weight [K, v, d] at index [K, ...]; the row of padding gets no gradient."""
    if weight.ndim != 3 or max_norm is not None or others.get("scale_grad_by_freq"):
        return None
    return _Embedding.apply(weight, index, -1 if padding_idx is None else padding_idx % weight.shape[1])


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows, ctx.padding = weight.shape[1], padding
        return torch.stack([table[own] for table, own in zip(weight, index, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        lanes = zip(gradient, ctx.saved_tensors[0], strict=True)
        back = torch.ops.aten.embedding_dense_backward
        return torch.stack([back(own, index, ctx.rows, ctx.padding, False) for own, index in lanes]), None, None
