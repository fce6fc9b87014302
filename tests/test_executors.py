"""Laws of the workers: one thread a library, and one core each where they take all there are."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import pytest

from tlbench.executors_cores import cores, seats, sit
from tlbench.width import MachinePlan

SPAWN = multiprocessing.get_context("spawn")
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="nothing is pinned on this system")


def stay(places: Any, line: Any) -> None:
    sit(places)
    line.send(os.sched_getaffinity(0))
    line.recv()  # never: until it is ended


def threads() -> dict[str, int]:
    """Threads of every library that a worker has loaded."""
    import numpy as np
    import threadpoolctl
    import torch

    import tlbench.block  # noqa: F401 - with all that it imports

    square = np.ones((256, 256), np.float32)
    assert (square @ square).sum() == float((torch.from_numpy(square) @ torch.from_numpy(square)).sum())
    return {"torch": torch.get_num_threads()} | {
        each["filepath"]: each["num_threads"] for each in threadpoolctl.threadpool_info()
    }


@needs_affinity
def test_workers_that_take_all_cores_keep_to_one_each_and_to_that_of_one_who_died():
    count = len(os.sched_getaffinity(0))
    places, workers = seats(count, SPAWN), []

    def hired() -> set[int]:
        ours, theirs = SPAWN.Pipe()
        workers.append((SPAWN.Process(target=stay, args=(places, theirs), daemon=True), ours))
        workers[-1][0].start()
        assert ours.poll(60)
        return ours.recv()

    def ended(worker: Any) -> None:
        worker.kill()
        worker.join()

    try:
        first = [hired() for _ in range(count)]
        assert [len(core) for core in first] == [1] * count
        assert set.union(*first) == os.sched_getaffinity(0)
        ended(workers[0][0])
        assert hired() == first[0]
    finally:
        for worker, _ in workers:
            ended(worker)


@needs_affinity
def test_workers_that_are_more_or_fewer_than_the_cores_are_free_to_move():
    count = len(os.sched_getaffinity(0))
    assert seats(count, SPAWN) is not None
    assert seats(count - 1, SPAWN) is None and seats(count + 1, SPAWN) is None


def test_there_are_no_more_workers_than_cores():
    assert 1 <= cores() <= (os.cpu_count() or 1)


def complaints() -> list[str]:
    """What numpy says of a product that a lane may come to which diverges."""
    import warnings

    import numpy as np

    square = np.full((64, 64), np.inf, np.float32)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert np.isnan(np.matmul(square, np.zeros_like(square))).all()
    return [str(each.message) for each in said]


def test_a_lane_that_diverges_is_a_status_and_no_warning():
    from tlbench import executors

    with executors._pool(1, ["cpu"]) as pool:
        assert pool.schedule(complaints).result() == []


def test_a_worker_has_one_thread_a_library(monkeypatch):
    from tlbench import executors

    for name in executors.THREADS:
        monkeypatch.setenv(name, "7")
    with executors.born(MachinePlan()), executors._pool(1, ["cpu"]) as pool:
        found = pool.schedule(threads).result()
    assert len(found) > 1 and set(found.values()) == {1}, found
