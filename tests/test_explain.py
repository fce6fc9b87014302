"""Laws of `--explain`: what it says of a block is what a run then does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tlbench import cli, runner
from tlbench.cli_explain import explanation
from tlbench.executors import Means
from tlbench.explain import Way, ways
from tlbench.store import Store
from tlbench.suite import Suite, load_suite
from tlbench.width import MachinePlan

ON_A_CPU = Means(workers=1, device="cpu")


@pytest.fixture
def suite(tmp_path, monkeypatch) -> Suite:
    """A small one; its folder has a plan already, and nothing is cached."""
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    asked = ("linear_probe", "lora", "partial_freeze", "tfidf_logistic")
    small = replace(load_suite("smoke"), strategies=asked, datasets=("count",), budgets=(5,), seeds=(0,))
    with Store.open(tmp_path / small.name) as store:
        store.plan_put("width", MachinePlan(most=7)._asdict())
    return small


def explained(suite: Suite) -> list[Way]:
    data = runner.prepared(suite)
    blocks = runner.blocks(suite, data, runner.identified(suite, data))
    return list(ways([replace(block, plan=MachinePlan(most=7)) for block in blocks]))


def test_a_run_does_what_was_explained(suite, tmp_path):
    before = {(way.strategy, way.tap): way for way in explained(suite)}
    assert {way.files.there for way in before.values()} == {0}
    only_one = replace(suite, strategies=("linear_probe", "lora"))
    assert runner.run(only_one, results=tmp_path, means=ON_A_CPU).ok
    after = {(way.strategy, way.tap): way for way in explained(suite)}
    assert after["lora", "blocks.0"].files.there == after["linear_probe", "features"].files.there == 2
    assert after["partial_freeze", "blocks.2"].files.there == 0
    with Store.open(tmp_path / suite.name, create=False) as store:
        widths = {record.cell.strategy: record.provenance.width for record in store.records()}
    assert widths["lora"] == before["lora", "blocks.0"].lanes.together == 7
    told = sum(after[place].files.bytes for place in (("lora", "blocks.0"), ("linear_probe", "features")))
    kept = sum(file.stat().st_size for file in (tmp_path / "cache" / "features").rglob("x.npy"))
    assert kept == pytest.approx(told, rel=0.01)


def test_each_tap_of_a_strategy_has_a_row_and_what_is_left_out_says_why(suite):
    found = explained(suite)
    assert [way.tap for way in found if way.strategy == "partial_freeze"] == ["blocks.2", "blocks.1"]
    assert [way.values for way in found if way.strategy == "partial_freeze"] == ["blocks=1", "blocks=2"]
    assert next(way.skipped for way in found if way.strategy == "tfidf_logistic") == "images have no words to count"
    shares = {(way.strategy, way.tap): way.below for way in found if not way.skipped}
    assert shares["linear_probe", "features"] == 1.0
    assert (
        0 < shares["lora", "blocks.0"] < shares["partial_freeze", "blocks.1"] < shares["partial_freeze", "blocks.2"] < 1
    )


def test_the_plan_of_the_folder_is_told_and_nothing_is_changed(suite, tmp_path):
    text = " ".join(explanation(suite, tmp_path, [], ON_A_CPU).split())
    assert "how this machine works (kept in the folder)" in text and "7 at most" in text
    assert "lora glyph_vit AdamW, 10 steps blocks.0" in text
    with Store.open(tmp_path / suite.name, create=False) as store:
        assert store.records() == [] and store.plan_get("machine") is None


def test_it_is_told_after_what_a_dry_run_tells_and_no_folder_is_made(tmp_path: Path):
    words = ["run", "smoke", "--results", str(tmp_path), "--only", "strategy=majority", "--only", "dataset=count"]
    dry, told = (CliRunner().invoke(cli.app, [*words, how]) for how in ("--dry-run", "--explain"))
    assert dry.exit_code == told.exit_code == 0
    assert told.output.startswith(dry.output) and "GFLOP/s" in told.output
    assert not any(tmp_path.iterdir())
