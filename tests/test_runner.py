"""Laws of planning a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlbench import runner
from tlbench.store import Store
from tlbench.suite import Filter, load_suite
from tlbench.types import Measurement, Provenance, Record, Status


@pytest.mark.parametrize("trials, fits", [(1, 1), (3, 3 * 2 + 1)])
def test_one_trial_is_not_compared_with_itself(tmp_path, monkeypatch, trials, fits):
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    suite = load_suite("smoke")
    suite = replace(suite, effort=replace(suite.effort, trials=trials))
    only = Filter(strategy=("lora",), dataset=("digits",), budget=(5,), seed=(0,))
    with Store.open(tmp_path / "results") as store:
        assert runner.planned(suite, store, runner.prepared(suite, only), only).fits == fits


def test_strategies_share_what_was_drawn_for_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    suite, only = load_suite("smoke"), Filter(dataset=("digits",), budget=(5,), seed=(0,))
    with Store.open(tmp_path / "results") as store:
        blocks = runner.planned(suite, store, runner.prepared(suite, only), only).blocks
    jobs = [job for block in blocks for job in block.jobs]
    assert len(jobs) == len(suite.strategies)
    assert len({id(job.folds) for job in jobs}) == len({id(job.rows) for job in jobs}) == 1


def test_the_longest_blocks_run_first_by_steps_or_as_such_cells_took(tmp_path, monkeypatch):
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    suite, only = load_suite("smoke"), Filter(dataset=("digits",))
    suite = replace(suite, strategies=("majority", "partial_freeze", "from_scratch", "full_finetune"))
    data = runner.prepared(suite, only)
    with Store.open(tmp_path / "results") as store:
        plan = runner.planned(suite, store, data, only)
        assert [block.strategy for block in plan.blocks][0] == "from_scratch"
        assert [block.strategy for block in plan.blocks][-1] == "majority"
        assert "guess" in plan.pace.grounds(plan.blocks)
        seconds = {"majority": 1000.0, "partial_freeze": 3.0, "from_scratch": 1.0, "full_finetune": 2.0}
        first = [cell for cell in plan.cells if cell.seed == 0]
        store.save([Record(cell, took(seconds[cell.strategy]), Provenance()) for cell in first])
        again = runner.planned(suite, store, data, only)
    assert [block.strategy for block in again.blocks] == ["majority", "partial_freeze", "full_finetune", "from_scratch"]
    assert sum(map(again.pace.seconds, again.blocks)) == sum(seconds.values()) * len(suite.budgets)
    assert "took before" in again.pace.grounds(again.blocks)


def took(seconds: float) -> Measurement:
    return Measurement(Status.DONE, cost={"tune_seconds": seconds / 2, "fit_seconds": seconds / 2})
