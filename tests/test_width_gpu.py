"""Laws of the width on a GPU, with a memory that a test makes up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from toy import lanes, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, packs, space
from tlbench.engine import Pack
from tlbench.engine_memory import rows_at_once
from tlbench.registry import STRATEGIES
from tlbench.strategies.finetune import FullFinetune
from tlbench.width_gpu import SHARE, CudaMemory, fitting

LANE = 1 << 30


class Room(NamedTuple):
    """For so many lanes that take LANE bytes each."""

    lanes: float

    def free(self) -> int:
        return int(self.lanes * LANE / SHARE)

    def peak(self, work: Callable[[], None]) -> int:
        work()
        return 2 * LANE


def made(name: str = "linear_probe", *, count: int = 9) -> Pack:
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get("glyph_vit"), space.defaults(strategy.space))
    return pack(strategy, net, lanes(strategy, y, count=count, rows=8), width=1)


@pytest.mark.parametrize(("room", "width"), [(5.5, 5), (500.5, 100), (0.5, 1)])
def test_as_many_lanes_run_at_once_as_memory_holds_and_the_plan_allows(room, width):
    of = made("lora")
    assert fitting(of, Room(room), most=100) == width
    assert (of.width, of.done, of.states) == (1, [0] * 9, []), "the pack itself is left as it was"


def test_a_lane_alone_is_not_tried():
    assert fitting(made(count=1), Room(100), most=100) == 1


class FullAtFirst(FullFinetune):
    """Its first try, of two lanes at once, finds no memory."""

    tries = 0

    def init(self, task, hp, key):
        self.tries += 1
        if self.tries == 1:
            raise torch.OutOfMemoryError("full")
        return super().init(task, hp, key)


def test_one_lane_at_a_time_where_two_do_not_fit():
    of = made("full_finetune")
    of.strategy = FullAtFirst()
    assert fitting(of, Room(100), most=100) == 1
    assert of.strategy.tries > 1


class Cuda:
    """A GPU of 80 GiB as torch tells of it, 10 of them set aside and 6 in use; what is done there takes 5."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0
        numbers = {"mem_get_info": (60, 80), "memory_reserved": 10, "memory_allocated": 6}
        for name, number in numbers.items():
            found = tuple(n << 30 for n in number) if isinstance(number, tuple) else number << 30
            monkeypatch.setattr(torch.cuda, name, lambda device, found=found: found)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: setattr(self, "most", 6 << 30))
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.most)

    def work(self) -> None:
        self.most += 5 << 30


def test_memory_is_read_as_torch_tells_it(monkeypatch):
    gpu, device = Cuda(monkeypatch), torch.device("cuda")
    memory = CudaMemory(device)
    assert (memory.free() >> 30, memory.peak(gpu.work) >> 30) == (64, 5)
    assert rows_at_once(device, 1 << 20) > 4 * rows_at_once(torch.device("cpu"), 1 << 20)
    assert packs._room("cuda:0") > 4 * packs._room("cpu")
