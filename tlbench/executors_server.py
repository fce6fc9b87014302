"""From what do workers begin? On Linux from one process that has loaded what they need; elsewhere each loads it anew.

Processes that are forked from it share the memory of what it has loaded. It has one thread and computes nothing, so
that nothing is lost in a fork; it ends with the last of the run and its workers. It is the fork server of Python's
multiprocessing, of which a process has one.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from pathlib import Path

from tlbench import caches

SPAWN = multiprocessing.get_context("spawn")
LOADED = ("tlbench.block", "torch._dynamo")  # torch.func loads the second with the first gradient


def begin() -> None:
    """Starts that process with this one's variables, unless it runs already; it loads while this process goes on."""
    if sys.platform == "linux":
        forkserver.set_forkserver_preload(list(LOADED))
        resource_tracker.ensure_running()  # which would let through what is blocked below
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is for the run alone
        try:
            with told(_as_here()):
                forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def begin_as_before() -> None:
    """Starts that process as the last run on this machine did, if it had one: before this one has loaded anything."""
    if _last().exists():
        with told(json.loads(_last().read_text(encoding="utf-8"))):
            begin()


def remember(variables: Iterable[str] | None) -> None:
    """The next run on this machine may begin with the values of these; None: it has no use for such a process."""
    if variables is None:
        _last().unlink(missing_ok=True)
    else:
        _last().parent.mkdir(parents=True, exist_ok=True)
        values = {name: os.environ[name] for name in variables if name in os.environ}
        draft = _last().with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(values), encoding="utf-8")
        draft.replace(_last())


@contextmanager
def told(variables: Mapping[str, str]) -> Iterator[None]:
    """Within it this process, and what it starts, has these variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})


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


def _as_here() -> dict[str, str]:
    """What makes a process look for modules where this one does, and not in the folder in which it is started."""
    return {"PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path), "PYTHONSAFEPATH": "1"}


def _values(names: Iterable[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def _last() -> Path:
    return caches.folder() / "machine" / "workers.json"
