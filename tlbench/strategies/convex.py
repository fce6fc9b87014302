"""Convex problems solved to their optimum: asked for by one lane, solved for all lanes that run together.

A solver is one operation of torch's: alone it is given one lane, under vmap all of them at once. Lanes that share rows
and differ in the strength of their penalty are a path: their rows are decomposed once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

from tlbench.kernels import products
from tlbench.strategies.conjugate import Problem, optimum

TILE = 1 << 17  # numbers in the logits of the lanes that are solved together: few enough for a processor's cache
NARROW = 32  # rows of a matrix with which products are fast
USUAL_ITERATIONS = 40  # counted for each lane, so that what it costs depends on shapes alone

LIBRARY = torch.library.Library("tlbench", "FRAGMENT")
Solver = Callable[..., Tensor]


class Head(NamedTuple):
    """A linear classifier."""

    weight: Tensor  # [C, d] float32
    bias: Tensor  # [C] float32


class Rows(NamedTuple):
    """G sets of rows in uncorrelated coordinates, float64: x = coordinates @ basis^T + mean."""

    coordinates: Tensor  # [G, n, r]
    basis: Tensor  # [G, d, r], orthonormal, or 0 where rows span less
    mean: Tensor  # [G, 1, d]


def logistic_regression(x: Tensor, y: Tensor, weight: Tensor, num_classes: int, strength: Tensor) -> Head:
    """The head that minimises C sum_i weight_i loss_i + |W|^2 / 2 for rows x [n, d], C = `strength`.

    The objective of scikit-learn's `LogisticRegression(C=strength)`; the intercept is not penalised.
    """
    return _head(LOGISTIC(x[None], y[None], weight[None], strength[None, None], num_classes))


def ridge_regression(x: Tensor, y: Tensor, weight: Tensor, num_classes: int, penalty: Tensor) -> Head:
    """The head that minimises sum_i weight_i |W x_i + b - onehot(y_i)|^2 + penalty |W|^2 for rows x [n, d].

    The objective of scikit-learn's `Ridge(alpha=penalty)` on one-hot targets.
    """
    return _head(RIDGE(x[None], y[None], weight[None], penalty[None, None], num_classes))


def _head(path: Tensor) -> Head:
    """The only head of a path of one group and one strength."""
    return Head(path[0, 0, :, :-1], path[0, 0, :, -1])


def decomposed(x: Tensor, weight: Tensor) -> Rows:
    """Rows x [G, n, d] about their mean, in their own span; r = min(n, d).

    With an L2 penalty the optimum lies in the span (the representer theorem), so nothing is lost where n < d.
    Rows of weight 0 do not take part. The eigendecomposition is taken in float64: float32 is off by tenths.
    """
    (n, d), x, weight = x.shape[1:], x.double(), weight.double()[..., None]
    mean = (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    centred = x - mean
    present = centred * weight.sqrt()
    if n >= d:
        basis = torch.linalg.eigh(_times(present.mT, present))[1]
    else:
        values, vectors = torch.linalg.eigh(_times(present, present.mT))
        kept = values > 1e-10 * values[:, -1:]
        inverse = torch.where(kept, values.clamp_min(1e-30).rsqrt(), 0.0)
        basis = _times(present.mT, vectors * inverse[:, None])
    return Rows(_times(centred, basis), basis, mean)


def _logistic_path(x: Tensor, y: Tensor, weight: Tensor, strength: Tensor, num_classes: int) -> Tensor:
    """Heads [G, T, C, d + 1] of rows x [G, n, d], y and weight [G, n], strength [G, T]; the bias stands last."""
    rows = decomposed(x, weight)
    narrow = rows.coordinates.float()
    narrow = torch.cat([narrow, torch.ones_like(narrow[..., :1])], dim=2)
    target, weights = F.one_hot(y, num_classes).mT.float()[:, :, None], weight.float()[:, None, None]
    ordered = strength.float().sort(dim=1)  # neighbours take equally long
    found = narrow.new_empty(*strength.shape, num_classes, narrow.shape[2])
    for group, lane in _tiles(strength.shape, num_classes * x.shape[1], num_classes):
        part = Problem(narrow[group], target[group], weights[group], ordered.values[group, None, lane, None])
        found[group, lane] = optimum(part).transpose(1, 2)
    places = ordered.indices.argsort(dim=1)[..., None, None]
    return _in_features(rows, found.gather(1, places.expand_as(found)))


def _ridge_path(x: Tensor, y: Tensor, weight: Tensor, penalty: Tensor, num_classes: int) -> Tensor:
    """Heads [G, T, C, d + 1], as `_logistic_path`."""
    rows, weight = decomposed(x, weight), weight.double()[..., None]
    target = F.one_hot(y, num_classes).double()
    bias = (target * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    seen = ((target - bias) * weight).mT @ rows.coordinates  # [G, C, r]
    squares = (rows.coordinates**2 * weight).sum(1)  # [G, r]
    w = seen[:, None] / (squares[:, None] + penalty.double()[..., None])[:, :, None].clamp_min(1e-30)
    return _in_features(rows, torch.cat([w, bias.mT[:, None].expand(*w.shape[:3], 1)], dim=3))


def _in_features(rows: Rows, w: Tensor) -> Tensor:
    """Heads [G, T, C, d + 1] on features, from heads [G, T, C, r + 1] on coordinates."""
    weight = _times(w[..., :-1].double().flatten(1, 2), rows.basis.mT).unflatten(1, w.shape[1:3])
    bias = w[..., -1:].double() - weight @ rows.mean.mT[:, None]
    return torch.cat([weight, bias], dim=3).float()


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Their product, by the faster library where that can take them."""
    return products.product(a, b) if a.is_cpu else a @ b


