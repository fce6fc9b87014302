"""Which code, packages and files do a dataset's arrays come from? Others, and they are made anew."""

from __future__ import annotations

import inspect
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tlbench.registry import Dataset
from tlbench.types import TlbenchError, sha256

SOURCES_OF_CHANGE = ("numpy", "matplotlib", "pillow", "scikit-learn")  # packages that embedded datasets draw from
SHAPING = ("pictures.py", "holdout.py", "duplicates.py")  # what makes arrays out of any files


def maker_version(dataset: Dataset) -> str:
    """Hex sha256 of all that the arrays come from: another one, another cache folder.

    Drawn datasets come from any code beside this file. Those that read files come from the files' state, the code that
    reads them (the function's module and those whose names begin like it) and `SHAPING`: gigabytes are not decoded
    again for an edit elsewhere.
    """
    home, state = Path(__file__).parent, dataset.state()
    if not state:
        ours = [path.read_bytes().hex() for path in sorted(home.rglob("*.py"))]
        return sha256([ours, _source(dataset), state, [_package(name) for name in SOURCES_OF_CHANGE]])
    module = dataset.__module__.rpartition(".")
    family = sorted(home.glob(f"{module[2].partition('_')[0]}*.py")) if module[0] == __package__ else []
    shaping = [path.read_text() for path in (*family, *(home / name for name in SHAPING))]
    return sha256([shaping, _source(dataset), state])


def _source(dataset: Dataset) -> str:
    try:
        module = inspect.getsourcefile(sys.modules[dataset.__module__])
        return Path(module or "").read_text()
    except (TypeError, OSError, KeyError):
        try:
            return inspect.getsource(inspect.unwrap(dataset.make))
        except (TypeError, OSError) as error:
            problem = f"the source of its function cannot be read ({error}); define it in a file"
            raise TlbenchError(f"dataset {dataset.card.name!r}: {problem}") from error


@lru_cache(maxsize=16)
def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
