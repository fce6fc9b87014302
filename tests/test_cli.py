"""Laws of the command line: help teaches, errors are sentences, exit codes tell, progress suits the output."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from tlbench import cli, cli_run
from tlbench.cli_progress import Lines, Live
from tlbench.metrics import METRICS
from tlbench.store import Store
from tlbench.suite import Suite, load_suite
from tlbench.types import Cell, Measurement, Provenance, Record, Status

COMMANDS = [
    "run",
    "fetch",
    "retry",
    "cache",
    "report",
    "list",
    "show",
    "verify",
    "canaries",
    "failures",
    "trials",
    "check",
    "pretrain",
    "new strategy",
]
TINY = ["--only", "strategy=majority", "--only", "dataset=count", "--only", "budget=2"]


def typed(*words: str) -> Result:
    return CliRunner().invoke(cli.app, list(words))


def said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def smoke() -> Suite:
    return load_suite("smoke")


def record(cell: Cell, status: Status = Status.DONE) -> Record:
    if status is not Status.DONE:
        return Record(cell, Measurement(status, reason="it broke"), Provenance())
    metrics = dict.fromkeys(METRICS, 0.5)
    cost = {"fit_seconds": 0.5, "tune_seconds": 1.0}
    return Record(cell, Measurement(status, score=0.4, floor=0.1, metrics=metrics, cost=cost), Provenance())


@pytest.fixture
def results(tmp_path: Path, smoke: Suite) -> Path:
    """The smoke suite with one cell failed, one diverged and one not run."""
    odd = {0: Status.FAILED, 1: Status.DIVERGED}
    with Store.open(tmp_path / "smoke") as store:
        store.save([record(cell, odd.get(i, Status.DONE)) for i, cell in enumerate(smoke.cells()[:-1])])
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_an_example(command: str) -> None:
    result = typed(*command.split(), "--help")
    assert result.exit_code == 0 and f"Example: tlbench {command}" in said(result)


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "tlbench", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tlbench 0.")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["run", "smkoe"], "did you mean 'smoke'"),
        (["run", "smoke", "--preset", "smoek"], "did you mean 'smoke'"),
        (["run", "smoke", "--only", "strategy=lroa", "--dry-run"], "did you mean 'lora'"),
        (["run", "smoke", "--plugin", "nowhere.py"], "tlbench new strategy NAME"),
        (["report", "smoke", "--results", "nowhere"], "tlbench run smoke"),
        (["show", "digits", "--results", "nowhere"], "tlbench run smoke"),
    ],
)
def test_a_mistake_is_answered_with_a_sentence_and_exit_code_2(words: list[str], answer: str) -> None:
    result = typed(*words)
    assert result.exit_code == 2 and answer in said(result)
    assert result.output.startswith("error: ") and "Traceback" not in result.output


def test_a_usage_error_has_exit_code_2() -> None:
    assert typed("run").exit_code == typed("list", "colours").exit_code == typed("nothing").exit_code == 2


def test_stopping_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_run, "run_suite", stopped)
    result = typed("run", "smoke")
    assert result.exit_code == 130 and "run the same command to go on" in result.output


@pytest.mark.parametrize(
    ("kind", "name"),
    [("strategies", "linear_probe"), ("datasets", "digits"), ("backbones", "glyph_vit"), ("suites", "few_shot_vision")],
)
def test_everything_that_can_be_named_is_listed(kind: str, name: str) -> None:
    lines = typed("list", kind).output.splitlines()
    assert any(line.startswith(f"{name} ") and len(line) > len(name) + 20 for line in lines)


def test_failures_are_grouped_by_reason_and_holes_are_among_them(results: Path) -> None:
    result = typed("failures", "smoke", "--results", str(results))
    assert result.exit_code == 1
    for part in ("1 failed: it broke", "1 diverged: it broke", "1 not_run", "tlbench retry smoke"):
        assert part in result.output


def test_a_cell_is_shown_by_its_name_or_the_start_of_its_key(results: Path, smoke: Suite) -> None:
    cell = smoke.cells()[5]
    for start in (cell.name, cell.key[:12]):
        shown = typed("show", start, "--results", str(results)).output
        assert cell.key in shown and "balanced_accuracy" in shown and "tlbench retry smoke --all" in shown
    several = typed("show", "majority", "--results", str(results)).output
    assert "name one of them" in several and "score 0.400" in several


def test_retry_forgets_what_went_wrong_and_nothing_else(results: Path, smoke: Suite) -> None:
    assert cli_run.forget(smoke, results, ["dataset=count"], everything=False) == 0
    assert cli_run.forget(smoke, results, [], everything=False) == 2
    with Store.open(results / "smoke") as store:
        assert store.missing(smoke.cells()) == [*smoke.cells()[:2], smoke.cells()[-1]]
    assert cli_run.forget(smoke, results, ["strategy=lora"], everything=True) == 7


def test_retry_forgets_damaged_records(results: Path, smoke: Suite) -> None:
    with sqlite3.connect(results / "smoke" / "results.db") as raw:
        raw.execute("UPDATE cells SET status = 'done' WHERE status = 'failed'")
    raw.close()
    assert typed("failures", "smoke", "--results", str(results)).exit_code == 2
    assert cli_run.forget(smoke, results, [], everything=False) == 2
    assert typed("failures", "smoke", "--results", str(results)).exit_code == 1


def test_the_report_is_written_from_the_store_alone(results: Path) -> None:
    result = typed("report", "smoke", "--results", str(results))
    assert result.exit_code == 0 and (results / "smoke" / "leaderboard.md").is_file()
    assert all(Path(line).is_file() for line in result.output.splitlines())


def test_a_run_stores_its_cells_and_is_not_done_twice(tmp_path: Path) -> None:
    command = ["run", "smoke", "--results", str(tmp_path), "--workers", "1", *TINY]
    planned = typed(*command, "--dry-run")
    assert planned.exit_code == 0 and "2 cells to run in 1 blocks" in planned.output
    assert not any(tmp_path.iterdir())
    first, second = typed(*command), typed(*command)
    assert first.exit_code == second.exit_code == 0
    assert "2 done" in first.output and "2 cells, 2 of them stored already" in second.output
    assert "   -  majority" in first.output  # a part of a suite has no ranks


def test_a_new_strategy_is_written_once_and_not_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = typed("new", "strategy", "my_idea"), typed("new", "strategy", "my_idea")
    assert first.exit_code == 0 and "tlbench check my_idea.py" in first.output
    assert second.exit_code == 2 and len((tmp_path / "my_idea.py").read_text().splitlines()) <= 25


def test_lines_tell_what_ended_and_what_went_wrong(capsys: pytest.CaptureFixture[str], smoke: Suite) -> None:
    cells = smoke.cells()[:4]
    lines = Lines()
    lines.start(12, 4)
    lines.block_started("majority/glyph_vit/digits")
    lines.block_done([record(cells[0]), *(record(cell, Status.FAILED) for cell in cells[1:])])
    lines.finish()
    out = capsys.readouterr().out
    assert "12 cells, 4 of them stored already" in out
    assert "[8/12] majority/glyph_vit/digits: 4 cells, mean score 0.400" in out
    assert "majority/glyph_vit/digits/2/1 and 2 more failed: it broke" in out


def test_what_halving_saved_is_told_in_steps_and_in_time(smoke: Suite) -> None:
    tally, (first, second, third) = Lines().tally, smoke.cells()[:3]
    tally.add([record(first)])
    assert tally.spared() == ""  # nothing was trained step by step
    halved, whole = record(second), record(third)
    halved.measurement.cost.update(tune_seconds=10.0, tune_steps=250, tune_steps_whole=1000)
    whole.measurement.cost.update(tune_seconds=40.0, tune_steps=1000, tune_steps_whole=1000)
    tally.add([halved, whole])
    assert tally.spared() == (
        "tuning took 62% of the 2,000 steps of all trials to the end, which spared one worker about 0:00:30"
    )


def test_the_live_display_shows_progress_and_leaders(smoke: Suite) -> None:
    screen = io.StringIO()
    live = Live(Console(file=screen, force_terminal=True, width=100))
    cells = smoke.cells()
    live.start(32, 0)
    live.block_started("lora/glyph_vit/digits")
    live.block_done([record(replace(cells[0], strategy="lora"))])
    live.say("[not markup]")
    live._display.refresh()
    live.finish()
    live.finish()
    for part in ("1/32", "lora/glyph_vit", "0.400", "[not markup]"):
        assert part in screen.getvalue()
