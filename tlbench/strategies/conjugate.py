"""Where is the optimum of softmax regression? Nonlinear conjugate gradients for many lanes at once, in float32.

Polak and Ribiere's directions (Nocedal and Wright 2006, equation 5.45) with a near-exact line search, which costs no
product since logits are linear in W. What makes it short is the diagonal it is preconditioned with: on uncorrelated
coordinates the Hessian at W = 0 is diagonal, and later on it is about that diagonal times the mean of p (1 - p).
L-BFGS with memory 10 and the same diagonal took as many iterations and reads ten times the memory; a diagonal of each
class took a tenth fewer, a whole matrix of each lane a third fewer, and each costs more than it saves.

On a CPU the arrays are numpy's: between two products there are 60 small operations, and torch takes three times as long
to begin one. Everywhere else they are torch's; what is written here both understand.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlbench.kernels import products

CLOSE = 3e-8  # of a lane's objective: where it stops; up to 4e-7 above the optimum was seen
ROUNDING = 1e-12  # of the objective: what float32 can tell apart by the gradient
ITERATIONS = 1000  # at most; 5 to 100 on 20 rows, 5 to 500 on 500
CHECKS = 4  # iterations from one look at who is there to the next
FLAT = 0.5  # a step is taken when the slope there is less than this share of the slope at its start
TRIES = 50  # step lengths of one line search, at most; about 1.1 were seen
GROWTH = 8  # of a step from one try to the next, at most
TINY = 1e-30
Array = Any  # of numpy or of torch


class Problem(NamedTuple):
    """Minimise sum_i weight_i loss_i + |W without its last column|^2 / (2 strength) for G groups of T lanes.

    Lanes of a group share their rows. Lanes and rows stand last: a softmax over a short last dimension is slow.
    """

    x: Tensor  # [G, n, r] uncorrelated coordinates, ones last
    target: Tensor  # [G, C, 1, n] one-hot
    weight: Tensor  # [G, 1, 1, n]
    strength: Tensor  # [G, 1, T, 1]


class _Fixed(NamedTuple):
    """What stays the same from iteration to iteration."""

    lib: ModuleType  # whose the arrays are
    x: Array  # [G, n, r]
    across: Array  # [G, r, n]
    weight: Array  # [G, 1, 1, n]
    share: Array  # [G, 1, 1, n] 1 over the weight, 0 where that is 0
    spread: Array  # [G, 1, 1, n] C / (C - 1) times that
    squares: Array  # [G, 1, 1, r] mean squared coordinates over C


class _State(NamedTuple):
    """Where the lanes are. `own` is the same for all, and repeated: to broadcast it is slow."""

    penalty: Array  # [G, 1, T, r] 1 / strength, and 0 for the intercept
    own: Array  # [G, C, T, n] 1 at the row's own class
    w: Array  # [G, C, T, r]
    logits: Array  # [G, C, T, n] above that of the row's own class, where -inf stands for it
    error: Array  # [G, C, T, n] weighted derivative of the loss by the logits
    missed: Array  # [G, 1, T, n] weighted probability of all classes but the row's own
    gradient: Array  # [G, C, T, r]
    natural: Array  # [G, C, T, r] the gradient over the Hessian's approximate diagonal
    size: Array  # [G, 1, T, 1] their product, twice the estimated distance to the optimum
    start: Array  # [G, 1, T, 1] the same at W = 0
    direction: Array  # [G, C, T, r] the last one; W goes down it
    kept: Array  # [G, 1, T, 1] how much of it to keep
    slope: Array  # [G, 1, T, 1] product of the gradient with it
    moving: Array  # [G, 1, T, 1] has the lane not arrived yet?


class _Line(NamedTuple):
    """W - length * direction; numbers are [G, 1, T, 1]."""

    direction: Array  # [G, C, T, r]
    change: Array  # [G, C, T, n] of the logits; exactly 0 at the row's own class
    square: Array  # what the penalty makes of the direction
    cross: Array  # and of its product with W
    slope: Array  # at length 0, above 0


def optimum(problem: Problem) -> Tensor:
    """W [G, C, T, r]. Lanes that have arrived stay where they are, and leave when a quarter of the columns can."""
    fixed, state = _started(problem)
    if not problem.x.is_cpu or products.BY_TORCH:
        return _found(fixed, state, torch.arange(state.w.shape[2], device=state.w.device))
    own = _Fixed(np, *(each.numpy() for each in fixed[1:])), _State(*(each.numpy() for each in state))
    with np.errstate(all="ignore"):  # a lane that diverges is told by its status
        return torch.from_numpy(_found(*own, np.arange(state.w.shape[2])))


def _found(fixed: _Fixed, state: _State, places: Array) -> Array:
    """W at the end; `places` [T] are where the lanes stand in it."""
    lib, found = fixed.lib, state.w + 0
    for iteration in range(ITERATIONS):
        if iteration % CHECKS == 0:
            below = _below(state)
            near = lib.maximum(CLOSE * lib.minimum(state.start, below), ROUNDING * below)
            state = state._replace(moving=state.size > near)
            left = lib.argwhere(state.moving.any(0).any(0)[:, 0])[:, 0]
            if len(left) <= 0.75 * len(places):
                found[:, :, places] = state.w
                state, places = _State(*(_taken(each, left) for each in state)), places[left]
            if not len(left):
                break
        state = _stepped(fixed, state)
    found[:, :, places] = state.w
    return found


def _taken(lanes: Array, left: Array) -> Array:
    return lanes.index_select(2, left) if isinstance(lanes, Tensor) else lanes.take(left, 2)


def _started(problem: Problem) -> tuple[_Fixed, _State]:
    """All lanes at W = 0."""
    (groups, n, r), classes, lanes = problem.x.shape, problem.target.shape[1], problem.strength.shape[2]
    x, weight = problem.x, problem.weight
    share = torch.where(weight > 0, 1 / weight, 0.0)
    squares = (weight[:, 0] @ x**2 / weight[:, 0].sum(-1, keepdim=True) / classes)[:, None]
    fixed = _Fixed(torch, x, x.mT.contiguous(), weight, share, share * classes / max(1, classes - 1), squares)
    penalty = problem.strength.reciprocal().repeat(1, 1, 1, r)
    penalty[..., -1] = 0
    own = problem.target.expand(groups, classes, lanes, n).contiguous()
    w, logits = x.new_zeros(groups, classes, lanes, r), torch.where(own > 0, -torch.inf, 0.0)
    error, missed = _errors(fixed, own, logits)
    gradient = _gradient(fixed, penalty, w, error)
    natural = _natural(fixed, penalty, missed, gradient)
    size, none = _dot(natural, gradient), torch.zeros_like(problem.strength)
    return fixed, _State(
        penalty, own, w, logits, error, missed, gradient, natural, size,
        start=size, direction=natural, kept=none, slope=none, moving=none,
    )  # fmt: skip


def _stepped(fixed: _Fixed, state: _State) -> _State:
    slope = state.size + state.kept * state.slope
    down = slope > 0
    kept, slope = state.kept * down, fixed.lib.where(down, slope, state.size)
    direction = state.natural + kept * state.direction
    after = _searched(fixed, state, _line(fixed, state, direction, slope))
    gradient = _gradient(fixed, state.penalty, after.w, after.error)
    natural = _natural(fixed, state.penalty, after.missed, gradient)
    size = _dot(natural, gradient)
    kept = fixed.lib.clip((size - _dot(natural, state.gradient)) / (state.size + TINY), 0, None)
    return after._replace(gradient=gradient, natural=natural, size=size, direction=direction, kept=kept)


def _errors(fixed: _Fixed, own: Array, logits: Array) -> tuple[Array, Array]:
    """(error, missed). The error at a row's own class is minus the sum of the others: p - 1 would be rounded."""
    lib, most = fixed.lib, fixed.lib.clip(fixed.lib.amax(logits, 1, keepdims=True), 0, None)
    error = logits - most
    lib.exp(error, out=error)
    others = error.sum(1, keepdims=True)
    scale = fixed.weight / (others + lib.exp(-most))
    error *= scale
    missed = others * scale
    error -= own * missed
    return error, missed


