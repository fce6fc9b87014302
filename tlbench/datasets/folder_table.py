"""Which images or texts does a CSV or TSV file name, and how are they labelled?"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlbench.datasets.folder_listing import PARTS, Listed
from tlbench.datasets.pictures import MISSING
from tlbench.registry import unknown
from tlbench.types import Modality, TlbenchError

# Names under which a column is found, in lower case, when the reference does not give its name.
NAMES: dict[str, tuple[str, ...]] = {
    "file": (
        "file",
        "path",
        "image",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image_path",
        "img",
        "img_path",
    ),
    "text": ("text", "sentence", "content", "review", "comment", "message", "document", "body"),
    "label": ("label", "class", "target", "category", "labels", "class_name"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "groups", "group_id"),
}
EMPTY_LABEL, EMPTY_TEXT = "no label", "empty text"
TWICE, CONTRADICTED = "file listed twice", "file listed under several labels"

log = logging.getLogger("tlbench")


class Columns(NamedTuple):
    """What the columns of a table are called."""

    input: str
    modality: Modality
    label: str
    split: str | None
    group: str | None


def columns(table: Path, options: Mapping[str, str]) -> Columns:
    """The columns of a table by their names, from its first line alone; `options` name those that are not found.

    Raises TlbenchError that lists the columns when one is missing or several could be meant.
    """
    names = [str(name) for name in _frame(table, rows=0).columns]
    other = {"file": "text", "text": "file"}
    roles = [role for role in NAMES if role in options or other.get(role) not in options]
    found = {role: _column(table, names, role, options) for role in roles}
    if found.get("file") and found.get("text"):
        said = f"?file={found['file']} or ?text={found['text']}"
        raise TlbenchError(f"{table} could hold images or texts; write folder:{table}{said}")
    modality: Modality = "text" if found.get("text") else "image"
    source = found.get("file") or found.get("text")
    if source is None or found["label"] is None:
        role = "label" if source else "file or text"
        wanted = ", ".join(NAMES[role] if source else NAMES["file"][:4] + NAMES["text"][:2])
        raise TlbenchError(
            f"{table} has no {role} column ({wanted}); its columns are {_named(names)}; write "
            f"folder:{table}?{'label' if source else 'file'}=NAME"
        )
    return Columns(source, modality, found["label"], found["split"], found["group"])


def listed(table: Path, options: Mapping[str, str]) -> Listed:
    """The examples that a table lists; rows without label, text or file are counted.

    Files are named relative to the table's folder. Raises TlbenchError when no row can be used.
    """
    named, frame = columns(table, options), _frame(table)
    labels = frame[named.label].str.strip()
    excluded = Counter({EMPTY_LABEL: int((labels == "").sum())})
    frame, labels = frame[labels != ""], labels[labels != ""]
    usable = (_usable_texts if named.modality == "text" else _usable_files)(table, frame[named.input], labels, excluded)
    if len(frame) == 0 or not usable.any():
        counted = ", ".join(f"{reason}: {count}" for reason, count in (+excluded).items()) or "it is empty"
        first = f"; the first is {frame[named.input].iloc[0]!r}, looked for in {table.parent}" if len(frame) else ""
        raise TlbenchError(f"{table} has no row that can be used ({counted}){first}")
    frame, labels = frame[usable], labels[usable]
    values = frame[named.input].tolist()
    return Listed(
        items=values if named.modality == "text" else [table.parent / value.strip() for value in values],
        labels=labels.tolist(),
        parts=_parts(table, None if named.split is None else frame[named.split].tolist(), len(frame)),
        groups=None if named.group is None else frame[named.group].tolist(),
        excluded=+excluded,
    )


def _usable_texts(table: Path, texts: Any, labels: Any, excluded: Counter[str]) -> Any:
    usable = texts.str.strip() != ""
    excluded[EMPTY_TEXT] += int((~usable).sum())
    return usable


def _usable_files(table: Path, files: Any, labels: Any, excluded: Counter[str]) -> Any:
    """Rows whose file is there, is listed with one label only, and was not listed before."""
    files = files.str.strip()
    there = files.map(lambda name: bool(name) and (table.parent / name).is_file()).astype(bool)
    contradicted = labels.groupby(files).transform("nunique") > 1
    twice = files.duplicated() & ~contradicted
    excluded[MISSING] += int((~there).sum())
    excluded[CONTRADICTED] += int((there & contradicted).sum())
    excluded[TWICE] += int((there & twice).sum())
    return there & ~contradicted & ~twice


def _parts(table: Path, values: Sequence[str] | None, rows: int) -> list[Any]:
    if values is None:
        return ["pool"] * rows
    strange = {value for value in values if value.strip().lower() not in PARTS}
    if strange:
        problem = f"{table}: the split {sorted(strange)[0]!r} is none of {', '.join(PARTS)}"
        raise TlbenchError(f"{problem}; correct it, or name another column with ?split=NAME")
    parts = [PARTS[value.strip().lower()] for value in values]
    if "pool" not in parts:
        raise TlbenchError(f"{table}: every row is for testing; mark some rows as train")
    return parts


def _column(table: Path, names: Sequence[str], role: str, options: Mapping[str, str]) -> str | None:
    if role in options:
        if options[role] not in names:
            raise TlbenchError(f"{table}: {unknown('column', options[role], names, f'it has {_named(names)}')}")
        return options[role]
    found = [name for name in names if name.strip().lower() in NAMES[role]]
    if len(found) > 1:
        raise TlbenchError(f"{table}: the {role} column may be {_named(found)}; write ?{role}=NAME")
    return found[0] if found else None


def _frame(table: Path, rows: int | None = None) -> Any:
    """All cells as text, as they stand."""
    import pandas as pd

    try:
        with table.open(encoding="utf-8-sig") as file:
            head = file.readline()
        mark = "\t" if table.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
        with warnings.catch_warnings():
            # A first row with more cells than the head would otherwise shift or lose cells without a word.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                table, sep=mark, dtype=str, na_filter=False, encoding="utf-8-sig", nrows=rows, index_col=False
            )
    except pd.errors.ParserWarning as error:
        problem = f"the table {table} has rows with more cells than its first line; put texts with {mark!r} in quotes"
        raise TlbenchError(problem) from error
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TlbenchError(f"the table {table} cannot be read: {error}; save it as CSV in UTF-8") from error


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
