"""What does the whole result array look like as a pandas frame, holes included?"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pandas as pd

from tlbench.metrics import METRICS
from tlbench.types import COSTS, Cell, Measurement, Provenance, Record, Status

NOT_RUN = "not_run"

_IDENTITY = ("key", "name", "dataset", "backbone", "strategy", "budget", "seed", "metric", "data_fingerprint")
_FOUND = ("reason", "score", "floor", "default_score", "peek_gap", "labels", "short_classes")
_SHAPED = ("transductive", "at_edge", "hyperparameters", "trials", "trial_scores", "classes", "reliability")
_PROVENANCE = tuple(Provenance.__dataclass_fields__)
COLUMNS = (*_IDENTITY, "status", *_FOUND, *_SHAPED, *METRICS, *COSTS, *_PROVENANCE)
_PRINTS = {"strategy_source": "strategy", "data_fingerprint": "dataset", "weights_fingerprint": "backbone"}
_NUMBERS = ["score", "floor", "default_score", "peek_gap", *METRICS, *COSTS]


def frame(records: Iterable[Record], cells: Iterable[Cell] | None = None) -> pd.DataFrame:
    """One row per cell with the columns COLUMNS, ordered by name and key whatever the order of the input.

    With `cells`, exactly those: a record of another cell is left out, and a cell without a record has the status
    `not_run`. A cell whose fingerprints are blank stands for the data, weights and plug-in of those names that were
    measured last, so that old and new ones never mix. Numbers that were not measured are NaN.
    """
    with _without_collections():
        rows = list(map(_row, records)) if cells is None else _rows_of(cells, records)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(_NUMBERS, "float64"))
    table = table.astype({"budget": "int64", "seed": "int64", "labels": "int64", "short_classes": "int64"})
    order = ["dataset", "backbone", "strategy", "budget", "seed", "key"]
    return table.astype({"transductive": bool, "dirty": bool}).sort_values(order, ignore_index=True)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Records have no cycles; looking for some among millions of new objects takes as long as reading them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _rows_of(cells: Iterable[Cell], records: Iterable[Record]) -> list[dict[str, Any]]:
    known: dict[Cell, Record] = {}
    latest: dict[tuple[str, str], str] = {}
    for record in sorted(records, key=lambda record: (record.provenance.finished, record.cell.key)):
        known[record.cell] = record
        latest.update({(name, getattr(record.cell, of)): getattr(record.cell, name) for name, of in _PRINTS.items()})
    asked = dict.fromkeys(_filled(cell, latest) for cell in cells)
    return [_row(known[cell]) if cell in known else _hole(cell) for cell in asked]


def _filled(cell: Cell, latest: dict[tuple[str, str], str]) -> Cell:
    """The cell with its blank fingerprints replaced by those seen last of the same dataset, backbone and strategy."""
    prints: dict[str, Any] = {
        name: getattr(cell, name) or latest.get((name, getattr(cell, of)), "") for name, of in _PRINTS.items()
    }
    return replace(cell, **prints)


def _row(record: Record) -> dict[str, Any]:
    cell, measurement = record.cell, record.measurement
    return {
        **{name: getattr(cell, name) for name in _IDENTITY},
        "status": str(measurement.status),
        **{name: getattr(measurement, name) for name in (*_FOUND, *_SHAPED)},
        **{name: measurement.metrics.get(name) for name in METRICS},
        **{name: measurement.cost.get(name) for name in COSTS},
        **vars(record.provenance),
    }


def _hole(cell: Cell) -> dict[str, Any]:
    return {**_row(Record(cell, Measurement(Status.SKIPPED), Provenance())), "status": NOT_RUN}
