"""Laws of the store: all or none, exact, checked, one writer, and nothing lost that was saved."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.metrics import METRICS
from tlbench.store import Store
from tlbench.types import COSTS, Cell, Effort, Measurement, Provenance, Record, Status, TlbenchError, canonical, sha256

EFFORT = Effort(trials=2, steps=10, batch_size=8, rungs=(0.25, 0.5))


def cell(**changes: object) -> Cell:
    return replace(Cell("digits", "glyph_vit", "lora", 5, 0, effort=EFFORT), **changes)


def record(value: float = 0.1 + 0.2, **changes: object) -> Record:
    measurement = Measurement(
        Status.DONE,
        score=value,
        floor=1 / 3,
        metrics=dict.fromkeys(METRICS, value),
        trial_scores={"0": value},
        classes={"support": (2, 1), "predicted": (1, 2), "hits": (1, 1)},
        reliability={"examples": (3,), "hits": (2,), "confidence": (value,)},
        hyperparameters={"lr": 1e-3, "rank": 4, "layers": (1, 2)},
        at_edge=("lr",),
        trials=({"number": 0, "params": {"lr": 1e-3}, "value": value, "nll": None},),
        cost=dict.fromkeys(COSTS, 1.5),
    )
    return Record(cell(**changes), measurement, Provenance(packages={"torch": "2.15.0"}, width=8))


def records(count: int) -> list[Record]:
    return [record(seed=seed) for seed in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "smoke"


@given(value=st.floats(allow_nan=False, allow_infinity=False), reason=st.text(max_size=20))
@settings(max_examples=25, deadline=None)
def test_a_record_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, value: float, reason: str) -> None:
    saved = record(value)
    saved = replace(saved, measurement=replace(saved.measurement, reason=reason, peek_gap=None))
    folder = tmp_path_factory.mktemp("store")
    with Store.open(folder) as store:
        store.save([saved])
    with Store.open(folder, create=False) as store:
        assert store.get(saved.cell.key) == saved


def test_statuses_are_those_of_the_records(folder: Path) -> None:
    good, bad = record(seed=0), record(seed=1)
    bad = replace(bad, measurement=replace(bad.measurement, status=Status.TIMED_OUT))
    with Store.open(folder) as store:
        store.save([good, bad])
        assert store.statuses() == {good.cell.key: Status.DONE, bad.cell.key: Status.TIMED_OUT}


def test_a_record_that_lacks_what_later_versions_measure_is_read(folder: Path) -> None:
    later = ("trial_scores", "classes", "reliability")
    with Store.open(folder) as store:
        store.save(records(1))
    with sqlite3.connect(folder / "results.db") as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM cells").fetchone())
        known = {name: value for name, value in json.loads(row["measurement"]).items() if name not in later}
        row = {**row, "measurement": canonical(known)}
        checksum = sha256({name: value for name, value in row.items() if name != "checksum"})
        connection.execute("UPDATE cells SET measurement = ?, checksum = ?", (row["measurement"], checksum))
    old = replace(records(1)[0].measurement, **{name: {} for name in later})
    with Store.open(folder, create=False) as store:
        assert [each.measurement for each in store.records()] == [old]
        assert store.frame().trial_scores.tolist() == [{}]


def test_saving_again_replaces_and_order_does_not_matter(folder: Path) -> None:
    with Store.open(folder) as store:
        store.save(records(3))
        store.save([record(0.9, seed=1)])
        assert [r.measurement.score for r in store.records()] == [0.1 + 0.2, 0.9, 0.1 + 0.2]


def test_a_block_is_stored_whole_or_not_at_all(folder: Path) -> None:
    twice = [record(seed=0), record(seed=1), record(seed=1)]
    with Store.open(folder) as store:
        with pytest.raises(TlbenchError):
            store.save(twice)
        assert store.records() == []


def test_missing_keeps_the_order_asked_for(folder: Path) -> None:
    cells = [cell(seed=seed) for seed in (4, 0, 3, 1)]
    with Store.open(folder) as store:
        store.save(records(2))
        assert store.missing(cells) == [cells[0], cells[2]]


def test_records_are_found_by_key_or_name(folder: Path) -> None:
    with Store.open(folder) as store:
        store.save([*records(2), record(strategy="bitfit")])
        assert [r.cell.seed for r in store.find("lora/glyph_vit")] == [0, 1]
        assert [r.cell for r in store.find(cell().key[:10])] == [cell()]
        assert store.find("%") == [] and store.get("no such key") is None


def test_deleted_records_are_missing_again(folder: Path) -> None:
    with Store.open(folder) as store:
        store.save(records(3))
        store.delete([cell(seed=1).key])
        assert store.missing([r.cell for r in records(3)]) == [cell(seed=1)]


def test_a_plan_is_kept_once(folder: Path) -> None:
    with Store.open(folder) as store:
        assert store.plan_get("width") is None
        assert store.plan_put("width", {"lora": 8}) == {"lora": 8}
        assert store.plan_put("width", {"lora": 1}) == {"lora": 8}
    with Store.open(folder, create=False) as store:
        assert store.plan_get("width") == {"lora": 8}


def test_seals_are_kept(folder: Path) -> None:
    with Store.open(folder) as store:
        store.put_seals({"a": "first", "b": "other"})
        store.put_seals({"a": "second"})
        store.put_seals({})
        assert (store.seal("a"), store.seal("b"), store.seal("c")) == ("second", "other", None)


def test_a_second_writer_is_refused_and_a_reader_is_not(folder: Path) -> None:
    with Store.open(folder) as store:
        store.save(records(1))
        with pytest.raises(TlbenchError, match="another process"):
            Store.open(folder)
        with Store.open(folder, create=False) as reader:
            assert len(reader.records()) == 1
            with pytest.raises(TlbenchError, match="reading only"):
                reader.save(records(1))
    Store.open(folder).close()


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_store import record
from tlbench.store import Store
store = Store.open({folder!r})
for block in range(1000):
    store.save([record(seed=10 * block + i) for i in range(10)])
    print(block, flush=True)
"""


