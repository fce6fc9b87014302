"""What do results say that tlbench did not make? The same leaderboard, from anybody's table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tlbench import report
from tlbench.report.foreign import understood
from tlbench.report.foreign_read import SUFFIXES, as_text, read
from tlbench.suite import Filter, chosen
from tlbench.types import TlbenchError


def write_own(table: Path | pd.DataFrame, out: Path, *, only: Sequence[str], percent: bool) -> list[Path]:
    """Writes the report of the table (a file, or a frame) into `out`, made where it is missing; the files.

    `only` keeps a part of the table, as texts such as "budget=8,64". Raises TlbenchError for a table that cannot be
    used.
    """
    at_hand = isinstance(table, pd.DataFrame)
    told = understood(as_text(table) if at_hand else read(table), percent=percent)
    cells = told.cells[_kept(told.cells, only)]
    name = "results" if at_hand else _stem(table)
    words = ["--from", "TABLE" if at_hand else str(table), "--out", str(out), *(["--percent"] if percent else [])]
    meta = report.Meta(
        name=name,
        preset="",
        command=shlex.join(["tlbench", "report", *words, *(word for text in only for word in ("--only", text))]),
        description=_ignored(told.ignored),
        headings=told.groups,
        foreign=True,
        measure=told.measure,
    )
    if out.exists() and not out.is_dir():
        raise TlbenchError(f"{str(out)!r} is a file; --out takes a folder")
    return report.write(cells, meta, out)


def _kept(cells: pd.DataFrame, only: Sequence[str]) -> pd.Series:
    axes = {name: sorted(set(cells[name])) for name in Filter.__dataclass_fields__}
    wanted = {name: values for name, values in vars(chosen(only, axes, "the table")).items() if values}
    return pd.concat([cells[name].isin(values) for name, values in wanted.items()] or [cells.key.notna()], axis=1).all(
        axis=1
    )


def _stem(path: Path) -> str:
    return next(path.name[: -len(suffix)] for suffix in SUFFIXES if path.name.lower().endswith(suffix))


def _ignored(columns: Sequence[str]) -> str:
    return f"Columns of the table that nothing here reads: {', '.join(columns)}." if columns else ""
