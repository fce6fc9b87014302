"""Where is the optimum of softmax regression? Nonlinear conjugate gradients for many lanes at once, in float32.

Polak and Ribiere's directions (Nocedal and Wright 2006, equation 5.45) with a near-exact line search, which costs no
product since logits are linear in W. What makes it short is the diagonal it is preconditioned with: on uncorrelated
coordinates the Hessian at W = 0 is diagonal, and later on it is about that diagonal times the mean of p (1 - p).
L-BFGS with memory 10 and the same diagonal took as many iterations and reads ten times the memory.
"""

from __future__ import annotations

from typing import NamedTuple

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

    x: Tensor  # [G, n, r]
    across: Tensor  # [G, r, n]
    weight: Tensor  # [G, 1, 1, n]
    spread: Tensor  # [G, 1, 1, n] C / (C - 1) over the weight
    squares: Tensor  # [G, 1, 1, r] mean squared coordinates over C


class _State(NamedTuple):
    """Where the lanes are. `own` and `others` are the same for all, and repeated: to broadcast them is slow."""

    penalty: Tensor  # [G, 1, T, r] 1 / strength, and 0 for the intercept
    own: Tensor  # [G, C, T, n] 1 at the row's own class
    others: Tensor  # [G, C, T, n] the row's weight at all other classes
    w: Tensor  # [G, C, T, r]
    logits: Tensor  # [G, C, T, n]
    p: Tensor  # [G, C, T, n] probabilities
    error: Tensor  # [G, C, T, n] weighted derivative of the loss by the logits
    missed: Tensor  # [G, 1, T, n] weighted probability of all classes but the row's own
    gradient: Tensor  # [G, C, T, r]
    natural: Tensor  # [G, C, T, r] the gradient over the Hessian's approximate diagonal
    size: Tensor  # [G, 1, T, 1] their product, twice the estimated distance to the optimum
    start: Tensor  # [G, 1, T, 1] the same at W = 0
    direction: Tensor  # [G, C, T, r] the last one; W goes down it
    kept: Tensor  # [G, 1, T, 1] how much of it to keep
    slope: Tensor  # [G, 1, T, 1] product of the gradient with it
    moving: Tensor  # [G, 1, T, 1] 1, and 0 where a lane has arrived


class _Line(NamedTuple):
    """W - length * direction; numbers are [G, 1, T, 1]."""

    direction: Tensor  # [G, C, T, r]
    change: Tensor  # [G, C, T, n] of the logits
    square: Tensor  # what the penalty makes of the direction
    cross: Tensor  # and of its product with W
    slope: Tensor  # at length 0, above 0


def optimum(problem: Problem) -> Tensor:
    """W [G, C, T, r]. Lanes that have arrived stay where they are, and leave when a quarter of the columns can."""
    fixed, state = _started(problem)
    found, places = state.w.clone(), torch.arange(state.w.shape[2], device=state.w.device)
    for iteration in range(ITERATIONS):
        if iteration % CHECKS == 0:
            below = _below(state)
            near = torch.maximum(CLOSE * torch.minimum(state.start, below), ROUNDING * below)
            state = state._replace(moving=(state.size > near).to(state.w.dtype))
            left = state.moving.amax((0, 1, 3)).nonzero()[:, 0]
            if len(left) <= 0.75 * len(places):
                found[:, :, places] = state.w
                state, places = _State(*(each.index_select(2, left) for each in state)), places[left]
            if not len(left):
                break
        state = _stepped(fixed, state)
    found[:, :, places] = state.w
    return found


def _started(problem: Problem) -> tuple[_Fixed, _State]:
    """All lanes at W = 0."""
    (groups, n, r), classes, lanes = problem.x.shape, problem.target.shape[1], problem.strength.shape[2]
    x, weight = problem.x, problem.weight
    spread = torch.where(weight > 0, classes / max(1, classes - 1) / weight, 0.0)
    squares = (weight[:, 0] @ x**2 / weight[:, 0].sum(-1, keepdim=True) / classes)[:, None]
    fixed = _Fixed(x, x.mT.contiguous(), weight, spread, squares)
    penalty = problem.strength.reciprocal().repeat(1, 1, 1, r)
    penalty[..., -1] = 0
    target = problem.target.expand(groups, classes, lanes, n)
    own, others = target.contiguous(), (weight * (1 - target)).contiguous()
    w, logits = x.new_zeros(groups, classes, lanes, r), torch.zeros_like(own)
    p, error, missed = _errors(own, others, logits)
    gradient = _gradient(fixed, penalty, w, error)
    natural = _natural(fixed, penalty, missed, gradient)
    size, none = _dot(natural, gradient), torch.zeros_like(problem.strength)
    return fixed, _State(
        penalty, own, others, w, logits, p, error, missed, gradient, natural, size,
        start=size, direction=natural, kept=none, slope=none, moving=none,
    )  # fmt: skip


