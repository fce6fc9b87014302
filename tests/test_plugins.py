"""What becomes of a run in which a plug-in goes wrong? Its cells say why; all others go on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_contract import BAD, GOOD, strategy

from tlbench import contract, executors
from tlbench.block import Outcome
from tlbench.contract_toy import CLASSES, ROWS, images
from tlbench.datasets import cache
from tlbench.fits import Block, Job
from tlbench.registry import load_plugin, raised_at
from tlbench.types import Cell, Effort, Status, TaskShape

EFFORT = Effort(trials=2, steps=3, batch_size=8, folds="lite")


def block(name: str, folder: Path, plugin: Path) -> Block:
    """One cell of the toy task: 4 labels a class, two folds, 16 test inputs."""
    labels = torch.arange(ROWS) % CLASSES
    pixels, y = images(labels), labels.numpy()
    if not (folder / "data").exists():
        arrays = {"pool_x": pixels[:48], "test_x": pixels[48:]}
        (folder / "draft").mkdir()
        cache.write(folder / "data", arrays, {}, place=folder / "draft")
    rows = np.arange(4 * CLASSES)
    halves = (rows[: 2 * CLASSES], rows[2 * CLASSES :])
    job = Job(Cell("toy", "glyph_vit", name, budget=4, seed=0, effort=EFFORT), rows, y[rows], (halves, halves[::-1]))
    return Block(
        strategy=name,
        backbone="glyph_vit",
        jobs=(job,),
        data=folder / "data",
        pool_rows=np.arange(48),
        shape=TaskShape(ROWS, CLASSES, "image"),
        flips=False,
        cache=folder,
        plugins=(str(plugin),),
    )


def ran(blocks: list[Block], *, timeout: float | None = None) -> dict[str, Outcome]:
    found = executors.outcomes(blocks, workers=1, devices=["cpu"], timeout=timeout, started=lambda _: None)
    return {each.cell.strategy: each for outcomes in found for each in outcomes}


def test_what_is_wrong_with_one_plugin_is_recorded_and_all_others_go_on(tmp_path: Path) -> None:
    names = [
        "raises",
        "has_two_columns",
        "gives_nan",
        "has_a_wrong_space",
        "has_no_such_tap",
        "majority",
        "ignores_weight",
    ]
    found = ran([block(name, tmp_path, BAD) for name in names])
    status = {name: found[name].status for name in names}
    assert [name for name in names if status[name] is Status.DONE] == ["gives_nan", "majority", "ignores_weight"]
    assert {status[name] for name in names} == {Status.DONE, Status.FAILED}
    assert "KeyError: 'mean'" in found["raises"].reason
    assert 'of bad_strategies.py: `return state["mean"]`' in found["raises"].reason
    assert "has_two_columns.predict returned shape" in found["has_two_columns"].reason
    assert "lr: 0.1 is not a Float" in found["has_a_wrong_space"].reason
    assert "unknown tap 'blocks.99'" in found["has_no_such_tap"].reason
    assert np.isnan(found["gives_nan"].logits[0]).any()  # the scorer calls that diverged
    assert np.isfinite(found["majority"].logits[0]).all()


def test_a_plugin_that_ends_the_worker_or_cannot_be_loaded_is_recorded(tmp_path: Path) -> None:
    leaves = tmp_path / "leaves.py"
    leaves.write_text(GOOD + strategy("leaves", "def init(self, task, hp, key):", "    __import__('os')._exit(3)"))
    reads = tmp_path / "reads.py"
    reads.write_text(GOOD + strategy("reads") + "\nPath('test_y.npy').read_bytes()\n")
    found = ran([block("leaves", tmp_path, leaves), block("reads", tmp_path, reads), block("majority", tmp_path, BAD)])
    assert found["leaves"].status is Status.FAILED and "the worker ended, twice" in found["leaves"].reason
    assert found["reads"].status is Status.FAILED and "test labels are sealed" in found["reads"].reason
    assert found["majority"].status is Status.DONE


def test_a_plugin_that_never_ends_is_timed_out(tmp_path: Path) -> None:
    hangs = tmp_path / "hangs.py"
    hangs.write_text(GOOD + strategy("hangs", "def init(self, task, hp, key):", "    while True:", "        pass"))
    assert ran([block("hangs", tmp_path, hangs)], timeout=2)["hangs"].status is Status.TIMED_OUT


def test_a_new_strategy_runs_as_it_is(tmp_path: Path) -> None:
    file = contract.new_strategy("my_idea", tmp_path)
    outcome = ran([block("my_idea", tmp_path, file)])["my_idea"]
    assert outcome.status is Status.DONE, outcome.reason
    assert outcome.logits[0].shape == (16, CLASSES)


def test_the_command_checks_a_plugin_and_its_exit_code_tells(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GOOD + strategy("mine", "tap = 'blocks.99'"))
    for plugin, code, said in ((file, 1, "unknown tap 'blocks.99'"), ("majority", 0, "12 kept, 0 broken")):
        command = [sys.executable, "-m", "tlbench", "check", str(plugin)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (code, "")
        assert said in done.stdout


def test_the_place_of_an_error_is_the_plugins_own_last_line(tmp_path: Path) -> None:
    file = tmp_path / "calls.py"
    file.write_text("import json\n\ndef call():\n    return json.loads('{')\n")
    load_plugin(str(file))
    (module,) = (each for name, each in sys.modules.items() if name.startswith("tlbench_plugin_calls"))
    with pytest.raises(ValueError) as caught:
        module.call()
    assert raised_at(caught.value, module.__name__) == "line 4 of calls.py: `return json.loads('{')`"
    assert "decoder.py" in raised_at(caught.value, "another")


def test_the_next_block_has_started_when_the_last_is_judged(tmp_path: Path) -> None:
    begun: list[str] = []
    blocks = [block(name, tmp_path, BAD) for name in ("majority", "ignores_weight")]
    found = executors.outcomes(
        blocks, workers=1, devices=["cpu"], timeout=None, started=lambda block: begun.append(block.strategy)
    )
    assert next(found)[0].cell.strategy == "majority"
    assert begun == ["majority", "ignores_weight"]
    assert [outcomes[0].cell.strategy for outcomes in found] == ["ignores_weight"]


def test_a_block_goes_to_the_device_that_has_fewest(tmp_path: Path) -> None:
    on = [replace(block("majority", tmp_path, BAD), device=device) for device in ("cuda:0", "cuda:0", "cuda:1")]
    assert executors._freest(["cuda:0", "cuda:1", "cuda:2"], on) == "cuda:2"
    assert executors._freest(["cuda:0", "cuda:1"], on) == "cuda:1"
    assert executors._freest(["cuda:0", "cuda:1"], []) == "cuda:0"
