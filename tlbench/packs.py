"""Which fits train side by side, how long are their states kept, and what does each of them cost?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from tlbench import space
from tlbench.descent import descends
from tlbench.engine import Lane, Pack
from tlbench.fits import Bench, Fit
from tlbench.fits_latency import timed
from tlbench.width import width

STATE_BYTES = 256 * 2**20  # of all lanes that go on from rung to rung
FILLED = 8  # up to so many times its own rows may a lane be filled up to
STATE_SHARE = 8  # part of a GPU's memory that they may take instead (a guess, not measured)
T = TypeVar("T")
Kind = tuple[tuple[tuple[str, object], ...], int, int]  # static values, training rows, rows held out
Group = tuple[Pack, list[Fit]]


class Fitted(NamedTuple):
    """A lane that was trained, and what it says of the test inputs."""

    fit: Fit
    logits: np.ndarray  # [m, C]
    pack: Pack
    lane: int  # its place in the pack


class Bill:
    """What fits cost."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, int], float] = defaultdict(float)  # by cell key and trial number
        self.flops: dict[tuple[str, int], int] = defaultdict(int)
        self.steps: dict[tuple[str, int], int] = defaultdict(int)  # that lanes took; 0 where nothing is trained
        self._trials: dict[str, set[int]] = defaultdict(set)

    def add(self, fit: Fit, *, seconds: float = 0.0, flops: int = 0, steps: int = 0) -> None:
        """Writes on it what a lane took."""
        place = key, number = fit.job.cell.key, fit.trial.number
        self._trials[key].add(number)
        self.seconds[place] += seconds
        self.flops[place] += flops
        self.steps[place] += steps

    def total(self, key: str) -> tuple[float, int, int]:
        """Seconds, floating-point operations and steps of all trials of a cell."""
        trials = [(key, number) for number in sorted(self._trials[key])]
        seconds, flops, steps = (sum(of[each] for each in trials) for of in (self.seconds, self.flops, self.steps))
        return float(seconds), int(flops), int(steps)


