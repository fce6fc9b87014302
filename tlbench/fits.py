"""What is to be fitted, and on which networks and activations: jobs, blocks, fits, and a worker's bench."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import features, space
from tlbench.caches import most_bytes
from tlbench.datasets import base
from tlbench.engine import Network, Pack
from tlbench.features import Bank, Place
from tlbench.fits_latency import latency
from tlbench.fits_networks import opened
from tlbench.slopes import Tapes
from tlbench.strategies.base import Strategy
from tlbench.task import Task
from tlbench.tune import Trial
from tlbench.types import Cell, Effort, TaskShape
from tlbench.width import MachinePlan

BYTES_A_PARAMETER = 12  # of a state: the value and two moments, float32
LEAST_BYTES = 512 * 2**10  # that a lane is taken to need, whatever its state: its rows, its logits
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
    cache_bytes: int = field(default_factory=most_bytes)  # of activations on disk
    plugins: tuple[str, ...] = ()
    plan: MachinePlan = MachinePlan()
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


class Bench:
    """A block's networks and activations by tap, each made when first asked for."""

    def __init__(self, block: Block, strategy: Strategy) -> None:
        self.block, self.strategy = block, strategy
        self._opened = opened(block.backbone, block.jobs[0].cell.weights_fingerprint)
        self.backbone = self._opened.backbone
        self.space = space.on(self.backbone.parameters, space.validated(strategy.space, owner=strategy.name))
        self._encoded: dict[str, Bank] = {}
        self.tapes = Tapes()  # of steps on these networks
        self._networks: dict[str, Network] = {}
        self._tests: dict[str, Tensor | Bank] = {}
        self._prefix_flops: dict[str, int] = {}
        self._latency: dict[str, float] = {}

    def tap(self, hp: space.Hyperparameters) -> str:
        return self.backbone.resolve(self.strategy.tap_for(space.static(self.space, hp)))

    def steps(self, effort: Effort) -> int:
        """Steps of a whole fit of this strategy."""
        return max(1, round(self.strategy.share * effort.steps))

    def state_bytes(self, fit: Fit) -> int:
        """What the state of one such lane takes."""
        if not self.strategy.trains:
            return LEAST_BYTES
        hp, network = space.static(self.space, fit.trial.params), self.network(self.tap(fit.trial.params))
        one = torch.zeros(1, dtype=torch.int64)
        task = Task(network.bank[:1], one, one.float(), network.num_classes, network.tail, network.scratch)
        trainable, _ = self.strategy.parameters(task, hp)
        return max(LEAST_BYTES, BYTES_A_PARAMETER * trainable)

    def network(self, tap: str) -> Network:
        if tap not in self._networks:
            block = self.block
            tail = self.backbone.tail(tap).to(block.device)
            scratch = self._opened.scratch.tail(tap).to(block.device) if list(tail.parameters()) else tail
            bank = self._bank(tap, "pool")
            self._networks[tap] = Network(bank, tail, scratch, block.shape.num_classes, block.flips)
        return self._networks[tap]

    def prefix(self, tap: str) -> nn.Module:
        """The network below the tap, on the device."""
        return self._opened.prefix(tap, self.block.device)

    def prefix_flops(self, tap: str) -> int:
        """Floating-point operations of bringing one raw input to the tap."""
        if tap not in self._prefix_flops:
            self._prefix_flops[tap] = self._opened.flops(tap, self._inputs("test")[:1])
        return self._prefix_flops[tap]

    def test(self, tap: str) -> Tensor | Bank:
        """Activations of the test inputs [m, ...]."""
        if tap not in self._tests:
            self._tests[tap] = self._bank(tap, "test")
        return self._tests[tap]

    def latency(self, pack: Pack, tap: str) -> dict[str, float]:
        """Milliseconds from raw inputs to the logits of one fitted lane, at batch 1 and 64; found out once a block."""
        if not self._latency:
            self._latency = latency(pack, self._opened, tap, one=self._inputs("test")[:1], data=self.block.data)
        return self._latency

    def _inputs(self, part: Part) -> Bank:
        """Encoded inputs: what prefixes take."""
        if part not in self._encoded:
            raw, block = base.read_inputs(self.block.data, part), self.block
            rows = block.pool_rows if part == "pool" else np.arange(len(raw))
            if raw.dtype == object:
                raw = features.tokens(self.backbone, raw[rows], place=self._place(part))
                rows = np.arange(len(raw))
            self._encoded[part] = Bank(raw, rows, nn.Identity(), block.device).uploaded()
        return self._encoded[part]

    def _bank(self, tap: str, part: Part) -> Tensor | Bank:
        return features.bank(tap, partial(self.prefix, tap), self._inputs(part), place=self._place(part))

    def _place(self, part: Part) -> Place:
        return place(self.block, part, self.backbone.name, self._opened.fingerprint)


def place(block: Block, part: Part, network: str, weights: str) -> Place:
    """Where is kept what a network of this name and fingerprint gives for a block's inputs."""
    cell = block.jobs[0].cell
    rows = features.named(block.pool_rows) if part == "pool" else "all"
    content = f"{cell.data_fingerprint}/{part}/{rows}/{network}/{weights}"
    about = {"dataset": cell.dataset, "part": part, "backbone": cell.backbone}
    return Place(block.cache / "features", content, about, block.cache_bytes)
