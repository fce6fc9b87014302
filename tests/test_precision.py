"""Laws of mixed precision, tried where this machine has bfloat16: states stay float32, and results stay near."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree as pytree
from toy import lanes, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, precision, space
from tlbench.registry import STRATEGIES


@pytest.fixture
def everywhere(monkeypatch):
    """As if this machine's processor were a GPU, and every network large."""
    monkeypatch.setattr(precision, "MIXED", ("cpu",))
    monkeypatch.setattr(precision, "LARGE", 0)


def trained(name: str, width: int):
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get("glyph_vit"), space.defaults(strategy.space))
    made = pack(strategy, net, lanes(strategy, y, count=4, rows=24), width=width)
    made.start()
    made.advance(3)
    return made, torch.stack(made.predict(net.bank[:8]))


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("name", ["full_finetune", "lora"])
def test_states_and_logits_stay_float32_in_mixed_precision(everywhere, name, width):
    made, logits = trained(name, width)
    leaves = [leaf for state in made.states for leaf in pytree.tree_leaves(state) if leaf.is_floating_point()]
    assert {leaf.dtype for leaf in leaves} == {torch.float32} and logits.dtype == torch.float32


def test_mixed_precision_is_used_and_stays_near(everywhere, monkeypatch):
    _, mixed = trained("full_finetune", 4)
    monkeypatch.setattr(precision, "MIXED", ())
    _, plain = trained("full_finetune", 4)
    assert not torch.equal(mixed, plain)
    assert torch.allclose(mixed, plain, atol=0.1 * float(plain.abs().max()))


def test_a_small_network_that_trains_and_any_cpu_stay_in_float32():
    small = torch.nn.Linear(2, 2)
    assert isinstance(precision.mixed(torch.device("cpu")), precision.nullcontext)
    assert isinstance(precision.mixed(torch.device("cuda"), small), precision.nullcontext)