def _gradient(fixed: _Fixed, penalty: Array, w: Array, error: Array) -> Array:
    return _product(fixed.lib, error, fixed.x) + w * penalty


def _natural(fixed: _Fixed, penalty: Array, missed: Array, gradient: Array) -> Array:
    """As if the missed probability were spread evenly over the other classes, as it is at W = 0."""
    bend = (missed * (2 - missed * fixed.spread)).sum(-1, keepdims=True)
    return gradient / fixed.lib.clip(penalty + bend * fixed.squares, TINY, None)


def _below(state: _State) -> Array:
    """A bound of the objective from below: -log p is at least 1 - p."""
    return state.missed.sum(-1, keepdims=True) + _dot(state.w, state.w * state.penalty) / 2


def _line(fixed: _Fixed, state: _State, direction: Array, slope: Array) -> _Line:
    bent, change = direction * state.penalty, _product(fixed.lib, direction, fixed.across)
    change -= (state.own * change).sum(1, keepdims=True)  # else the curvature of rows that are right is all rounding
    return _Line(direction, change, _dot(direction, bent), _dot(state.w, bent), slope)


def _searched(fixed: _Fixed, start: _State, line: _Line) -> _State:
    """Where the moving lanes stop on their lines: Newton's method in one variable.

    One step is nearly always enough. Later ones grow eightfold at most, and halve the interval that holds the minimum
    where they leave it.
    """
    lib, length = fixed.lib, line.slope / _curvature(fixed, start, line) * start.moving
    state, low, high = _along(fixed, start, line, length), lib.zeros_like(length), lib.full_like(length, lib.inf)
    for _ in range(TRIES):
        far = abs(state.slope) * start.moving > FLAT * line.slope
        if not far.any():
            break
        low, high = lib.where(state.slope > 0, length, low), lib.where(state.slope > 0, high, length)
        proposed = length + state.slope / _curvature(fixed, state, line)
        most = lib.where(lib.isinf(high), GROWTH * length, high)
        inside = (proposed > low) & (proposed < most)
        length = lib.where(far, lib.where(inside, proposed, (low + most) / 2), length)
        state = _along(fixed, start, line, length)
    return state._replace(w=start.w - length * line.direction)


