"""Which examples of a Hugging Face dataset can be used, and what are their inputs?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.datasets.folder_table import EMPTY_LABEL, EMPTY_TEXT
from tlbench.datasets.huggingface_columns import Columns, Label
from tlbench.datasets.pictures import Pictures

if TYPE_CHECKING:
    from datasets import Dataset


class Rows(NamedTuple):
    """The usable examples of one part."""

    x: Any  # texts [n], an object array, or `Pictures`
    labels: list[Label]
    groups: np.ndarray | None  # [n] strings
    excluded: Counter[str]  # how many examples could not be used, by reason


class Labelled(NamedTuple):
    """A split and the label of each of its examples."""

    table: Dataset
    labels: list[Label | None]


class Encoded(Sequence[Path | bytes]):
    """Images as a dataset has them, by place; nothing is decoded here."""

    def __init__(self, places: list[tuple[Dataset, int]], column: str) -> None:
        self.places, self.column = places, column

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at: Any) -> Any:
        table, row = self.places[at]
        image = table[row][self.column] or {}
        if image.get("bytes") is None and image.get("path"):
            return Path(image["path"])
        return image.get("bytes") or b""


def rows(splits: Sequence[Labelled], named: Columns, *, images: bool, size: int | None = None) -> Rows:
    """The examples of the splits, one behind the other, that have a label and a text.

    Of images, those that cannot be decoded are left out later. An example without a group is a group of its own.
    """
    labels, groups, excluded = list[Label](), list[str](), Counter[str]()
    inputs: list[Any] = []
    for split in splits:
        found = _images(split.table, named.input) if images else split.table.with_format(None)[named.input][:]
        named_groups = split.table.with_format(None)[named.group][:] if named.group else [None] * len(found)
        for item, label, group in zip(found, split.labels, named_groups, strict=True):
            if label is None:
                excluded[EMPTY_LABEL] += 1
            elif not images and not (item or "").strip():
                excluded[EMPTY_TEXT] += 1
            else:
                groups.append(f"without a group: {len(inputs)}" if group is None else str(group))
                inputs.append(item)
                labels.append(label)
    x = Pictures(Encoded(inputs, named.input), size) if images else np.array(inputs, object)
    return Rows(x, labels, np.array(groups, str) if named.group else None, excluded)


def _images(table: Dataset, column: str) -> list[tuple[Dataset, int]]:
    from datasets import Image

    encoded = table.with_format(None).select_columns([column]).cast_column(column, Image(decode=False))
    return [(encoded, row) for row in range(len(encoded))]
