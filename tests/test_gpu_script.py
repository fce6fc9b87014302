"""Does the script that measures a GPU run at all? Tried on a CPU, at sizes that say nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from tlbench import backbones

PERF = Path(__file__).parent / "perf"
sys.path.insert(0, str(PERF))

import gpu  # noqa: E402
import gpu_grid  # noqa: E402

GRID = gpu_grid.Grid(lanes=2, sample=1, rows=12, test_rows=4, steps=12, repeats=1)


def test_both_contestants_of_the_grid_train_the_same_fits():
    row = gpu_grid.row("bitfit", backbones.get("glyph_vit"), torch.device("cpu"), GRID)
    assert row["agreement"] < 1e-4 and row["flops"] > 0
    assert [*row["seconds"]] == ["tlbench", "without replay", "plain"]
    assert "| glyph_vit | bitfit |" in gpu._line(row, 1e12)


def test_without_replay_the_means_of_replay_are_put_back():
    before = dict(gpu_grid.replay.GRAPHS)
    gpu_grid.unreplayed(lambda: None)
    assert gpu_grid.replay.GRAPHS == before != {}


def test_it_needs_neither_optuna_nor_datasets_and_says_what_it_needs():
    missing = "import sys; sys.modules |= {'optuna': None, 'datasets': None, 'pandas': None}; sys.argv = ['gpu.py']; "
    program = f"{missing} sys.path.insert(0, {str(PERF)!r}); import torch; "
    program += "torch.cuda.is_available = lambda: False; import gpu; gpu.main()"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 1 and answer.stderr.strip().startswith("no GPU here")