def _stepped(fixed: _Fixed, state: _State) -> _State:
    slope = torch.addcmul(state.size, state.kept, state.slope)
    down = slope > 0
    kept, slope = state.kept * down, torch.where(down, slope, state.size)
    direction = torch.addcmul(state.natural, kept, state.direction)
    after = _searched(fixed, state, _line(fixed, state, direction, slope))
    gradient = _gradient(fixed, state.penalty, after.w, after.error)
    natural = _natural(fixed, state.penalty, after.missed, gradient)
    size = _dot(natural, gradient)
    kept = ((size - _dot(natural, state.gradient)) / state.size.clamp_min(TINY)).clamp_min_(0)
    return after._replace(gradient=gradient, natural=natural, size=size, direction=direction, kept=kept)


def _errors(own: Tensor, others: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(p, error, missed). The error at a row's own class is minus the sum of the others: p - 1 would be rounded."""
    p = logits.softmax(1)
    error = p * others
    missed = error.sum(1, keepdim=True)
    return p, error.addcmul_(own, missed, value=-1), missed


def _gradient(fixed: _Fixed, penalty: Tensor, w: Tensor, error: Tensor) -> Tensor:
    return _product(error, fixed.x).addcmul_(w, penalty)


def _natural(fixed: _Fixed, penalty: Tensor, missed: Tensor, gradient: Tensor) -> Tensor:
    """As if the missed probability were spread evenly over the other classes, as it is at W = 0."""
    bend = (missed * (2 - missed * fixed.spread)).sum(-1, keepdim=True)
    return gradient / torch.addcmul(penalty, bend, fixed.squares).clamp_min_(TINY)


def _below(state: _State) -> Tensor:
    """A bound of the objective from below: -log p is at least 1 - p."""
    return state.missed.sum(-1, keepdim=True) + _dot(state.w, state.w * state.penalty) / 2


def _line(fixed: _Fixed, state: _State, direction: Tensor, slope: Tensor) -> _Line:
    bent = direction * state.penalty
    return _Line(direction, _product(direction, fixed.across), _dot(direction, bent), _dot(state.w, bent), slope)


def _searched(fixed: _Fixed, start: _State, line: _Line) -> _State:
    """Where the moving lanes stop on their lines: Newton's method in one variable.

    One step is nearly always enough. Later ones grow eightfold at most, and halve the interval that holds the minimum
    where they leave it.
    """
    length = line.slope / _curvature(fixed, start, line) * start.moving
    state, low, high = _along(start, line, length), torch.zeros_like(length), torch.full_like(length, torch.inf)
    for _ in range(TRIES):
        far = state.slope.abs() * start.moving > FLAT * line.slope
        if not far.any():
            break
        low, high = torch.where(state.slope > 0, length, low), torch.where(state.slope > 0, high, length)
        proposed = length + state.slope / _curvature(fixed, state, line)
        most = torch.where(high.isinf(), GROWTH * length, high)
        inside = (proposed > low) & (proposed < most)
        length = torch.where(far, torch.where(inside, proposed, (low + most) / 2), length)
        state = _along(start, line, length)
    return state._replace(w=torch.addcmul(start.w, length, line.direction, value=-1))


def _along(start: _State, line: _Line, length: Tensor) -> _State:
    """The state at this length, but for W and what follows from the gradient there."""
    logits = torch.addcmul(start.logits, length, line.change, value=-1)
    p, error, missed = _errors(start.own, start.others, logits)
    slope = torch.addcmul(_dot(error, line.change) + line.cross, length, line.square, value=-1)
    return start._replace(logits=logits, p=p, error=error, missed=missed, slope=slope)


def _curvature(fixed: _Fixed, state: _State, line: _Line) -> Tensor:
    """The second derivative along the line."""
    weighed = state.p * line.change
    mean = weighed.sum(1, keepdim=True)
    spread = weighed.mul_(line.change).sum(1, keepdim=True).sub_(mean.square_())
    return ((spread * fixed.weight).sum(-1, keepdim=True) + line.square).clamp_min_(TINY)


def _product(lanes: Tensor, matrix: Tensor) -> Tensor:
    """[G, C, T, a] times [G, a, b], which all lanes of a group share."""
    flat = lanes.flatten(1, 2)
    multiply = products.product if products.suits(flat, matrix) else torch.matmul
    return multiply(flat, matrix).unflatten(1, lanes.shape[1:3])


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """[G, 1, T, 1] of [G, C, T, ...]."""
    return (a * b).sum((1, 3), keepdim=True)
