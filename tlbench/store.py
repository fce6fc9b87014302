"""What is already known? The database of records under results/<suite>/, written by one process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from filelock import FileLock, Timeout

from tlbench import store_files
from tlbench.store_rows import META, PLAN, ROWS, SEALS, TABLES, damaged, row_of
from tlbench.store_rows import record as record_of
from tlbench.types import PROTOCOL, Cell, Record, Status, TlbenchError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "1"
CHUNK = 500  # keys in one SQL statement; SQLite allows at least 999 variables


class Store:
    """The records of one results folder. Open with `Store.open`; use as a context manager or call `close`."""

    def __init__(self, folder: Path, engine: sa.Engine, lock: FileLock | None) -> None:
        self.folder = folder
        self._engine, self._lock = engine, lock

    @classmethod
    def open(cls, folder: Path | str, *, create: bool = True, url: str | None = None) -> Store:
        """Opens the store of `folder`: for writing, made if missing (`create=True`), or for reading only.

        Only one process can have it open for writing. `url` names another database than `folder`/results.db.
        Raises TlbenchError when nothing is stored (reading), when another process writes, when the file is damaged, and
        when another version of the protocol or of the store wrote it.
        """
        folder = Path(folder)
        file = folder / "results.db"
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif url is None and not file.exists():
            raise TlbenchError(f"nothing is stored in {str(folder)!r}; run it first: tlbench run {folder.name}")
        lock = _locked(folder) if create else None
        engine = _engine(url or sa.URL.create("sqlite", database=str(file)))
        store = cls(folder, engine, lock)
        try:
            store._check(create)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, records: Sequence[Record]) -> None:
        """Stores all of `records`, or, when anything goes wrong, none; on return they survive a crash."""
        if records:
            rows = [row_of(record) for record in records]
            keys = [row["key"] for row in rows]
            with self._transaction() as connection:
                _delete(connection, keys)
                connection.execute(ROWS.insert(), rows)

    def get(self, key: str) -> Record | None:
        """The record of the cell with this key."""
        return next(self._select(ROWS.c.key == key), None)

    def find(self, prefix: str) -> list[Record]:
        """Records whose key, or whose name (strategy/backbone/dataset/budget/seed), starts with `prefix`."""
        start = ROWS.c.key.startswith(prefix, autoescape=True) | ROWS.c.name.startswith(prefix, autoescape=True)
        return list(self._select(start))

    def records(self) -> list[Record]:
        """Every record, ordered by cell; raises TlbenchError naming each one that is damaged."""
        return list(self._select(sa.true()))

    def statuses(self) -> dict[str, Status]:
        """The status of every record, by key: checksums are not compared. Raises TlbenchError where there is none."""
        known = {str(status): status for status in Status}
        with self._explained(), self._engine.connect() as connection:
            rows = connection.execute(sa.select(ROWS.c.key, ROWS.c.name, ROWS.c.status)).all()
        if broken := [f"{name} ({key[:12]})" for key, name, status in rows if status not in known]:
            raise self._broken(broken)
        return {key: known[status] for key, _, status in rows}

    def costs(self) -> Iterator[tuple[str, str, int, dict[str, float]]]:
        """(strategy, backbone, budget, cost) of every done cell, for estimates: checksums are not compared.

        Raises TlbenchError where a record cannot be read.
        """
        done = ROWS.select().where(ROWS.c.status == str(Status.DONE)).execution_options(yield_per=CHUNK)
        with self._explained(), self._engine.connect() as connection:
            for row in connection.execute(done):
                try:
                    cost = json.loads(row.measurement)["cost"]
                except (ValueError, KeyError) as error:
                    raise self._broken([f"{row.name} ({row.key[:12]})"]) from error
                yield row.strategy, row.backbone, row.budget, cost

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those of `cells` that have no record, in their order."""
        known = self._keys()
        return [cell for cell in cells if cell.key not in known]

    def delete(self, keys: Iterable[str]) -> None:
        """Forgets these records, so that the next run makes them again; the files of their logits stay."""
        with self._transaction() as connection:
            _delete(connection, list(keys))

    def damaged(self) -> list[str]:
        """Keys whose rows do not match their checksum; `delete` takes them."""
        with self._explained(), self._engine.connect() as connection:
            return [row.key for row in connection.execute(ROWS.select()) if damaged(row)]

    def frame(self, cells: Iterable[Cell] | None = None) -> pd.DataFrame:
        """One row per cell, ordered by name: of every record, or of `cells`, where the absent ones are `not_run`."""
        from tlbench.store_frame import frame

        return frame(self._select(sa.true()), cells)

    def plan_get(self, name: str) -> Any:
        """What `plan_put` kept under this name, or None."""
        with self._explained(), self._engine.connect() as connection:
            text = connection.execute(sa.select(PLAN.c.value).where(PLAN.c.name == name)).scalar()
        return None if text is None else json.loads(text)

    def plan_put(self, name: str, value: Any) -> Any:
        """Keeps a decision (JSON) once for the life of the folder: the first value stays, and is returned."""
        with self._transaction() as connection:
            if connection.execute(sa.select(PLAN.c.name).where(PLAN.c.name == name)).first() is None:
                connection.execute(PLAN.insert(), {"name": name, "value": json.dumps(value)})
        return self.plan_get(name)

    def put_seals(self, seals: Mapping[str, str]) -> None:
        """Keeps the seal of each cell's selection, durably, before anyone looks at its test labels."""
        if seals:
            with self._transaction() as connection:
                _delete(connection, list(seals), of=SEALS)
                connection.execute(SEALS.insert(), [{"key": key, "seal": seals[key]} for key in sorted(seals)])

    def seal(self, key: str) -> str | None:
        """The seal kept for this cell."""
        with self._explained(), self._engine.connect() as connection:
            return connection.execute(sa.select(SEALS.c.seal).where(SEALS.c.key == key)).scalar()

    def put_logits(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Writes arrays (as float32) to a file named by its content, and returns the name."""
        return store_files.put(self.folder / "logits", arrays)

    def logits(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of `put_logits`; raises TlbenchError when the file is missing or not what was written."""
        return store_files.get(self.folder / "logits", name)

    def _keys(self) -> set[str]:
        with self._explained(), self._engine.connect() as connection:
            return set(connection.execute(sa.select(ROWS.c.key)).scalars())

    def _select(self, which: sa.ColumnElement[bool]) -> Iterator[Record]:
        order = (ROWS.c.dataset, ROWS.c.backbone, ROWS.c.strategy, ROWS.c.budget, ROWS.c.seed, ROWS.c.key)
        broken = []
        with self._explained(), self._engine.connect() as connection:
            rows = ROWS.select().where(which).order_by(*order).execution_options(yield_per=CHUNK)
            for row in connection.execute(rows):
                if damaged(row):
                    broken.append(f"{row.name} ({row.key[:12]})")
                else:
                    yield record_of(row)
        if broken:
            raise self._broken(broken)

    def _broken(self, records: Sequence[str]) -> TlbenchError:
        names = ", ".join(records[:5]) + (f" and {len(records) - 5} more" if len(records) > 5 else "")
        return TlbenchError(
            f"{self.folder}: {len(records)} damaged records (wrong checksum): {names}; nothing of them is used; "
            f"drop them and run them again: tlbench retry {self.folder.name}"
        )

    def _check(self, create: bool) -> None:
        with self._explained():
            if self._engine.dialect.name == "sqlite":
                with self._engine.connect() as connection:
                    state = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if state != "ok":
                    raise TlbenchError(_damage(self.folder, str(state)))
            if not sa.inspect(self._engine).has_table("meta"):
                if not create:
                    raise TlbenchError(f"nothing is stored in {str(self.folder)!r}; run it first: tlbench run NAME")
                self._initialise()
            with self._engine.connect() as connection:
                meta = {row.name: row.value for row in connection.execute(META.select())}
        for what, ours in (("protocol", PROTOCOL), ("schema", SCHEMA)):
            if meta.get(what) != ours:
                raise TlbenchError(
                    f"{str(self.folder)!r} was written under {what} {meta.get(what)!r}, this tlbench has {ours!r}, and "
                    f"their numbers must not mix; keep the old folder and start a new one: "
                    f"mv {self.folder} {self.folder}.{meta.get(what, 'old')}"
                )

    def _initialise(self) -> None:
        with self._engine.begin() as connection:
            TABLES.create_all(connection)
            meta = {"protocol": PROTOCOL, "schema": SCHEMA, "suite": self.folder.name}
            connection.execute(META.insert(), [{"name": name, "value": value} for name, value in meta.items()])

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        if self._lock is None:
            raise TlbenchError(f"{str(self.folder)!r} is open for reading only; open it with create=True to write")
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """A database's error, said as what the user can do about it; the transaction has been rolled back."""
        try:
            yield
        except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
            text = str(getattr(error, "orig", error))
            if "full" in text or "disk I/O" in text:
                raise TlbenchError(
                    f"cannot write to {str(self.folder)!r}: {text}; what was stored before is safe; "
                    "free some space and run the same command again"
                ) from error
            if "not a database" in text or "malformed" in text:
                raise TlbenchError(_damage(self.folder, text)) from error
            raise TlbenchError(f"the store of {str(self.folder)!r} answers: {text}") from error


def _damage(folder: Path, text: str) -> str:
    file = folder / "results.db"
    return (
        f"{str(file)!r} is damaged ({text}); nothing of it is used; move it away and run the suite again: "
        f"mv {file} {file}.damaged && rm -f {file}-wal {file}-shm"
    )


def _delete(connection: sa.Connection, keys: Sequence[str], *, of: sa.Table = ROWS) -> None:
    for start in range(0, len(keys), CHUNK):
        connection.execute(of.delete().where(of.c.key.in_(keys[start : start + CHUNK])))


def _locked(folder: Path) -> FileLock:
    """The system frees the lock when the process ends, however it ends."""
    lock = FileLock(folder / ".lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TlbenchError(
            f"another process is writing to {str(folder)!r}; wait for it, stop it, or use another folder: --results DIR"
        ) from error
    return lock


def _engine(url: str | sa.URL) -> sa.Engine:
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def durable(connection: Any, _: object) -> None:
            """A commit has reached the disk when it returns; readers do not wait for the writer."""
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
                connection.execute(f"PRAGMA {pragma}")

    return engine