def test_killing_the_writer_loses_nothing_that_was_saved(folder: Path) -> None:
    program = WRITER.format(tests=str(Path(__file__).parent), folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(5)]
        os.kill(writer.pid, signal.SIGKILL)
        said += writer.stdout.readlines()
    with Store.open(folder) as store:
        found = len(store.records())
    assert found % 10 == 0 and found >= 10 * len(said)


def test_a_full_disk_is_said_and_loses_nothing(folder: Path) -> None:
    with Store.open(folder) as store:
        store.save(records(3))

        def full(dbapi: sqlite3.Connection) -> None:
            dbapi.execute(f"PRAGMA max_page_count = {dbapi.execute('PRAGMA page_count').fetchone()[0]}")

        with store._engine.connect() as connection:
            full(connection.connection.dbapi_connection)
        with pytest.raises(TlbenchError, match="free some space"):
            store.save([record(seed=seed) for seed in range(100, 200)])
        assert len(store.records()) == 3


def test_a_file_that_is_no_database_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "results.db").write_bytes(b"not a database at all" * 100)
    for create in (True, False):
        with pytest.raises(TlbenchError, match="damaged.*mv "):
            Store.open(folder, create=create)


def test_a_truncated_database_is_refused(folder: Path) -> None:
    with Store.open(folder) as store:
        store.save(records(50))
    file = folder / "results.db"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(TlbenchError, match="damaged"):
        Store.open(folder)


@pytest.mark.parametrize("column", ["score", "status", "seed"])
def test_a_changed_row_is_refused_by_name_and_can_be_dropped(folder: Path, column: str) -> None:
    change = {
        "score": "measurement = replace(measurement, '0.30000000000000004', '0.9')",
        "status": "status = 'failed'",
        "seed": "seed = 7",
    }[column]
    with Store.open(folder) as store:
        store.save(records(2))
    with sqlite3.connect(folder / "results.db") as raw:
        raw.execute(f"UPDATE cells SET {change} WHERE key = ?", [cell(seed=1).key])
    raw.close()
    with Store.open(folder) as store:
        with pytest.raises(TlbenchError, match="lora/glyph_vit/digits/5/1"):
            store.records()
        assert store.get(cell(seed=0).key) is not None
        assert store.damaged() == [cell(seed=1).key]
        store.delete(store.damaged())
        assert len(store.records()) == 1


