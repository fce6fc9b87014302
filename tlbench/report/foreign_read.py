"""What stands in a file that holds a table? Its fields as text, and the line of each row. CSV, TSV or Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from pathlib import Path

import pandas as pd

from tlbench.types import TlbenchError

SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet")


def read(path: Path) -> pd.DataFrame:
    """All fields as stripped text, "" where there is none; the index is the line (Parquet: the row) of the file.

    Raises TlbenchError for what is no such file.
    """
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if not path.is_file():
        raise TlbenchError(f"there is no file {str(path)!r}; --from takes a table: {', '.join(SUFFIXES)}")
    if suffix is None:
        raise TlbenchError(f"{path.name!r} is no table that can be read; save it as one of {', '.join(SUFFIXES)}")
    if suffix == ".parquet":
        return as_text(_parquet(path))
    return _separated(_content(path), path.name, SEPARATORS[suffix])


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The same for a frame at hand; its rows count from 1."""
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    _no_twins(list(table.columns), "the frame")
    texts = {
        name: ["" if missing else str(value).strip() for value, missing in _with_blanks(table[name])] for name in table
    }
    return pd.DataFrame(texts, index=pd.RangeIndex(1, len(table) + 1, name="row"), dtype=object)


def _with_blanks(column: pd.Series) -> zip[tuple[object, bool]]:
    blank = [value is None or value is pd.NA or value != value for value in column.astype(object)]
    return zip(column.astype(object), blank, strict=True)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise TlbenchError(f"{path.name!r} is no Parquet file: {error}") from error


def _content(path: Path) -> str:
    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if path.name.lower().endswith(".gz") else raw
        text = raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise TlbenchError(f"{path.name!r} is no gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise TlbenchError(f"{path.name!r} is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    if "\0" in text:
        raise TlbenchError(f"{path.name!r} is no text: it holds a zero byte")
    return text


def _separated(text: str, name: str, separator: str) -> pd.DataFrame:
    """Rows may be blank, and fields may hold line breaks in quotes; a row of another length is refused."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, lines, start = [], [], 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                rows.append([field.strip() for field in row])
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise TlbenchError(f"{name!r}, line {start}: {error}; is a quotation mark left open?") from error
    if not rows:
        raise TlbenchError(f"{name!r} is empty; its first line names the columns: strategy,dataset,budget,seed,score")
    header = rows[0]
    _no_twins(header, repr(name))
    wrong = [line for line, row in zip(lines, rows, strict=True) if len(row) != len(header)]
    if wrong:
        listed = ", ".join(map(str, wrong[:10])) + (f" and {len(wrong) - 10} more" if len(wrong) > 10 else "")
        raise TlbenchError(
            f"{name!r} has {len(header)} columns, and another number of fields on line {listed}; "
            "put a field that holds a separator into quotation marks"
        )
    return pd.DataFrame(rows[1:], columns=header, index=pd.Index(lines[1:], name="line", dtype="int64"), dtype=object)


def _no_twins(header: list[str], name: str) -> None:
    twins = sorted({column for column in header if header.count(column) > 1})
    if twins:
        raise TlbenchError(f"{name} has several columns called {', '.join(map(repr, twins))}; keep one of each")
