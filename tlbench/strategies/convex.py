"""Multinomial logistic regression, solved to its optimum in tensor operations that run alone or fused."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ITERATIONS = 60
MEMORY = 8
STEPS = (4.0, 1.0, 0.5, 0.125, 2.0**-6, 2.0**-10)  # candidate step lengths of the line search


class _Pair(NamedTuple):
    """A move of W [C, d + 1], the change of the gradient it made, and 1 / <move, turn>, or 0 where that is no use."""

    move: Tensor
    turn: Tensor
    curvature: Tensor


def row_space(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Uncorrelated coordinates [n, r] of rows x [n, d] in their own span, its basis [d, r], r = min(n, d); float64.

    With an L2 penalty the optimum lies in the span (the representer theorem), so nothing is lost where n < d.
    Rows of weight 0 do not take part. The eigendecomposition is taken in float64: float32 is off by tenths.
    """
    (n, d), x = x.shape, x.double()
    present = x * (weight > 0).double()[:, None]
    if n >= d:
        basis = torch.linalg.eigh(present.T @ present)[1]
        return x @ basis, basis
    values, vectors = torch.linalg.eigh(present @ present.T)
    kept = values > 1e-10 * values[-1]
    inverse = torch.where(kept, values.clamp_min(1e-30).rsqrt(), 0.0)
    basis = present.T @ (vectors * inverse)
    return x @ basis, basis


def logistic_regression(x: Tensor, y: Tensor, weight: Tensor, num_classes: int, strength: Tensor) -> Tensor:
    """W [C, d + 1], in x's type, that minimises C sum_i weight_i loss_i + |W without intercept|^2 / 2.

    The objective of scikit-learn's `LogisticRegression(C=strength)`; quickest where x comes from `row_space`. L-BFGS
    (Nocedal and Wright 2006, algorithm 7.4) from the Hessian's diagonal at W = 0, with all step lengths of the line
    search tried at once, which costs little since logits are linear in W. In float64: near the optimum a float32
    objective no longer tells a better point from a worse one.
    """
    ones = torch.ones_like(x[:, :1])
    target = F.one_hot(y, num_classes).to(x.dtype)
    problem = _Problem(torch.cat([x, ones], dim=1), target, weight.to(x.dtype), strength.to(x.dtype))
    w = torch.zeros(num_classes, x.shape[1] + 1, dtype=x.dtype, device=x.device)
    gradient, scale = problem.gradient(w), 1 / problem.curvature()
    pairs: list[_Pair] = []
    for _ in range(ITERATIONS):
        direction = -_newton_step(gradient, scale, pairs)
        w, gradient, pair = _moved(problem, w, gradient, direction)
        pairs = [*pairs[1 - MEMORY :], pair]
    return w


class _Problem(NamedTuple):
    x: Tensor  # [n, d + 1], ones last
    target: Tensor  # [n, C] one-hot
    weight: Tensor  # [n]
    strength: Tensor  # 0-d

    def value(self, logits: Tensor, penalty: Tensor) -> Tensor:
        """The objective, divided by 1 + strength, which keeps it near 1 at both ends; logits [..., n, C]."""
        loss = torch.logsumexp(logits, -1) - (logits * self.target).sum(-1)
        return (self.strength * (loss * self.weight).sum(-1) + penalty / 2) / (1 + self.strength)

    def curvature(self) -> Tensor:
        """The diagonal of the Hessian at W = 0; [d + 1], the same for each class."""
        p = 1 / self.target.shape[1]
        seen = (self.x**2 * self.weight[:, None]).sum(0) * p * (1 - p)
        return (self.strength * seen + _penalised(torch.ones_like(seen)[None])[0]) / (1 + self.strength)

    def gradient(self, w: Tensor) -> Tensor:
        error = (torch.softmax(self.x @ w.T, -1) - self.target) * self.weight[:, None]
        return (self.strength * error.T @ self.x + _penalised(w)) / (1 + self.strength)


def _moved(problem: _Problem, w: Tensor, gradient: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, _Pair]:
    """W at the best step along `direction`, the gradient there, and what the move taught about the curvature."""
    slope = (direction * gradient).sum()
    logits, change = problem.x @ w.T, problem.x @ direction.T
    steps = torch.tensor(STEPS, dtype=logits.dtype, device=logits.device)
    plain, bent = _penalised(w), _penalised(direction)
    penalties = (plain**2).sum() + 2 * steps * (plain * bent).sum() + steps**2 * (bent**2).sum()
    values = problem.value(logits + steps[:, None, None] * change, penalties)
    best = torch.argmin(values)
    improved = values[best] < problem.value(logits, (plain**2).sum())
    move = torch.where(improved & (slope < 0), steps[best], 0.0) * direction
    after = problem.gradient(w + move)
    turn = after - gradient
    product = (move * turn).sum()
    curvature = torch.where(product > 1e-30, 1 / product.clamp_min(1e-30), 0.0)
    return w + move, after, _Pair(move, turn, curvature)


def _newton_step(gradient: Tensor, scale: Tensor, pairs: list[_Pair]) -> Tensor:
    """The inverse Hessian's estimate times the gradient (Nocedal and Wright 2006, algorithm 7.4)."""
    q, shares = gradient, []
    for move, turn, curvature in reversed(pairs):
        shares.append(curvature * (move * q).sum())
        q = q - shares[-1] * turn
    q = q * scale
    for (move, turn, curvature), share in zip(pairs, reversed(shares), strict=True):
        q = q + (share - curvature * (turn * q).sum()) * move
    return q


def _penalised(w: Tensor) -> Tensor:
    """The entries that the penalty sees: all but the intercept's column."""
    return torch.cat([w[:, :-1], torch.zeros_like(w[:, -1:])], dim=1)
