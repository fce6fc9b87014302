"""How many lanes run together: the same strategy code, called in a loop or fused through vmap.

Company law: up to rounding, a lane's result does not depend on which lanes it travels with, in what order, at what
width, or when it was admitted.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tlbench import descent, replay, rng
from tlbench.engine_lanes import fused, over
from tlbench.engine_memory import out_of_memory, rows_at_once
from tlbench.engine_rows import by_rows, firsts, named, padded, read, rectangle, stacked, unstacked
from tlbench.features import Bank
from tlbench.footprint import footprint
from tlbench.operations import Operations
from tlbench.precision import mixed
from tlbench.slopes import Tapes
from tlbench.space import Hyperparameters, dynamic, static
from tlbench.strategies.base import State, Strategy
from tlbench.strategies.gradient import GradientStrategy, Minibatch, minibatch
from tlbench.task import Clock, Task
from tlbench.types import TlbenchError

log = logging.getLogger("tlbench")


class OutOfMemory(Exception):
    """One lane alone does not fit."""


class Lane(NamedTuple):
    """One (hyperparameters, training subset, seed)."""

    hp: Hyperparameters
    rows: Tensor  # [n] int64, indices into the bank
    y: Tensor  # [n] int64
    seed: int


Entry = tuple[dict[str, Tensor], dict[str, Tensor], Tensor]


class Network(NamedTuple):
    """The part of a task that all lanes of a pack share."""

    bank: Tensor | Bank  # [N, ...] activations at the tap; its rows come to the device the lanes run on
    tail: nn.Module
    scratch: nn.Module
    num_classes: int
    flips: bool = False


class Pack:
    """Lanes with equal static values, trained side by side in chunks of `width`.

    Lanes that train are filled up to the rows of the longest, with weight 0, so that all chunks have one shape.
    `width` is 1 until the owner sets it (see width.py). When memory runs out it falls by halves, then each minibatch is
    taken in twice as many `pieces`, whose gradients add up to the same; OutOfMemory is raised when nothing helps.
    """

    def __init__(
        self, strategy: Strategy, network: Network, lanes: Sequence[Lane], *, steps: int, batch_size: int
    ) -> None:
        self.strategy, self.network, self.lanes = strategy, network, list(lanes)
        self.steps, self.batch_size = steps, batch_size
        self.static = static(strategy.space, lanes[0].hp)
        self.width = self.pieces = 1
        self.done = [0] * len(self.lanes)  # each lane's own clock
        self.states: list[State] = []
        self.init_flops = self.step_flops = 0  # floating-point operations of one lane, once it has run
        self.tapes = Tapes()  # packs of one network may share them
        self._latest: tuple[Lane, dict[str, Tensor]] | None = None
        strategy.prepare(self.task(0), self.static)

    def start(self) -> None:
        """Gives every lane its first state."""
        with Operations() as counted:
            self.states = self._run(by_rows(fused, self._init), range(len(self.lanes)))
        self.init_flops = counted.total // len(self.lanes)

    def advance(self, until: int) -> None:
        """Steps every lane until its clock shows `until`; lanes may have come in at different times."""
        for clock in sorted({done for done in self.done if done < until}):
            behind = [i for i, done in enumerate(self.done) if done == clock]
            if self.strategy.trains:
                moved = self._run(self._steps(clock, until), behind, self.states)
                for i, state in zip(behind, moved, strict=True):
                    self.states[i] = state
            for i in behind:
                self.done[i] = until

    @torch.no_grad()
    def predict(self, x: Tensor | Bank, of: Sequence[int] | None = None) -> list[Tensor]:
        """Logits [m, C], on the CPU, of each lane named in `of` (all by default) for activations x [m, ...]."""
        call = by_rows(fused, self._predict, shared=1)

        def logits(data: dict, values: dict, key: Tensor, state: State) -> Tensor:
            size = self._rows_at_once(len(key))
            pieces = (x[start : start + size] for start in range(0, len(x), size))
            return torch.cat([call(data, values, key, state, piece).float().cpu() for piece in pieces], dim=1)

        chosen = range(len(self.lanes)) if of is None else of
        return [self._checked(each, len(x)) for each in self._run(logits, chosen, self.states)]

    @torch.no_grad()
    def predict_rows(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Logits [m, C], on the CPU, of each lane for bank rows of its own, equally many [m] for every lane."""
        call, bank = by_rows(fused, self._predict_own), self.network.bank

        def logits(data: dict, values: dict, key: Tensor, state: State) -> Tensor:
            pieces = data["held_out"].split(self._rows_at_once(len(key)), dim=1)
            own = (bank[piece.flatten()].unflatten(0, piece.shape) for piece in pieces)
            return torch.cat([call({**data, "own": x}, values, key, state).float().cpu() for x in own], dim=1)

        found = self._run(logits, range(len(self.lanes)), self.states, held_out=rows)
        return [self._checked(each, len(rows[0])) for each in found]

    def keep(self, chosen: Sequence[int]) -> None:
        """Drops every lane but these."""
        self.lanes = [self.lanes[i] for i in chosen]
        self.states = [pytree.tree_map(torch.clone, self.states[i]) for i in chosen]  # views would keep whole chunks
        self.done = [self.done[i] for i in chosen]

    def admit(self, other: Pack) -> None:
        """Takes in the lanes of another pack, each with its own state and clock."""
        self.lanes, self.states, self.done = (
            self.lanes + other.lanes,
            self.states + other.states,
            self.done + other.done,
        )

    def task(self, lane: int) -> Task:
        """One lane's task, as its strategy sees it."""
        return self._task(self._entry(lane)[0])

    def _rows_at_once(self, lanes: int) -> int:
        """How many rows of each lane to predict at once."""
        fitting = rows_at_once(self.network.bank.device, self._row_bytes)
        return max(1, fitting // self.pieces // lanes)

    @functools.cached_property
    def _row_bytes(self) -> int:
        return footprint(self.network.tail, self.network.bank[:1]).largest

    def _steps(self, start: int, until: int) -> Callable[..., State]:
        def run(data: dict, values: dict, key: Tensor, state: State) -> State:
            entry = data, values, key
            if self.step_flops == 0:
                self.step_flops = self._counted(*entry, state)
            steps = torch.arange(start, until, device=key.device)
            if descent.descends(self.strategy):
                return descent.descended(
                    self._parts(entry), state, self._clock(steps), tapes=self.tapes, name=self._name
                )
            for step in steps:
                state = fused(self._step, shared=1)(*entry, state, self._clock(step))
            return state

        return run

    def _parts(self, entry: Entry) -> descent.Parts:
        """The strategy's step in pieces, for the lanes of a stacked entry."""
        strategy, (data, values, key) = cast(GradientStrategy, self.strategy), entry
        batches, objective, moved = fused(self._batches, shared=1), fused(self._objective), fused(self._moved, shared=1)
        shapes, multipliers = strategy.trained(self._task(data), self.static)
        parts = descent.Parts(entry, batches, objective, moved, shapes, multipliers)
        if key.device.type != "cpu" or replay.captures(key.device) or strategy.optimizer != "adamw":
            return parts
        trials = [{**self.static, **{name: float(v[i]) for name, v in values.items()}} for i in range(len(key))]
        return parts._replace(trials=trials)

    @property
    def _name(self) -> Hashable:
        """Equal for packs whose steps differ only in what lanes hold."""
        return id(self.network.tail), self.network.num_classes, self.network.flips, tuple(self.static.items())

    def _counted(self, *stack: Any) -> int:
        """Floating-point operations of a step of the first lane, done alone for it: fused ones are counted wrong."""
        data, values, key, state = pytree.tree_map(lambda leaf: leaf[0], stack)
        with Operations() as counted:
            self._step(data, values, key, state, self._clock(torch.zeros_like(key)))
        return counted.total

    def _clock(self, step: Tensor) -> Clock:
        return Clock(step, self.steps, self.batch_size, self.pieces)

    def _data(self, lanes: Sequence[int]) -> dict[str, Tensor]:
        """Rows and labels of lanes, stacked; those of one alone are kept: they may come from a disk."""
        of, bank = [self.lanes[i] for i in lanes], self.network.bank
        if len(of) == 1 and self._latest is not None and self._latest[0] is of[0]:
            return self._latest[1]
        columns = zip(*((lane.rows, lane.y, torch.ones(len(lane.y))) for lane in of), strict=True)
        longest = max(len(lane.y) for lane in (self.lanes if self.strategy.trains and len(of) > 1 else of))
        rows, y, weight = (padded(each, longest).to(bank.device) for each in columns)
        data = {"x": read(bank, rows), "y": y, "weight": weight}
        self._latest = (of[0], data) if len(of) == 1 else None
        return data

    def _entry(self, lane: int) -> Entry:
        """One lane's (rows and labels, dynamic values, key)."""
        return pytree.tree_map(lambda leaf: leaf[0], (self._data([lane]), *self._own([lane])))

    def _own(self, lanes: Sequence[int]) -> tuple[dict[str, Tensor], Tensor]:
        """What lanes do not share, stacked: dynamic values and keys."""
        own, device = [self.lanes[i] for i in lanes], self.network.bank.device
        values = [dynamic(self.strategy.space, lane.hp) for lane in own]
        columns = {name: torch.tensor([each[name] for each in values], device=device) for name in values[0]}
        return columns, torch.stack([rng.key(lane.seed) for lane in own]).to(device)

    def _task(self, data: dict[str, Tensor]) -> Task:
        net = self.network
        return Task(data["x"], data["y"], data["weight"], net.num_classes, net.tail, net.scratch, net.flips)

    def _init(self, data: dict[str, Tensor], values: dict[str, Tensor], key: Tensor) -> State:
        return self.strategy.init(self._task(data), {**self.static, **values}, key)

    def _step(self, data: dict, values: dict, key: Tensor, state: State, clock: Clock) -> State:
        return self.strategy.step(self._task(data), {**self.static, **values}, state, clock)

    def _batches(self, data: dict, values: dict, key: Tensor, state: State, clock: Clock) -> Minibatch:
        return over(lambda step: minibatch(data["weight"], state["key"], clock._replace(step=step)), clock.step)

    def _objective(self, data: dict, values: dict, key: Tensor, state: State, batch: Minibatch) -> tuple[Tensor, dict]:
        strategy = cast(GradientStrategy, self.strategy)
        return strategy.objective(self._task(data), {**self.static, **values}, state, batch)

    def _moved(self, data: dict, values: dict, key: Tensor, along: tuple[State, Tensor], clock: Clock) -> State:
        strategy, (state, gradient) = cast(GradientStrategy, self.strategy), along
        return strategy.moved(self._task(data), {**self.static, **values}, state, gradient, clock)

    def _predict(self, data: dict, values: dict, key: Tensor, state: State, x: Tensor) -> Tensor:
        return self.strategy.predict(self._task(data), {**self.static, **values}, state, x)

    def _predict_own(self, data: dict, values: dict, key: Tensor, state: State) -> Tensor:
        return self._predict(data, values, key, state, data["own"])

    def _checked(self, logits: Tensor, rows: int) -> Tensor:
        expected = (rows, self.network.num_classes)
        if tuple(logits.shape) != expected:
            raise TlbenchError(
                f"{self.strategy.name}.predict returned shape {tuple(logits.shape)}; "
                f"logits [m, num_classes] would be {expected}"
            )
        return logits

    def _run(
        self,
        work: Callable[..., Any],
        lanes: Sequence[int],
        *columns: Sequence,
        held_out: Sequence[Tensor] | None = None,
    ) -> list:
        """What `work` gives for each lane, from stacked inputs `width` at a time; less when memory runs out.

        `work` is given data stacked by groups of lanes that share rows (a lane that trains is a group), then values,
        keys and what stands at the lane's place in each of `columns`, stacked by lanes.
        """
        done: dict[int, Any] = {}
        rows = {i: self._rows(i, held_out) for i in lanes}
        even = math.ceil(len(lanes) / math.ceil(len(lanes) / self.width))  # chunks alike share one recording
        while waiting := [i for i in lanes if i not in done]:
            chunk = rectangle(waiting, rows, min(self.width, even))
            try:
                own = [stacked([column[i] for i in chunk]) for column in columns]
                with mixed(self.network.bank.device, self.network.tail):
                    found = work(*self._stacked(chunk, firsts(chunk, rows), held_out), *own)
                done |= zip(chunk, unstacked(found), strict=True)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                self._spare(len(chunk), error)
        return [done[i] for i in lanes]

    def _rows(self, lane: int, held_out: Sequence[Tensor] | None) -> Hashable:
        """The name of the rows that a lane sees and is judged on."""
        own = self.lanes[lane]
        return lane if self.strategy.trains else named(own.rows, own.y, *([held_out[lane]] if held_out else []))

    def _stacked(self, chunk: Sequence[int], rows: Sequence[int], held_out: Sequence[Tensor] | None) -> tuple:
        data = self._data(rows)
        judged = {"held_out": stacked([held_out[i] for i in rows]).to(self.network.bank.device)} if held_out else {}
        return {**data, **judged}, *self._own(chunk)

    def _spare(self, lanes: int, error: BaseException) -> None:
        """Takes less at once from now on. Raises OutOfMemory when that was tried to the end."""
        if lanes == 1 and self.pieces >= self.batch_size:
            raise OutOfMemory(f"one lane of {self.strategy.name} does not fit into memory") from error
        self.width, self.pieces = (lanes // 2, self.pieces) if lanes > 1 else (1, 2 * self.pieces)
        what = f"{self.width} lanes at once, minibatches in {self.pieces} pieces"
        log.warning("%s: memory ran out; going on with %s", self.strategy.name, what)
