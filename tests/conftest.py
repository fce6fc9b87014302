"""How are tests set up? One thread a process and no network, before anything heavy is imported."""

from __future__ import annotations

import os
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
# Made data is kept between test runs, and apart from the user's own.
os.environ.setdefault("TLBENCH_CACHE", str(Path(__file__).parent.parent / ".pytest_cache" / "tlbench"))
