"""Many fits at once: the lanes of several cells sorted into packs, and what each of them costs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import backbones, features, space
from tlbench.datasets import base
from tlbench.engine import Lane, Network, Operations, Pack
from tlbench.features import Bank
from tlbench.strategies.base import Strategy
from tlbench.task import Task
from tlbench.tune import Trial
from tlbench.types import Cell, Effort, TaskShape, TlbenchError
from tlbench.width import WidthPlan, width

MOST_LANES = 1024
STATE_BYTES = 512 * 2**20  # of all lanes of a pack
BYTES_A_PARAMETER = 12  # of a state: the value and two moments, float32
T = TypeVar("T")
Part = Literal["pool", "test"]


@dataclass(frozen=True)
class Job:
    """One cell as a worker sees it."""

    cell: Cell
    rows: np.ndarray  # [n] the budget's rows among the block's pool inputs
    y: np.ndarray  # [n] int64
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]  # (train, validation) positions in `rows`


@dataclass(frozen=True)
class Block:
    """What an executor sends to a worker: jobs that share a dataset, a backbone and a strategy."""

    strategy: str
    backbone: str  # a reference: what opens it
    jobs: tuple[Job, ...]
    data: Path  # the folder of the dataset's cache
    pool_rows: np.ndarray  # [N] the pool inputs that any budget of the suite uses
    shape: TaskShape
    flips: bool
    cache: Path
    plugins: tuple[str, ...] = ()
    plan: WidthPlan = WidthPlan()
    device: str = "cpu"
    alone: bool = False  # a second try, of one job

    @property
    def name(self) -> str:
        return f"{self.strategy}/{self.jobs[0].cell.backbone}/{self.jobs[0].cell.dataset}"


class Fit(NamedTuple):
    """One lane's place in the work: a trial of a job, trained on some rows of its budget, judged on others."""

    job: Job
    trial: Trial
    train: np.ndarray  # positions in job.rows
    held_out: np.ndarray  # positions in job.rows; none in a refit
    seed: int


class Fitted(NamedTuple):
    """A lane that was trained, and what it says of the test inputs."""

    fit: Fit
    logits: np.ndarray  # [m, C]
    pack: Pack
    lane: int  # its place in the pack


