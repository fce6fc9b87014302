"""A run may be stopped at any moment, split over workers and reordered: the leaderboard is the same, byte for byte."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlbench.store import Store

SUITE = """
name = "tiny"
description = "For tests of resuming."
protocol = "TLB-1"
strategies = [{strategies}]
backbones = ["glyph_vit"]
datasets = [{datasets}]
default_preset = "smoke"

[presets.smoke]
budgets = [2, 3]
seeds = 2
effort = {{ trials = 3, steps = 6, batch_size = 8, folds = "lite", rungs = [0.5] }}
"""
STRATEGIES = ["nearest_mean", "lora", "full_finetune"]
DATASETS = ["symmetry", "count"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the suite, the suite in another order, and the uninterrupted run with one worker."""
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "tiny.toml", STRATEGIES, DATASETS)
    (folder / "turned").mkdir()
    write(folder / "turned" / "tiny.toml", STRATEGIES[::-1], DATASETS[::-1])
    assert start(folder, "whole", workers=1).wait() == 0
    return folder


def write(path: Path, strategies: list[str], datasets: list[str]) -> None:
    quoted = [", ".join(f'"{name}"' for name in names) for names in (strategies, datasets)]
    path.write_text(SUITE.format(strategies=quoted[0], datasets=quoted[1]))


def start(home: Path, results: str, *, workers: int, suite: str = "tiny.toml") -> subprocess.Popen:
    words = ["run", suite, "--results", results, "--workers", str(workers), "--device", "cpu"]
    return subprocess.Popen(
        [sys.executable, "-m", "tlbench", *words], cwd=home, stdout=subprocess.DEVNULL, start_new_session=True
    )


def board(home: Path, results: str) -> list[bytes]:
    return [(home / results / "tiny" / name).read_bytes() for name in ("leaderboard.md", "leaderboard.csv")]


def stored(home: Path, results: str) -> int:
    file = home / results / "tiny" / "results.db"
    if not file.exists():
        return 0
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        try:
            return connection.execute("SELECT count(*) FROM cells").fetchone()[0]
        except sqlite3.OperationalError:  # the tables are not made yet
            return 0


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_to_the_same_leaderboard(home, blow):
    for attempt in range(4):  # the cells are so quick that a run may end before the blow falls
        name = f"stopped-{blow.name}-{attempt}"
        run = start(home, name, workers=2)
        deadline = time.monotonic() + 120
        while not 0 < stored(home, name) < 24 and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        run.send_signal(blow)
        code = run.wait()
        before = stored(home, name)
        if 0 < before < 24:
            break
    assert 0 < before < 24, "the run was not stopped in the middle"
    assert code == (130 if blow == signal.SIGINT else -signal.SIGKILL)
    assert start(home, name, workers=2).wait() == 0
    assert board(home, name) == board(home, "whole")


def test_two_workers_and_another_order_give_the_same_leaderboard(home):
    assert start(home, "turned", workers=2, suite="turned/tiny.toml").wait() == 0
    ours, theirs = board(home, "turned"), board(home, "whole")
    assert ours == theirs


def test_a_finished_run_runs_nothing_again(home):
    folder = home / "whole" / "tiny"
    with Store.open(folder, create=False) as store:
        finished = store.frame().finished.tolist()
    assert start(home, "whole", workers=1).wait() == 0
    with Store.open(folder, create=False) as store:
        assert store.frame().finished.tolist() == finished
