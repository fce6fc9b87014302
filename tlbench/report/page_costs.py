"""How long did it take, and where did it run? What differs between two machines stands here and nowhere else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench.report.numbers import NONE, amount, seconds
from tlbench.report.page_tables import Field, Table
from tlbench.report.ranking import Ranking
from tlbench.types import COSTS

SUMS = {"tuning, all cells": "tune_seconds", "final fits, all cells": "fit_seconds"}
MEDIANS = {
    "one tuning": "tune_seconds", "one fit": "fit_seconds", "predict 1": "predict_ms_1", "p95 of 1": "predict_ms_1_p95",
    "predict 64": "predict_ms_64", "p95 of 64": "predict_ms_64_p95", "memory": "peak_memory_mb",
    "total parameters": "total_parameters", "stored a task": "stored_parameters", "tuning FLOP": "tune_flops",
}  # fmt: skip
PLACE = ("commit", "dirty", "device", "determinism", "width")


class Places(NamedTuple):
    """Where the cells came from."""

    table: Table
    first: str
    last: str
    packages: list[str]  # "name version", several versions where the cells disagree


def costs(ranking: Ranking) -> Table:
    """Sums and medians of time, memory and the rest over the done cells of each row."""
    frame = ranking.grid.frame
    done = frame[frame.status.eq("done")].reindex(columns=["strategy", "backbone", *COSTS])
    grouped = done.groupby(["strategy", "backbone"])
    sums, medians = grouped.sum(min_count=1), grouped.median()
    rows = []
    for row in ranking.order:
        name = ranking.grid.rows[row]
        if name not in medians.index:
            continue
        fields = [_field(sums.at[name, column], column) for column in SUMS.values()]
        fields += [_field(medians.at[name, column], column) for column in MEDIANS.values()]
        rows.append([Field(name[0]), Field(name[1]), *fields])
    return Table(["strategy", "backbone", *SUMS, *MEDIANS], rows)


def places(frame: pd.DataFrame) -> Places:
    """Code, devices, packages and times of the cells that were run."""
    ran = frame[frame.status.ne("not_run")]
    known = [name for name in PLACE if name in ran]
    counts = ran.groupby(known).size().reset_index(name="cells") if known else pd.DataFrame()
    rows = [[_place(name, value) for name, value in row.items()] for row in counts.to_dict("records")]
    times = [ran[name][ran[name].ne("")] if name in ran else ran.key[:0] for name in ("started", "finished")]
    first, last = (min(times[0], default=NONE), max(times[1], default=NONE))
    return Places(Table([*known, "cells"], rows), str(first), str(last), _packages(ran))


def _packages(ran: pd.DataFrame) -> list[str]:
    if "packages" not in ran:
        return []
    pairs = {
        pair for pairs in {tuple(sorted(p.items())) for p in ran.packages if isinstance(p, dict)} for pair in pairs
    }
    return [f"{name} {version}" for name, version in sorted(pairs)]


def _place(name: str, value: object) -> Field:
    if name == "dirty":
        return Field("uncommitted changes" if value else "clean")
    if isinstance(value, int | float | np.number):
        return Field(f"{value}", float(value))
    return Field(str(value)[:12] if name == "commit" else str(value))


def _field(value: float, column: str) -> Field:
    if np.isnan(value):
        return Field(NONE)
    if column.endswith("_seconds"):
        return Field(seconds(float(value)), float(value))
    if column.startswith("predict_ms"):
        return Field(f"{value:.3g} ms", float(value))
    return Field(f"{value:.0f} MiB" if column.endswith("_mb") else amount(float(value)), float(value))
