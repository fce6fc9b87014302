"""Multinomial logistic regression, solved to its optimum in tensor operations that run alone or fused."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ITERATIONS = 100
MEMORY = 10
STEPS = 2.0 ** torch.arange(2, -10, -1)  # candidate step lengths of the line search, longest first


class _Descent(NamedTuple):
    """An L-BFGS state over W [C, d + 1]; the last column is the intercept."""

    w: Tensor
    gradient: Tensor
    moves: Tensor  # [MEMORY, C, d + 1] newest last
    turns: Tensor  # [MEMORY, C, d + 1] changes of the gradient
    curvature: Tensor  # [MEMORY] 1 / <move, turn>; 0 where there is none yet


def row_space(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates [n, r] of rows x [n, d] in their own span, and its basis [d, r], r = min(n, d); float64.

    With an L2 penalty the optimum lies in the span (the representer theorem), so nothing is lost where n < d.
    Rows of weight 0 do not take part. The eigendecomposition is taken in float64: float32 is off by tenths.
    """
    (n, d), x = x.shape, x.double()
    if n >= d:
        return x, torch.eye(d, dtype=x.dtype, device=x.device)
    present = x * (weight > 0).double()[:, None]
    values, vectors = torch.linalg.eigh(present @ present.T)
    kept = values > 1e-10 * values[-1]
    inverse = torch.where(kept, values.clamp_min(1e-30).rsqrt(), 0.0)
    basis = present.T @ (vectors * inverse)
    return x @ basis, basis


def logistic_regression(x: Tensor, y: Tensor, weight: Tensor, num_classes: int, strength: Tensor) -> Tensor:
    """W [C, d + 1], in x's type, that minimises C sum_i weight_i loss_i + |W without intercept|^2 / 2.

    The objective of scikit-learn's `LogisticRegression(C=strength)`. L-BFGS (Nocedal and Wright 2006, algorithm 7.4)
    with all step lengths of the line search tried at once, which costs little since logits are linear in W. In float64:
    near the optimum a float32 objective no longer tells a better point from a worse one.
    """
    ones = torch.ones_like(x[:, :1])
    target = F.one_hot(y, num_classes).to(x.dtype)
    problem = _Problem(torch.cat([x, ones], dim=1), target, weight.to(x.dtype), strength.to(x.dtype))
    w = torch.zeros(num_classes, x.shape[1] + 1, dtype=x.dtype, device=x.device)
    empty = torch.zeros(MEMORY, *w.shape, dtype=x.dtype, device=x.device)
    state = _Descent(w, problem.gradient(w), empty, empty, empty[:, 0, 0])
    for _ in range(ITERATIONS):
        state = _descended(problem, state)
    return state.w


class _Problem(NamedTuple):
    x: Tensor  # [n, d + 1], ones last
    target: Tensor  # [n, C] one-hot
    weight: Tensor  # [n]
    strength: Tensor  # 0-d

    def value(self, logits: Tensor, penalty: Tensor) -> Tensor:
        """The objective, divided by 1 + strength so that float32 holds it at both ends; logits [..., n, C]."""
        loss = torch.logsumexp(logits, -1) - (logits * self.target).sum(-1)
        return (self.strength * (loss * self.weight).sum(-1) + penalty / 2) / (1 + self.strength)

    def gradient(self, w: Tensor) -> Tensor:
        error = (torch.softmax(self.x @ w.T, -1) - self.target) * self.weight[:, None]
        return (self.strength * error.T @ self.x + _penalised(w)) / (1 + self.strength)


def _descended(problem: _Problem, state: _Descent) -> _Descent:
    direction = -_two_loops(state)
    slope = (direction * state.gradient).sum()
    logits, change = problem.x @ state.w.T, problem.x @ direction.T
    steps = STEPS.to(logits)
    plain, bent = _penalised(state.w), _penalised(direction)
    penalties = (plain**2).sum() + 2 * steps * (plain * bent).sum() + steps**2 * (bent**2).sum()
    values = problem.value(logits + steps[:, None, None] * change, penalties)
    best = torch.argmin(values)
    improved = values[best] < problem.value(logits, (plain**2).sum())
    step = torch.where(improved & (slope < 0), steps[best], 0.0)
    w = state.w + step * direction
    gradient = problem.gradient(w)
    move, turn = w - state.w, gradient - state.gradient
    product = (move * turn).sum()
    curvature = torch.where(product > 1e-12, 1 / product.clamp_min(1e-12), 0.0)
    return _Descent(
        w,
        gradient,
        torch.cat([state.moves[1:], move[None]]),
        torch.cat([state.turns[1:], turn[None]]),
        torch.cat([state.curvature[1:], curvature[None]]),
    )


def _two_loops(state: _Descent) -> Tensor:
    """The inverse Hessian's estimate times the gradient (Nocedal and Wright 2006, algorithm 7.4)."""
    q, shares = state.gradient, []
    for i in reversed(range(MEMORY)):
        share = state.curvature[i] * (state.moves[i] * q).sum()
        q = q - share * state.turns[i]
        shares.append(share)
    newest = (state.turns[-1] ** 2).sum() * state.curvature[-1]
    q = q * torch.where(newest > 0, 1 / newest.clamp_min(1e-12), 1.0)
    for i, share in zip(range(MEMORY), reversed(shares), strict=True):
        q = q + (share - state.curvature[i] * (state.turns[i] * q).sum()) * state.moves[i]
    return q


def _penalised(w: Tensor) -> Tensor:
    """The entries that the penalty sees: all but the intercept's column."""
    return torch.cat([w[:, :-1], torch.zeros_like(w[:, -1:])], dim=1)
