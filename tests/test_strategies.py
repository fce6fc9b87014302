"""Strategies against what a careful user would write by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from toy import CLASSES, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, rng, space
from tlbench.engine import Lane
from tlbench.registry import STRATEGIES
from tlbench.strategies.augment import shifted_and_turned
from tlbench.strategies.gradient import minibatch, schedule
from tlbench.task import Clock


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0, 100.0])
@pytest.mark.parametrize("name", ["linear_probe", "pixels_logistic"])
def test_logistic_strategies_reach_scikit_learns_optimum(name, strength):
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get("glyph_vit"), {"C": strength})
    made = pack(strategy, net, [Lane({"C": strength}, torch.arange(24), y[:24], seed=0)])
    made.start()
    x = net.bank.flatten(1).double().numpy()
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=20_000).fit(x[:24], y[:24].numpy())
    ours = made.predict(net.bank)[0].softmax(1).numpy()
    np.testing.assert_allclose(ours, reference.predict_proba(x), atol=2e-3)


def plain_loop(tail: nn.Module, x: torch.Tensor, y: torch.Tensor, *, lr: float, steps: int) -> torch.Tensor:
    """Full fine-tuning as anyone writes it: torch.optim.AdamW, all rows in every batch; logits on x."""
    model = nn.Sequential(copy.deepcopy(tail).requires_grad_(True), nn.Linear(tail(x[:1]).shape[1], CLASSES))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, eps=1e-6, weight_decay=0.01)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * float(schedule(Clock(torch.tensor(step), steps, 64)))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model(x).detach()


def test_full_finetuning_is_a_plain_pytorch_loop(monkeypatch):
    strategy = STRATEGIES["full_finetune"]()
    monkeypatch.setattr(strategy, "augment", lambda task, hp, x, keys: x)
    hp = {"lr": 1e-3, "weight_decay": 0.01}
    net, y = network(strategy, backbones.get("glyph_vit"), hp)
    made = pack(strategy, net, [Lane(hp, torch.arange(16), y[:16], seed=0)] * 2, steps=8, batch=64)
    made.start()
    made.advance(8)
    expected = plain_loop(net.tail, net.bank[:16], y[:16], lr=1e-3, steps=8)
    torch.testing.assert_close(made.predict(net.bank[:16])[1], expected, rtol=1e-3, atol=1e-3)


def test_every_row_comes_once_an_epoch():
    weight = torch.ones(10)
    seen = []
    for step in range(10):
        rows, share, _ = minibatch(weight, rng.key(3), Clock(torch.tensor(step), 10, 4))
        assert torch.equal(share, torch.full((4,), 0.25))
        seen += rows.tolist()
    for epoch in range(4):
        assert sorted(seen[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert seen[:10] != seen[10:20]


def test_the_learning_rate_rises_then_falls_to_zero():
    shares = [float(schedule(Clock(torch.tensor(step), 50, 1))) for step in range(50)]
    assert shares[0] == pytest.approx(0.2)
    assert max(shares) == pytest.approx(shares[4]) == pytest.approx(1.0)
    assert shares[4:] == sorted(shares[4:], reverse=True)
    assert shares[-1] == pytest.approx(0.0, abs=1e-6)


def test_augmentation_moves_images_little_and_mirrors_only_where_told():
    column = torch.zeros(200, 1, 32, 32)
    column[:, :, :, 4] = 1.0
    keys = rng.fold_in(rng.key(0), torch.arange(200))
    for flips in (False, True):
        moved = shifted_and_turned(column, keys, flips=flips)
        centre = (moved.sum(2)[:, 0] * torch.arange(32.0)).sum(1) / moved.sum((1, 2, 3))
        mirrored = (centre > 16).float().mean()
        assert (0.3 < mirrored < 0.7) if flips else mirrored == 0
        assert moved.isfinite().all()
    assert torch.equal(shifted_and_turned(column[:3], keys[:3], flips=True), moved[:3])


def test_from_scratch_starts_from_fresh_weights_that_differ_by_key():
    strategy = STRATEGIES["from_scratch"]()
    hp = space.defaults(strategy.space)
    net, y = network(strategy, backbones.get("glyph_vit"), hp)
    made = pack(strategy, net, [Lane(hp, torch.arange(8), y[:8], seed=seed) for seed in (0, 0, 1)])
    made.start()
    a, b, c = (state["theta"] for state in made.states)
    assert torch.equal(a, b)
    pretrained = torch.cat([p.flatten() for p in net.tail.parameters()])
    for theta in (a, c):
        share = torch.corrcoef(torch.stack([theta[-len(pretrained) :], pretrained]))[0, 1]
        assert not torch.equal(a, c)
        assert theta.isfinite().all()
        assert share.abs() < 0.9


def test_a_module_sees_static_hyperparameters_only():
    seen = []
    strategy = STRATEGIES["lora"]()
    original = strategy.module
    strategy.module = lambda task, hp: seen.append(dict(hp)) or original(task, hp)
    hp = space.defaults(strategy.space)
    net, y = network(strategy, backbones.get("glyph_vit"), hp)
    pack(strategy, net, [Lane(hp, torch.arange(8), y[:8], seed=0)]).start()
    assert seen == [{"rank": 8}]


def test_groups_scale_the_learning_rate_by_name(monkeypatch):
    strategy = STRATEGIES["partial_freeze"]()
    monkeypatch.setattr(strategy, "groups", lambda hp: {"tail": 0.0})
    hp = {**space.defaults(strategy.space), "weight_decay": 1e-4}
    net, y = network(strategy, backbones.get("glyph_vit"), hp)
    made = pack(strategy, net, [Lane(hp, torch.arange(8), y[:8], seed=0)])
    made.start()
    before = made.states[0]["theta"].clone()
    made.advance(3)
    head = CLASSES * 128 + CLASSES  # the classifier's own numbers stand first
    assert torch.equal(made.states[0]["theta"][head:], before[head:])
    assert not torch.equal(made.states[0]["theta"][:head], before[:head])


def test_sgd_is_torchs_sgd_with_momentum(monkeypatch):
    strategy = STRATEGIES["partial_freeze"]()
    monkeypatch.setattr(type(strategy), "optimizer", "sgd")
    hp = {**space.defaults(strategy.space), "lr": 0.01, "weight_decay": 0.05}
    net, y = network(strategy, backbones.get("glyph_vit"), hp)
    made = pack(strategy, net, [Lane(hp, torch.arange(16), y[:16], seed=0)], steps=6, batch=64)
    made.start()
    made.advance(6)
    model = nn.Sequential(copy.deepcopy(net.tail).requires_grad_(True), nn.Linear(128, CLASSES))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.05)
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.01 * float(schedule(Clock(torch.tensor(step), 6, 64)))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(net.bank[:16]), y[:16]).backward()
        optimizer.step()
    torch.testing.assert_close(made.predict(net.bank[:16])[0], model(net.bank[:16]).detach(), rtol=1e-3, atol=1e-3)
