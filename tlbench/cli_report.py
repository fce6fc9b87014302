"""What does `tlbench report` take? A suite whose store is read, or a table of anybody's results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlbench.cli_options import Backbones, Datasets, Only, Plugins, Preset, Results
from tlbench.types import TlbenchError

Suites = Annotated[str | None, typer.Argument(metavar="SUITE", help="The suite to report; or give --from FILE.")]
Table = Annotated[
    Path | None, typer.Option("--from", metavar="FILE", help="Results in a .csv, .tsv or .parquet, instead of a suite.")
]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="With --from: the folder that gets the report.")]
Percent = Annotated[bool, typer.Option("--percent", help="With --from: scores go up to 100, not to 1.")]


def report(  # noqa: PLR0913 - the options of the command
    suite: Suites = None,
    preset: Preset = None,
    plugin: Plugins = None,
    dataset: Datasets = None,
    backbone: Backbones = None,
    results: Results = Path("results"),
    table: Table = None,
    out: Out = None,
    only: Only = None,
    percent: Percent = False,
) -> None:
    """Write leaderboard and page of what is stored, or of a table of your own results.

    The table has the columns strategy, dataset, budget, seed and score, and one run in a row; the README tells what
    else it may have.

    Example: tlbench report few_shot_vision

    Example: tlbench report --from results.csv --out board --only budget=8,64
    """
    stored = {"SUITE": suite, "--preset": preset, "--plugin": plugin, "--dataset": dataset, "--backbone": backbone}
    _no_mixture(table, {name for name, given in stored.items() if given})
    if table is None:
        from tlbench.cli_run import write_report
        from tlbench.suite import load_suite

        told = {"--out": out, "--only": only, "--percent": percent}
        _told_whole(suite, {name for name, given in told.items() if given})
        loaded = load_suite(str(suite), preset, plugins=plugin or [], datasets=dataset or [], backbones=backbone or [])
        files = write_report(loaded, results)
    else:
        from tlbench.report.own import write_own

        if out is None:
            raise TlbenchError(f"--from needs a folder for the report: tlbench report --from {table} --out board")
        files = write_own(table, out, only=only or [], percent=percent)
    for file in files:
        typer.echo(file)


def _no_mixture(table: Path | None, stored: set[str]) -> None:
    if table is not None and stored:
        raise TlbenchError(
            f"{', '.join(sorted(stored))} and --from exclude each other: a report is of a suite's store or of a table"
        )


def _told_whole(suite: str | None, of_table: set[str]) -> None:
    if of_table:
        raise TlbenchError(
            f"{', '.join(sorted(of_table))} goes with --from FILE; the store of a suite is reported whole"
        )
    if suite is None:
        raise TlbenchError("say what to report: tlbench report SUITE, or tlbench report --from FILE --out DIR")
