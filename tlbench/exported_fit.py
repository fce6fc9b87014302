"""How is the advised way trained on all labels, and what of it is needed to predict?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import advise_data, space
from tlbench.advise_data import Labelled
from tlbench.backbones.base import Backbone
from tlbench.block import tuned_and_refitted
from tlbench.datasets.splits import folds, seed
from tlbench.engine import OutOfMemory
from tlbench.fits import Bench, Block, Fit, Job
from tlbench.packs import Bill, Fits
from tlbench.registry import BACKBONES, STRATEGIES
from tlbench.strategies.base import State, Strategy
from tlbench.task import Task
from tlbench.tune import Trial
from tlbench.types import Cell, Effort, TaskShape, TlbenchError

CLOSE = 1e-4  # of the largest logit: rounding of other batches and other kernels
CLOSE_ACROSS = 0.05  # the same where the fit ran on another device, there in bfloat16
ROWS = 32  # inputs sent through the network at once


class Predictor:
    """A fitted way: raw inputs in, logits out."""

    def __init__(self, strategy: Strategy, backbone: Backbone, hp: space.Hyperparameters, state: State) -> None:
        self.strategy, self.backbone, self.hp, self.state = strategy, backbone, dict(hp), state
        values = {name: torch.tensor(value) for name, value in space.dynamic(strategy.space, hp).items()}
        self._given = {**space.static(strategy.space, hp), **values}
        self.tap = backbone.resolve(strategy.tap_for(space.static(strategy.space, hp)))
        self._prefix, self._tail = backbone.prefix(self.tap), backbone.tail(self.tap)
        self._task: Task | None = None

    def logits(self, raw: np.ndarray, *, num_classes: int) -> Tensor:
        """[m, C] of images uint8 [m, H, W, 3] or texts [m]; each row's depend on that row alone, up to rounding."""
        found = []
        for start in range(0, len(raw), ROWS):
            x = self._at_tap(raw[start : start + ROWS])
            with torch.no_grad():
                found.append(self.strategy.predict(self._empty(x, num_classes), self._given, self.state, x).float())
        return torch.cat(found)

    def _at_tap(self, raw: np.ndarray) -> Tensor:
        with torch.no_grad():
            return self._prefix(torch.from_numpy(np.array(self.backbone.encoded(raw))))

    def _empty(self, x: Tensor, num_classes: int) -> Task:
        """A task that tells shapes and holds no training example; one for all calls, as strategies build on it once."""
        if self._task is None:
            zero = torch.zeros(1, dtype=torch.int64)
            tail: nn.Module = self._tail
            self._task = Task(torch.zeros_like(x[:1]), zero, torch.ones(1), num_classes, tail, tail)
        return self._task


@dataclass(frozen=True)
class Refit:
    """What a fit on all labels came to."""

    predictor: Predictor
    params: dict[str, Any]
    sample: np.ndarray  # raw inputs [m, ...] of which the fit's own logits are known
    logits: np.ndarray  # [m, C], as the fit in memory gave them
    trials: int


def refitted(data: Labelled, way: tuple[str, str], effort: Effort, *, root: Path, device: str) -> Refit:
    """Hyperparameters chosen on inner folds of all labels, by the rule of every cell, then one fit on all labels.

    Raises TlbenchError where memory runs out, and where the strategy needs its training examples to predict.
    """
    strategy, network = way
    bench, job = _bench(data, way, effort, root=root, device=device)
    try:
        selection = tuned_and_refitted(bench, [job])[0].selection
    except OutOfMemory as error:
        raise TlbenchError(f"{error}; close other programs, or name a smaller network: --backbone REF") from error
    trial = Trial(selection["chosen"], selection["params"])
    everything = np.arange(len(data.y))
    number = seed("train", dataset=data.card.name, backbone=network, strategy=strategy, fold="kept")
    fit = Fit(job, trial, everything, everything[:0], number)
    fitted = next(Fits(bench, Bill()).on_test([fit], bench.steps(effort)))
    sample = data.inputs(np.arange(len(fitted.logits)))
    state = _on_cpu(fitted.pack.states[fitted.lane])
    whole = Predictor(bench.strategy, bench.backbone, trial.params, state)
    lean = _lean(whole, sample, fitted.logits, close=CLOSE if device == "cpu" else CLOSE_ACROSS)
    return Refit(lean, trial.params, sample, fitted.logits, len(selection["trials"]))


def _bench(
    data: Labelled, way: tuple[str, str], effort: Effort, *, root: Path, device: str
) -> tuple[Bench, Job]:
    strategy, network = way
    rows, budget = np.arange(len(data.y)), int(data.counts.max())
    number = seed("folds", dataset=data.card.name, s=0, budget=budget)
    parts = folds(data.y, budget, fold_seed=number, rule=effort.folds, groups=data.groups)
    cell = Cell(
        data.card.name,
        network,
        strategy,
        budget,
        0,
        data_fingerprint=data.fingerprint,
        metric=data.card.metric,
        effort=effort,
    )
    job = Job(cell, rows, data.y, tuple(parts))
    block = Block(
        strategy=strategy,
        backbone=BACKBONES.reference(network),
        jobs=(job,),
        data=advise_data.whole(data, root),
        pool_rows=rows,
        shape=TaskShape(len(rows), len(data.class_names), data.card.modality),
        flips=data.card.horizontal_flip,
        cache=root,
        device=device,
    )
    return Bench(block, STRATEGIES[strategy]()), job


def _lean(predictor: Predictor, sample: np.ndarray, logits: np.ndarray, *, close: float) -> Predictor:
    """The predictor with only that part of its state which prediction reads (no moments of an optimiser).

    Raises TlbenchError where it does not predict what the fit in memory predicted.
    """
    watched = _Watched(predictor.state)
    lean = Predictor(predictor.strategy, predictor.backbone, predictor.hp, watched)
    lean.logits(sample[:1], num_classes=logits.shape[1])
    lean.state = {name: value for name, value in predictor.state.items() if name in watched.read}
    found = lean.logits(sample, num_classes=logits.shape[1]).numpy()
    if not np.allclose(found, logits, rtol=0, atol=close * max(1.0, float(np.abs(logits).max()))):
        raise TlbenchError(
            f"{predictor.strategy.name} cannot be exported: without its training examples it predicts something else "
            f"(by {float(np.abs(found - logits).max()):.3g}); a strategy's `predict` must need its state alone"
        )
    return lean


class _Watched(dict[str, Any]):
    """A state that notes which of its entries are read."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)


def _on_cpu(state: State) -> State:
    return {k: _on_cpu(v) if isinstance(v, dict) else v.detach().cpu() for k, v in state.items()}
