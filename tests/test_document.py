"""Can a program rely on leaderboard.json? Finite numbers, names that match, the same bytes, and all that is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_simulation import meta, simulate

from tlbench.report import document
from tlbench.report.analysis import Analysis
from tlbench.report.document import BOARD, PARTS, plain, to_json

COVERS = {"cell", "suite", "tasks"}


def small(strategies: int = 6) -> pd.DataFrame:
    frame = simulate(seeds=2, strategies=strategies)
    return frame[frame.dataset.isin(["digits", "count", "distance", "texture", "symmetry", "hebrew"])]


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return Analysis(small(), meta())


@pytest.fixture(scope="module")
def text(analysis: Analysis) -> str:
    return to_json(analysis)


@pytest.fixture(scope="module")
def told(text: str) -> dict[str, Any]:
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def walk(value: Any) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)


def test_every_part_is_there(told: dict[str, Any]) -> None:
    assert list(told) == ["schema", "protocol", "suite", "preset", *BOARD, *PARTS]


def test_numbers_are_finite_and_keys_are_words(told: dict[str, Any]) -> None:
    for value in walk(told):
        assert value is None or isinstance(value, dict | list | str | bool | int | float)
        if isinstance(value, float):
            assert np.isfinite(value) and np.copysign(1, value or 1) == np.sign(value or 1)
        if isinstance(value, dict):
            assert all(isinstance(name, str) and name for name in value)


def test_names_are_those_of_the_cells(told: dict[str, Any]) -> None:
    frame = small()
    rows = set(zip(frame.strategy, frame.backbone, strict=True))
    for value in walk(told):
        if isinstance(value, dict) and {"strategy", "backbone"} <= set(value):
            assert (value["strategy"], value["backbone"]) in rows
        if isinstance(value, dict) and isinstance(value.get("dataset"), str):
            assert value["dataset"] in set(frame.dataset)


def test_an_interval_says_what_it_covers_and_holds_its_mean(told: dict[str, Any]) -> None:
    found = [value for value in walk(told["rows"]) if isinstance(value, dict) and "low" in value]
    assert {value["covers"] for value in found} == COVERS
    assert all(value["low"] <= value["mean"] <= value["high"] for value in found if value["low"] is not None)


def test_the_rows_are_those_of_the_leaderboard(told: dict[str, Any], analysis: Analysis) -> None:
    names = [(row["strategy"], row["backbone"]) for row in told["rows"]]
    assert names == [analysis.grid.rows[row] for row in analysis.ranking.order]
    for row, name in zip(told["rows"], names, strict=True):
        mean = analysis.ranking.suite.mean[analysis.grid.rows.index(name)]
        assert row["score"][0]["mean"] == plain(mean)
        assert [at["budget"] for at in row["at"]] == list(analysis.grid.budgets)


def test_the_order_of_the_cells_changes_no_byte(text: str) -> None:
    shuffled = small().sample(frac=1, random_state=np.random.Generator(np.random.PCG64(5)))
    assert to_json(Analysis(shuffled, meta())) == text


def test_another_row_changes_nothing_that_is_a_rows_own(told: dict[str, Any]) -> None:
    more = json.loads(to_json(Analysis(small(strategies=7), meta())))
    after = {(row["strategy"], row["backbone"]): row for row in more["rows"]}
    assert len(more["rows"]) == len(told["rows"]) + 1
    for row in told["rows"]:
        assert after[row["strategy"], row["backbone"]] == row


def test_time_and_place_are_not_in_it(text: str) -> None:
    elsewhere = small().assign(
        width=64, device="cuda", started="2031", finished="2032", commit="f" * 40, dirty=True, tune_seconds=1e6,
        fit_seconds=1e6, predict_ms_1=1e6, peak_memory_mb=1e6,
    )  # fmt: skip
    assert to_json(Analysis(elsewhere, meta(command="tlbench run elsewhere"))) == text


def test_what_is_unknown_is_null_and_nothing_is_minus_zero() -> None:
    known = {"a": np.array([1.0, np.nan]), 2: (np.float32(0.5), np.int64(3), float("inf")), "c": -0.0, "d": np.bool_(1)}
    assert json.dumps(plain(known)) == '{"a": [1.0, null], "2": [0.5, 3, null], "c": 0.0, "d": true}'


def test_each_entry_of_a_list_has_its_line(text: str, told: dict[str, Any]) -> None:
    lines = text.splitlines()
    assert sum(line.startswith(" ") for line in lines) == sum(
        len(part) for part in told.values() if isinstance(part, list)
    )
    assert told["schema"] == document.SCHEMA
