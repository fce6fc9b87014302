"""Are the maps of stacked lanes pooled as torch pools them, lane by lane, forward and backward?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.kernels import Kernels
from tlbench.kernels.pooling import WIDE, avg_pool2d

ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "lane by lane": lambda x: x.contiguous(),
    "side by side": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
}


def maps(*size: int) -> Tensor:
    return torch.randn(3, 4, 5, *size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size, kernel", [((8, 6), 2), ((6, 9), (2, 3)), ((2, 2), 2), ((4, 4), (4, 1))], ids=str)
def test_lanes_pool_and_learn_as_torch_does(order, size, kernel) -> None:
    x = ORDERS[order](maps(*size)).requires_grad_()
    ours, theirs = avg_pool2d(x, kernel), F.avg_pool2d(x.flatten(0, 1), kernel).unflatten(0, x.shape[:2])
    slope = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    torch.testing.assert_close(*(torch.autograd.grad(out, x, slope)[0] for out in (ours, theirs)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_maps_stay_in_the_order_they_lie_in(order) -> None:
    out = avg_pool2d(ORDERS[order](maps(8, 8)), 2)
    assert out.stride() == ORDERS[order](out).stride()


def test_a_stride_of_the_same_size_may_be_given() -> None:
    x = maps(8, 8)
    assert torch.equal(avg_pool2d(x, 2, (2, 2)), avg_pool2d(x, 2))


@pytest.mark.parametrize(
    "x, given",
    [
        (maps(8, 8), (3, 2)),
        (maps(8, 8), (2, 2, 1)),
        (maps(7, 8), (2,)),
        (maps(2, WIDE + 2), (2,)),
        (maps(8, 8).movedim(2, 4).contiguous().movedim(4, 2), (2,)),
        (maps(8, 8).double(), (2,)),
        (maps(8, 8)[0], (2,)),
    ],
    ids=["windows overlap", "padded", "a row is left", "wide", "channels last", "of another type", "no batch"],
)
def test_other_calls_are_left_to_torch(x, given) -> None:
    assert avg_pool2d(x, *given) is None


def test_vmap_is_given_it() -> None:
    def pooled(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    with Kernels():
        ours = torch.vmap(pooled)(maps(8, 8))
    assert torch.equal(ours, avg_pool2d(maps(8, 8), 2))
