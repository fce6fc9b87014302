"""Where is kept what can be made again, and how much of it?"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from tlbench.types import TlbenchError

FOLDER, GIGABYTES = "TLBENCH_CACHE", "TLBENCH_CACHE_GB"  # environment variables
ROOM = 20.0  # GiB of activations


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
            f"{GIGABYTES}={said!r}: it should be a number of gigabytes (GiB), 0 or more; without it, {ROOM:g} are taken"
        )
    return round(found * 2**30)


def size(count: float) -> str:
    """Bytes in words: 12.3 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.{0 if unit == 'B' else 1}f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
