"""How are tests set up? One thread a process and no network, before anything heavy is imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
# Made data is kept between test runs, and apart from the user's own.
os.environ.setdefault("TLBENCH_CACHE", str(Path(__file__).parent.parent / ".pytest_cache" / "tlbench"))


@pytest.fixture(autouse=True, scope="module")
def _references_of_other_files_are_forgotten():
    """Files write small networks and folders under the same names; in one process each name has one owner."""
    from tlbench.registry import BACKBONES, DATASETS

    yield
    for registry in (BACKBONES, DATASETS):
        for name in registry._names.values():
            registry._items.pop(name, None)
        registry._names.clear()
