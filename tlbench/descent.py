"""How do lanes of a gradient strategy take their steps? One backward pass for all, then one fused AdamW for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tlbench import slopes
from tlbench.kernels.optimizers import AdamW, Rates
from tlbench.replay import replayed
from tlbench.slopes import Slopes, Tapes
from tlbench.space import Hyperparameters
from tlbench.strategies.base import State, Strategy
from tlbench.strategies.gradient import GradientStrategy, Minibatch, schedule
from tlbench.task import Clock

DRAWN_AT_ONCE = 2**20  # rows of all lanes and steps that are shuffled together
MOMENTS = ("m", "v")  # what a gradient does not depend on


class Parts(NamedTuple):
    """`GradientStrategy.step` in pieces, over stacked lanes."""

    entry: Any  # rows and labels, dynamic values and keys of the lanes
    batches: Callable[..., Minibatch]  # (*entry, state, clock that shows many steps [T]) -> each [K, T, b]
    objective: Callable[..., tuple[Tensor, dict[str, Tensor]]]  # (*entry, state, batch) -> losses [K], buffers
    moved: Callable[..., State]  # (*entry, (state, gradient [K, P]), clock) -> the state along it
    shapes: Sequence[torch.Size]  # of the tensors that theta [K, P] holds one after the other
    multipliers: Sequence[float] = ()  # of their learning rates
    trials: Sequence[Hyperparameters] = ()  # of each lane, where AdamW's fused kernel may move them


def descends(strategy: Strategy) -> bool:
    """Is its step the one of `GradientStrategy`, whose halves can be run apart?"""
    return isinstance(strategy, GradientStrategy) and type(strategy).step is GradientStrategy.step


def descended(parts: Parts, state: State, clock: Clock, *, tapes: Tapes, name: Hashable) -> State:
    """The stacked state after the steps [T] that the clock shows; what was given stays as it was.

    `name`: of the objective, apart from the entry.
    """
    if not parts.trials:
        return _replayed(parts, state, clock)
    if len(parts.trials) == 1:  # the stack of one lane is a view of it; others are copies
        state = pytree.tree_map(torch.clone, state)
    own = _slopes(parts, state, clock, tapes=tapes, name=name)
    state = {**state, **own.read["state"]}
    fused = AdamW(state, [shape.numel() for shape in parts.shapes], parts.multipliers)
    for number, share, batch in _drawn(parts, state, clock):
        gradients = own.of(batch.parts(clock.pieces))
        fused.move(gradients, [_rates(trial, share) for trial in parts.trials], step=number + 1)
    return {**state, **pytree.tree_map(torch.clone, own.read["state"])} if own.taped else state


def _slopes(parts: Parts, state: State, clock: Clock, *, tapes: Tapes, name: Hashable) -> Slopes:
    def work(read: dict) -> tuple[list[Tensor], dict[str, Tensor]]:
        return _gradients(parts._replace(entry=read["entry"]), read["state"], read["batches"])

    read = {"entry": parts.entry, "state": {part: value for part, value in state.items() if part not in MOMENTS}}
    if len(parts.trials) > 1 and len(clock.step) >= slopes.LEAST:
        return tapes.begun((name, clock.batch_size, clock.pieces), work, read)
    return Slopes(work, read)


def _drawn(parts: Parts, state: State, clock: Clock) -> Iterator[tuple[int, float, Minibatch]]:
    """Number, share of the learning rate and minibatch of each step, drawn for many at once."""
    rows = parts.entry[0]["weight"].shape[-1]
    for steps in clock.step.split(max(1, DRAWN_AT_ONCE // (rows * len(parts.trials)))):
        now = clock._replace(step=steps)
        batches = parts.batches(*parts.entry, state, now)
        shares = schedule(now).tolist()
        yield from ((n, shares[i], _nth(batches, i)) for i, n in enumerate(steps.tolist()))


def _rates(trial: Hyperparameters, share: float) -> Rates:
    return Rates(float(trial["lr"]) * share, float(trial.get("weight_decay", 0.0)))


def _nth(batches: Minibatch, i: int) -> Minibatch:
    return Minibatch(*(each[:, i] for each in batches))


def _replayed(parts: Parts, state: State, clock: Clock) -> State:
    """The same by tensor operations alone, the clock too, so that a GPU may replay them."""

    def step(tree: dict) -> dict:
        batch = _nth(parts.batches(*parts.entry, tree["state"], clock._replace(step=tree["step"][None])), 0)
        gradients, buffers = _gradients(parts, tree["state"], batch.parts(clock.pieces))
        gradient = torch.cat([each.flatten(1) for each in gradients], 1)
        before, now = {**tree["state"], "buffers": buffers}, clock._replace(step=tree["step"])
        moved = parts.moved(*parts.entry, (before, gradient), now)
        return {"state": moved, "step": tree["step"] + 1}

    return replayed(step, {"state": state, "step": clock.step[0]}, len(clock.step))["state"]


def _gradients(parts: Parts, state: State, batches: Sequence[Minibatch]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Of each lane's loss, one for each tensor that theta holds [K, ...], and the buffers after it.

    Each tensor is a leaf of its own: the gradient of one vector would be put together from theirs in one more pass.
    """
    lanes, found = state["theta"].shape[0], []
    sizes = [shape.numel() for shape in parts.shapes]
    for batch in batches:
        pieces = state["theta"].detach().split(sizes, dim=1)
        leaves = tuple(p.view(lanes, *s).requires_grad_() for p, s in zip(pieces, parts.shapes, strict=True))
        with torch.enable_grad():
            losses, buffers = parts.objective(*parts.entry, {**state, "theta": leaves}, batch)
            found.append(torch.autograd.grad(losses.sum(), leaves, allow_unused=True, materialize_grads=True))
        state = {**state, "buffers": pytree.tree_map(torch.detach, buffers)}
    return [functools.reduce(torch.add, each).contiguous() for each in zip(*found, strict=True)], state["buffers"]
