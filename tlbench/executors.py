"""Who does the blocks: worker processes, one thread each on a CPU, one device each otherwise."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pebble import ProcessExpired, ProcessPool

from tlbench.executors_cores import Seats, seats, sit
from tlbench.executors_server import SPAWN, begin, context, follow, remember, told
from tlbench.fits import Block
from tlbench.kernels.products import LIBRARY
from tlbench.types import Status
from tlbench.width import MachinePlan

if TYPE_CHECKING:
    from tlbench.block import Outcome

# One thread a worker: of torch and OpenMP, MKL, numpy's OpenBLAS, Apple's Accelerate, and Rust's tokenizers.
THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS"), "1"
)
# glibc: huge pages, and memory of up to 1 GiB kept when it is freed. Otherwise each step faults in the same pages anew:
# from_scratch on 22 million parameters took 404 ms a step, not 331; partial_freeze in 16 lanes of glyph_vit 23, not 19.
MEMORY = (
    "GLIBC_TUNABLES",
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824",
)
OPENBLAS = "OPENBLAS_CORETYPE"  # the processor that it works for, where it is told
VARIABLES = (*THREADS, MEMORY[0], OPENBLAS, LIBRARY)  # that libraries read once, when they are loaded


class Means(NamedTuple):
    """What a run may use."""

    workers: int = 0  # 0: one for each core or device
    device: str = "auto"
    timeout: float | None = None  # seconds a cell


def outcomes(
    blocks: Sequence[Block],
    *,
    workers: int,
    devices: Sequence[str],
    timeout: float | None,
    started: Callable[[Block], None],
) -> Iterator[list[Outcome]]:
    """What each block comes to, as it comes; every job of every block has one outcome.

    `timeout` is seconds a cell. A block that overruns, or whose worker dies, is run again cell by cell, each once.
    """
    waiting = deque(blocks)
    found: list[list[Outcome]] = []
    plan = blocks[0].plan if blocks else MachinePlan()
    with born(plan), _pool(workers, devices) as pool:
        running: dict[Future, Block] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    block = replace(waiting.popleft(), device=_freest(devices, running.values()))
                    limit = None if timeout is None else timeout * len(block.jobs)
                    running[pool.schedule(_work, args=[block], timeout=limit)] = block
                    started(block)
                yield from found  # only now, so that no worker waits while what it found is judged
                found = []
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    block = running.pop(future)
                    outcome = _found(future, block)
                    if outcome is None:
                        waiting.extend(replace(block, jobs=(job,), alone=True) for job in block.jobs)
                    else:
                        found.append(outcome)
            yield from found
        except BaseException:
            pool.stop()
            raise


@contextmanager
def born(plan: MachinePlan) -> Iterator[None]:
    """Within it processes begin as workers do: their libraries read these variables once, when they are loaded.

    OpenBLAS believes what it is told of the processor, so that it is told of AVX-512 only where there is.
    """
    own = {**THREADS, LIBRARY: plan.products}
    own[MEMORY[0]] = os.environ.get(*MEMORY)
    if plan.openblas and avx512():
        own[OPENBLAS] = plan.openblas
    with told(own):
        yield


def foreseen(plan: MachinePlan, devices: Sequence[str]) -> None:
    """Workers for these devices, born with this plan, will be wanted: what they need is loaded meanwhile."""
    if list(devices) != ["cpu"]:
        return remember(None)
    with born(plan):
        begin()
        remember(VARIABLES)


def avx512() -> bool:
    """Has the processor the instructions that OpenBLAS means by SkylakeX?"""
    import torch

    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def _freest(devices: Sequence[str], running: Iterable[Block]) -> str:
    """The device with the fewest blocks; the first of them."""
    return min(devices, key=[block.device for block in running].count)


def _found(future: Future, block: Block) -> list[Outcome] | None:
    """A block's outcomes; None where it did not end well and its cells have not been tried alone yet."""
    from tlbench.block import Outcome

    error = future.exception()
    if error is None:
        return future.result()
    if not block.alone:
        return None
    if isinstance(error, TimeoutError):
        status, reason = Status.TIMED_OUT, "took longer than --timeout allows, twice"
    elif isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGKILL:
        status, reason = Status.OUT_OF_MEMORY, "the worker was killed, twice, as the system does when memory runs out"
    else:
        status, reason = Status.FAILED, f"the worker ended, twice: {type(error).__name__}: {error}"
    return [Outcome(job.cell, status, reason) for job in block.jobs]


def _pool(workers: int, devices: Sequence[str]) -> ProcessPool:
    on_cpu = list(devices) == ["cpu"]
    how = context(VARIABLES) if on_cpu else SPAWN  # no driver of a GPU outlives a fork
    places = seats(workers, how) if on_cpu else None
    return ProcessPool(max_workers=workers, context=how, initializer=_settle, initargs=[dict(os.environ), places])


def _work(block: Block) -> list[Outcome]:
    from tlbench.block import work

    return work(block)


def _settle(variables: dict[str, str], places: Seats | None) -> None:
    """Takes a core, leaves Ctrl-C to the parent, is silent about numbers, and ends with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    np.seterr(over="ignore", invalid="ignore")  # what a lane comes to that diverges is told by its status
    if places is not None:
        sit(places)
    follow(variables)
