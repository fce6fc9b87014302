"""Strategies that train by gradient: their authors write a module whose `requires_grad` flags say what trains."""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn import functional as F

from tlbench import rng
from tlbench.space import Hyperparameters, static
from tlbench.strategies.base import State, Strategy
from tlbench.strategies.modules import Drawn
from tlbench.task import Clock, Task

WARMUP = 0.1  # fraction of the steps over which the learning rate rises
EPSILON = 1e-6  # AdamW; at 1e-8 parameters of no effect (biases of attention keys) walk on rounding alone
BETAS = (0.9, 0.999)  # AdamW


class GradientStrategy(Strategy):
    """AdamW or SGD with warm-up and cosine decay on the lane's own clock, over minibatches drawn by key.

    The space must hold `lr` and may hold `weight_decay`. All trained numbers of a lane are one vector `theta` [P].
    """

    trains: ClassVar[bool] = True
    optimizer: ClassVar[Literal["adamw", "sgd"]] = "adamw"
    statistics: ClassVar[Literal["frozen", "batch"]] = "frozen"  # what BatchNorm normalises with while training

    @abc.abstractmethod
    def module(self, task: Task, hp: Hyperparameters) -> nn.Module:
        """Activations at the tap -> logits [m, C]. `hp` holds the static values only; draw new weights as `Drawn`."""

    def loss(self, task: Task, hp: Hyperparameters, logits: Tensor, y: Tensor) -> Tensor:
        """The loss of each example [b]; cross-entropy unless overridden."""
        return F.cross_entropy(logits, y, reduction="none")

    def groups(self, hp: Hyperparameters) -> dict[str, float]:
        """Learning-rate multipliers by prefix of parameter name; 1 where none matches."""
        return {}

    def augment(self, task: Task, hp: Hyperparameters, x: Tensor, keys: Tensor) -> Tensor:
        """Training activations [b, ...], each changed at random by its own key [b]; unchanged unless overridden."""
        return x

    def prepare(self, task: Task, hp: Hyperparameters) -> None:
        self._built(task, hp)

    def init(self, task: Task, hp: Hyperparameters, key: Tensor) -> State:
        program = self._built(task, hp)
        weights_key, data_key = rng.fold_in(key, 0), rng.fold_in(key, 1)
        theta = torch.cat([_first_value(p, rng.fold_in(weights_key, i)).flatten() for i, p in program.trained])
        buffers = {name: b.clone() for name, b in program.buffers.items()}
        moments = {"m": torch.zeros_like(theta), "v": torch.zeros_like(theta)}
        return {"theta": theta, **moments, "key": data_key, "buffers": buffers}

    def step(self, task: Task, hp: Hyperparameters, state: State, clock: Clock) -> State:
        gradients = []
        for part in minibatch(task.weight, state["key"], clock).parts(clock.pieces):
            slope = grad(lambda theta: self.objective(task, hp, {**state, "theta": theta}, part), has_aux=True)  # noqa: B023
            gradient, buffers = slope(state["theta"])
            gradients.append(gradient)
            state = {**state, "buffers": buffers}
        return self.moved(task, hp, state, functools.reduce(torch.add, gradients), clock)

    def objective(
        self, task: Task, hp: Hyperparameters, state: State, batch: Minibatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What examples of a minibatch add to the loss of its step, and the buffers after them.

        The state's theta may also be a tuple of the tensors that it holds.
        """
        x, y = self.augment(task, hp, task.x[batch.rows], batch.keys), task.y[batch.rows]
        buffers = {name: b.clone() for name, b in state["buffers"].items()}
        logits = self._built(task, hp)(state["theta"], buffers, x, training=self.statistics == "batch")
        return (self.loss(task, hp, logits, y) * batch.share).sum(), buffers

    def moved(self, task: Task, hp: Hyperparameters, state: State, gradient: Tensor, clock: Clock) -> State:
        """The state after a step along this gradient [P]."""
        shapes, multipliers = self.trained(task, hp)
        each = [torch.full((s.numel(),), m, device=gradient.device) for s, m in zip(shapes, multipliers, strict=True)]
        lr = hp["lr"] * schedule(clock) * (torch.cat(each) if self.groups(hp) else 1.0)
        update = sgd if self.optimizer == "sgd" else adamw
        after = update(state, gradient, lr=lr, weight_decay=hp.get("weight_decay", 0.0), clock=clock)
        return {**after, "key": state["key"], "buffers": state["buffers"]}

    def trained(self, task: Task, hp: Hyperparameters) -> tuple[list[torch.Size], list[float]]:
        """Of each tensor that trains, in their order in theta: its shape, and its learning rate's multiplier."""
        program, groups = self._built(task, hp), self.groups(hp)
        of = (next((m for prefix, m in groups.items() if name.startswith(prefix)), 1.0) for name in program.names)
        return program.shapes, [float(m) for m in of]

    def predict(self, task: Task, hp: Hyperparameters, state: State, x: Tensor) -> Tensor:
        return self._built(task, hp)(state["theta"], state["buffers"], x, training=False)

    def parameters(self, task: Task, hp: Hyperparameters) -> tuple[int, int]:
        program = self._built(task, hp)
        return sum(p.numel() for _, p in program.trained), sum(p.numel() for p in program.network.parameters())

    def _built(self, task: Task, hp: Hyperparameters) -> _Program:
        """The module of these static values, built once per network and kept with the network it was built on."""
        values = static(self.space, hp)
        name = (id(task.tail), task.num_classes, tuple(sorted(values.items())))
        if name not in self._programs:
            with rng.ambient(0):  # layers of torch draw their first values from its own generator
                self._programs[name] = (task.tail, _Program(self.module(task, values)))
        return self._programs[name][1]

    @property
    def _programs(self) -> dict:
        return self.__dict__.setdefault("_memo", {})


class _Program:
    """A module as a function of one vector of trained numbers."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.trained = [(i, p) for i, (_, p) in enumerate(named)]
        self.shapes = [p.shape for _, p in named]
        self.sizes = [p.numel() for _, p in named]
        self.norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self.buffers = dict(network.named_buffers()) if self.norms else {}
        self._places = [_places(network, tensor) for tensor in (*(p for _, p in named), *self.buffers.values())]

    def __call__(
        self, theta: Tensor | tuple[Tensor, ...], buffers: dict[str, Tensor], x: Tensor, *, training: bool
    ) -> Tensor:
        """`theta`: one vector [P], or the tensors that it holds."""
        pieces = theta if isinstance(theta, tuple) else torch.split(theta, self.sizes)
        given = [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]
        for norm in self.norms:
            norm.train(training)
        before = self._put([*given, *(buffers[name] for name in self.buffers)])
        try:
            return self.network(x)
        finally:
            self._put(before)

    def _put(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Sets these where the trained ones and the buffers stand; returns what stood there.

        What `torch.func.functional_call` does, without looking for every name again at each step.
        """
        before = []
        for places, tensor in zip(self._places, tensors, strict=True):
            before.append(places[0][0][places[0][1]])
            for table, name in places:
                table[name] = tensor
        return before


def _places(network: nn.Module, tensor: Tensor) -> list[tuple[dict[str, Any], str]]:
    """Where a module holds this parameter or buffer: more than one where layers share it."""
    tables = [table for m in network.modules() for table in (m._parameters, m._buffers)]
    return [(table, name) for table in tables for name, held in table.items() if held is tensor]


class Minibatch(NamedTuple):
    """The examples of one step."""

    rows: Tensor  # [b] int64
    share: Tensor  # [b] float32, of each in the loss; they add up to 1
    keys: Tensor  # [b] what each is changed by at random

    def parts(self, count: int) -> list[Minibatch]:
        """The same examples in so many portions, along the last dimension."""
        return [Minibatch(*part) for part in zip(*(each.chunk(count, dim=-1) for each in self), strict=True)]


def minibatch(weight: Tensor, key: Tensor, clock: Clock) -> Minibatch:
    """The examples of this step, drawn from rows of these weights [n].

    Epochs are permutations of the rows of nonzero weight, one after the other, so padding changes nothing: with fewer
    rows than a batch holds, each stands in every batch once.
    """
    rows, own = _rows(weight, key, clock)
    return Minibatch(rows, own / own.sum(), rng.fold_in(rng.fold_in(key, clock.step), rows))


def _rows(weight: Tensor, key: Tensor, clock: Clock) -> tuple[Tensor, Tensor]:
    """Rows [b] of a minibatch and their weights [b]."""
    n = weight.shape[0]
    if n <= clock.batch_size:
        return torch.arange(n, device=weight.device), weight
    valid = weight > 0
    count = valid.sum()
    batch = torch.clamp(count, max=clock.batch_size)
    slots = torch.arange(clock.batch_size, device=weight.device)
    position = clock.step * batch + slots
    epoch = clock.step * batch // count
    orders = [_shuffled(rng.fold_in(key, epoch + i), valid) for i in (0, 1)]
    rows = torch.where(position // count == epoch, orders[0][position % count], orders[1][position % count])
    return rows, torch.where(slots < batch, weight[rows], 0.0)


def schedule(clock: Clock) -> Tensor:
    """The learning rate as a share of its peak: linear warm-up, then cosine to zero (Loshchilov and Hutter 2017)."""
    warm = max(1, round(WARMUP * clock.steps))
    done = (clock.step + 1 - warm) / max(1, clock.steps - warm)
    cosine = 0.5 * (1 + torch.cos(math.pi * done.clamp(0, 1)))
    return torch.where(clock.step < warm, (clock.step + 1) / warm, cosine)


def adamw(state: State, gradient: Tensor, *, lr: Tensor, weight_decay: Tensor | float, clock: Clock) -> State:
    """One step of AdamW (Loshchilov and Hutter 2019, algorithm 2), beta 0.9 and 0.999."""
    t = clock.step + 1
    m = torch.lerp(gradient, state["m"], BETAS[0])
    v = torch.addcmul(BETAS[1] * state["v"], gradient, gradient, value=1 - BETAS[1])
    spread = v.sqrt() / (1 - BETAS[1] ** t).sqrt() + EPSILON
    theta = state["theta"] * (1 - lr * weight_decay) - lr / (1 - BETAS[0] ** t) * m / spread
    return {"theta": theta, "m": m, "v": v}


def sgd(state: State, gradient: Tensor, *, lr: Tensor, weight_decay: Tensor | float, clock: Clock) -> State:
    """One step of SGD with momentum 0.9 and weight decay in the gradient, as torch.optim.SGD has it."""
    m = 0.9 * state["m"] + gradient + weight_decay * state["theta"]
    return {"theta": state["theta"] - lr * m, "m": m, "v": state["v"]}


def _shuffled(key: Tensor, valid: Tensor) -> Tensor:
    """The indices of valid rows in random order, the others behind them; [n]."""
    draw = rng.bits(key, tuple(valid.shape)) >> 1
    return torch.argsort(torch.where(valid, draw, 1 << 62))


def _first_value(parameter: nn.Parameter, key: Tensor) -> Tensor:
    if not isinstance(parameter, Drawn) or parameter.spread == 0:
        return parameter.detach()
    drawn = parameter.centre + parameter.spread * rng.normal(key, tuple(parameter.shape))
    if parameter.kept is None:
        return drawn
    row = torch.arange(len(parameter), device=drawn.device) == parameter.kept
    return torch.where(row[:, None], parameter.detach(), drawn)
