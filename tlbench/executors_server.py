"""From what do workers begin? On Linux from one process that has loaded what they need; elsewhere each loads it anew.

Processes that are forked from it share the memory of what it has loaded. It has one thread and computes nothing, so
that nothing is lost in a fork; it ends with the last of the run and its workers. It is the fork server of Python's
multiprocessing, of which a process has one.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

SPAWN = multiprocessing.get_context("spawn")
LOADED = ("tlbench.block", "torch._dynamo")  # torch.func loads the second with the first gradient


def begin() -> None:
    """Starts that process with this one's variables, unless it runs already; it loads while this process goes on."""
    if sys.platform == "linux":
        forkserver.set_forkserver_preload(list(LOADED))
        forkserver.ensure_running()


def context(variables: Iterable[str]) -> BaseContext:
    """How to start processes for which these variables count when libraries are loaded.

    They are forked where that process was born with the values that this one has now: an earlier run with another plan,
    or other work of this program, may have started it with its own.
    """
    names = list(variables)
    if sys.platform != "linux":
        return SPAWN
    begin()
    forked = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=forked) as pool:
        return forked if pool.submit(_values, names).result() == _values(names) else SPAWN


def follow(variables: dict[str, str]) -> None:
    """Gives this process, a worker, the variables of the one that asked for it, and ends it when that one has ended."""
    os.environ.clear()
    os.environ.update(variables)
    if forkserver.get_inherited_fds() is not None:
        gc.freeze()  # a collection would write to, and so copy, every page that is shared
    asked = multiprocessing.parent_process()

    def watch() -> None:
        if asked is not None:
            asked.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _values(names: Iterable[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]
