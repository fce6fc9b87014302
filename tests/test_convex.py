"""Convex solvers: they reach the optimum, alone as in company, and decompose shared rows once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor
from toy import lanes, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, rng
from tlbench.registry import STRATEGIES
from tlbench.space import Float
from tlbench.strategies import conjugate, convex
from tlbench.strategies.base import Strategy
from tlbench.strategies.convex import Head, logistic_regression, ridge_regression

STRENGTHS = (1e-4, 1e-2, 1.0, 1e2, 1e4)
CLASSES = 5


def rows(n: int, d: int, *, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Features about a common mean whose directions differ a thousandfold in spread, as those of networks do."""
    y = torch.arange(n) % CLASSES
    spread = torch.logspace(1, -2, d)
    centres = rng.normal(rng.key(1), (CLASSES, d))
    return (centres[y] + noise * rng.normal(rng.key(2), (n, d))) * spread + rng.normal(rng.key(3), (d,)), y


def objective(head: Head, x: Tensor, y: Tensor, strength: float) -> float:
    logits = x.double() @ head.weight.double().T + head.bias.double()
    loss = torch.nn.functional.cross_entropy(logits, y, reduction="sum")
    return float(strength * loss + (head.weight.double() ** 2).sum() / 2)


def solved(x: Tensor, y: Tensor, strengths: tuple[float, ...], solver=logistic_regression) -> list[Head]:
    """A path, as the engine asks for it."""
    stack = torch.func.vmap(lambda c: tuple(solver(x, y, torch.ones(len(y)), CLASSES, c)))
    return [Head(*pair) for pair in zip(*stack(torch.tensor(strengths)), strict=True)]


