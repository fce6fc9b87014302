"""Which trials go on? The best of each cell, on all folds; and nothing that a lane learns depends on who is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree
from toy import lanes, network, pack

from tlbench import backbones, packs, rng, space
from tlbench.block import _folds, tuned_and_refitted
from tlbench.contract_toy import CLASSES, ROWS, images
from tlbench.datasets import cache
from tlbench.fits import Bench, Block, Job
from tlbench.halving import _margin, compared
from tlbench.packs import Bill, Fits
from tlbench.registry import STRATEGIES
from tlbench.space import Choice, Float
from tlbench.strategies.base import Strategy
from tlbench.strategies.gradient import GradientStrategy
from tlbench.tune import Search, Trial
from tlbench.types import Cell, Effort, TaskShape

STEPS, TRIALS, CELLS = 18, 9, 3
WHOLE = Effort(trials=TRIALS, steps=STEPS, batch_size=8, eta=3)
HALVED = replace(WHOLE, rungs=(1 / 9, 1 / 3))


class Head(GradientStrategy):
    """A linear head on frozen features, trained step by step, in packs of two kinds."""

    name = "head"
    space = {"lr": Float(1e-4, 1.0, log=True, default=1e-2), "bias": Choice(True, False, default=True)}

    def module(self, task, hp):
        head = nn.Linear(task.x.shape[1], task.num_classes, bias=hp["bias"])
        nn.init.zeros_(head.weight)
        return head


class Ran(NamedTuple):
    """The trials of each cell after a search, by the cell's seed, and what they cost."""

    trials: dict[int, list[Trial]]
    bill: Bill
    bench: Bench

    def steps(self, seed: int) -> int:
        return self.bill.total(self.cell(seed).key)[2]

    def cell(self, seed: int) -> Cell:
        return next(job.cell for job in self.bench.block.jobs if job.cell.seed == seed)


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> Block:
    """Three cells of a toy task too noisy to solve: 5 labels a class, two folds."""
    folder, labels = tmp_path_factory.mktemp("halving"), torch.arange(ROWS) % CLASSES
    noise = (160 * rng.uniform(rng.key(7), (ROWS, 32, 32, 3))).to(torch.uint8).numpy()
    pixels = (images(labels) // 4 + noise).astype(np.uint8)
    (folder / "draft").mkdir()
    arrays = {"pool_x": pixels[:48], "test_x": pixels[48:]}
    cache.write(folder / "data", arrays, {}, place=folder / "draft")
    return Block(
        strategy="head",
        backbone="glyph_vit",
        jobs=tuple(job(seed, labels.numpy()) for seed in range(CELLS)),
        data=folder / "data",
        pool_rows=np.arange(48),
        shape=TaskShape(ROWS, CLASSES, "image"),
        flips=False,
        cache=Path(folder),
    )


def job(seed: int, labels: np.ndarray) -> Job:
    rows = np.arange(4 * seed, 4 * seed + 20)
    halves = np.arange(10), np.arange(10, 20)
    return Job(
        Cell("toy", "glyph_vit", "head", budget=5, seed=seed, effort=HALVED), rows, labels[rows], (halves, halves[::-1])
    )


def search(block: Block, effort: Effort, strategy: Strategy | None = None) -> Ran:
    """One round of a search in each cell, with nothing refitted."""
    jobs = tuple(replace(job, cell=replace(job.cell, effort=effort)) for job in block.jobs)
    bench, bill = Bench(replace(block, jobs=jobs), strategy or Head()), Bill()
    trials = {job.cell.seed: Search(bench.space, effort, seed=job.cell.seed, compared=True).ask() for job in jobs}
    compared(bench, [(job, [fit for t in trials[job.cell.seed] for fit in _folds(job, t)]) for job in jobs], bill)
    return Ran(trials, bill, bench)


@pytest.fixture(scope="module")
def whole(block: Block) -> Ran:
    return search(block, WHOLE)


@pytest.fixture(scope="module")
def halved(block: Block) -> Ran:
    return search(block, HALVED)


def pairs(one: Ran, other: Ran) -> Iterator[tuple[Trial, Trial]]:
    for seed in range(CELLS):
        yield from zip(one.trials[seed], other.trials[seed], strict=True)


def alike(one: Ran, other: Ran) -> None:
    """The same trials were cut at the same rungs, with the same values up to rounding."""
    for a, b in pairs(one, other):
        assert (a.params, a.state, a.steps) == (b.params, b.state, b.steps)
        assert a.nll == pytest.approx(b.nll, rel=1e-4)


def test_one_trial_in_eta_goes_on_from_each_rung(halved: Ran) -> None:
    for trials in halved.trials.values():
        assert sorted(trial.steps for trial in trials) == [2] * 6 + [6] * 3
        assert [trial.state for trial in sorted(trials, key=lambda trial: trial.steps)][:6] == ["pruned"] * 6
        assert [trial.state for trial in trials].count("complete") == 1


def test_those_cut_are_the_worst_of_their_cell_at_that_rung(halved: Ran) -> None:
    for trials in halved.trials.values():
        went_on = [trial.curve[2] for trial in trials if trial.steps > 2]
        assert min(went_on) >= max(trial.curve[2] for trial in trials if trial.steps == 2)
        last = [trial for trial in trials if trial.steps == 6]
        assert min(last, key=lambda trial: trial.promise).state == "complete"


def test_several_left_at_the_last_rung_are_compared_at_the_end(block: Block) -> None:
    found = search(block, replace(HALVED, rungs=(1 / 9,)))
    for trials in found.trials.values():
        assert sorted(trial.steps for trial in trials) == [2] * 6 + [STEPS] * 3
        assert all(trial.state == "complete" for trial in trials if trial.steps == STEPS)


def test_the_steps_of_a_search_are_known_beforehand(halved: Ran, whole: Ran) -> None:
    for seed in range(CELLS):
        assert halved.steps(seed) == 2 * (9 * 2 + 3 * 4)
        assert whole.steps(seed) == 2 * TRIALS * STEPS


def test_dropping_the_others_changes_no_lane(block: Block, whole: Ran) -> None:
    found = search(block, replace(HALVED, rungs=(1 / 9, 1 / 3), eta=2))
    finished = [(a, b) for a, b in pairs(found, whole) if a.steps == STEPS]
    assert len(finished) == CELLS * 3
    for ours, uncut in finished:
        assert ours.curve[STEPS] == pytest.approx(uncut.curve[STEPS], abs=1e-6)
        assert ours.nll == pytest.approx(uncut.nll, rel=1e-4)


def test_cells_take_the_places_of_lanes_that_were_dropped(
    block: Block, halved: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes, held = 2 * TRIALS + 6, list[list[list[int]]]()
    monkeypatch.setattr(packs, "STATE_BYTES", lanes * 2**19)  # room for one cell, and what goes on of another
    hold = Fits._hold

    def watched(self: Fits, *args: object) -> None:
        hold(self, *args)  # type: ignore[arg-type]
        held.append([[fit.job.cell.seed for fit in group] for _, group in self._held.values()])

    monkeypatch.setattr(Fits, "_hold", watched)
    found = search(block, HALVED)
    alike(found, halved)
    assert max(sum(map(len, groups)) for groups in held) <= lanes
    assert max(len(set(seeds)) for groups in held for seeds in groups) == 2  # cells in one pack
    assert [found.steps(seed) for seed in range(CELLS)] == [halved.steps(seed) for seed in range(CELLS)]


def test_dropped_lanes_leave_the_memory() -> None:
    strategy = Head()
    net, y = network(strategy, backbones.get("glyph_vit"), space.defaults(strategy.space))
    made = pack(strategy, net, lanes(strategy, y, count=4, rows=12))
    made.start()
    made.advance(2)
    made.keep([1])
    leaves = pytree.tree_leaves(made.states[0])
    assert [leaf.untyped_storage().nbytes() for leaf in leaves] == [leaf.nbytes for leaf in leaves]


def test_lanes_whose_states_found_no_room_begin_anew_and_come_to_the_same(
    block: Block, halved: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "STATE_BYTES", 5 * 2**19)
    found = search(block, HALVED)
    alike(found, halved)
    for seed in range(CELLS):
        assert halved.steps(seed) < found.steps(seed) <= 2 * (9 * 2 + 3 * 6)


def test_a_margin_tells_how_clearly_classes_are_told_apart_on_any_scale() -> None:
    y, logits = np.array([0, 1, 2]), np.eye(3, dtype=np.float32)
    assert _margin(logits, y) == pytest.approx(1) == _margin(100 * logits, y)
    assert _margin(logits, (y + 1) % 3) == pytest.approx(-1)
    assert _margin(np.zeros((3, 3)), y) == 0
    assert 0 < _margin(np.array([[2.0, 0], [1, 0], [0.5, 0]]), np.array([0, 0, 1])) < 1


def test_what_does_not_train_is_never_cut(block: Block) -> None:
    strategy = STRATEGIES["linear_probe"]()
    found = search(block, HALVED, strategy)
    assert {trial.state for trials in found.trials.values() for trial in trials} == {"complete"}
    assert found.steps(0) == 0


def test_a_trial_that_diverges_is_cut_first_and_called_failed(block: Block) -> None:
    class Diverges(Head):
        def loss(self, task, hp, logits, y):
            return super().loss(task, hp, logits, y) * torch.where(hp["lr"] > 0.05, torch.inf, 1.0)

    found = search(block, HALVED, Diverges())
    for trials in found.trials.values():
        assert all(trial.state == ("failed" if trial.params["lr"] > 0.05 else trial.state) for trial in trials)
        assert {trial.steps for trial in trials if trial.params["lr"] > 0.05} == {2}
        assert [trial.state for trial in trials].count("complete") == 1


def test_a_cell_tells_what_its_search_took_and_what_the_whole_would_have_taken(block: Block) -> None:
    jobs = tuple(replace(job, cell=replace(job.cell, effort=HALVED)) for job in block.jobs)
    outcomes = tuned_and_refitted(Bench(replace(block, jobs=jobs), Head()), jobs)
    for outcome in outcomes:
        assert outcome.cost["tune_steps"] == 60
        assert outcome.cost["tune_steps_whole"] == 2 * TRIALS * STEPS
        chosen = outcome.selection["chosen"]
        assert set(outcome.logits) == {0, chosen}
        assert (outcome.cost["peek_seconds"] > 0) == (chosen != 0)
