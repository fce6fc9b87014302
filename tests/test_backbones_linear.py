"""Laws of the fast linear layer: it is torch's layer, alone, under grad and fused over lanes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from tlbench.backbones.linear import LARGE, PRESENT, WIDE, Linear, frozen, hastened
from tlbench.operations import Operations

LANES, ROWS = 3, 5


@pytest.fixture
def layers() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(WIDE, WIDE), nn.GELU(), nn.Linear(WIDE, WIDE, bias=False))
    fast = copy.deepcopy(plain)
    hastened(fast)
    return plain, fast


def loss(network):
    return lambda parameters, x: functional_call(network, parameters, (x,)).pow(2).mean()


def test_wide_layers_become_fast_and_small_ones_stay(layers):
    small = nn.Sequential(nn.Linear(WIDE - 1, WIDE))
    hastened(small)
    assert type(small[0]) is nn.Linear
    assert [type(layer) for layer in layers[1]] == [Linear if PRESENT else nn.Linear, nn.GELU, type(layers[1][0])]


@pytest.mark.parametrize("own_weights", [True, False])
@pytest.mark.parametrize("own_inputs", [True, False])
def test_outputs_and_gradients_are_those_of_torch_for_every_lane(layers, own_weights, own_inputs):
    plain, fast = layers
    shared = {name: p.detach() for name, p in plain.named_parameters()}
    lanes = [{name: p + 0.01 * k for name, p in shared.items()} if own_weights else shared for k in range(LANES)]
    inputs = torch.randn(LANES, 2, ROWS, WIDE) if own_inputs else torch.randn(2, ROWS, WIDE).expand(LANES, -1, -1, -1)
    stacked = {name: torch.stack([lane[name] for lane in lanes]) for name in shared} if own_weights else shared
    dims = (0 if own_weights else None, 0 if own_inputs else None)
    if dims == (None, None):
        dims, stacked = (0, None), {name: torch.stack([p] * LANES) for name, p in shared.items()}
    given = inputs if dims[1] == 0 else inputs[0]
    for argnum in (0, 1):
        found = vmap(grad(loss(fast), argnums=argnum), in_dims=dims)(stacked, given)
        for k in range(LANES):
            expected = grad(loss(plain), argnums=argnum)(lanes[k], inputs[k])
            pairs = [(found[name][k], expected[name]) for name in expected] if argnum == 0 else [(found[k], expected)]
            for ours, theirs in pairs:
                assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-7)


def test_operations_of_the_fast_layer_are_counted(layers):
    x = torch.randn(ROWS, WIDE)
    counts = []
    for network in layers:
        with Operations() as counted:
            network(x)
        counts.append(counted.total)
    assert counts[0] == counts[1] == 2 * 2 * ROWS * WIDE * WIDE


@pytest.mark.parametrize("rows", [2, LARGE // WIDE**2])
def test_a_frozen_layer_is_torchs_at_any_number_of_rows(rows: int) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(WIDE, WIDE), nn.Linear(WIDE, 8, bias=False))
    fast = copy.deepcopy(plain)
    frozen(fast)
    x = torch.randn(2, rows, WIDE).mT.contiguous().mT
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fast(x.requires_grad_()), plain(x))
    assert torch.autograd.grad(fast(x).sum(), x)[0].equal(torch.autograd.grad(plain(x).sum(), x)[0])
