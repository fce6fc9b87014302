"""Do the convolutions of stacked lanes give what torch's give, lane by lane, forward and backward?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.kernels import convolutions, products, windows
from tlbench.kernels.convolutions import conv2d

LANES, IMAGES = 3, 4
# channels read and made, size of an image, kernel, and how it moves
SHAPES: dict[str, tuple[int, int, int, int, dict[str, Any]]] = {
    "first of a stem": (3, 8, 9, 3, {"stride": 2, "padding": 1}),
    "small and strided": (16, 8, 8, 3, {"stride": 2, "padding": 1}),
    "small, strided, of odd size": (16, 8, 7, 3, {"stride": 2, "padding": 1}),
    "small, strided, unpadded": (16, 8, 10, 4, {"stride": 4}),
    "pixels of a last row are not read": (16, 8, 9, 2, {"stride": 2}),
    "not square in any way": (16, 8, 9, 3, {"stride": (2, 3), "padding": (1, 0)}),
    "overlapping": (16, 8, 6, 3, {"padding": 1}),
    "overlapping, few pixels": (16, 24, 2, 3, {"padding": 1}),
    "padded by more than the kernel": (16, 8, 3, 2, {"stride": 2, "padding": 2}),
    "of one pixel": (16, 8, 6, 1, {}),
    "of one pixel, strided": (16, 8, 7, 1, {"stride": 2}),
    "of one pixel, padded": (16, 8, 5, 1, {"padding": 1}),
    "of one pixel, few channels": (4, 8, 5, 1, {}),
    "to few channels": (16, 4, 6, 3, {"padding": 1}),
    "dilated": (16, 8, 9, 3, {"stride": 2, "padding": 2, "dilation": 2}),
    "grouped": (16, 8, 8, 3, {"stride": 2, "groups": 4}),
}


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.movedim(2, 4).contiguous().movedim(4, 2),
    "side by side": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
}


@pytest.fixture(params=itertools.product(SHAPES, ORDERS), ids=", ".join, name="case")
def _case(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
    shape, order = request.param
    channels, out, size, kernel, moves = SHAPES[shape]
    make = torch.Generator().manual_seed(5)
    x = ORDERS[order](torch.randn(LANES, IMAGES, channels, size, size, generator=make))
    weight = torch.randn(LANES, out, channels // moves.get("groups", 1), kernel, kernel, generator=make)
    return x, weight, torch.randn(LANES, out, generator=make), moves


def loop(x: Tensor, weight: Tensor, bias: Tensor | None, **moves: Any) -> Tensor:
    """torch's convolution of each lane; whatever has no lanes is every lane's."""
    weights = weight if weight.ndim == 5 else weight.expand(len(x), *weight.shape)
    biases = [None] * len(x) if bias is None else bias.expand(len(x), -1)
    return torch.stack([F.conv2d(a, w, b, **moves) for a, w, b in zip(x, weights, biases, strict=True)])


def agree(x: Tensor, weight: Tensor, bias: Tensor | None, moves: dict[str, Any]) -> None:
    """Results and all gradients asked for equal torch's to 1e-5 of the largest number."""
    given = [each for each in (x, weight, bias) if each is not None]
    ours, theirs = (f(x, weight, bias, **moves) for f in (conv2d, loop))
    slope = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(6))
    asked = [each for each in given if each.requires_grad]
    pairs = [(ours, theirs)]
    if asked:
        pairs += zip(*(torch.autograd.grad(out, asked, slope) for out in (ours, theirs)), strict=True)
    for own, expected in pairs:
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-5 * expected.detach().abs().max().item())


def test_lanes_convolve_and_learn_as_torch_does(case) -> None:
    x, weight, bias, moves = case
    agree(*(each.requires_grad_() for each in (x, weight, bias)), moves)


@pytest.mark.parametrize("trained", [(), ("x",), ("weight",), ("bias",), ("x", "bias")], ids="+".join)
def test_only_what_is_trained_gets_a_gradient(case, trained) -> None:
    *given, moves = case
    named = dict(zip(("x", "weight", "bias"), given, strict=True))
    agree(*(each.requires_grad_(name in trained) for name, each in named.items()), moves)


@pytest.mark.parametrize("biases", ["own", "common", "none"])
def test_lanes_may_share_a_frozen_kernel(case, biases) -> None:
    x, weight, bias, moves = case
    chosen = {"own": bias.requires_grad_(), "common": bias[0].clone().requires_grad_(), "none": None}[biases]
    agree(x.requires_grad_(), weight[0], chosen, moves)


