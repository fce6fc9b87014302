"""How do a user's own files become a dataset? `folder:PATH` of class folders, or of a table of files or texts."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tlbench.datasets import folder_listing, folder_table, options
from tlbench.datasets.folder_listing import Listed, stamps
from tlbench.datasets.holdout import SEEN_ONCE, held_out, seen_once
from tlbench.datasets.pictures import Pictures
from tlbench.datasets.seals import refuse_when_sealed
from tlbench.registry import Dataset, register
from tlbench.types import Arrays, Card, Modality, TlbenchError, sha256

PREFIX = "folder:"
OF_FOLDERS = ("size", "flip")
OF_TABLES = (*OF_FOLDERS, "file", "text", "label", "split", "group")
TABLES = (".csv", ".tsv")


@register.dataset_family("folder:PATH", "Your own images in class folders, or a CSV of files (or texts) and labels.")
def opened(reference: str) -> tuple[str, Dataset]:
    """`folder:DIR`, or `folder:TABLE.csv?label=..`, columns being `file`, `text`, `label`, `split` and `group`.

    Of images, `size=384` sets the side and `flip=yes` says that their mirror images are of the same class.
    Raises TlbenchError when there is no such path, for unknown options, and for a table without the columns.
    """
    path = Path(os.path.abspath(Path(reference.partition("?")[0].removeprefix(PREFIX)).expanduser()))
    is_table = path.suffix.lower() in TABLES and not path.is_dir()
    _, given = options.split(reference, OF_TABLES if is_table else OF_FOLDERS)
    _check_there(reference, path)
    options.side(reference, given)
    modality: Modality = folder_table.columns(path, given).modality if is_table else "image"
    if modality == "text" and set(given) & set(OF_FOLDERS):
        raise TlbenchError(f"{reference!r}: {' and '.join(OF_FOLDERS)} are for images, and {path.name} has texts")
    name = options.named(f"{PREFIX}{path.name}", given)
    card = Card(
        name=name,
        modality=modality,
        classes=None,
        summary=f"Your own {'texts' if modality == 'text' else 'images'}: {path.name}.",
        kind="real",
        group="your own data",
        source="files on the machine that ran it",
        licence="not stated",
        horizontal_flip=options.yes(reference, given, "flip"),
    )

    def arrays(root: Path) -> Arrays:
        refuse_when_sealed(f"reading {name!r}")
        return arrays_of(_listed(path, given), size=options.side(reference, given))

    return name, Dataset(card, arrays, state=lambda: _state(path, given))


def arrays_of(found: Listed, *, size: int | None = None) -> Arrays:
    """Labels as numbers, and a fifth by hash for testing where nobody has said what is for that.

    Without a test part a label seen once is left out and counted: it cannot be on both sides.
    """
    items = found.items
    x: Any = Pictures(items, size) if items and isinstance(items[0], Path) else np.array(items, object)
    labels, excluded = np.array(found.labels, object), Counter(found.excluded)
    test = np.array(found.parts, object) == "test"
    groups = None if found.groups is None else np.array(found.groups, str)
    if not test.any():
        once = seen_once(labels)
        excluded[SEEN_ONCE] += int(once.sum())
        x, labels, test = x[~once], labels[~once], test[~once]
        groups = None if groups is None else groups[~once]
    names = sorted(set(labels.tolist()), key=_natural)
    y = _numbered(labels, names)
    if not test.any() and len(names) > 1:
        test = held_out(x, y, groups)
    return Arrays(
        x[~test], y[~test], x[test], y[test], tuple(names), None if groups is None else groups[~test], dict(+excluded)
    )


def _state(path: Path, given: Mapping[str, str]) -> str:
    """Changes with any file's name, size or time of change."""
    files = [path] if path.is_file() else []
    items = [item for item in _listed(path, given).items if isinstance(item, Path)]
    return sha256([sorted(given.items()), stamps([*files, *items], path.parent)])


def _listed(path: Path, given: Mapping[str, str]) -> Listed:
    try:
        return folder_table.listed(path, given) if path.is_file() else folder_listing.listed(path)
    except OSError as error:
        raise TlbenchError(f"{path} cannot be read: {error}; see to its permissions, or name another place") from error


def _numbered(labels: np.ndarray, names: list[str]) -> np.ndarray:
    number = {name: at for at, name in enumerate(names)}
    return np.array([number[label] for label in labels.tolist()], np.int64)


def _natural(name: str) -> tuple[bool, int, str]:
    """Whole numbers in their order, before all else."""
    digits = name.isascii() and name.isdigit()
    return not digits, int(name) if digits else 0, name


def _check_there(reference: str, path: Path) -> None:
    if not path.exists():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
        hint = f"; did you mean {str(path.parent / near[0])!r}?" if near else ""
        raise TlbenchError(f"{reference!r}: there is nothing at {path}{hint}")
    if path.is_file() and path.suffix.lower() not in TABLES:
        raise TlbenchError(
            f"{reference!r}: {path.name} is a file; name a folder of class folders, or a .csv or .tsv table"
        )
