"""Does the attention of stacked lanes give what a network's own does, lane by lane, forward and backward?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny_networks
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tlbench import backbones, rng
from tlbench.kernels import KERNELS, Kernels, products
from tlbench.kernels.attention import attend, attention
from tlbench.kernels.tape import recorded

LANES, HEADS, WIDTH = 3, 2, 4  # of a head
BETWEEN = {"images": (5,), "windows of images": (2, 5), "none": ()}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return rng.normal(rng.key(seed), shape)


def by_torch(qkv: Tensor, heads: int) -> Tensor:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(-3, -2) for part in qkv.chunk(3, dim=-1))
    return F.scaled_dot_product_attention(q, k, v).transpose(-3, -2).flatten(-2)


def agree(found: Tensor, expected: Tensor, *given: Tensor) -> None:
    """Results, and gradients by all that is given, equal to 1e-5 of the largest number."""
    slope = drawn(*expected.shape, seed=9)
    gradients = (torch.autograd.grad(out, given, slope) for out in (found, expected))
    for ours, theirs in [(found, expected), *zip(*gradients, strict=True)]:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * max(1.0, theirs.detach().abs().max().item()))


@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_it_is_the_attention_of_torch_for_each_lane_and_for_one(between: tuple[int, ...], tokens: int) -> None:
    qkv = drawn(LANES, *between, tokens, 3 * HEADS * WIDTH).requires_grad_()
    out = attention(qkv, HEADS)
    assert out is not None and out.is_contiguous()
    agree(out, by_torch(qkv, HEADS), qkv)
    agree(attend(qkv[0], HEADS), by_torch(qkv[0], HEADS), qkv)


def test_tokens_may_lie_in_any_order() -> None:
    qkv = drawn(3 * HEADS * WIDTH, 5, LANES, 7).requires_grad_()
    turned = qkv.permute(2, 1, 3, 0)
    out = attention(turned, HEADS)
    assert out is not None
    agree(out, by_torch(turned, HEADS), qkv)


def test_one_token_or_a_hundred_weigh_no_more_than_one() -> None:
    qkv = 30 * drawn(LANES, 4, 100, 3 * HEADS * WIDTH)
    qkv[..., 2 * HEADS * WIDTH :] = 1.0
    torch.testing.assert_close(attention(qkv, HEADS), torch.ones(LANES, 4, 100, HEADS * WIDTH))


def test_stacked_lanes_find_the_kernel_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setitem(KERNELS, attend, lambda *args: calls.append(args))
    qkv, qkvs = drawn(7, 3 * HEADS * WIDTH), drawn(LANES, 7, 3 * HEADS * WIDTH)
    with Kernels():
        attend(qkv, HEADS)
        torch.func.grad(lambda x: attend(x, HEADS).sum())(qkv)
        torch.vmap(torch.func.grad(lambda x: attend(x, HEADS).sum()))(qkvs)
        assert not calls
        found = torch.vmap(lambda x: attend(x, HEADS))(qkvs)
    assert [type(given) for given, _ in calls] == [Tensor]
    torch.testing.assert_close(found, by_torch(qkvs, HEADS), rtol=1e-5, atol=1e-5)


def test_one_lane_may_be_derived_twice_and_forwards() -> None:
    qkv = drawn(7, 3 * HEADS * WIDTH).double()
    assert torch.autograd.gradgradcheck(lambda x: attend(x, HEADS), qkv.requires_grad_())
    slope = torch.func.jvp(lambda x: attend(x, HEADS), (qkv.detach(),), (torch.ones_like(qkv),))[1]
    step = (attend(qkv + 1e-6, HEADS) - attend(qkv - 1e-6, HEADS)) / 2e-6
    torch.testing.assert_close(slope, step, rtol=1e-6, atol=1e-8)


def test_others_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    qkv = drawn(LANES, 5, 7, 3 * HEADS * WIDTH)
    assert attention(qkv.double(), HEADS) is None
    monkeypatch.setattr(products, "BY_TORCH", True)
    assert attention(qkv, HEADS) is None


def test_a_tape_plays_it_for_other_tokens() -> None:
    qkv = drawn(LANES, 5, 7, 3 * HEADS * WIDTH)

    def work() -> Tensor:
        free = qkv.detach().requires_grad_()
        with torch.enable_grad():
            out = attention(free, HEADS)
        assert out is not None
        return torch.autograd.grad(out.square().sum(), free)[0]

    _, recording = recorded(work, (qkv,))
    qkv.copy_(drawn(*qkv.shape, seed=1))
    assert torch.equal(recording.play(), work())


NETWORKS: dict[str, Callable[[], Any]] = {
    "glyph_vit": lambda: backbones.get("glyph_vit"),
    "ViT of timm": tiny_networks.timm_vit,
    "ViT of torchvision": tiny_networks.torchvision_vit,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_in_company_what_it_gives_alone(name: str) -> None:
    trunk: nn.Module = NETWORKS[name]().trunk
    x = drawn(LANES, 2, 3, 32, 32)
    weights = {
        key: (p.detach() + 0.01 * drawn(LANES, *p.shape, seed=i)).requires_grad_()
        for i, (key, p) in enumerate(trunk.named_parameters())
    }
    with Kernels():
        found = torch.vmap(lambda own, x: functional_call(trunk, own, x))(weights, x)
    each = [functional_call(trunk, {key: p[i] for key, p in weights.items()}, x[i]) for i in range(LANES)]
    agree(found, torch.stack(each), *weights.values())
