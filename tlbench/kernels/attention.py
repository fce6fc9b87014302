"""How do tokens attend to one another? Written as products, and where lanes are stacked on a CPU done by one kernel.

The kernel reads queries, keys and values where their projection left them, and writes their gradients there: heads are
never copied apart and together again, which took longer than the products.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from tlbench.kernels import products, tape


def attend(qkv: Tensor, heads: int) -> Tensor:
    """Queries, keys and values of tokens [..., t, 3 * heads * d], in this order -> [..., t, heads * d].

    softmax(q k^T / sqrt(d)) v of each head (Vaswani et al. 2017, equation 1), by products that vmap and every
    derivative can take apart; torch's scaled_dot_product_attention is no faster here, and on a CPU neither can.
    """
    if has_torch_function_unary(qkv):
        return handle_torch_function(attend, (qkv,), qkv, heads)
    q, k, v = _heads(qkv, heads)
    return ((q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1) @ v).transpose(-3, -2).flatten(-2)


def attention(qkv: Tensor, heads: int) -> Tensor | None:
    """`attend` for lanes [K, ..., t, 3 * heads * d]; None for what torch may do."""
    return None if products.BY_TORCH or not products.suits(qkv) else _Attention.apply(qkv, heads)


def _heads(tokens: Tensor, heads: int, parts: int = 3) -> tuple[Tensor, ...]:
    """Each part of tokens [..., t, parts * heads * d] as [..., heads, t, d]: views."""
    return tokens.unflatten(-1, (parts, heads, -1)).movedim((-3, -2), (0, -3)).unbind()


class _Attention(torch.autograd.Function):
    """Lanes [K, ..., t, 3 * heads * d] -> [K, ..., t, heads * d]."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int) -> Tensor:
        q, k, v = _heads(qkv.detach(), heads)
        scores = qkv.new_empty(*q.shape[:-1], k.shape[-2])
        tape.filled(_scores, (q, k), (scores,))
        weights = torch.softmax(scores, -1)
        out = qkv.new_empty(*qkv.shape[:-1], qkv.shape[-1] // 3)
        tape.filled(_mixture, (weights, v), _heads(out, heads, 1))
        ctx.save_for_backward(qkv, weights)
        ctx.heads = heads
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        qkv, weights = (saved.detach() for saved in ctx.saved_tensors)
        (given,), (q, k, v) = _heads(gradient.detach(), ctx.heads, 1), _heads(qkv, ctx.heads)
        of_weights, of_qkv = torch.empty_like(weights), qkv.new_empty(qkv.shape)
        tape.filled(_scores, (given, v), (of_weights,))  # scaled as the scores are: so is what comes of them
        of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        tape.filled(_gradients, (q, k, weights, of_scores, given), _heads(of_qkv, ctx.heads))
        return of_qkv, None


def _scores(a: Tensor, b: Tensor, out: Tensor) -> tape.Call:
    """a [..., n, d] times b [..., m, d], transposed, over sqrt(d); [..., n, m].

    Small products of a transposed matrix take twice as long as those of its copy, and a copy can be scaled, too.
    """
    left, right, into = a.numpy(), b.mT.numpy(), out.numpy()
    turned, scale = np.empty(right.shape, np.float32), np.float32(a.shape[-1] ** -0.5)

    def call() -> None:
        np.multiply(right, scale, out=turned)
        np.matmul(left, turned, out=into)

    return call


def _mixture(weights: Tensor, v: Tensor, out: Tensor) -> tape.Call:
    return partial(np.matmul, weights.numpy(), v.numpy(), out=out.numpy())


def _gradients(*given: Tensor) -> tape.Call:
    """Of q, k and v from q, k, weights, slopes of the scores, and the gradient of what they mixed."""
    q, k, weights, slopes, mixed, of_q, of_k, of_v = (each.numpy() for each in given)

    def call() -> None:
        np.matmul(slopes, k, out=of_q)
        np.matmul(slopes.swapaxes(-1, -2), q, out=of_k)
        np.matmul(weights.swapaxes(-1, -2), mixed, out=of_v)

    return call
