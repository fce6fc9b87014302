"""What is done once in a process: small networks stay open between blocks, and lanes of one kind are timed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from test_halving import block  # noqa: F401 - a fixture

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, fits_latency, fits_networks, space
from tlbench.fits import Bench, Block, Fit
from tlbench.fits_networks import opened
from tlbench.packs import Bill, Fits, Fitted
from tlbench.registry import STRATEGIES
from tlbench.tune import Trial
from tlbench.types import TlbenchError


@pytest.fixture(autouse=True)
def nothing_open() -> Iterator[None]:
    for kept in (fits_networks._recent, fits_latency._known):
        kept.cache_clear()
    yield


def fitted(block: Block, name: str, **hp: object) -> tuple[Bench, Fitted]:  # noqa: F811
    bench = Bench(block, STRATEGIES[name]())
    trial = Trial(0, {**space.defaults(bench.space), **hp})
    fit = Fit(block.jobs[0], trial, np.arange(20), np.arange(0), seed=0)
    return bench, next(Fits(bench, Bill()).on_test([fit], until=1))


def test_blocks_of_a_network_share_it_and_its_prefix(block: Block) -> None:  # noqa: F811
    one, other = (Bench(block, STRATEGIES[name]()) for name in ("linear_probe", "nearest_mean"))
    assert one.backbone is other.backbone and one.prefix("features") is other.prefix("features")


def test_a_large_network_goes_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits_networks, "SMALL", 1000)
    assert opened("glyph_vit", "") is not opened("glyph_vit", "")


def test_weights_that_changed_are_read_again_and_refused_where_they_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = backbones.get("glyph_vit").fingerprint
    before = opened("glyph_vit", expected)
    with monkeypatch.context() as changed:
        changed.setattr(backbones, "get", lambda reference: before.backbone.scratch())
        with pytest.raises(TlbenchError, match="'glyph_vit' changed during this run"):
            opened("glyph_vit", "another")
    assert opened("glyph_vit", expected).fingerprint == expected


def test_lanes_of_one_kind_are_timed_once(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    bench, lane = fitted(block, "linear_probe")
    found = bench.latency(lane.pack, "features")
    assert all(0 < found[f"predict_ms_{m}"] <= found[f"predict_ms_{m}_p95"] for m in (1, 64))
    monkeypatch.setattr(fits_latency, "timed", lambda action, device: (action(), 1.0))
    again, same = fitted(replace(block), "linear_probe", C=10.0)
    assert again.latency(same.pack, "features") == found
    other, deeper = fitted(block, "nearest_mean")
    assert other.latency(deeper.pack, "features") == dict.fromkeys(found, 1000.0)
