"""Does a training step leave the host alone? Tried on torch's meta device, which has shapes and no values.

What asks a tensor for its value fails there, as it would stall a GPU and break the capture of a CUDA graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, contract_text, rng
from tlbench.backbones.base import Backbone
from tlbench.contract_toy import Toy
from tlbench.engine import Pack
from tlbench.features import Bank
from tlbench.registry import STRATEGIES

TRAINED = [name for name, strategy in STRATEGIES.items() if strategy.trains]
META = torch.device("meta")


class Contacts(TorchDispatchMode):
    """Counts what a GPU would wait for: tensors made of Python's numbers, copies between devices, values asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given, made = tensors((args, kwargs)), tensors(out)
        here = {tensor.device for tensor in given + made if tensor.ndim} | {tensor.device for tensor in made}
        self.count += func is torch.ops.aten.lift_fresh.default or len(here) > 1 or asks_for_values(func, given)
        return out


def asks_for_values(func: Any, given: list[Tensor]) -> bool:
    if func is torch.ops.aten.index.Tensor:
        return any(tensor.dtype in (torch.bool, torch.uint8) for tensor in given[1:])
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def started(name: str, backbone: Backbone, *, width: int, pieces: int = 1) -> Pack:
    """Lanes that began on the CPU and go on where nothing has a value."""
    toy = Toy(STRATEGIES[name], backbone)
    made = toy.pack(toy.lanes(2), width=width, steps=100)
    made.pieces = pieces
    made.start()
    made.advance(1)
    net = made.network
    programs = [program.network for _, program in made.strategy._programs.values()]
    for module in (net.tail, net.scratch, *programs):
        module.to(META)
    made.network = net._replace(bank=net.bank.to(META))
    made.states = pytree.tree_map(lambda leaf: leaf.to(META), made.states)
    made._latest = None
    return made


def contacts(made: Pack, steps: int) -> int:
    with Contacts() as seen:
        made.advance(made.done[0] + steps)
    return seen.count


CASES = [(name, "glyph_vit", 2, 1) for name in TRAINED]
CASES += [("full_finetune", "glyph_vit", 1, 1), ("lora", "glyph_cnn", 2, 1), ("from_scratch", "glyph_cnn", 2, 2)]


@pytest.mark.parametrize(("name", "backbone", "width", "pieces"), CASES)
def test_steps_ask_nothing_of_the_host(name, backbone, width, pieces):
    made = started(name, backbones.get(backbone), width=width, pieces=pieces)
    short, long = contacts(made, steps=1), contacts(made, steps=3)
    assert long == short, f"{long - short} contacts more in 3 steps than in 1"
    assert short > 0, "what a rung begins with is read from the host"


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("name", ["full_finetune", "lora"])
def test_steps_on_texts_ask_nothing_either(name, width):
    made = started(name, contract_text.network(), width=width)
    assert contacts(made, steps=1) == contacts(made, steps=3)


@pytest.mark.parametrize(
    "careless",
    [
        lambda x: x.max().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: x + torch.tensor(1.0, device=x.device),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: 1 if x.sum() > 0 else 0,
    ],
)
def test_the_watch_sees_what_waits_for_the_host(careless):
    with Contacts() as seen:
        try:
            careless(torch.ones(3, device=META))
        except (RuntimeError, NotImplementedError):
            seen.count += 1
    assert seen.count


def test_rows_of_a_bank_on_a_device_come_without_the_host():
    images, rows = np.zeros((9, 32, 32, 3), dtype=np.uint8), np.arange(2, 8)
    brought = Bank(images, rows, backbones.get("glyph_vit").prefix("blocks.1").to(META), META)
    kept = brought.uploaded()
    with Contacts() as seen:
        assert len(kept[torch.arange(3, device=META)]) == len(kept[2:5]) == 3
    assert seen.count == 0
    with Contacts() as seen:
        assert len(brought[2:5]) == 3
    assert seen.count > 0
    assert kept.source.dtype == torch.uint8 and len(kept.source) == len(rows)


def test_a_bank_is_the_same_from_tensors_as_from_arrays():
    images, rows = (256 * rng.uniform(rng.key(0), (9, 32, 32, 3))).to(torch.uint8), torch.tensor([7, 2, 5])
    read = backbones.get("glyph_vit").prefix("input")
    arrays, tensors_ = Bank(images.numpy(), rows.numpy(), read, "cpu"), Bank(images, rows, read, "cpu")
    assert arrays.uploaded() is arrays and len(arrays) == len(tensors_) == 3
    assert torch.equal(arrays[torch.tensor([2, 0])], tensors_[torch.tensor([2, 0])])
    assert torch.equal(arrays[1:], tensors_[1:]) and arrays.nbytes == tensors_.nbytes


def test_arithmetic_on_a_device_is_no_contact():
    x = torch.ones(3, 2, device=META)
    with Contacts() as seen:
        (2.0 * x[x[:, 0].long()] + torch.arange(2, device=META)).clamp(max=1.0)
    assert seen.count == 0
