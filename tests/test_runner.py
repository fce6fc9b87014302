"""Laws of planning a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlbench import runner
from tlbench.store import Store
from tlbench.suite import Filter, load_suite


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
