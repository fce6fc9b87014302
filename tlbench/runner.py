"""Runs a suite: cells, minus what is stored, as blocks sent to workers; judged, stored, reported."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tlbench import backbones, caches, executors, machine, provenance
from tlbench.block import Outcome
from tlbench.datasets import base
from tlbench.datasets.splits import Budget, Fold, folds, nested_budgets, seed
from tlbench.executors import Means
from tlbench.executors_cores import cores
from tlbench.fits import Block, Job
from tlbench.registry import BACKBONES, STRATEGIES
from tlbench.runner_estimate import Pace
from tlbench.scorer import Scorer, seal
from tlbench.store import Store
from tlbench.suite import Filter, Suite
from tlbench.types import Cell, Measurement, Record, Status, TaskShape, sha256

ANY_MEANS = Means()


class Progress(Protocol):
    """What a run tells whoever watches it."""

    def start(self, total_cells: int, done_already: int) -> None: ...
    def block_started(self, name: str) -> None: ...
    def block_done(self, records: Sequence[Record]) -> None: ...
    def say(self, text: str) -> None: ...
    def finish(self) -> None: ...


class View(NamedTuple):
    """What all strategies and backbones are given of one (budget, seed); see `Job`."""

    rows: np.ndarray  # [n]
    y: np.ndarray  # [n] int64
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class Prepared:
    """A dataset with everything that is drawn from it before training."""

    loaded: base.Loaded
    draws: dict[tuple[int, int], Budget]  # by (budget, seed)
    used: np.ndarray  # [N] sorted rows of the pool that any budget uses
    _views: dict[tuple[int, int, str], View] = field(default_factory=dict)

    def scorer(self) -> Scorer:
        card, loaded = self.loaded.card, self.loaded
        labels = partial(base.sealed_labels, loaded)
        return Scorer(labels, num_classes=len(loaded.class_names), metric=card.metric)

    def job(self, cell: Cell) -> Job:
        place = cell.budget, cell.seed, cell.effort.folds
        if place not in self._views:
            self._views[place] = self._view(cell)
        view = self._views[place]
        choosing = cell.effort.trials > 1  # the default alone has nobody to be compared with
        return Job(cell, view.rows, view.y, view.folds if choosing else ())

    def _view(self, cell: Cell) -> View:
        draw = self.draws[cell.budget, cell.seed]
        y = np.asarray(self.loaded.pool_y)[draw.rows]
        groups = None if self.loaded.groups is None else np.asarray(self.loaded.groups)[draw.rows]
        fold_seed = seed("folds", dataset=cell.dataset, s=cell.seed, budget=cell.budget)
        parts = folds(y, cell.budget, fold_seed=fold_seed, rule=cell.effort.folds, groups=groups)
        return View(np.searchsorted(self.used, draw.rows), y, tuple(parts))


class Plan(NamedTuple):
    """What a run would do."""

    cells: list[Cell]
    missing: list[Cell]
    blocks: list[Block]  # the longest first, so that no worker ends long before another
    pace: Pace

    @property
    def fits(self) -> int:
        """Trainings, counting each trial on each fold, and at least one refit a cell."""
        return sum(len(job.folds) * job.cell.effort.trials + 1 for block in self.blocks for job in block.jobs)


class Summary(NamedTuple):
    """How a run ended."""

    folder: Path
    cells: list[Cell]
    counts: dict[Status, int]

    @property
    def ok(self) -> bool:
        """Is every cell done, or skipped for a declared reason?"""
        return sum(self.counts.get(status, 0) for status in (Status.DONE, Status.SKIPPED)) == len(self.cells)


def run(
    suite: Suite,
    *,
    results: Path = Path("results"),
    means: Means = ANY_MEANS,
    only: Filter | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Runs what the store of `results`/<suite> lacks, and stores each cell as soon as it is judged.

    Raises TlbenchError for bad data or a store that cannot be used, before any training.
    """
    folder = results / suite.name
    devices = provenance.devices(means.device)
    workers = means.workers or (len(devices) if devices != ["cpu"] else cores())
    with Store.open(folder) as store:
        how = machine.kept(store, devices[0], say=(lambda _text: None) if progress is None else progress.say)
        executors.foreseen(how, devices)
        data = prepared(suite, only)
        plan = planned(suite, store, data, only)
        to_do = [replace(block, plan=how) for block in plan.blocks]
        scorers = {name: each.scorer() for name, each in data.items()}
        for each in data.values():
            store.plan_put(f"data/{each.loaded.fingerprint}", asdict(each.loaded.facts))
        where = provenance.here(devices[0])
        started = (lambda _block: None) if progress is None else (lambda block: progress.block_started(block.name))
        if progress is not None:
            progress.start(len(plan.cells), len(plan.cells) - len(plan.missing))
        found_by_block = executors.outcomes(
            to_do, workers=workers, devices=devices, timeout=means.timeout, started=started
        )
        for found in found_by_block:
            dataset = found[0].cell.dataset
            records = judged(found, scorers[dataset], store, data[dataset], where)
            store.save(records)
            if progress is not None:
                progress.block_done(records)
        if progress is not None:
            progress.finish()
        stored = store.statuses()
    return Summary(folder, plan.cells, Counter(stored[cell.key] for cell in plan.cells if cell.key in stored))