class Fits:
    """Lanes of several cells, in packs of equal static values, similar numbers of rows and equal clocks.

    Between two rungs states are kept while there is room for them. Packs that meet at a rung become one, so that the
    places of lanes that were dropped are taken by lanes of other trials, folds and cells, and chunks stay full. A lane
    whose state found no room begins anew when it goes on: it comes to the same state, at the price of its first steps.
    """

    def __init__(self, bench: Bench, bill: Bill) -> None:
        self.bench, self.bill, self.room = bench, bill, _room(bench.block.device)  # bytes of states at once
        self._held: dict[tuple[Kind, int], Group] = {}  # by kind and clock
        self._sizes: dict[Kind, int] = {}

    def taken(self, fits: Iterable[Fit]) -> int:
        """Bytes of the states of these lanes."""
        return sum(map(self._state_bytes, fits))

    def trained(self, fits: Iterable[Fit], until: int, *, last: bool) -> Iterator[Group]:
        """Packs that make up `fits`, each when its clock shows `until`; where that was their `last` use, states go.

        No lane of `fits` may be there yet, and every lane kept at an earlier clock must be among them.
        """
        for kind, group in self._alike(fits).items():
            kept = {id(fit) for (of, _), (_, own) in self._held.items() if of == kind for fit in own}
            begun = [self._held.pop(place) for place in list(self._held) if place[0] == kind and place[1] < until]
            fresh = [fit for fit in group if id(fit) not in kept]
            most = max(1, self.room // self._state_bytes(group[0]))
            for pack, own in (*begun, *map(self._started, _parts(fresh, most))):
                self._advance(pack, own, until)
                yield pack, own
                if last:
                    pack.states = []
                else:
                    self._hold(kind, pack, own)

    def keep(self, fits: Iterable[Fit]) -> None:
        """Drops every other lane."""
        alive = {id(fit) for fit in fits}
        for place, (pack, group) in list(self._held.items()):
            chosen = [i for i, fit in enumerate(group) if id(fit) in alive]
            pack.keep(chosen)
            self._held[place] = pack, [group[i] for i in chosen]
            if not chosen:
                del self._held[place]

    def out_of_fold(self, fits: Iterable[Fit], until: int, *, last: bool) -> Iterator[tuple[Fit, np.ndarray]]:
        """Each lane's logits [v, C] on the rows held out from it, when its clock shows `until`; see `trained`."""
        for pack, group in self.trained(fits, until, last=last):
            rows = [torch.from_numpy(fit.job.rows[fit.held_out]) for fit in group]
            logits = self._charge(partial(pack.predict_rows, rows), group)
            yield from ((fit, each.numpy()) for fit, each in zip(group, logits, strict=True))

    def on_test(self, fits: Iterable[Fit], until: int) -> Iterator[Fitted]:
        """Each lane with its logits on the test inputs, when its clock shows `until`."""
        for pack, group in self.trained(fits, until, last=True):
            logits = pack.predict(self.bench.test(self.bench.tap(group[0].trial.params)))
            for lane, (fit, each) in enumerate(zip(group, logits, strict=True)):
                yield Fitted(fit, each.numpy(), pack, lane)

    def _alike(self, fits: Iterable[Fit]) -> dict[Kind, list[Fit]]:
        alike: dict[Kind, list[Fit]] = {}
        for fit in fits:
            alike.setdefault(self._kind(fit), []).append(fit)
        return alike

    def _kind(self, fit: Fit) -> Kind:
        static = tuple(sorted(space.static(self.bench.space, fit.trial.params).items()))
        return static, self._rows(fit), len(fit.held_out)

    def _rows(self, fit: Fit) -> int:
        """Equal for lanes that may be filled up to the same number of rows, at no step's cost."""
        rows, batch = len(fit.train), fit.job.cell.effort.batch_size
        if rows < batch or not descends(self.bench.strategy):
            return rows
        return batch * FILLED ** math.floor(math.log(rows / batch, FILLED))

    def _state_bytes(self, fit: Fit) -> int:
        kind = self._kind(fit)
        if kind not in self._sizes:
            self._sizes[kind] = self.bench.state_bytes(fit)
        return self._sizes[kind]

    def _started(self, group: list[Fit]) -> Group:
        effort, tap = group[0].job.cell.effort, self.bench.tap(group[0].trial.params)
        lanes = [
            Lane(fit.trial.params, _tensor(fit.job.rows[fit.train]), _tensor(fit.job.y[fit.train]), fit.seed)
            for fit in group
        ]
        network, steps = self.bench.network(tap), self.bench.steps(effort)
        pack = Pack(self.bench.strategy, network, lanes, steps=steps, batch_size=effort.batch_size)
        pack.tapes = self.bench.tapes
        pack.width = width(self.bench.strategy, pack, self.bench.block.plan)
        self._charge(pack.start, group)
        for fit in group:
            self._count([fit], pack.init_flops + len(fit.train) * self.bench.prefix_flops(tap))
        return pack, group

    def _advance(self, pack: Pack, group: Sequence[Fit], until: int) -> None:
        before = pack.done[0]
        self._charge(partial(pack.advance, until), group)
        self._count(group, (until - before) * pack.step_flops, until - before)

    def _hold(self, kind: Kind, pack: Pack, group: list[Fit]) -> None:
        held = [fit for _, own in self._held.values() for fit in own]
        place = kind, pack.done[0]
        if self.taken([*group, *held]) > self.room:
            pack.states = []
        elif place in self._held:
            first, own = self._held[place]
            first.admit(pack)
            self._held[place] = first, own + group
        else:
            self._held[place] = pack, group

    def _charge(self, action: Callable[[], T], group: Sequence[Fit]) -> T:
        """What it returns; its seconds are written on the bill, shared among the lanes."""
        result, seconds = timed(action, self.bench.block.device)
        for fit in group:
            self.bill.add(fit, seconds=seconds / len(group))
        return result

    def _count(self, group: Sequence[Fit], flops: int, steps: int = 0) -> None:
        """Writes operations and steps of each lane on the bill."""
        for fit in group:
            self.bill.add(fit, flops=flops, steps=steps if self.bench.strategy.trains else 0)


def _room(device: str) -> int:
    """Bytes for states between two rungs."""
    return torch.cuda.mem_get_info(device)[1] // STATE_SHARE if device.startswith("cuda") else STATE_BYTES


def _parts(fits: list[Fit], most: int) -> list[list[Fit]]:
    return [fits[start : start + most] for start in range(0, len(fits), most)]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
