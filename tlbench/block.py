"""The worker's whole job: cells that share (dataset, backbone, strategy) are tuned, refitted and predicted.

A worker is given test inputs and no test labels; what it returns is judged by the scorer.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tlbench import registry
from tlbench.datasets import base
from tlbench.datasets.splits import seed
from tlbench.engine import OutOfMemory
from tlbench.fits import Bench, Bill, Block, Fit, Fits, Fitted, Job
from tlbench.metrics import all_metrics
from tlbench.tune import Search, Trial, rungs, survivors
from tlbench.types import Cell, Status

COMPANY_SHARE, COMPANY_TOLERANCE = 20, 1e-4  # one test input in 20 is predicted again in other company


@dataclass
class Outcome:
    """What a worker found out about one cell."""

    cell: Cell
    status: Status
    reason: str = ""
    selection: dict[str, Any] = field(default_factory=dict)  # chosen trial, its values, every trial
    logits: dict[int, np.ndarray] = field(default_factory=dict)  # [m, C] float32 by number of the refitted trial
    cost: dict[str, float] = field(default_factory=dict)
    transductive: bool = False
    width: int = 1
    pieces: int = 1
    started: float = 0.0  # seconds since the epoch
    finished: float = 0.0


def work(block: Block) -> list[Outcome]:
    """One outcome for each job, whatever happens to it; jobs of one budget run fused."""
    base.seal()
    for plugin in block.plugins:
        registry.load_plugin(plugin)
    if block.device == "cpu":
        torch.set_num_threads(1)
    strategy = registry.STRATEGIES[block.strategy]()
    reason = strategy.skip(block.shape)
    if reason is not None:
        return [Outcome(job.cell, Status.SKIPPED, reason) for job in block.jobs]
    bench = Bench(block, strategy)
    outcomes: list[Outcome] = []
    for budget in sorted({job.cell.budget for job in block.jobs}):
        outcomes += _whatever_happens(bench, [job for job in block.jobs if job.cell.budget == budget])
    return outcomes


def _whatever_happens(bench: Bench, jobs: Sequence[Job]) -> list[Outcome]:
    """Outcomes of jobs run together; where that fails, of each run once more alone, its own failure recorded."""
    started = time.time()
    try:
        outcomes = tuned_and_refitted(bench, jobs)
    except Exception:
        outcomes = [_alone(bench, job) for job in jobs]
    for outcome in outcomes:
        outcome.started, outcome.finished = started, time.time()
    return outcomes


def _alone(bench: Bench, job: Job) -> Outcome:
    try:
        return tuned_and_refitted(bench, [job])[0]
    except OutOfMemory as error:
        return Outcome(job.cell, Status.OUT_OF_MEMORY, str(error))
    except Exception as error:
        place = registry.raised_at(error, type(bench.strategy).__module__)
        return Outcome(job.cell, Status.FAILED, f"{type(error).__name__}: {error} ({place})")


def tuned_and_refitted(bench: Bench, jobs: Sequence[Job]) -> list[Outcome]:
    """Chooses each job's configuration on its folds, trains it on the whole budget, and predicts the test inputs."""
    searches = {job.cell.key: _search(bench, job) for job in jobs}
    tuning, fitting = Bill(), Bill()
    while asked := {key: search.ask() for key, search in searches.items() if search.open}:
        _compared(bench, [job for job in jobs if job.cell.key in asked], asked, tuning)
        for key, trials in asked.items():
            searches[key].tell(trials)
    finalists = (_refit(job, trial) for job in jobs for trial in searches[job.cell.key].finalists())
    return _outcomes(Fits(bench, finalists, fitting), searches, tuning)


def _search(bench: Bench, job: Job) -> Search:
    return Search(bench.space, job.cell.effort, seed=_seed(job, "search"), compared=bool(job.folds))


def _compared(bench: Bench, jobs: Sequence[Job], asked: dict[str, list[Trial]], tuning: Bill) -> None:
    """Trains the trials on their folds, from rung to rung, and writes down what each is worth."""
    folded = [job for job in jobs if job.folds]
    folds = (fit for job in folded for trial in asked[job.cell.key] for fit in _folds(job, trial))
    fits = Fits(bench, folds, tuning)
    alive = {job.cell.key: asked[job.cell.key] for job in folded}
    effort = jobs[0].cell.effort
    halved = bench.strategy.trains and bool(effort.rungs)
    steps = rungs(effort, bench.steps(effort)) if halved else [bench.steps(effort)]
    for rung in steps:
        _judge(fits, rung, last=rung == steps[-1])
        for key, trials in alive.items():
            alive[key] = survivors(trials, effort.eta) if halved else trials
        fits.keep([trial for trials in alive.values() for trial in trials])
    for job in folded:
        for trial in asked[job.cell.key]:
            finished = any(trial is other for other in alive[job.cell.key])
            trial.state = "failed" if math.isinf(trial.value) else "complete" if finished else "pruned"


