"""How many workers can the processor feed, and which of its cores does each keep to?"""

from __future__ import annotations

import os
from multiprocessing.context import BaseContext
from multiprocessing.sharedctypes import SynchronizedArray

Seats = SynchronizedArray  # the process on each core that this one may use, by ascending number; 0 for nobody yet


def cores() -> int:
    """Cores that this process may use; fewer where a container is allowed less time than they have."""
    import joblib

    return joblib.cpu_count()


def seats(workers: int, context: BaseContext) -> Seats | None:
    """A core for each of so many workers; None where they are not exactly as many as the cores.

    Fewer workers are free to move: those of a second run beside this one would choose the same cores.
    """
    if hasattr(os, "sched_getaffinity") and workers == len(os.sched_getaffinity(0)):
        return context.Array("q", workers)
    return None


def sit(seats: Seats) -> None:
    """Keeps this process to the first core whose process is gone, as that of a block that overran is."""
    places = sorted(os.sched_getaffinity(0))
    with seats.get_lock():
        free = next((i for i, process in enumerate(seats[:]) if not _alive(process)), None)
        if free is not None:
            seats[free] = os.getpid()
            os.sched_setaffinity(0, {places[free]})


def _alive(process: int) -> bool:
    """Is this process there, and ours?"""
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return process != 0
