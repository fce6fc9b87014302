"""How does a process that trains shut itself off from labels that it must not see?

A tripwire, not a wall: it stops plug-ins that read labels by mistake or by the obvious ways; code in the same process
that means to cheat can undo it. Ranked third-party rows run in a worker that has no path to the files at all.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from tlbench.registry import DATASETS
from tlbench.types import TlbenchError

LABEL_FILES = frozenset({"test_y.npy", "pool_y.npy"})

_door = {"shut": False}


def seal() -> None:
    """From now on this process cannot load or make datasets, nor open the files that hold labels. For good."""
    if not _door["shut"]:
        sys.addaudithook(_watch)
        for dataset in DATASETS.values():
            dataset.make = _refuse
        _door["shut"] = True


def sealed() -> bool:
    """Has this process been sealed?"""
    return _door["shut"]


def refuse_when_sealed(what: str) -> None:
    """Raises TlbenchError in a sealed process."""
    if sealed():
        raise TlbenchError(
            f"test labels are sealed in this process: {what} is not possible after seal(); a strategy has its task only"
        )


def _refuse(root: Path) -> NoReturn:
    refuse_when_sealed("making a dataset")
    raise AssertionError("only a sealed process replaces the makers of datasets")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _door["shut"] and isinstance(arguments[0], str | bytes | os.PathLike):
        name = Path(os.path.realpath(os.fsdecode(arguments[0]))).name
        if name in LABEL_FILES:
            refuse_when_sealed(f"opening {name}")