@pytest.mark.parametrize("noise", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(("n", "d"), [(10, 40), (60, 12), (60, 60), (80, 200)])
def test_the_objective_is_scikit_learns_or_better(n, d, noise):
    x, y = rows(n, d, noise=noise)
    for strength, head in zip(STRENGTHS, solved(x, y, STRENGTHS), strict=True):
        reference = LogisticRegression(C=strength, tol=1e-8, solver="newton-cholesky").fit(
            x.double().numpy(), y.numpy()
        )
        theirs = Head(torch.tensor(reference.coef_), torch.tensor(reference.intercept_))
        assert objective(head, x, y, strength) <= (1 + 1e-6) * objective(theirs, x, y, strength)


@pytest.mark.parametrize("solver", [logistic_regression, ridge_regression])
def test_a_lane_alone_and_in_a_path_comes_to_the_same(solver):
    x, y = rows(30, 50)
    path = solved(x, y, STRENGTHS, solver)
    for strength, head in zip(STRENGTHS, path, strict=True):
        alone = solver(x, y, torch.ones(30), CLASSES, torch.tensor(strength))
        for a, b in zip(alone, head, strict=True):
            assert (a - b).norm() <= 1e-3 * b.norm()


@pytest.mark.parametrize("noise", [0.1, 10.0])
def test_arrays_of_torch_come_to_the_same_as_those_of_numpy(noise, monkeypatch):
    x, y = rows(40, 60, noise=noise)
    found = solved(x, y, STRENGTHS)
    monkeypatch.setattr(conjugate.products, "BY_TORCH", not conjugate.products.BY_TORCH)
    for ours, theirs in zip(found, solved(x, y, STRENGTHS), strict=True):
        assert (ours.weight - theirs.weight).norm() <= 1e-3 * theirs.weight.norm()


def test_a_lane_whose_rows_are_all_but_certain_stays_at_its_optimum():
    """There the curvature is a small difference of large numbers; taken as one it was 0, and steps endless."""
    x, y = rows(80, 200, noise=10.0)
    path = (1e2, 1e3, 1e4, 1e5)
    for strength, head in zip(path, solved(x, y, path), strict=True):
        nothing = Head(torch.zeros(CLASSES, 200), torch.zeros(CLASSES))
        assert objective(head, x, y, strength) < 1e-3 * objective(nothing, x, y, strength)


@pytest.mark.parametrize("tile", [1, 400, 1 << 20])
def test_how_many_lanes_are_solved_at_once_changes_nothing(tile, monkeypatch):
    sets = [rows(20, 30, noise=noise) for noise in (0.5, 1.0, 2.0)]
    x, y = (torch.stack(each) for each in zip(*sets, strict=True))
    strengths = torch.tensor([[1.0, 1e-2, 1e2], [10.0, 1e-3, 1.0], [0.1, 1e3, 1e-4]])
    given = x, y, torch.ones(3, 20), strengths, CLASSES
    expected = convex.LOGISTIC(*given)
    monkeypatch.setattr(convex, "TILE", tile)
    found = convex.LOGISTIC(*given)
    assert ((found - expected).flatten(2).norm(dim=2) <= 1e-3 * expected.flatten(2).norm(dim=2)).all()


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize(("n", "d"), [(10, 40), (60, 12)])
def test_ridge_is_scikit_learns(n, d, penalty):
    x, y = rows(n, d)
    reference = Ridge(alpha=penalty).fit(x.double().numpy(), np.eye(CLASSES)[y.numpy()])
    (head,) = solved(x, y, (penalty,), ridge_regression)
    np.testing.assert_allclose(head.weight, reference.coef_, atol=1e-5)
    np.testing.assert_allclose(head.bias, reference.intercept_, atol=1e-4)


@pytest.mark.parametrize("solver", [logistic_regression, ridge_regression])
def test_rows_count_by_their_weight(solver):
    x, y = rows(30, 8)
    twice = torch.cat([x, x[:10]]), torch.cat([y, y[:10]]), torch.ones(40)
    weighted = x, y, torch.cat([torch.full((10,), 2.0), torch.ones(20)])
    a, b = (solver(*given, CLASSES, torch.tensor(1.0)) for given in (twice, weighted))
    assert (a.weight - b.weight).norm() <= 1e-3 * b.weight.norm()


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(
    "x",
    [torch.zeros(10, 6), torch.ones(10, 6), 1e4 * torch.eye(10, 6), 1e-4 * torch.eye(10, 6), torch.ones(10, 1)],
    ids=["nothing", "constants", "large", "small", "one feature"],
)
def test_rows_that_tell_little_still_give_a_finite_head(x, strength):
    y = torch.arange(10) % CLASSES
    head = logistic_regression(x, y, torch.ones(10), CLASSES, torch.tensor(strength))
    assert all(part.isfinite().all() for part in head)
    assert objective(head, x, y, strength) <= objective(Head(*map(torch.zeros_like, head)), x, y, strength) * (1 + 1e-6)


def test_a_class_without_rows_is_never_predicted():
    x, y = rows(20, 8)
    head = logistic_regression(x, y.clamp_max(3), torch.ones(20), CLASSES, torch.tensor(1.0))
    assert all(part.isfinite().all() for part in head)
    assert (x @ head.weight.T + head.bias).argmax(1).max() < 4


class HandWrittenRidge(Strategy):
    """As a plug-in writes it: one lane, decompose, then add the penalty."""

    name = "hand_written_ridge"
    space = {"penalty": Float(1e-4, 1e4, log=True, default=1.0)}

    def init(self, task, hp, key):
        self.seen.append(task.x.shape)
        values, basis = torch.linalg.eigh(task.x.T @ task.x)
        target = torch.nn.functional.one_hot(task.y, task.num_classes).float()
        return {"w": basis @ ((basis.T @ (task.x.T @ target)) / (values + hp["penalty"])[:, None])}

    def predict(self, task, hp, state, x):
        return x @ state["w"]


def test_what_depends_on_rows_alone_is_computed_once_for_the_lanes_that_share_them(monkeypatch):
    calls, eigh = [], torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda a: calls.append(0) or eigh(a))
    strategy = HandWrittenRidge()
    strategy.seen = []
    net, y = network(strategy, backbones.get("glyph_vit"), {"penalty": 1.0})
    first, second, *_ = lanes(strategy, y, count=4, rows=20)
    of = [lane._replace(hp={"penalty": penalty}) for penalty in (0.1, 1.0, 10.0) for lane in (first, second)]
    together, alone = pack(strategy, net, of), pack(strategy, net, of, width=1)
    together.start()
    assert len(calls) == 1, "one call for the two sets of rows"
    alone.start()
    assert len(calls) == 1 + len(of)
    for a, b in zip(together.predict(net.bank[:7]), alone.predict(net.bank[:7]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    held_out = [lane.rows[:5] for lane in of]
    for a, b in zip(together.predict_rows(held_out), alone.predict_rows(held_out), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["linear_probe", "ridge_probe"])
def test_what_a_lane_costs_does_not_depend_on_the_width(name):
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get("glyph_vit"), {})
    lane, *_ = lanes(strategy, y, count=1, rows=20)
    found = set()
    for width in (1, 2, 6):
        made = pack(strategy, net, [lane] * 6, width=width)
        made.start()
        found.add(made.init_flops)
    assert len(found) == 1 and found.pop() > 0