def _judge(fits: Fits, rung: int, *, last: bool) -> None:
    """Gives every living trial its value on pooled out-of-fold predictions after `rung` steps."""
    pooled: dict[int, list[tuple[Fit, np.ndarray]]] = {}
    for fit, logits in fits.out_of_fold(rung, last=last):
        pooled.setdefault(id(fit.trial), []).append((fit, logits))
    for parts in pooled.values():
        job, trial = parts[0][0].job, parts[0][0].trial
        logits = np.concatenate([part for _, part in parts])
        y = np.concatenate([job.y[fit.held_out] for fit, _ in parts])
        trial.steps, trial.cost = rung, fits.bill.flops[job.cell.key, trial.number]
        trial.value, trial.nll = -math.inf, math.inf
        if np.isfinite(logits).all():
            found = all_metrics(logits, y)
            trial.value, trial.nll = found[job.cell.metric], found["nll"]
            trial.curve[rung] = trial.value


def _outcomes(refits: Fits, searches: dict[str, Search], tuning: Bill) -> list[Outcome]:
    bench, found = refits.bench, dict[str, Outcome]()
    effort = next(iter(searches.values())).effort
    for fitted in refits.on_test(bench.steps(effort)):
        cell, trial = fitted.fit.job.cell, fitted.fit.trial
        outcome = found.setdefault(cell.key, Outcome(cell, Status.DONE))
        search = searches[cell.key]
        outcome.logits[trial.number] = fitted.logits
        if trial is not search.winner():
            continue
        outcome.selection = search.selection()
        outcome.transductive = _transductive(bench, fitted)
        outcome.width, outcome.pieces = fitted.pack.width, fitted.pack.pieces
        outcome.cost = _cost(fitted, refits, tuning)
    return list(found.values())


def _cost(fitted: Fitted, refits: Fits, tuning: Bill) -> dict[str, float]:
    bench, key, trial = refits.bench, fitted.fit.job.cell.key, fitted.fit.trial
    trainable, total = bench.strategy.parameters(fitted.pack.task(fitted.lane), trial.params)
    tune_seconds, tune_flops = tuning.total(key)
    below = sum(p.numel() for p in bench.backbone.prefix(bench.tap(trial.params)).parameters())
    return {
        "trainable_parameters": trainable,
        "total_parameters": total + below,
        "stored_parameters": trainable,
        "train_flops": refits.bill.flops[key, trial.number],
        "tune_flops": tune_flops,
        "tune_seconds": tune_seconds,
        "fit_seconds": refits.bill.seconds[key, trial.number],
        "peak_memory_mb": _peak_memory(bench.block.device),
        **bench.latency(fitted.pack, bench.tap(trial.params)),
    }


def _transductive(bench: Bench, fitted: Fitted) -> bool:
    """Do predictions depend on what else is in the test batch? (PROTOCOL 4)"""
    again = np.arange(0, len(fitted.logits), COMPANY_SHARE)
    inputs = bench.test(bench.tap(fitted.fit.trial.params))[torch.from_numpy(again)]
    company, before = fitted.pack.predict(inputs, of=[fitted.lane])[0].numpy(), fitted.logits[again]
    size = max(1.0, float(np.abs(before).max()))
    return bool(np.abs(company - before).max() > COMPANY_TOLERANCE * size)


def _folds(job: Job, trial: Trial) -> list[Fit]:
    return [
        Fit(job, trial, train, held_out, _seed(job, "train", trial=trial.number, fold=number))
        for number, (train, held_out) in enumerate(job.folds)
    ]


def _refit(job: Job, trial: Trial) -> Fit:
    everything = np.arange(len(job.rows))
    return Fit(job, trial, everything, everything[:0], _seed(job, "train", trial=trial.number, fold="all"))


def _seed(job: Job, role: str, **names: Any) -> int:
    cell = job.cell
    own = {"dataset": cell.dataset, "s": cell.seed, "budget": cell.budget}
    return seed(role, **own, backbone=cell.backbone, strategy=cell.strategy, **names)


def _peak_memory(device: str) -> float:
    """MiB: of the device where there is one, of this process otherwise."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