def prepared(suite: Suite, only: Filter | None = None) -> dict[str, Prepared]:
    """Every dataset that the suite needs, loaded and checked, with its budgets drawn."""
    names = sorted({cell.dataset for cell in suite.cells(only)})
    return {name: _prepared(suite, name) for name in names}


def identified(suite: Suite, data: dict[str, Prepared], only: Filter | None = None) -> list[Cell]:
    """The suite's cells with the fingerprints of their data, weights and plug-in filled in."""
    cells = suite.cells(only)
    weights = {name: backbones.get(name).fingerprint for name in sorted({cell.backbone for cell in cells})}
    sources = {name: _source(name) for name in suite.strategies}
    return [
        replace(
            cell,
            data_fingerprint=data[cell.dataset].loaded.fingerprint,
            weights_fingerprint=weights[cell.backbone],
            strategy_source=sources[cell.strategy],
        )
        for cell in cells
    ]


def planned(suite: Suite, store: Store, data: dict[str, Prepared], only: Filter | None = None) -> Plan:
    """Cells, those that are missing from the store, and the blocks that would make them."""
    cells = identified(suite, data, only)
    missing = store.missing(cells)
    pace = Pace(store.costs() if missing else ())
    return Plan(cells, missing, sorted(blocks(suite, data, missing), key=pace.seconds, reverse=True), pace)


def blocks(suite: Suite, data: dict[str, Prepared], cells: Iterable[Cell]) -> list[Block]:
    """The cells by what they share."""
    groups: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for cell in sorted(cells):
        groups[cell.dataset, cell.backbone, cell.strategy].append(cell)
    return [_block(suite, data[name[0]], group) for name, group in groups.items()]


def judged(
    found: Iterable[Outcome], scorer: Scorer, store: Store, data: Prepared, where: provenance.Machine
) -> list[Record]:
    """Records of outcomes: every selection is sealed and stored before any test label is looked at."""
    outcomes = list(found)
    seals = {each.cell.key: seal(each.selection) for each in outcomes if each.status is Status.DONE}
    store.put_seals(seals)
    return [Record(each.cell, _measured(each, scorer, store, data, seals), where.provenance(each)) for each in outcomes]


def _measured(outcome: Outcome, scorer: Scorer, store: Store, data: Prepared, seals: dict[str, str]) -> Measurement:
    cell, selection = outcome.cell, outcome.selection
    draw = data.draws[cell.budget, cell.seed]
    if outcome.status is not Status.DONE:
        return Measurement(outcome.status, outcome.reason, labels=len(draw.rows), short_classes=draw.short_classes)
    found = scorer.evaluate(
        cell.key, outcome.logits, chosen=selection["chosen"], selection=selection, sealed=seals[cell.key]
    )
    return replace(
        found,
        labels=len(draw.rows),
        short_classes=draw.short_classes,
        hyperparameters=selection["params"],
        at_edge=tuple(selection["at_edge"]),
        trials=tuple(selection["trials"]),
        transductive=outcome.transductive,
        logits=store.put_logits({str(trial): each for trial, each in outcome.logits.items()}),
        cost=outcome.cost,
    )


def _prepared(suite: Suite, name: str) -> Prepared:
    loaded = base.load(name, caches.folder())
    draws = {}
    for s in suite.seeds:
        split_seed = seed("split", dataset=name, s=s)
        drawn = nested_budgets(loaded.pool_y, suite.budgets, split_seed=split_seed, groups=loaded.groups)
        draws.update({(budget, s): draw for budget, draw in drawn.items()})
    return Prepared(loaded, draws, np.unique(np.concatenate([draw.rows for draw in draws.values()])))


def _block(suite: Suite, data: Prepared, cells: Sequence[Cell]) -> Block:
    loaded, largest = data.loaded, max(data.draws.values(), key=lambda draw: len(draw.rows))
    return Block(
        strategy=cells[0].strategy,
        backbone=BACKBONES.reference(cells[0].backbone),
        jobs=tuple(data.job(cell) for cell in cells),
        data=loaded.folder,
        pool_rows=data.used,
        shape=TaskShape(len(largest.rows), len(loaded.class_names), loaded.card.modality),
        flips=loaded.card.horizontal_flip,
        cache=caches.folder(),
        plugins=suite.plugins,
    )


def _source(strategy: str) -> str:
    """sha256 of the file that defines a third-party strategy; "" for built-in ones, which have versions."""
    module = sys.modules[STRATEGIES[strategy].__module__]
    if module.__name__.startswith("tlbench."):
        return ""
    return sha256(Path(module.__file__ or "").read_bytes())