@pytest.mark.parametrize("column, asked", [("measurement", "costs"), ("status", "statuses")])
def test_what_cannot_be_read_is_refused_by_name(folder: Path, column: str, asked: str) -> None:
    with Store.open(folder) as store:
        store.save(records(2))
        assert len(list(getattr(store, asked)())) == 2
    with sqlite3.connect(folder / "results.db") as raw:
        raw.execute(f"UPDATE cells SET {column} = 'x' WHERE key = ?", [cell(seed=1).key])
    raw.close()
    with Store.open(folder) as store, pytest.raises(TlbenchError, match="lora/glyph_vit/digits/5/1.*tlbench retry"):
        list(getattr(store, asked)())


def test_another_protocol_is_refused_with_the_way_out(folder: Path) -> None:
    Store.open(folder).close()
    with sqlite3.connect(folder / "results.db") as raw:
        raw.execute("UPDATE meta SET value = 'TLB-0' WHERE name = 'protocol'")
    raw.close()
    with pytest.raises(TlbenchError, match="TLB-0.*TLB-1.*mv "):
        Store.open(folder)


def test_reading_what_was_never_run_says_how_to_run_it(folder: Path) -> None:
    with pytest.raises(TlbenchError, match="tlbench run smoke"):
        Store.open(folder, create=False)


def test_logits_are_named_by_content_and_checked(folder: Path) -> None:
    arrays = {"0": np.arange(6, dtype=np.float64).reshape(2, 3), "3": np.ones((2, 3), np.float32)}
    with Store.open(folder) as store:
        name = store.put_logits(arrays)
        assert store.put_logits(dict(reversed(arrays.items()))) == name
        assert {key: array.tolist() for key, array in store.logits(name).items()} == {
            key: array.tolist() for key, array in arrays.items()
        }
        path = folder / "logits" / name
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        with pytest.raises(TlbenchError, match="damaged"):
            store.logits(name)
        assert store.put_logits(arrays) == name and len(store.logits(name)) == 2
        path.unlink()
        with pytest.raises(TlbenchError, match="missing"):
            store.logits(name)


def test_the_frame_shows_holes_and_nothing_that_was_not_asked_for(folder: Path) -> None:
    with Store.open(folder) as store:
        store.save(records(3))
        frame = store.frame([cell(seed=5), cell(seed=1)])
        assert list(frame.seed) == [1, 5] and list(frame.status) == ["done", "not_run"]
        assert np.isnan(frame.score[1]) and frame.at_edge[0] == ("lr",) and frame.trials[1] == ()
        assert {*METRICS, *COSTS, "commit", "packages"} <= set(frame.columns)
        assert len(store.frame()) == 3


def test_a_cell_without_fingerprints_stands_for_the_data_measured_last(folder: Path) -> None:
    def dated(value: float, when: str, **changes: object) -> Record:
        made = record(value, **changes)
        return replace(made, provenance=replace(made.provenance, finished=when))

    old = [dated(0.1, "2026-01-01", data_fingerprint="old", seed=seed) for seed in (0, 1)]
    with Store.open(folder) as store:
        store.save([dated(0.2, "2026-01-02", data_fingerprint="new"), *old])
        frame = store.frame([cell(seed=0), cell(seed=1)])
        assert list(frame.score[:1]) == [0.2] and list(frame.status) == ["done", "not_run"]
        assert list(store.frame([cell(data_fingerprint="old")]).score) == [0.1]
        assert list(store.frame([cell(data_fingerprint="other")]).status) == ["not_run"]


def test_an_empty_store_has_an_empty_frame(folder: Path) -> None:
    with Store.open(folder) as store:
        assert store.frame().empty and "score" in store.frame().columns


def test_a_block_of_any_size_is_sealed(folder: Path) -> None:
    keys = [f"{number:064x}" for number in range(2000)]
    with Store.open(folder) as store:
        with store._engine.connect() as connection:  # which the store takes again
            connection.connection.driver_connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        for seal in ("a" * 64, "b" * 64):
            store.put_seals(dict.fromkeys(keys, seal))
        assert {store.seal(key) for key in keys[::499]} == {"b" * 64}
