"""Which lanes share a pack? Those of several cells, with unequally many rows too; it changes none of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_halving import Head, block  # noqa: F401 - a fixture
from torch.utils import _pytree as pytree
from toy import lanes, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, space
from tlbench.fits import Bench, Block, Fit
from tlbench.packs import Bill, Fits
from tlbench.registry import STRATEGIES
from tlbench.strategies.base import Strategy
from tlbench.tune import Trial


@pytest.mark.parametrize("name", ["full_finetune", "lora", "linear_probe", "nearest_mean"])
def test_a_lane_filled_up_to_the_rows_of_its_company_learns_the_same(name: str) -> None:
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get("glyph_vit"), space.defaults(strategy.space))
    few, many = (lanes(strategy, y, count=2, rows=rows) for rows in (10, 30))
    together, apart = pack(strategy, net, [*few, *many]), [pack(strategy, net, each) for each in (few, many)]
    for made in (together, *apart):
        made.start()
    for step in range(1, 11):
        for made in (together, *apart):
            made.advance(step)
        alone = [state for made in apart for state in made.states]
        for ours, theirs in zip(together.states, alone, strict=True):
            for a, b in zip(pytree.tree_leaves(ours), pytree.tree_leaves(theirs), strict=True):
                assert torch.equal(a, b) or (a - b).norm() <= 1e-5 * max(1.0, float(b.norm()))
        together.states = [pytree.tree_map(torch.clone, state) for state in alone]


def fitted(block: Block, sizes: list[int], strategy: Strategy) -> dict[int, tuple[int, np.ndarray]]:  # noqa: F811
    """Lanes of the first rows of a cell, as many as each of `sizes`: how many shared its pack, and its logits."""
    hp = space.defaults(strategy.space)
    fits = [Fit(block.jobs[0], Trial(n, hp), np.arange(n), np.arange(0), seed=n) for n in sizes]
    found = Fits(Bench(block, strategy), Bill()).on_test(fits, until=6)
    return {each.fit.trial.number: (len(each.pack.lanes), each.logits) for each in found}


def test_budgets_share_a_pack_where_every_lane_fills_a_minibatch(block: Block) -> None:  # noqa: F811
    together = fitted(block, [5, 6, 10, 20], Head())
    assert {n: lanes for n, (lanes, _) in together.items()} == {5: 1, 6: 1, 10: 2, 20: 2}
    for n, (_, logits) in together.items():
        np.testing.assert_allclose(logits, fitted(block, [n], Head())[n][1], rtol=1e-4, atol=1e-5)


def test_lanes_are_not_filled_up_where_that_would_cost(block: Block) -> None:  # noqa: F811
    solved = fitted(block, [10, 20], STRATEGIES["linear_probe"]())
    assert [lanes for lanes, _ in solved.values()] == [1, 1]
