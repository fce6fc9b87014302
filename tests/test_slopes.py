"""Laws of played gradients: a strategy's steps are the same bits with a tape as without one."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.nn import functional as F
from toy import lanes, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, slopes, space
from tlbench.registry import STRATEGIES
from tlbench.slopes import Slopes, Tapes
from tlbench.strategies.finetune import FullFinetune

STEPS = 5
CASES = [(name, backbone) for name, s in STRATEGIES.items() if s.trains for backbone in ("glyph_vit", "glyph_cnn")]


@pytest.fixture(autouse=True)
def recorded_at_once(monkeypatch):
    monkeypatch.setattr(slopes, "LEAST", 2)


def trained(strategy, net, of, *, tapes=None):
    made = pack(strategy, net, of, steps=STEPS)
    made.tapes = tapes or made.tapes
    made.start()
    made.advance(STEPS)
    return made


@pytest.mark.parametrize(("name", "backbone"), CASES)
def test_a_tape_changes_no_bit_of_what_lanes_learn(name, backbone, monkeypatch):
    strategy, tapes = STRATEGIES[name](), Tapes()
    hp = space.defaults(strategy.space)
    net, y = network(strategy, backbones.get(backbone), hp, rows=24)
    of = lanes(strategy, y, count=6, rows=12)
    first, again = (trained(strategy, net, half, tapes=tapes) for half in (of[:3], of[3:]))
    assert tapes._latest[1].played
    monkeypatch.setattr(slopes, "LEAST", STEPS + 1)
    for found, half in ((first, of[:3]), (again, of[3:])):
        expected = trained(strategy, net, half)
        for own, plain in zip(found.states, expected.states, strict=True):
            assert all(torch.equal(own[part], plain[part]) for part in ("theta", "m", "v"))


class Counting(FullFinetune):
    """Its loss depends on a number that no tape sees change."""

    name = "counting"

    def loss(self, task, hp, logits, y):
        self.count = getattr(self, "count", 0) + 1
        return F.cross_entropy(logits, y, reduction="none") * self.count


def test_steps_that_depend_on_what_no_tape_sees_are_worked_out(caplog):
    caplog.set_level(logging.WARNING, "tlbench")
    strategy, tapes = Counting(), Tapes()
    net, y = network(strategy, backbones.get("glyph_cnn"), space.defaults(strategy.space), rows=24)
    trained(strategy, net, lanes(strategy, y, count=2, rows=12), tapes=tapes)
    assert not tapes._latest[1].played
    assert "a recorded one gave something else" in caplog.text


def test_buffers_move_on_from_step_to_step():
    def work(read):
        total = read["state"]["buffers"]["total"] + read["batches"][0]
        return [total * read["state"]["theta"]], {"total": total}

    read = {"state": {"theta": torch.tensor([2.0]), "buffers": {"total": torch.zeros(1)}}}
    played = Slopes(work, read, taped=True)
    assert [played.of([torch.tensor([float(i)])])[0].item() for i in range(1, 7)] == [2, 6, 12, 20, 30, 42]
    assert played.played
    played.begin({"state": {"theta": torch.tensor([1.0]), "buffers": {"total": torch.zeros(1)}}})
    assert [played.of([torch.tensor([float(i)])])[0].item() for i in range(1, 4)] == [1, 3, 6]
    assert read["state"]["buffers"]["total"].item() == 0


def test_the_latest_tape_serves_what_has_its_shapes():
    tapes = Tapes()

    def begun(rows, name="work"):
        return tapes.begun(name, lambda read: ([], {}), {"x": torch.zeros(rows), "state": {"buffers": {}}})

    first = begun(1)
    assert begun(1) is first
    assert begun(1, "other work") is not first and begun(1) is not first
    latest = begun(2)
    assert begun(2) is latest and begun(1) is not first
