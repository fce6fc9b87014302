"""What does a program read? leaderboard.json: every estimate, interval, test and verdict of the report.

Each part of the analysis writes its own: a function `document(analysis)` in the module that made it, named in PARTS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tlbench.report import (
    calibration,
    document_board,
    document_costs,
    document_labels,
    document_pairs,
    sensitivity,
    standings,
)
from tlbench.report.analysis import Analysis
from tlbench.types import PROTOCOL

SCHEMA = 1
BOARD: dict[str, Callable[[Analysis], Any]] = {
    "scale": document_board.scale,
    "axes": document_board.axes,
    "groups": document_board.groups,
    "rows": document_board.rows,
    "choices": document_board.choices,
}
PARTS: dict[str, Callable[[Analysis], Any]] = {
    "standings": standings.document,
    "sensitivity": sensitivity.document,
    "calibration": calibration.document,
    "costs": document_costs.costs,
    "tuning": document_costs.tuning,
    "pairs": document_pairs.pairs,
    "label_questions": document_labels.label_questions,
    "transfer": document_labels.transfer,
}


def to_json(analysis: Analysis) -> str:
    """The same analysis gives the same text; no second, date, host or path is in it, and what is unknown is null.

    A part, or each entry of a part that is a list, stands on a line of its own, so that two versions can be compared.
    """
    meta = analysis.meta
    head = {"schema": SCHEMA, "protocol": PROTOCOL, "suite": meta.name, "preset": meta.preset}
    parts = {name: make(analysis) for name, make in {**BOARD, **PARTS}.items()}
    lines = [f"{_line(name)}: {_lines(part)}" for name, part in plain({**head, **parts}).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def plain(value: Any) -> Any:
    """JSON's own types: arrays as lists, NaN and infinities as null, floats to nine digits."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.9g}") + 0.0 if np.isfinite(value) else None  # never -0.0
    return value


def _lines(part: Any) -> str:
    if not isinstance(part, list) or not part:
        return _line(part)
    return "[\n" + ",\n".join(f" {_line(item)}" for item in part) + "\n]"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