def _along(fixed: _Fixed, start: _State, line: _Line, length: Array) -> _State:
    """The state at this length, but for W and what follows from the gradient there."""
    logits = start.logits - length * line.change
    error, missed = _errors(fixed, start.own, logits)
    slope = _dot(error, line.change) + line.cross - length * line.square
    return start._replace(logits=logits, error=error, missed=missed, slope=slope)


def _curvature(fixed: _Fixed, state: _State, line: _Line) -> Array:
    """The second derivative along the line."""
    weighed = state.error * line.change
    mean = weighed.sum(1, keepdims=True)
    spread = _dot(weighed, line.change) - (mean * mean * fixed.share).sum(-1, keepdims=True)
    return fixed.lib.clip(spread + line.square, TINY, None)


def _product(lib: ModuleType, lanes: Array, matrix: Array) -> Array:
    """[G, C, T, a] times [G, a, b], which all lanes of a group share."""
    groups, classes, count, size = lanes.shape
    return lib.matmul(lanes.reshape(groups, -1, size), matrix).reshape(groups, classes, count, -1)


def _dot(a: Array, b: Array) -> Array:
    """[G, 1, T, 1] of [G, C, T, ...]."""
    lib = torch if isinstance(a, Tensor) else np
    return lib.einsum("gctn,gctn->gt", a, b)[:, None, :, None]
