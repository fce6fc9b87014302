"""Does a plug-in reach for labels? Its imports are read, and what it opens is watched while it runs. No torch.

A tripwire, not a wall: it finds mistakes and the obvious ways. Ranked third-party rows run in a worker that has no path
to the labels.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlbench.contract_words import LABELS
from tlbench.types import TlbenchError

# Where labels or scores can be had; a strategy needs none of them.
CLOSED = tuple(f"tlbench.{name}" for name in ("datasets", "scorer", "store", "block", "fits", "executors", "runner"))
CLOSED_NAMES = (*CLOSED, "sklearn.datasets", "tlbench.registry.DATASETS", "registry.DATASETS")
CLOSED_FILES = frozenset({"test_y.npy", "pool_y.npy", "results.db"})

_tripped: list[str] = []  # an audit hook cannot be taken back, so neither can its record


def reaches(plugin: str) -> list[str]:
    """Sentences on imports of a plug-in (path or module name) that lead to labels, found without running it."""
    file = source(plugin)
    if file is None:
        return []
    try:
        tree = ast.parse(file.read_text(), filename=str(file))
    except (SyntaxError, ValueError):
        return []  # loading it says so
    found = {line: name for name, line in _named(tree) if _closed(name)}
    return [f"line {line} reaches for {name}: {LABELS}; remove it" for line, name in sorted(found.items())]


def source(plugin: str) -> Path | None:
    """The file of a plug-in; None where there is none to read."""
    if plugin.endswith(".py"):
        return Path(plugin) if Path(plugin).is_file() else None
    try:
        spec = importlib.util.find_spec(plugin)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def arm() -> None:
    """From now on this process stops, and remembers, every reach for labels or for the network. For good."""
    sys.addaudithook(_watch)


def tripped() -> tuple[str, ...]:
    """What was reached for since `arm`, also where the plug-in swallowed the refusal."""
    return tuple(dict.fromkeys(_tripped))


def _named(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything imported, and of modules named in calls such as import_module("...")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call):
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            yield from ((text, node.lineno) for text in texts)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node), node.lineno


def _closed(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in CLOSED_NAMES)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    what = ""
    if event == "import" and _closed(str(arguments[0])):
        what = f"import of {arguments[0]}"
    elif event == "open" and isinstance(arguments[0], str | bytes):
        path = Path(os.path.realpath(os.fsdecode(arguments[0])))
        if path.name in CLOSED_FILES or "sklearn/datasets/" in path.as_posix():
            what = f"opening of {path.name}"
    elif event in ("socket.connect", "socket.getaddrinfo"):
        what = "a network connection"
    elif event == "sqlite3.connect":
        what = "opening of a database"
    if what:
        _tripped.append(what)
        raise TlbenchError(f"{what} was refused: {LABELS}")