class Bench:
    """A block's networks and activations by tap, each made when first asked for."""

    def __init__(self, block: Block, strategy: Strategy) -> None:
        self.block, self.strategy = block, strategy
        self.backbone = backbones.get(block.backbone)
        self.space = space.on(self.backbone.parameters, space.validated(strategy.space, owner=strategy.name))
        promised = block.jobs[0].cell.weights_fingerprint
        if promised and self.backbone.fingerprint != promised:
            raise TlbenchError(f"the weights of {block.backbone!r} changed during this run; run the command again")
        self._scratch = self.backbone.scratch()
        self._encoded: dict[str, Bank] = {}
        self._networks: dict[str, Network] = {}
        self._tests: dict[str, Tensor | Bank] = {}
        self._prefix_flops: dict[str, int] = {}
        self._latency: dict[str, float] = {}

    def tap(self, hp: space.Hyperparameters) -> str:
        return self.backbone.resolve(self.strategy.tap_for(space.static(self.space, hp)))

    def steps(self, effort: Effort) -> int:
        """Steps of a whole fit of this strategy."""
        return max(1, round(self.strategy.share * effort.steps))

    def most_lanes(self, fit: Fit) -> int:
        """How many lanes like this one may hold their states at once."""
        if not self.strategy.trains:
            return MOST_LANES
        hp, network = space.static(self.space, fit.trial.params), self.network(self.tap(fit.trial.params))
        one = torch.zeros(1, dtype=torch.int64)
        task = Task(network.bank[:1], one, one.float(), network.num_classes, network.tail, network.scratch)
        trainable, _ = self.strategy.parameters(task, hp)
        return max(1, min(MOST_LANES, STATE_BYTES // (BYTES_A_PARAMETER * max(1, trainable))))

    def network(self, tap: str) -> Network:
        if tap not in self._networks:
            block = self.block
            tail, scratch = (b.tail(tap).to(block.device) for b in (self.backbone, self._scratch))
            bank = self._bank(tap, "pool")
            self._networks[tap] = Network(bank, tail, scratch, block.shape.num_classes, block.flips)
        return self._networks[tap]

    def prefix_flops(self, tap: str) -> int:
        """Floating-point operations of bringing one raw input to the tap."""
        if tap not in self._prefix_flops:
            with torch.no_grad(), Operations() as counted:
                self.backbone.prefix(tap).to(self.block.device)(self._inputs("test")[:1])
            self._prefix_flops[tap] = counted.total
        return self._prefix_flops[tap]

    def test(self, tap: str) -> Tensor | Bank:
        """Activations of the test inputs [m, ...]."""
        if tap not in self._tests:
            self._tests[tap] = self._bank(tap, "test")
        return self._tests[tap]

    def latency(self, pack: Pack, tap: str) -> dict[str, float]:
        """Milliseconds from raw inputs to the logits of one fitted lane, at batch 1 and 64; timed once a block."""
        if not self._latency:
            self._latency = self._timed_latency(pack, tap)
        return self._latency

    def _timed_latency(self, pack: Pack, tap: str) -> dict[str, float]:
        prefix = self.backbone.prefix(tap).to(self.block.device)
        raw = base.read_inputs(self.block.data, "test")[:64].copy()
        found = {}
        for m in (1, 64):
            predict = partial(self._predicted, prefix, pack, raw[:m])
            times = [timed(predict, self.block.device)[1] * 1e3 for _ in range(7)]
            found[f"predict_ms_{m}"] = float(np.median(times))
            found[f"predict_ms_{m}_p95"] = float(np.quantile(times, 0.95))
        return found

    def _predicted(self, prefix: nn.Module, pack: Pack, raw: np.ndarray) -> list[Tensor]:
        with torch.no_grad():
            return pack.predict(prefix(torch.from_numpy(self.backbone.encoded(raw)).to(self.block.device)), of=[0])

    def _inputs(self, part: Part) -> Bank:
        """Encoded inputs: what prefixes take."""
        if part not in self._encoded:
            raw, block = base.read_inputs(self.block.data, part), self.block
            rows = block.pool_rows if part == "pool" else np.arange(len(raw))
            if raw.dtype == object:
                raw = features.tokens(self.backbone, raw[rows], file=self._file("tokens", part))
                rows = np.arange(len(raw))
            self._encoded[part] = Bank(raw, rows, nn.Identity(), block.device)
        return self._encoded[part]

    def _bank(self, tap: str, part: Part) -> Tensor | Bank:
        return features.bank(self.backbone, tap, self._inputs(part), file=self._file(tap, part))

    def _file(self, tap: str, part: Part) -> Path:
        block = self.block
        rows = features.named(block.pool_rows) if part == "pool" else "all"
        content = f"{block.jobs[0].cell.data_fingerprint}/{part}/{rows}"
        return block.cache / "features" / features.file_name(self.backbone, tap, content)


class Bill:
    """What fits cost."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, int], float] = defaultdict(float)  # by cell key and trial number
        self.flops: dict[tuple[str, int], int] = defaultdict(int)

    def total(self, key: str) -> tuple[float, int]:
        """Seconds and floating-point operations of all trials of a cell."""
        trials = [each for each in self.seconds if each[0] == key]
        return sum(self.seconds[each] for each in trials), sum(self.flops[each] for each in trials)


class Fits:
    """The lanes of several jobs, in packs of equal static values and equal numbers of rows.

    A pack starts when its turn comes and goes when it is not needed again, so that one pack's states are held at once
    unless lanes go on from rung to rung.
    """

    def __init__(self, bench: Bench, fits: Iterable[Fit], bill: Bill) -> None:
        self.bench, self.bill = bench, bill
        alike: dict[tuple, list[Fit]] = {}
        for fit in fits:
            static = tuple(sorted(space.static(bench.space, fit.trial.params).items()))
            alike.setdefault((static, len(fit.train), len(fit.held_out)), []).append(fit)
        self._waiting = [group for each in alike.values() for group in _parts(each, bench.most_lanes(each[0]))]
        self._going: list[tuple[Pack, list[Fit]]] = []

    def trained(self, until: int, *, last: bool) -> Iterator[tuple[Pack, list[Fit]]]:
        """Each pack when its clocks show `until`; where that was its `last` use, its states then go."""
        waiting, going = self._waiting, self._going
        self._waiting, self._going = [], []
        while waiting or going:
            pack, group = going.pop(0) if going else self._started(waiting.pop(0))
            before = pack.done[0]
            self._charge(partial(pack.advance, until), group)
            self._count(group, (until - before) * pack.step_flops)
            yield pack, group
            if last:
                pack.states = []
            else:
                self._going.append((pack, group))

    def keep(self, trials: Sequence[Trial]) -> None:
        """Drops the lanes of every other trial."""
        alive, kept = {id(trial) for trial in trials}, []
        for pack, group in self._going:
            chosen = [i for i, fit in enumerate(group) if id(fit.trial) in alive]
            if chosen:
                pack.keep(chosen)
                kept.append((pack, [group[i] for i in chosen]))
        self._going = kept

    def out_of_fold(self, until: int, *, last: bool) -> Iterator[tuple[Fit, np.ndarray]]:
        """Each lane's logits [v, C] on the rows held out from it, when its clock shows `until`."""
        for pack, group in self.trained(until, last=last):
            rows = [torch.from_numpy(fit.job.rows[fit.held_out]) for fit in group]
            logits = self._charge(partial(pack.predict_rows, rows), group)
            yield from ((fit, each.numpy()) for fit, each in zip(group, logits, strict=True))

    def on_test(self, until: int) -> Iterator[Fitted]:
        """Each lane with its logits on the test inputs, when its clock shows `until`."""
        for pack, group in self.trained(until, last=True):
            logits = pack.predict(self.bench.test(self.bench.tap(group[0].trial.params)))
            for lane, (fit, each) in enumerate(zip(group, logits, strict=True)):
                yield Fitted(fit, each.numpy(), pack, lane)

    def _started(self, group: list[Fit]) -> tuple[Pack, list[Fit]]:
        effort, tap = group[0].job.cell.effort, self.bench.tap(group[0].trial.params)
        lanes = [
            Lane(fit.trial.params, _tensor(fit.job.rows[fit.train]), _tensor(fit.job.y[fit.train]), fit.seed)
            for fit in group
        ]
        network, steps = self.bench.network(tap), self.bench.steps(effort)
        pack = Pack(self.bench.strategy, network, lanes, steps=steps, batch_size=effort.batch_size)
        pack.width = width(self.bench.strategy, pack, self.bench.block.plan)
        self._charge(pack.start, group)
        self._count(group, pack.init_flops + len(group[0].train) * self.bench.prefix_flops(tap))
        return pack, group

    def _charge(self, action: Callable[[], T], group: Sequence[Fit]) -> T:
        """What it returns; its seconds are written on the bill, shared among the lanes."""
        result, seconds = timed(action, self.bench.block.device)
        for fit in group:
            self.bill.seconds[fit.job.cell.key, fit.trial.number] += seconds / len(group)
        return result

    def _count(self, group: Sequence[Fit], flops: int) -> None:
        """Writes operations of each lane on the bill."""
        for fit in group:
            self.bill.flops[fit.job.cell.key, fit.trial.number] += flops


def timed(action: Callable[[], T], device: str) -> tuple[T, float]:
    """What it returns, and the seconds that it took; a GPU works on after a call has returned."""
    start = time.perf_counter()
    result = action()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - start


def _parts(fits: list[Fit], most: int) -> list[list[Fit]]:
    return [fits[start : start + most] for start in range(0, len(fits), most)]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
