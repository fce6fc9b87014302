"""What may be typed as an input of a prediction, and which of it can be read?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlbench.datasets.folder_listing import ENDINGS
from tlbench.datasets.folder_table import NAMES
from tlbench.datasets.pictures import Unusable, pixels
from tlbench.registry import unknown
from tlbench.types import TlbenchError

TABLES = (".csv", ".tsv")
EMPTY = "empty text"
NAMED = 500  # characters of a text that are printed, so that any program reads what is printed


class Input(NamedTuple):
    """One thing to predict."""

    name: str  # a file, or the beginning of the text
    raw: np.ndarray | str | None  # None where it cannot be read
    problem: str = ""


def images(typed: Sequence[str], side: int) -> Iterator[Input]:
    """Images of files, and of folders with all that is in them; decoded one at a time as training images were.

    Raises TlbenchError for a path that is not there, and for a folder without an image.
    """
    for path in map(Path, typed):
        if not path.exists():
            raise TlbenchError(f"there is no file or folder {str(path)!r}; name images, or folders of them")
        files = [path] if path.is_file() else sorted(_images_in(path))
        if not files:
            raise TlbenchError(f"there is no image in {str(path)!r} (looked for {', '.join(ENDINGS[:6])} and others)")
        for file in files:
            try:
                yield Input(str(file), pixels(file, side))
            except Unusable as problem:
                yield Input(str(file), None, str(problem))


def texts(typed: Sequence[str], column: str | None) -> Iterator[Input]:
    """Texts of a CSV or TSV (`column`, or what is usually called text), of the lines of a file, or as typed.

    Raises TlbenchError for a table without the column and a file that is no UTF-8 text.
    """
    for each in typed:
        path = Path(each)
        if _is_file(path):
            lines = _column(path, column) if path.suffix.lower() in TABLES else _lines(path)
        elif path.suffix.lower() in (*TABLES, ".txt") and " " not in each:
            raise TlbenchError(f"there is no file {each!r}; name one that is there, or give a text in quotes")
        else:
            lines = [each]
        for text in lines:
            name = text if len(text) <= NAMED else f"{text[:NAMED]} ..."
            yield Input(name, text) if text.strip() else Input(name, None, EMPTY)


def _images_in(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and path.suffix.lower() in ENDINGS and not hidden:
            yield path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long for a file's name
        return False


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _column(path: Path, asked: str | None) -> list[str]:
    import pandas as pd

    head = _text(path).partition("\n")[0]
    mark = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    try:
        table = pd.read_csv(path, sep=mark, dtype=str, na_filter=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TlbenchError(f"the table {str(path)!r} cannot be read: {error}; save it as CSV in UTF-8") from error
    names = [str(name) for name in table.columns]
    usual = [name for name in names if name.strip().lower() in NAMES["text"]]
    column = asked or (usual[0] if len(usual) == 1 else None)
    has = f"it has {', '.join(map(repr, names))}"
    if column is None:
        raise TlbenchError(f"{str(path)!r}: which column holds the texts? write --text COLUMN; {has}")
    if column not in names:
        raise TlbenchError(f"{str(path)!r}: {unknown('column', column, names, has)}")
    return table[column].tolist()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TlbenchError(f"{str(path)!r} cannot be read as text ({error}); save it in UTF-8") from error
