"""Laws of the width on a GPU, with a memory that a test makes up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from toy import lanes, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, space
from tlbench.engine import Pack
from tlbench.registry import STRATEGIES
from tlbench.strategies.finetune import FullFinetune
from tlbench.width_gpu import SHARE, fitting

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
