"""Do the norms of stacked lanes give what torch's give, lane by lane, forward and backward?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.kernels import norms

LANES, CHANNELS = 3, 8
AFFINE = ("own", "common", "none")


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def affine(kind: str, seed: int) -> Tensor | None:
    shapes = {"own": (LANES, CHANNELS), "common": (CHANNELS,)}
    return None if kind == "none" else drawn(*shapes[kind], seed=seed)


def own(values: Tensor | None, lane: int) -> Tensor | None:
    return values[lane] if values is not None and values.ndim == 2 else values


def agree(ours: Tensor, theirs: Tensor, *given: Tensor | None) -> None:
    """Results, and gradients by all that is given, equal to 1e-5 of the largest number."""
    slope = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(9))
    asked = [each for each in given if each is not None]
    gradients = (torch.autograd.grad(out, asked, slope) for out in (ours, theirs))
    for found, expected in [(ours, theirs), *zip(*gradients, strict=True)]:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.detach().abs().max().item())


@pytest.fixture(params=["small lanes", "large lanes"], autouse=True)
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every law in both forms."""
    if request.param == "large lanes":
        monkeypatch.setattr(norms, "SMALL", 0)


@pytest.mark.parametrize("shift", AFFINE)
@pytest.mark.parametrize("scale", AFFINE)
@pytest.mark.parametrize("between", [(5,), (2, 5), ()], ids=["rows", "tokens", "one row"])
def test_a_layer_norm_of_lanes_is_that_of_each(between, scale, shift) -> None:
    x, weight, bias = drawn(LANES, *between, CHANNELS, seed=1), affine(scale, 2), affine(shift, 3)
    each = [F.layer_norm(x[i], (CHANNELS,), own(weight, i), own(bias, i), 1e-3) for i in range(LANES)]
    agree(norms.layer_norm(x, (CHANNELS,), weight, bias, 1e-3), torch.stack(each), x, weight, bias)


@pytest.mark.parametrize("order", ["lane by lane", "channels last", "side by side"])
@pytest.mark.parametrize("shift", AFFINE)
@pytest.mark.parametrize("scale", AFFINE)
def test_a_group_norm_of_lanes_is_that_of_each(scale, shift, order) -> None:
    x, weight, bias = drawn(LANES, 2, CHANNELS, 3, 4, seed=1), affine(scale, 2), affine(shift, 3)
    moved = {"lane by lane": (0, 0), "channels last": (2, 4), "side by side": (0, 1)}[order]
    given = x.movedim(*moved).contiguous().movedim(*reversed(moved))
    each = [F.group_norm(x[i], 4, own(weight, i), own(bias, i), 1e-3) for i in range(LANES)]
    agree(norms.group_norm(given, 4, weight, bias, 1e-3), torch.stack(each), x, weight, bias)


def test_a_scale_that_is_frozen_needs_no_gradient() -> None:
    x, bias = drawn(LANES, 5, CHANNELS, seed=1), affine("own", 3)
    weight = drawn(LANES, CHANNELS, seed=2).requires_grad_(False)
    each = [F.layer_norm(x[i], (CHANNELS,), weight[i], bias[i]) for i in range(LANES)]
    agree(norms.layer_norm(x, (CHANNELS,), weight, bias), torch.stack(each), x, bias)


def test_other_shapes_and_types_are_left_to_torch() -> None:
    assert norms.layer_norm(torch.zeros(2, 3, 4, 5), (4, 5)) is None
    assert norms.layer_norm(torch.zeros(2, 3, 4, dtype=torch.float64), (4,)) is None
    assert norms.group_norm(torch.zeros(2, 3, 4), 2) is None
    assert norms.group_norm(torch.zeros(2, 3, 4, 5, 5, dtype=torch.float64), 2) is None
