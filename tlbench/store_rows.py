"""How does a record become a row of the database, and come back exactly?"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from tlbench.types import Cell, Effort, Measurement, Provenance, Record, Status, canonical, sha256

TABLES = sa.MetaData()
COORDINATES = ("key", "name", "dataset", "backbone", "strategy", "budget", "seed")

ROWS = sa.Table(
    "cells",
    TABLES,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("name", sa.String, index=True, nullable=False),
    sa.Column("dataset", sa.String, nullable=False),
    sa.Column("backbone", sa.String, nullable=False),
    sa.Column("strategy", sa.String, nullable=False),
    sa.Column("budget", sa.Integer, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("cell", sa.Text, nullable=False),
    sa.Column("measurement", sa.Text, nullable=False),
    sa.Column("provenance", sa.Text, nullable=False),
    sa.Column("checksum", sa.String(64), nullable=False),
)
PLAN = sa.Table("plan", TABLES, sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.Text))
SEALS = sa.Table("seals", TABLES, sa.Column("key", sa.String(64), primary_key=True), sa.Column("seal", sa.String(64)))
META = sa.Table("meta", TABLES, sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.String))


def row_of(record: Record) -> dict[str, Any]:
    """The row of a record: what is asked for in SQL as columns, everything as canonical JSON, and a checksum."""
    cell = record.cell
    columns = {name: getattr(cell, name) for name in COORDINATES}
    parts = {name: canonical(_fields(getattr(record, name))) for name in ("cell", "measurement", "provenance")}
    row = {**columns, "status": str(record.measurement.status), **parts}
    return {**row, "checksum": sha256(row)}


def _fields(part: Cell | Measurement | Provenance | Effort) -> dict[str, Any]:
    """As `asdict` has it, in a tenth of the time: nothing else in a record is a dataclass."""
    found = {name: getattr(part, name) for name in part.__dataclass_fields__}
    return {**found, "effort": _fields(found["effort"])} if isinstance(part, Cell) else found


def damaged(row: sa.Row[Any]) -> bool:
    """True when the row is not, letter for letter, what `row_of` wrote."""
    content = dict(row._mapping)
    return content.pop("checksum") != sha256(content)


def record(row: sa.Row[Any]) -> Record:
    """The record that `row_of` was given; sequences come back as tuples."""
    cell, measurement, provenance = (_tuples(json.loads(text)) for text in (row.cell, row.measurement, row.provenance))
    return Record(
        Cell(**{**cell, "effort": Effort(**cell["effort"])}),
        Measurement(**{**measurement, "status": Status(measurement["status"])}),
        Provenance(**provenance),
    )


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {name: _tuples(item) if type(item) in (list, dict) else item for name, item in value.items()}
    return value
