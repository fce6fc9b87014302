"""Which datasets can be named by `hf:`? Those of the Hugging Face hub, and local files that its library reads."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tlbench.datasets import options
from tlbench.datasets.folder_listing import stamps
from tlbench.datasets.holdout import SEEN_ONCE, held_out, seen_once
from tlbench.datasets.huggingface_columns import class_names, columns, labels_of
from tlbench.datasets.huggingface_counts import check_counts
from tlbench.datasets.huggingface_files import FORMATS, Repository, Tables, from_files, from_hub
from tlbench.datasets.huggingface_rows import Labelled, rows
from tlbench.datasets.huggingface_splits import parts
from tlbench.registry import Dataset, register
from tlbench.types import Arrays, Card, TlbenchError, sha256

PREFIX = "hf:"
OPTIONS = ("text", "image", "label", "group", "train", "test", "revision", "size", "flip")
REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*){0,2}")
LOCAL = ("/", "./", "../", "~", ".")


@register.dataset_family(
    "hf:REPO[/CONFIG]", "A dataset of the Hugging Face hub; or hf:DIR, hf:FILE.{parquet,csv,tsv,json,jsonl}."
)
def opened(reference: str) -> tuple[str, Dataset]:
    """`hf:OWNER/NAME/CONFIG?text=COLUMN&label=COLUMN&test=SPLIT&revision=SHA`; of images `image=COLUMN`.

    `train` may name several splits, as train=train,extra. A path that exists is taken before a repository. A repository
    without `revision` stays what it was when its arrays were first made. Raises TlbenchError for unknown options, and
    for what is neither.
    """
    rest, given = options.split(reference, OPTIONS)
    options.side(reference, given)
    path = _path(reference, rest)
    if path and "revision" in given:
        raise TlbenchError(f"{reference!r}: {path.name} is local and has no revision; leave it out")
    shown = path.name if path else rest
    name = options.named(f"{PREFIX}{shown}", given)
    repository = None if path else _repository(rest, given)
    source = f"hf.co/datasets/{repository.name}" if repository else "files on the machine that ran it"
    card = Card(
        name=name,
        modality="image" if "image" in given else "text",
        classes=None,
        summary=f"{shown}, from the Hugging Face hub." if repository else f"Your own data: {shown}.",
        kind="real",
        group="Hugging Face hub" if repository else "your own data",
        source=source + (f" at revision {given['revision']}" if "revision" in given else ""),
        licence="see the page of its source" if repository else "not stated",
        horizontal_flip=options.yes(reference, given, "flip"),
    )

    def arrays(root: Path) -> Arrays:
        tables = from_files(path, root / "downloads" / "hf") if path else _of_hub(_repository(rest, given))
        made = arrays_of(tables, given, reference, size=options.side(reference, given))
        return made._replace(origin=f"commit {tables.commit}" if tables.commit else "")

    return name, Dataset(card, arrays, state=lambda: sha256([name, _stamps(path)]))


def arrays_of(tables: Tables, given: Mapping[str, str], reference: str, *, size: int | None = None) -> Arrays:
    """Inputs and labels of the splits; examples without text or label are counted by reason, so are unused splits.

    Where no split is for testing a fifth is, by hash, and a label seen once is left out.
    """
    splits = tables.splits
    widest = max(splits.values(), key=lambda table: len(table.column_names))
    named = columns(widest, given, reference)
    labels = {split: labels_of(table, named.label, reference) for split, table in splits.items()}
    chosen = parts(labels, given, reference)
    used = [splits[split] for split in (*chosen.pool, *chosen.test)]
    pool, test = (
        rows([Labelled(splits[split], labels[split]) for split in part], named, images="image" in given, size=size)
        for part in (chosen.pool, chosen.test)
    )
    names = class_names({*pool.labels, *test.labels}, used, named.label)
    number = {label: at for at, label in enumerate(names)}
    y, test_y = (np.array([number[label] for label in part.labels], np.int64) for part in (pool, test))
    excluded = dict(+(chosen.left_out + pool.excluded + test.excluded))
    made = Arrays(pool.x, y, test.x, test_y, tuple(names.values()), pool.groups, excluded)
    if not len(y) or (chosen.test and not len(test_y)):
        counted = ", ".join(f"{reason}: {count}" for reason, count in excluded.items()) or "there is none"
        raise TlbenchError(f"{reference}: no example can be used ({counted})")
    return made if chosen.test else _split_by_hash(made)


def _split_by_hash(arrays: Arrays) -> Arrays:
    """With a fifth of the pool for testing; a label seen once, which cannot be on both sides, is left out."""
    x, y, groups = arrays.pool_x, arrays.pool_y, arrays.groups
    once = seen_once(y)
    x, y, groups = x[~once], y[~once], None if groups is None else groups[~once]
    left = np.unique(y)
    names = tuple(arrays.class_names[label] for label in left)
    y = np.searchsorted(left, y)
    held = held_out(x, y, groups) if len(names) > 1 else np.zeros(len(y), bool)
    excluded = Counter(arrays.excluded or {}) + Counter({SEEN_ONCE: int(once.sum())})
    return Arrays(
        x[~held], y[~held], x[held], y[held], names, None if groups is None else groups[~held], dict(excluded)
    )


def _of_hub(repository: Repository) -> Tables:
    """Its splits. Raises TlbenchError where an unpinned repository has other counts than were published."""
    tables = from_hub(repository)
    if repository.revision is None:
        check_counts(repository.name, {split: len(table) for split, table in tables.splits.items()})
    return tables


def _repository(rest: str, given: Mapping[str, str]) -> Repository:
    """`NAME`, `OWNER/NAME` or `OWNER/NAME/CONFIG`."""
    owner_and_name, config = "/".join(rest.split("/")[:2]), "/".join(rest.split("/")[2:])
    return Repository(owner_and_name, config or None, given.get("revision"))


def _path(reference: str, rest: str) -> Path | None:
    """The local directory or table that is meant; None for a repository."""
    path = Path(os.path.abspath(Path(rest).expanduser()))
    if path.exists():
        if path.is_file() and path.suffix.lower() not in FORMATS:
            raise TlbenchError(f"{reference!r}: {path.name} is none of {', '.join(FORMATS)}; convert it to one of them")
        return path
    if rest.startswith(LOCAL) or Path(rest).suffix.lower() in FORMATS or not REPOSITORY.fullmatch(rest):
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
        hint = f"; did you mean {str(Path(rest).parent / near[0])!r}?" if near else "; see: tlbench list datasets"
        raise TlbenchError(f"{reference!r}: there is no such file or directory{hint}")
    return None


def _stamps(path: Path | None) -> list[tuple[str, int, int]]:
    """Names, sizes and times of change of the local files."""
    if path is None:
        return []
    return stamps(sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path], path.parent)
