"""Laws of the kernels that stacked lanes share: what torch returns, and its gradients, up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tlbench import rng
from tlbench.kernels import KERNELS, Kernels
from tlbench.kernels.optimizers import AdamW, Rates
from tlbench.strategies.gradient import adamw
from tlbench.task import Clock

K = 3


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return rng.normal(rng.key(seed), shape).requires_grad_()


def lookup(index, weight):
    return F.embedding(index, weight, padding_idx=2)


CASES = {
    "linear": (F.linear, (drawn(K, 5, 4, 6), drawn(K, 7, 6, seed=1), drawn(K, 7, seed=2)), (0, 0, 0)),
    "linear without bias": (F.linear, (drawn(K, 5, 6), drawn(K, 7, 6, seed=1)), (0, 0)),
    "linear of one row": (F.linear, (drawn(K, 6), drawn(K, 7, 6, seed=1), drawn(K, 7, seed=2)), (0, 0, 0)),
    "linear, weight shared": (F.linear, (drawn(K, 5, 4, 6), drawn(7, 6, seed=1), drawn(7, seed=2)), (0, None, None)),
    "linear, own bias": (F.linear, (drawn(K, 5, 6), drawn(7, 6, seed=1), drawn(K, 7, seed=2)), (0, None, 0)),
    "linear, input shared": (F.linear, (drawn(5, 6), drawn(K, 7, 6, seed=1), drawn(7, seed=2)), (None, 0, None)),
    "linear, lanes second": (F.linear, (drawn(5, K, 6), drawn(7, K, 6, seed=1)), (1, 1)),
    "matmul": (torch.matmul, (drawn(K, 5, 4, 6), drawn(K, 5, 6, 3, seed=1)), (0, 0)),
    "matmul, transposed": (lambda a, b: a @ b.mT, (drawn(K, 5, 4, 6), drawn(K, 5, 3, 6, seed=1)), (0, 0)),
    "matmul, one shared": (torch.matmul, (drawn(K, 4, 6), drawn(6, 3, seed=1)), (0, None)),
    "matmul, broadcast": (torch.matmul, (drawn(K, 5, 4, 6), drawn(K, 6, 3, seed=1)), (0, 0)),
    "product of vectors": (torch.matmul, (drawn(K, 6), drawn(K, 6, seed=1)), (0, 0)),
    "double": (F.linear, (drawn(K, 5, 6).double(), drawn(K, 7, 6, seed=1).double()), (0, 0)),
    "embedding": (lookup, (torch.arange(K * 4).reshape(K, 4) % 5, drawn(K, 5, 6)), (0, 0)),
    "embedding, index shared": (lookup, (torch.arange(4), drawn(K, 5, 6)), (None, 0)),
    "embedding, table shared": (lookup, (torch.arange(K * 4).reshape(K, 4) % 5, drawn(5, 6)), (0, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_returns_what_torch_does_with_its_gradients(name):
    function, given, dims = CASES[name]
    with Kernels():
        found = torch.vmap(function, in_dims=dims)(*given)
    lanes = [[x if d is None else x.select(d, i) for x, d in zip(given, dims, strict=True)] for i in range(K)]
    expected = torch.stack([function(*lane) for lane in lanes])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    free = [x for x in given if x.is_floating_point()]
    weights = rng.normal(rng.key(9), tuple(expected.shape)).to(expected.dtype)
    ours, theirs = (torch.autograd.grad((out * weights).sum(), free) for out in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_kernels_run_where_lanes_are_stacked_and_nowhere_else(monkeypatch):
    calls = []
    monkeypatch.setitem(KERNELS, F.linear, lambda *args: calls.append(args))
    x, w = drawn(K, 5, 6), drawn(K, 7, 6)
    with Kernels():
        F.linear(x[0], w[0])
        torch.func.grad(lambda w: F.linear(x[0], w).sum())(w[0])
        torch.vmap(torch.func.grad(lambda w, x: F.linear(x, w).sum()))(w, x)
        torch.vmap(lambda x: torch.vmap(lambda row: F.linear(row, w[0]))(x))(x)
        assert not calls
        torch.vmap(F.linear)(x, w)
    assert [type(arg) for arg in calls[0]] == [torch.Tensor, torch.Tensor]


@pytest.mark.parametrize("multipliers", [(1.0, 1.0, 1.0), (1.0, 0.1, 1.0)])
def test_adamw_in_place_is_adamw_by_definition(multipliers):
    sizes, lanes, clock = (300, 500, 200), 2, Clock(torch.tensor(4), 10, 8)
    state = {name: rng.normal(rng.key(i), (lanes, 1000)) for i, name in enumerate(("theta", "m"))}
    state["v"] = rng.uniform(rng.key(3), (lanes, 1000))
    state["v"][:, :300] = torch.tensor([0.0, 1e-42, 1e-30]).repeat(100)
    gradient = rng.normal(rng.key(4), (lanes, 1000)) * (torch.arange(1000) % 7 > 0)
    rates = [Rates(0.01, 0.1), Rates(0.2, 0.0)]
    spread = torch.cat([torch.full((size,), m) for size, m in zip(sizes, multipliers, strict=True)])
    before = {name: v.clone() for name, v in state.items()}
    expected = [
        adamw({name: v[i] for name, v in state.items()}, gradient[i], lr=r.lr * spread, weight_decay=r.weight_decay,
              clock=clock) for i, r in enumerate(rates)
    ]  # fmt: skip
    AdamW(state, sizes, multipliers).move(gradient.split(sizes, dim=1), rates, step=5)
    for name, moved in state.items():  # torch's kernel has 1 - 0.999 in float32: 6e-6 off in a root of it
        right = torch.stack([each[name] for each in expected])
        torch.testing.assert_close(moved - before[name], right - before[name], rtol=3e-5, atol=2e-6)
