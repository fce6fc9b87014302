"""How do lanes of a gradient strategy take their steps? One backward pass for all, then one fused AdamW for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tlbench.kernels.optimizers import AdamW, Rates
from tlbench.replay import replayed
from tlbench.space import Hyperparameters
from tlbench.strategies.base import State, Strategy
from tlbench.strategies.gradient import GradientStrategy, schedule
from tlbench.task import Clock

Objective = Callable[[State, Clock], tuple[Tensor, dict[str, Tensor]]]


class Parts(NamedTuple):
    """`GradientStrategy.step` in pieces, over stacked lanes."""

    objective: Objective  # -> losses [K], buffers
    moved: Callable[[tuple[State, Tensor], Clock], State]  # along a gradient [K, P]
    shapes: Sequence[torch.Size]  # of the tensors that theta [K, P] holds one after the other
    multipliers: Sequence[float] = ()  # of their learning rates
    trials: Sequence[Hyperparameters] = ()  # of each lane, where AdamW's fused kernel may move them


def descends(strategy: Strategy) -> bool:
    """Is its step the one of `GradientStrategy`, whose halves can be run apart?"""
    return isinstance(strategy, GradientStrategy) and type(strategy).step is GradientStrategy.step


def descended(parts: Parts, state: State, clocks: Sequence[Clock]) -> State:
    """The stacked state after these steps; what was given is left as it was."""
    if not parts.trials:
        return _replayed(parts, state, clocks)
    if state["theta"].shape[0] == 1:  # the stack of one lane is a view of it; others are copies
        state = pytree.tree_map(torch.clone, state)
    sizes = [shape.numel() for shape in parts.shapes]
    fused = AdamW(state, sizes, parts.multipliers)
    for clock in clocks:
        gradients, buffers = _gradients(parts, state, clock)
        state = {**state, "buffers": buffers}
        fused.move(gradients, rates(parts.trials, clock), step=int(clock.step) + 1)
    return state


def rates(trials: Sequence[Hyperparameters], clock: Clock) -> list[Rates]:
    """How each lane moves at this clock."""
    share = float(schedule(clock))
    return [Rates(float(hp["lr"]) * share, float(hp.get("weight_decay", 0.0))) for hp in trials]


def _replayed(parts: Parts, state: State, clocks: Sequence[Clock]) -> State:
    """The same by tensor operations alone, the clock too, so that a GPU may replay them."""

    def step(tree: dict) -> dict:
        clock = clocks[0]._replace(step=tree["step"])
        gradients, buffers = _gradients(parts, tree["state"], clock)
        gradient = torch.cat([each.flatten(1) for each in gradients], 1)
        state = parts.moved(({**tree["state"], "buffers": buffers}, gradient), clock)
        return {"state": state, "step": tree["step"] + 1}

    return replayed(step, {"state": state, "step": clocks[0].step}, len(clocks))["state"]


def _gradients(parts: Parts, state: State, clock: Clock) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Of each lane's loss, one for each tensor that theta holds [K, ...], and the buffers after it.

    Each tensor is a leaf of its own: the gradient of one vector would be put together from theirs in one more pass.
    """
    lanes, found = state["theta"].shape[0], []
    sizes = [shape.numel() for shape in parts.shapes]
    for piece in range(clock.pieces):
        pieces = state["theta"].detach().split(sizes, dim=1)
        leaves = tuple(p.view(lanes, *s).requires_grad_() for p, s in zip(pieces, parts.shapes, strict=True))
        with torch.enable_grad():
            losses, buffers = parts.objective({**state, "theta": leaves}, clock._replace(piece=piece))
            found.append(torch.autograd.grad(losses.sum(), leaves, allow_unused=True, materialize_grads=True))
        state = {**state, "buffers": pytree.tree_map(torch.detach, buffers)}
    return [functools.reduce(torch.add, each) for each in zip(*found, strict=True)], state["buffers"]
