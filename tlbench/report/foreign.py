"""How does anybody's table of results become the cells of a report? Every problem of it is said at once.

A long table, one row a run: `strategy, dataset, budget, seed, score`, and where there is more to say: `backbone`,
`metric`, `floor` (the metric's value for the majority class: scores then become points above it), `status`, `reason`,
`group` (the dataset's heading), `labels`, any other metric or cost of a stored cell, and costs called `cost_...`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench.metrics import LOWER_IS_BETTER, METRICS
from tlbench.report.scores import CELL, NOT_RUN, STATUSES
from tlbench.types import COSTS, TlbenchError, sha256

REQUIRED = ("strategy", "dataset", "budget", "seed", "score")
WORDS = ("strategy", "dataset", "backbone", "metric", "status", "reason", "group")
RATES = ("score", "floor")  # in the metric's unit
NUMBERS = (*RATES, "default_score", "peek_gap", "labels", *METRICS, *COSTS)
KNOWN = (*REQUIRED, *WORDS, *NUMBERS, "transductive")
BLANK = frozenset({"", "nan", "na", "n/a", "none", "null", "-", "–"})
OURS = ("key", "data_fingerprint", "peek_gap")  # a table with these was made by `tlbench.results`: its scores are z
STEERING = r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
PROBLEMS_SHOWN = 20
LISTED = 5  # lines named in one problem


class Foreign(NamedTuple):
    """A table that was understood."""

    cells: pd.DataFrame  # as `scores.grid` takes them
    groups: dict[str, str]  # dataset's name to its heading
    measure: str  # the metric whose plain value a score is; "" where scores are points above the majority class
    ignored: tuple[str, ...]  # columns that mean nothing here


def understood(table: pd.DataFrame, *, percent: bool = False) -> Foreign:
    """The cells of a table of texts (see `foreign_read`); `percent` says that 100 is a perfect score.

    A row without a score and without a status was not run. Raises one TlbenchError that lists all that is wrong.
    """
    _columns(table.columns)
    if table.empty:
        raise TlbenchError("the table has columns and no rows; a report needs at least 1")
    wrong: list[str] = []
    cells = pd.DataFrame({name: _words(table, name) for name in WORDS}, index=table.index)
    cells = cells.assign(**{name: _numbers(table, name, wrong) for name in _number_columns(table)})
    cells["transductive"] = table.get("transductive", cells.reason).str.lower().isin(["true", "1", "yes"])
    wrong += [*_names(cells), *_whole(cells, table), *_metrics(cells)]
    cells["status"] = _statuses(cells)
    wrong += [*_scores(cells, percent), *_doubles(cells)]
    if wrong:
        more = [f"... and {len(wrong) - PROBLEMS_SHOWN} more"] if len(wrong) > PROBLEMS_SHOWN else []
        raise TlbenchError("the table cannot be used:\n  " + "\n  ".join([*wrong[:PROBLEMS_SHOWN], *more]))
    measure = _scaled(cells, table, percent)
    groups = cells.loc[cells.group.ne(""), ["dataset", "group"]].drop_duplicates("dataset").set_index("dataset").group
    ignored = tuple(name for name in table if name not in KNOWN and name not in cells and name not in OURS)
    return Foreign(_finished(cells), groups.to_dict(), measure, ignored)


def _columns(columns: Iterable[str]) -> None:
    """Refuses a table without the columns that a report needs, all of them at once."""
    names = list(columns)
    problems = []
    for name in REQUIRED:
        if name not in names:
            near = difflib.get_close_matches(name, [n for n in names if n not in KNOWN], n=1, cutoff=0.6)
            problems.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if problems:
        has = ", ".join(map(repr, names))
        hint = "; separate columns by commas in a .csv, by tabs in a .tsv" if len(names) == 1 else ""
        raise TlbenchError(f"the table lacks the columns {', '.join(problems)}; it has {has}{hint}")


def _number_columns(table: pd.DataFrame) -> list[str]:
    return [name for name in table if name in (*NUMBERS, "budget", "seed") or name.startswith("cost_")]


def _words(table: pd.DataFrame, name: str) -> pd.Series:
    """Names on one line each: runs of blanks are one blank, and signs that only steer a terminal or a page are none."""
    if name not in table:
        return pd.Series("", index=table.index)
    return table[name].str.split().str.join(" ").str.replace(STEERING, "", regex=True).str.strip()


def _numbers(table: pd.DataFrame, name: str, wrong: list[str]) -> pd.Series:
    texts = table[name].str.strip()
    blank = texts.str.lower().isin(BLANK)
    numbers = pd.to_numeric(texts.where(~blank), errors="coerce").astype(float)
    bad = (numbers.isna() & ~blank) | np.isinf(numbers)
    comma = "; write decimals with a point" if texts[bad].str.fullmatch(r"-?\d+,\d+").any() else ""
    wrong += [f"{_at(texts[bad])}: {name} {_quoted(texts[bad])} is no finite number{comma}"] if bad.any() else []
    return numbers.where(~bad)


def _names(cells: pd.DataFrame) -> Iterator[str]:
    for name in ("strategy", "dataset"):
        empty = cells[name].eq("")
        if empty.any():
            yield f"{_at(cells[empty])}: {name} is empty"


def _whole(cells: pd.DataFrame, table: pd.DataFrame) -> Iterator[str]:
    """Budgets are whole labels a class, 1 or more, since curves have a logarithmic axis; seeds count from 0."""
    for name, least in (("budget", 1), ("seed", 0)):
        texts, numbers = table[name], cells[name]
        blank = texts.str.lower().isin(BLANK)
        if blank.any():
            yield f"{_at(texts[blank])}: {name} is empty"
        bad = numbers.notna() & ((numbers < least) | (numbers % 1 != 0) | (numbers > 2**53))
        if bad.any():
            yield f"{_at(texts[bad])}: {name} {_quoted(texts[bad])} is not a whole number of {least} or more"


def _metrics(cells: pd.DataFrame) -> Iterator[str]:
    of = cells[["dataset", "metric"]].drop_duplicates()
    for dataset, metrics in of.groupby("dataset").metric:
        if len(metrics) > 1:
            yield f"dataset {dataset!r} has several metrics ({', '.join(map(repr, metrics))}); keep the rows of one"
    for metric in sorted(LOWER_IS_BETTER & set(of.metric)):
        yield f"metric {metric!r}: lower is better, and a score must be better when it is higher; choose another metric"


def _statuses(cells: pd.DataFrame) -> pd.Series:
    given = cells.status.str.lower().str.replace(r"[\s-]", "_", regex=True)
    meant = pd.Series(np.where(cells.score.isna(), NOT_RUN, "done"), index=cells.index)
    return given.where(~given.isin(BLANK), meant)


def _scores(cells: pd.DataFrame, percent: bool) -> Iterator[str]:
    allowed = STATUSES[:-1]
    unknown = ~cells.status.isin(allowed)
    if unknown.any():
        yield f"{_at(cells[unknown])}: unknown status {_quoted(cells.status[unknown])}; use {', '.join(allowed)}"
    bare = cells.status.eq("done") & cells.score.isna()
    if bare.any():
        yield f"{_at(cells[bare])}: the status is done and the score is empty"
    both = cells.score.notna() & ~cells.status.eq("done") & ~unknown
    if both.any():
        yield f"{_at(cells[both])}: there is a score, and the status is {_quoted(cells.status[both])}; leave out one"
    yield from _range(cells, 100.0 if percent else 1.0)
    floors = cells.get("floor", pd.Series(np.nan, index=cells.index))[cells.status.eq("done")]
    if floors.notna().any() and floors.isna().any():
        yield f"{_at(floors[floors.isna()])}: the floor is empty; give one for every score or for none"


def _range(cells: pd.DataFrame, top: float) -> Iterator[str]:
    for name in RATES:
        values = cells.get(name, pd.Series(dtype=float))
        above = values >= top + (1e-9 if name == "score" else 0)
        if above.any():
            percent = "; are these percent? then add --percent" if top == 1 and values.max() <= 100 else ""
            limit = f"at most {top:g}" if name == "score" else f"below {top:g}"
            yield f"{_at(values[above])}: {name} {_quoted(values[above].map('{:g}'.format))} is not {limit}{percent}"
    if top == 100 and cells.score.notna().any() and cells.score.max() <= 1:
        yield f"no score is above {cells.score.max():g}, so they are no percent; leave out --percent"


def _doubles(cells: pd.DataFrame) -> Iterator[str]:
    twice = cells[cells.duplicated(CELL, keep=False) & cells[CELL].notna().all(axis=1)]
    for _, same in list(twice.groupby(CELL, sort=False))[:PROBLEMS_SHOWN]:
        first = same.iloc[0]
        cell = f"{first.strategy}/{first.dataset}/{first.budget:g}/{first.seed:g}"
        yield f"{_at(same)}: the cell {cell} is there {len(same)} times; keep one, or give the runs seeds of their own"


def _scaled(cells: pd.DataFrame, table: pd.DataFrame, percent: bool) -> str:
    """Brings scores to the scale of the report, in place; says the metric whose plain value they are."""
    rates = [name for name in RATES if name in cells]
    cells[rates] = cells[rates] / (100 if percent else 1)
    if all(name in table for name in OURS):
        return ""
    if cells.get("floor", pd.Series(dtype=float)).notna().any():
        cells["score"] = (cells.score - cells.floor) / (1 - cells.floor)
        return ""
    named = sorted({metric.replace("_", " ") for metric in cells.metric} - {""})
    if not named:
        return "the table's score"
    return named[0] if len(named) == 1 else f"each dataset's own metric ({', '.join(named)})"


def _finished(cells: pd.DataFrame) -> pd.DataFrame:
    cells = cells.astype({"budget": "int64", "seed": "int64"}).reset_index(drop=True)
    cells["key"] = [sha256(list(cell)) for cell in cells[CELL].itertuples(index=False, name=None)]
    spelled = {name: name.removeprefix("cost_") for name in cells if name.removeprefix("cost_") in COSTS}
    return cells.drop(columns="group").rename(columns=spelled)


def _at(rows: pd.DataFrame | pd.Series) -> str:
    """`line 3, 9 and 12 more`."""
    lines = rows.index
    more = f" and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
    return f"{lines.name} {', '.join(map(str, lines[:LISTED]))}{more}"


def _quoted(texts: Iterable[str]) -> str:
    found = list(dict.fromkeys(texts))
    shown = [repr(text if len(text) <= 40 else text[:37] + "...") for text in found[:3]]
    return ", ".join(shown) + (" ..." if len(found) > 3 else "")
