"""Laws of the workers: one thread a library, and one core each where they take all there are."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from tlbench.executors_cores import cores, seats, sit
from tlbench.width import MachinePlan

SPAWN = multiprocessing.get_context("spawn")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked on this system")
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


def born_with() -> tuple[str, dict[str, str]]:
    """Of which process was a worker born, and with which variables?"""
    return Path(f"/proc/{os.getppid()}/cmdline").read_text(), dict(os.environ)


@needs_linux
def test_workers_that_would_be_born_otherwise_are_not_forked(monkeypatch):
    from tlbench import executors

    executors.foreseen(MachinePlan(), ["cpu"])
    with executors.born(MachinePlan()):
        monkeypatch.setenv("OMP_NUM_THREADS", "5")
        with executors._pool(1, ["cpu"]) as pool:
            parent, found = pool.schedule(born_with).result()
        assert "forkserver" not in parent
        assert found == dict(os.environ)


@needs_linux
def test_a_command_begins_as_the_last_run_on_this_machine_did(tmp_path, monkeypatch):
    from tlbench import executors
    from tlbench.executors_server import begin_as_before

    begun: list[list[str | None]] = []

    def noted() -> None:
        begun.append([os.environ.get(name) for name in executors.VARIABLES])

    monkeypatch.setattr(forkserver, "ensure_running", noted)
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path))
    before = dict(os.environ)
    begin_as_before()
    assert begun == [], "there was none"
    executors.foreseen(MachinePlan(products="torch"), ["cpu"])
    begin_as_before()
    assert len(begun) == 2 and begun[0] == begun[1] and {"1", "torch"} <= set(begun[0])
    executors.foreseen(MachinePlan(), ["cuda:0"])
    begin_as_before()
    assert len(begun) == 2, "that of a GPU forks nothing"
    assert dict(os.environ) == before


RUN = """
    import json, os, signal, sys
    from pathlib import Path
    from tlbench import executors
    from tlbench.width import MachinePlan

    def born():
        parent = Path("/proc", str(os.getppid()))
        said = [(parent / each).read_text() for each in ("cmdline", "status")]
        return os.getpid(), os.getppid(), *said, [*os.environ], "torch._dynamo" in sys.modules

    if __name__ == "__main__":
        executors.foreseen(MachinePlan(), ["cpu"])
        os.environ["SET_LATER"] = ""
        with executors.born(MachinePlan()), executors._pool(1, {devices!r}) as pool:
            print(json.dumps(pool.schedule(born).result()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_linux
@pytest.mark.parametrize(("devices", "forked"), [(["cpu"], True), (["cuda:0"], False)], ids=["forked", "spawned"])
def test_workers_end_with_a_run_that_is_killed(tmp_path, devices, forked):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(RUN).format(devices=devices))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "torch.py").write_text("raise SystemExit('not the torch that was meant')")
    where = tmp_path / "elsewhere"
    ended = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=where)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    *processes, command, status, variables, has_loaded = json.loads(ended.stdout)
    assert ("forkserver" in command) == forked == has_loaded
    assert not forked or "Threads:\t1\n" in status, "no thread is lost in a fork"
    assert not forked or int(status.split("SigBlk:")[1].split()[0], 16) & 1 << signal.SIGINT - 1, "Ctrl-C is not for it"
    assert "SET_LATER" in variables
    limit = time.monotonic() + 30
    while time.monotonic() < limit and any(map(runs, processes)):
        time.sleep(0.05)
    assert not any(map(runs, processes))


def runs(process: int) -> bool:
    """Is it there, and not only waiting to be buried?"""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