def test_lanes_may_have_no_bias_or_share_one(case) -> None:
    x, weight, bias, moves = case
    agree(x.requires_grad_(), weight.requires_grad_(), None, moves)
    agree(x.requires_grad_(), weight.requires_grad_(), bias[0].clone().requires_grad_(), moves)


def test_a_lane_does_not_depend_on_its_company(case) -> None:
    x, weight, bias, moves = case
    together = conv2d(x, weight, bias, **moves)
    alone = torch.cat([conv2d(x[i : i + 1], weight[i : i + 1], bias[i : i + 1], **moves) for i in range(LANES)])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("channels", [16, 32])
def test_what_lies_in_an_order_stays_in_it(order, channels) -> None:
    x = ORDERS[order](torch.ones(2, 4, channels, 8, 8))
    for stride in (1, 2):
        out = conv2d(x, torch.ones(2, 8, channels, 3, 3), None, stride, 1)
        assert out.stride() == ORDERS[order](out).stride()


@pytest.mark.parametrize("order", ORDERS)
def test_a_frozen_kernel_keeps_images_and_gradients_in_their_order(order) -> None:
    x = ORDERS[order](torch.ones(2, 4, 16, 8, 8)).requires_grad_()
    out = conv2d(x, torch.ones(8, 16, 3, 3), None, 2, 1)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert out.stride() == ORDERS[order](out).stride()
    assert gradient.stride() == ORDERS[order](gradient).stride()


def test_large_convolutions_go_a_lane_at_a_time_in_either_order(monkeypatch, case) -> None:
    monkeypatch.setattr(convolutions, "SMALL", 0)
    monkeypatch.setattr(windows, "BYTES", 0)
    x, weight, bias, moves = case
    agree(*(each.requires_grad_() for each in (x, weight, bias)), moves)


def test_moves_may_be_given_in_order(case) -> None:
    x, weight, bias, moves = case
    ordered = [moves.get("stride", 1), moves.get("padding", 0), moves.get("dilation", 1), moves.get("groups", 1)]
    assert torch.equal(conv2d(x, weight, bias, *ordered), conv2d(x, weight, bias, **moves))


def test_windows_that_overlap_much_or_fill_the_memory_are_not_copied() -> None:
    moves = windows.Moves((2, 2), (1, 1), (1, 1), 1)
    small, weight = torch.empty(2, 16, 16, 16, 16), torch.empty(2, 32, 16, 3, 3)
    assert windows.suit(small, weight, moves)
    assert not windows.suit(small, weight, moves._replace(stride=(1, 1)))
    assert windows.suit(torch.empty(2, 4, 16, 2, 2), weight, moves._replace(stride=(1, 1)))
    assert not windows.suit(torch.empty(2, 16, 16, 64, 64, device="meta"), weight, moves)


def test_maps_of_few_pixels_are_copied_however_they_lie() -> None:
    moves, weight = windows.Moves((2, 2), (1, 1), (1, 1), 1), torch.empty(2, 8, 16, 3, 3)
    assert windows.suit(torch.empty(2, 4, 16, 6, 6), weight, moves, last=False)
    assert not windows.suit(torch.empty(2, 4, 16, 8, 8), weight, moves, last=False)


def test_windows_are_left_where_torch_multiplies_faster(monkeypatch) -> None:
    given = torch.empty(2, 16, 16, 16, 16), torch.empty(2, 32, 16, 3, 3), windows.Moves((2, 2), (1, 1), (1, 1), 1)
    assert windows.suit(*given)
    monkeypatch.setattr(products, "BY_TORCH", True)
    assert not windows.suit(*given)


@pytest.mark.parametrize(
    "x, padding", [((2, 3, 16, 8, 8), "same"), ((2, 16, 8, 8), 1)], ids=["padding by name", "images that are no batch"]
)
def test_other_calls_are_left_to_torch(x, padding) -> None:
    assert conv2d(torch.zeros(x), torch.zeros(2, 8, 16, 3, 3), padding=padding) is None


def test_other_types_are_left_to_torch() -> None:
    x, weight = torch.zeros(2, 3, 16, 8, 8, dtype=torch.float64), torch.zeros(2, 8, 16, 3, 3, dtype=torch.float64)
    assert conv2d(x, weight) is None
