"""What does `tlbench cache` take, and what does it print?"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tlbench.features_kept import Entry


class Kept(StrEnum):
    ACTIVATIONS = "activations"
    DATASETS = "datasets"
    ALL = "all"


def cache(
    clear: Annotated[Kept | None, typer.Option(help="Remove these; they are made, or downloaded, again.")] = None,
) -> None:
    """Show what is kept between runs and what disk it takes, or remove it.

    Activations are what frozen networks give for the inputs of datasets. They may be removed at any time, also while
    something runs; datasets only while nothing does. `all` takes also what was measured of this machine, so that the
    next new results folder measures it again. TLBENCH_CACHE names another folder, and TLBENCH_CACHE_GB how much
    activations may take: what was not used for longest goes first.

    Example: tlbench cache

    Example: tlbench cache --clear activations
    """
    from tlbench import caches

    most = f" of at most {caches.size(caches.most_bytes())}"
    for kind, part, bound in ((Kept.ACTIVATIONS, "features", most), (Kept.DATASETS, "datasets", "")):
        if clear is None:
            _show(kind, caches.folder() / part, bound)
        elif clear in (kind, Kept.ALL):
            _clear(kind, caches.folder() / part)
    if clear is Kept.ALL:
        shutil.rmtree(caches.folder() / "machine", ignore_errors=True)


def _show(kind: Kept, folder: Path, bound: str) -> None:
    from tlbench.features_kept import entries

    found = entries(folder)
    typer.echo(f"{kind}: {_amount(found)}{bound} in {folder}")
    label, dated = (_dataset, "made") if kind is Kept.DATASETS else (_network_and_dataset, "used")
    for line in _table(found, label, dated=dated):
        typer.echo(line)


def _clear(kind: Kept, folder: Path) -> None:
    from tlbench.features_kept import entries, removed

    found = entries(folder)
    gone = [entry for entry in found if removed(entry)]
    typer.echo(f"{kind}: {_amount(gone)} removed from {folder}")
    if len(gone) < len(found):
        typer.echo(f"{len(found) - len(gone)} are being made at this moment and stay")


def _table(found: Sequence[Entry], label: Callable[[Entry], str], *, dated: str) -> Iterator[str]:
    """A line for all entries of one label; the largest first."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in found:
        groups[label(entry)].append(entry)
    for name, group in sorted(groups.items(), key=lambda item: -sum(entry.bytes for entry in item[1])):
        day = time.strftime("%Y-%m-%d", time.localtime(max(entry.used for entry in group)))
        yield f"  {name:<40} {_amount(group)}, last {dated} {day}"


def _amount(found: Sequence[Entry]) -> str:
    from tlbench.caches import size

    return f"{size(sum(entry.bytes for entry in found))} in {len(found)} {'folder' if len(found) == 1 else 'folders'}"


def _network_and_dataset(entry: Entry) -> str:
    about = entry.about
    known = {"backbone", "dataset"} <= set(about)
    return f"{about['backbone']} on {about['dataset']}" if known else "of an older tlbench, or unfinished"


def _dataset(entry: Entry) -> str:
    return entry.path.name.rpartition("-")[0].lstrip(".")
