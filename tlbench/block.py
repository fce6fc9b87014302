"""The worker's whole job: cells that share (dataset, backbone, strategy) are tuned, refitted and predicted.

A worker is given test inputs and no test labels; what it returns is judged by the scorer.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tlbench import registry
from tlbench.datasets import base
from tlbench.datasets.splits import seed
from tlbench.engine import OutOfMemory
from tlbench.fits import Bench, Block, Fit, Job
from tlbench.halving import compared, whole
from tlbench.packs import Bill, Fits, Fitted
from tlbench.tune import Search, Trial
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
    """One outcome for each job, whatever happens to it; all of them run fused."""
    base.seal()
    for plugin in block.plugins:
        registry.load_plugin(plugin)
    if block.device == "cpu":
        torch.set_num_threads(1)
    strategy = registry.STRATEGIES[block.strategy]()
    reason = strategy.skip(block.shape)
    if reason is not None:
        return [Outcome(job.cell, Status.SKIPPED, reason) for job in block.jobs]
    return _whatever_happens(Bench(block, strategy), block.jobs)


def _whatever_happens(bench: Bench, jobs: Sequence[Job]) -> list[Outcome]:
    """Outcomes of jobs run together; where that fails, budget by budget; where that does, of each job alone."""
    started = time.time()
    try:
        outcomes = tuned_and_refitted(bench, jobs)
    except Exception:
        budgets = sorted({job.cell.budget for job in jobs})
        if len(budgets) > 1:
            parts = ([job for job in jobs if job.cell.budget == budget] for budget in budgets)
            return [outcome for part in parts for outcome in _whatever_happens(bench, part)]
        outcomes = [_alone(bench, job) for job in jobs]
    finished = time.time()
    for outcome in outcomes:
        outcome.started, outcome.finished = started, finished
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
    searches, tuning = tuned(bench, jobs)
    fitting = Bill()
    finalists = [_refit(job, trial) for job in jobs for trial in searches[job.cell.key].finalists()]
    fitted = Fits(bench, fitting).on_test(finalists, bench.steps(jobs[0].cell.effort))
    return _outcomes(bench, fitted, searches, (tuning, fitting))


def tuned(bench: Bench, jobs: Sequence[Job]) -> tuple[dict[str, Search], Bill]:
    """The finished search of each job, by its cell's key, and what they cost."""
    searches, bill = {job.cell.key: _search(bench, job) for job in jobs}, Bill()
    while asked := {key: search.ask() for key, search in searches.items() if search.open}:
        comparing = [job for job in jobs if job.folds and job.cell.key in asked]
        entered = [(job, [fit for trial in asked[job.cell.key] for fit in _folds(job, trial)]) for job in comparing]
        compared(bench, entered, bill)
        for key, trials in asked.items():
            searches[key].tell(trials)
    return searches, bill


def _search(bench: Bench, job: Job) -> Search:
    return Search(bench.space, job.cell.effort, seed=_seed(job, "search"), compared=bool(job.folds))


def _outcomes(
    bench: Bench, refits: Iterable[Fitted], searches: dict[str, Search], bills: tuple[Bill, Bill]
) -> list[Outcome]:
    """`bills` of tuning and of the refits; the latter is read when all have been fitted."""
    found, winners = dict[str, Outcome](), list[tuple[Outcome, Fit, dict[str, float]]]()
    for fitted in refits:
        cell, trial = fitted.fit.job.cell, fitted.fit.trial
        outcome = found.setdefault(cell.key, Outcome(cell, Status.DONE))
        search = searches[cell.key]
        outcome.logits[trial.number] = fitted.logits
        if trial is not search.winner():
            continue
        outcome.selection = search.selection()
        outcome.transductive = _transductive(bench, fitted)
        outcome.width, outcome.pieces = fitted.pack.width, fitted.pack.pieces
        winners.append((outcome, fitted.fit, _sizes(bench, fitted)))
    for outcome, fit, sizes in winners:
        outcome.cost = sizes | _spent(bench, fit, len(searches[outcome.cell.key].trials), bills)
    return list(found.values())


def _sizes(bench: Bench, fitted: Fitted) -> dict[str, float]:
    """What a fitted lane costs whoever keeps and uses it."""
    trial = fitted.fit.trial
    trainable, total = bench.strategy.parameters(fitted.pack.task(fitted.lane), trial.params)
    below = sum(p.numel() for p in bench.prefix(bench.tap(trial.params)).parameters())
    return {
        "trainable_parameters": trainable,
        "total_parameters": total + below,
        "stored_parameters": trainable,
        "peak_memory_mb": _peak_memory(bench.block.device),
        **bench.latency(fitted.pack, bench.tap(trial.params)),
    }


def _spent(bench: Bench, fit: Fit, trials: int, bills: tuple[Bill, Bill]) -> dict[str, float]:
    """What it took to choose and to fit a cell's winner, and to refit the others that were compared to the end."""
    (tuning, fitting), key = bills, fit.job.cell.key
    tune_seconds, tune_flops, tune_steps = tuning.total(key)
    fit_seconds = fitting.seconds[key, fit.trial.number]
    return {
        "train_flops": fitting.flops[key, fit.trial.number],
        "tune_flops": tune_flops,
        "tune_seconds": tune_seconds,
        "tune_steps": tune_steps,
        "tune_steps_whole": whole(bench, fit.job, trials),
        "fit_seconds": fit_seconds,
        "peek_seconds": fitting.total(key)[0] - fit_seconds,
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