def _tiles(shape: torch.Size, size: int, classes: int) -> list[tuple[slice, slice]]:
    """Rectangles of groups and lanes that cover [G, T], for TILE numbers where a lane takes `size`.

    Narrow ones, of lanes that take equally long, but not too narrow for fast products.
    """
    (groups, lanes), most = shape, max(1, TILE // size)
    width = min(lanes, max(most // groups, -(-NARROW // classes)), most)
    height = max(1, most // width)
    return [
        (slice(group, group + height), slice(lane, lane + width))
        for group in range(0, groups, height)
        for lane in range(0, lanes, width)
    ]


def _operation(name: str, path: Solver, flops: Callable[..., int]) -> Solver:
    """Makes a solver of paths one operation, which knows how to run under vmap and what one lane costs."""
    LIBRARY.define(f"{name}(Tensor x, Tensor y, Tensor weight, Tensor strength, int num_classes) -> Tensor")
    LIBRARY.impl(name, path, "CompositeExplicitAutograd")
    made = getattr(torch.ops.tlbench, name)
    torch.library.register_vmap(f"tlbench::{name}", partial(_stacked, made), lib=LIBRARY)
    register_flop_formula(made)(flops)
    return made


def _stacked(solver: Solver, info: Any, dims: tuple[int | None, ...], *given: Any) -> tuple[Tensor, int]:
    """More lanes of the same groups where only strengths are stacked; more groups where rows are."""
    *rows, strength, num_classes = given
    size = info.batch_size
    if not any(dim is not None for dim in dims[:3]):
        paths = strength.movedim(dims[3], -1)
        return solver(*rows, paths.flatten(1), num_classes).unflatten(1, paths.shape[1:]), 2
    moved = [
        each.expand(size, *each.shape) if dim is None else each.movedim(dim, 0)
        for each, dim in zip((*rows, strength), dims, strict=False)
    ]
    return solver(*(each.flatten(0, 1) for each in moved), num_classes).unflatten(0, (size, -1)), 0


def _ridge_flops(x: Any, y: Any, weight: Any, strength: Any, num_classes: int, **_: Any) -> int:
    """Every lane as if it were alone: the Gram matrix, the coordinates, and the way there and back."""
    (groups, n, d), r = x, min(x[1:])
    once = 4 * n * d * r + 2 * r * d * min(n, r) * (n < d)
    return groups * strength[1] * (once + 2 * num_classes * (n * r + r * d))


def _logistic_flops(x: Any, y: Any, weight: Any, strength: Any, num_classes: int, **_: Any) -> int:
    """As of ridge regression, and two products in every iteration."""
    solving = 4 * USUAL_ITERATIONS * num_classes * x[1] * min(x[1:])
    return _ridge_flops(x, y, weight, strength, num_classes) + x[0] * strength[1] * solving


LOGISTIC = _operation("logistic_path", _logistic_path, _logistic_flops)
RIDGE = _operation("ridge_path", _ridge_path, _ridge_flops)
