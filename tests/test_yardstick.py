"""Does the yardstick measure what it says? The same fits three ways, the operations they need, and which rows count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tlbench.backbones.linear import PRESENT
from tlbench.fits import Bench, Block
from tlbench.registry import STRATEGIES
from tlbench.strategies.convex import logistic_regression
from tlbench.suite import load_suite
from tlbench.types import Cell
from tlbench.width import MachinePlan

PERF = Path(__file__).parent / "perf"
sys.path.insert(0, str(PERF))

import agreement  # noqa: E402
import born  # noqa: E402
import floor  # noqa: E402
import grid  # noqa: E402
import memory  # noqa: E402
import plain  # noqa: E402
import tutorial  # noqa: E402
import written  # noqa: E402
import yardstick  # noqa: E402

SMALL = ("--budgets", "2", "--seeds", "1", "--steps", "12", "--trials", "2")


def block(strategy: str, folder: Path, *more: str) -> Block:
    asked = yardstick._parser().parse_args([*SMALL, "--strategies", strategy, *more])
    (made,) = yardstick._blocks(asked, folder)
    return replace(made, cache=folder)


@pytest.mark.parametrize("strategy", ["full_finetune", "lora", "linear_probe"])
def test_plain_comes_to_the_same_as_a_lane_alone_and_among_others(strategy, tmp_path):
    given = block(strategy, tmp_path)
    found = agreement.states(given, plain.proposed(given))
    assert found.close and found.lanes > 1


def test_states_that_part_are_seen(tmp_path):
    given = block("bitfit", tmp_path)
    trials = plain.proposed(given)
    (key, (first, *_)), *_ = trials.items()
    setting, fit = plain.setting(given), next(plain.fits(given.jobs[0], [first]))
    bench = Bench(given, setting.strategy)
    ours, theirs = agreement._begun(bench, [fit])[0], agreement._plain(setting, fit)
    assert agreement._distance(setting, fit, theirs, ours) < agreement.CLOSE
    assert agreement._distance(setting, fit, theirs, ours * 1.001) > agreement.CLOSE


def test_two_classes_are_solved_as_tlbench_solves_them(tmp_path):
    given = block("linear_probe", tmp_path)
    job = given.jobs[0]
    two = replace(given, shape=given.shape._replace(num_classes=2), jobs=(replace(job, y=job.y % 2),))
    setting = plain.setting(two)
    fit = next(plain.fits(two.jobs[0], plain.proposed(two)[job.cell.key]))
    x, y = plain.features(setting, fit)
    strength = torch.tensor(fit.trial.params["C"])
    ours = torch.column_stack(logistic_regression(x, y, torch.ones(len(y)), 2, strength))
    values = [agreement._value(h, x, y, float(strength)) for h in (ours, plain.head(setting, fit))]
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_all_ways_answer_for_the_same_fits(tmp_path):
    for strategy in ("majority", "nearest_mean", "pixels_logistic", "partial_freeze"):
        given = block(strategy, tmp_path / strategy)
        trials, files = plain.proposed(given), tmp_path / strategy / "files"
        tutorial.write_files(given, files)
        ours, theirs = plain.work(given, trials), tutorial.work(given, trials, files)
        assert ours.keys() == theirs.keys() and len(ours) == sum(map(len, trials.values()))
        assert all(each.shape == (500, 10) for each in (*ours.values(), *theirs.values()))
        if not STRATEGIES[strategy].trains:
            assert all(np.allclose(ours[key], theirs[key], atol=1e-3) for key in ours), "files hold the same pixels"


def test_what_is_frozen_is_needed_once_for_each_input(tmp_path):
    given = block("linear_probe", tmp_path)
    bench = Bench(given, STRATEGIES["linear_probe"]())
    need = floor.needed(given, plain.proposed(given))
    assert need.prefix == (20 + 500) * bench.prefix_flops("features")
    assert need.caching > 10 and need.total == need.prefix + need.fits


def test_a_strategy_that_trains_everything_gains_nothing_from_caching(tmp_path):
    given = block("full_finetune", tmp_path)
    need = floor.needed(given, plain.proposed(given))
    assert need.caching == 1 and need.prefix == 0 < need.fits


def test_the_rate_is_the_best_of_the_libraries():
    assert set(floor.rates()) == {"torch", "numpy"} | ({"oneDNN"} if PRESENT else set())


def cells(values: list[float]) -> dict[Cell, float]:
    return {Cell("d", "b", "s", 2, seed): value for seed, value in enumerate(values)}


def test_accuracies_agree_within_the_noise_of_seeds():
    ours = cells([0.50, 0.60, 0.70])
    assert agreement.points(ours, ours).close
    assert agreement.points(ours, cells([0.52, 0.59, 0.70])).close
    assert not agreement.points(cells([0.50, 0.51, 0.50]), cells([0.60, 0.61, 0.60])).close
    alone = agreement.points(cells([0.5]), cells([0.6]))
    assert not alone.close and np.isnan(alone.error), "one cell tells nothing of noise"


def test_a_row_whose_states_differ_does_not_count(tmp_path):
    same = agreement.points(cells([0.5, 0.6]), cells([0.5, 0.6]))
    seconds = {"tlbench": [1.0, 2.0, 3.0], "plain": [4.0, 4.0, 4.0]}
    far = agreement.States(1e-3, 1e-6, 8, 1e-7)
    row = yardstick.Row("glyph_vit", "lora", seconds, far, {"plain": same}, 10**9, 1.0, 1.0)
    assert row.ratio("plain") == (2.0, 4 / 3, 4.0)
    assert "does not count: states differ" in yardstick._line(row, 1e9) and yardstick._totals([row], 1e9) == []
    good = row._replace(states=agreement.States(1e-7, 1e-6, 8, 1e-7))
    totals = yardstick._totals([row, good], 1e9)
    assert (
        "| all | by time | 2.00 | 2.00 | – | – |" in totals[0] and "50%" in totals[0] and "without 1 row" in totals[0]
    )


def test_a_sample_is_scaled_strategy_by_strategy():
    sample = [grid.Sampled("plain", "d", "b", "lora", 2, 10.0), grid.Sampled("plain", "d", "b", "bitfit", 1, 1.0)]
    assert grid.scaled({("b", "lora"): 20, ("b", "bitfit"): 6}, sample, 2) == (20 * 5 + 6 * 1) / 2


def test_a_grid_without_halving_is_the_same_suite_otherwise(tmp_path):
    suite = load_suite("few_shot_vision", "lite")
    whole = replace(suite, effort=replace(suite.effort, rungs=()))
    for each in (suite, whole):
        (tmp_path / "suite.toml").write_text(grid.toml(each))
        assert load_suite(tmp_path / "suite.toml").cells() == each.cells()


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell")
def test_memory_of_a_child_is_seen():
    words, pipe = [sys.executable, "-c", "print(flush=True); input()"], subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "\n"  # it is there
        assert child.pid in memory.family(os.getpid()) and memory.pss(child.pid) > 1
        child.communicate("\n")
    assert memory.pss(child.pid) == 0


def test_what_is_written_is_json_and_whole(tmp_path):
    row = agreement.States(float("nan"), 1.0, 2, 0.0)
    written.write(tmp_path, "name", text="| a |\n", data={"rows": [row]})
    assert json.loads((tmp_path / "name.json").read_text()) == {
        "rows": [{"alone": None, "together": 1.0, "lanes": 2, "rounding": 0.0}]
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["name.json", "name.md"]


def test_the_script_runs(tmp_path):
    words = [*SMALL, "--strategies", "linear_probe", "--repeats", "1", "--out", str(tmp_path)]
    environment = {**os.environ, born.PLAN: json.dumps(MachinePlan()._asdict())}  # as if it had begun anew
    script = [sys.executable, str(PERF / "yardstick.py"), *words]
    subprocess.run(script, env=environment, check=True, capture_output=True, timeout=300)
    ((row,), made) = (json.loads((tmp_path / "yardstick.json").read_text())[name] for name in ("rows", "made"))
    assert set(row["seconds"]) == {"tlbench", "plain", "plain on cached features", "tutorial"}
    assert "| glyph_vit | linear_probe |" in (tmp_path / "yardstick.md").read_text() and made["processor"]
