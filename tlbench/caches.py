"""Where is kept what can be made again, and how much of it?"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from tlbench.types import TlbenchError

FOLDER, GIGABYTES = "TLBENCH_CACHE", "TLBENCH_CACHE_GB"  # environment variables
ROOM = 20.0  # GB of activations


def folder() -> Path:
    """Where datasets and activations are kept between runs."""
    return Path(os.environ.get(FOLDER) or platformdirs.user_cache_path("tlbench"))


def most_bytes() -> int:
    """What activations may take on disk; raises TlbenchError where the variable holds no number."""
    said = os.environ.get(GIGABYTES) or str(ROOM)
    try:
        found = float(said)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise TlbenchError(
            f"{GIGABYTES}={said!r}: it should be a number of gigabytes, 0 or more; without it, {ROOM:g} are taken"
        )
    return round(found * 1e9)
