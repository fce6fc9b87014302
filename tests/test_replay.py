"""Laws of replayed steps, tried on a CPU with a recorder in the place of CUDA graphs."""

from __future__ import annotations

import inspect
import logging
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import pytest
import torch
from recorded import Recorder, recordings
from toy import lanes, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, kernels, replay, space
from tlbench.registry import STRATEGIES

CASES = [(name, "glyph_vit", 2) for name, strategy in STRATEGIES.items() if strategy.trains]
CASES += [("from_scratch", "glyph_cnn", 2), ("full_finetune", "glyph_cnn", 1)]
LEAST = 2
TIMES = replay.WARM_UPS + LEAST + 2


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setitem(replay.GRAPHS, "cpu", recordings)
    monkeypatch.setattr(replay, "LEAST", LEAST)


def start():
    return {"x": torch.linspace(0, 1, 6).view(2, 3), "past": torch.zeros(2, 3), "clock": torch.tensor(0)}


def pure(state):
    clock = state["clock"] + 1
    return {"x": torch.sin(state["x"] + clock), "past": state["x"] + 0, "clock": clock}


def looking_back(state):
    """Its outcome holds the very tensor that it was given, in another place."""
    clock = state["clock"] + 1
    return {"past": state["x"], "x": torch.sin(state["x"] + clock), "clock": clock}


@pytest.mark.parametrize("step", [pure, looking_back])
def test_replayed_steps_are_the_steps(recorder, step):
    expected = start()
    for _ in range(TIMES):
        expected = pure(expected)
    given = start()
    found = replay.replayed(step, given, TIMES)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert all(torch.equal(given[name], start()[name]) for name in given), "the given state was written to"


def test_the_stand_in_replays_nothing_but_tensor_operations(recorder):
    count = iter(range(1, 1000))
    found = replay.replayed(lambda state: {"last": state["last"] * 0 + next(count)}, {"last": torch.tensor(0.0)}, TIMES)
    assert found["last"] == replay.WARM_UPS + 1, "as in a CUDA graph, a number of Python's is captured once"


def test_few_steps_are_not_captured(monkeypatch):
    monkeypatch.setitem(replay.GRAPHS, "cpu", lambda device: pytest.fail("captured"))
    found = replay.replayed(pure, start(), replay.WARM_UPS + replay.LEAST - 1)
    assert found["clock"] == replay.WARM_UPS + replay.LEAST - 1


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted"), torch.OutOfMemoryError("full")])
def test_a_capture_that_fails_is_told_and_the_steps_are_done_one_by_one(monkeypatch, recorder, caplog, error):
    calls = iter(range(1000))

    def step(state):
        if next(calls) == replay.WARM_UPS:
            raise error
        return pure(state)

    with caplog.at_level(logging.WARNING, "tlbench"):
        found = replay.replayed(step, start(), TIMES)
    assert found["clock"] == TIMES and str(error) in caplog.text


def test_a_state_that_changes_its_type_on_the_way_is_not_captured(recorder, caplog):
    def step(state):
        clock = state["clock"] + 1
        return {"x": state["x"].double() if state["x"].dtype == torch.float32 else state["x"].float(), "clock": clock}

    found = replay.replayed(step, {"x": torch.zeros(2), "clock": torch.tensor(0)}, TIMES)
    assert found["clock"] == TIMES and "changes its form" in caplog.text


def test_memory_that_runs_out_before_the_capture_is_raised(recorder):
    def step(state):
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        replay.replayed(step, start(), TIMES)


@pytest.mark.parametrize(("name", "backbone", "width"), CASES)
def test_replayed_lanes_end_where_others_do(monkeypatch, recorder, caplog, name, backbone, width):
    monkeypatch.setattr(kernels, "KERNELS", {})  # what numpy does is no tensor operation
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get(backbone), space.defaults(strategy.space))
    both = [pack(strategy, net, lanes(strategy, y, count=2, rows=20), width=width, steps=40) for _ in range(2)]
    for made, least in zip(both, (LEAST, 1000), strict=True):
        monkeypatch.setattr(replay, "LEAST", least)
        made.start()
        made.advance(3)
        made.advance(3 + TIMES)
    assert not caplog.records, "the step was captured"
    for replayed, plain in zip(*(made.states for made in both), strict=True):
        assert torch.equal(replayed["theta"], plain["theta"])


class Stream:
    """A stream of a GPU that is not there; what is asked of streams is written down in order."""

    told: ClassVar[list[str]] = []

    def __init__(self, device: object) -> None:
        self.name = "main" if device is None else "aside"

    def wait_stream(self, other: Stream) -> None:
        self.told.append(f"{self.name} waits for {other.name}")

    def synchronize(self) -> None:
        self.told.append(f"the host waits for {self.name}")


class Graph:
    def capture_of(self, stream: Stream) -> AbstractContextManager:
        Stream.told.append(f"captured on {stream.name}")
        self.recorder = Recorder()
        return self.recorder

    def replay(self) -> None:
        Stream.told.append("replayed")
        self.recorder.replay()


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda as `cuda_graphs` uses it, with a recorder for a graph."""
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(None))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, *, stream: graph.capture_of(stream))
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: Stream.told.append(f"waiting: {mode}"))
    monkeypatch.setitem(replay.GRAPHS, "cpu", replay.cuda_graphs)
    monkeypatch.setattr(replay, "LEAST", LEAST)
    monkeypatch.setattr(Stream, "told", [])


def test_a_graph_is_captured_and_replayed_on_a_stream_of_its_own(cuda):
    assert "stream" in inspect.signature(torch.cuda.graphs.graph.__init__).parameters
    found = replay.replayed(pure, start(), TIMES)
    left = TIMES - replay.WARM_UPS
    assert Stream.told[:4] == ["aside waits for main", "waiting: error", "waiting: 0", "captured on aside"]
    assert Stream.told[4:] == ["replayed"] * left + ["the host waits for aside"]
    assert found["clock"] == TIMES + 1, "this recorder does what it records"


def test_a_step_that_would_wait_for_the_host_is_not_captured(cuda, caplog):
    def step(state):
        if Stream.told[-1] == "waiting: error":  # as torch does where a value is asked for
            raise RuntimeError("called a synchronizing CUDA operation")
        return pure(state)

    assert replay.replayed(step, start(), TIMES)["clock"] == TIMES
    assert Stream.told == ["aside waits for main", "waiting: error", "waiting: 0", "the host waits for aside"]
    assert "synchronizing" in caplog.text
