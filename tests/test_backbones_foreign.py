"""Do the built-in strategies run on the families of timm and torchvision: placed rightly, and alone as in company?"""

from __future__ import annotations

import pytest
import tiny_networks as tiny
import torch
import toy
from torch import nn

from tlbench import rng, space
from tlbench.engine import Network
from tlbench.registry import STRATEGIES
from tlbench.strategies.finetune import FullFinetune
from tlbench.strategies.gradient import EPSILON, GradientStrategy, minibatch, schedule
from tlbench.strategies.modules import Bottleneck, LowRank, blocks_of
from tlbench.suite import fill_registries
from tlbench.task import Clock, Task

fill_registries()
FAMILIES = {
    "timm ViT": tiny.timm_vit,
    "timm ViT, distilled": tiny.timm_distilled,
    "timm ViT, rotary": tiny.timm_eva,
    "timm Swin": tiny.timm_swin,
    "timm Swin V2": tiny.timm_swin_v2,
    "timm ResNet": tiny.timm_resnet,
    "timm ConvNeXt V2": tiny.timm_convnext,
    "timm EfficientNet": tiny.timm_efficientnet,
    "torchvision ViT": tiny.torchvision_vit,
    "torchvision Swin": tiny.torchvision_swin,
}
GRADIENT = ("bitfit", "from_scratch", "lora", "adapter")  # what trains, on each family; all weights from scratch


def task_of(net: Network, y: torch.Tensor, rows: int = 8) -> Task:
    return Task(net.bank[:rows], y[:rows], torch.ones(rows), toy.CLASSES, net.tail, net.scratch)


def built(name: str, backbone: tiny.Tiny) -> tuple[GradientStrategy, nn.Module, Network]:
    strategy = STRATEGIES[name]()
    hp = space.defaults(strategy.space)
    net, y = toy.network(strategy, backbone, hp, rows=12)
    return strategy, strategy.module(task_of(net, y), space.static(strategy.space, hp)), net


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("name", GRADIENT)
def test_a_lane_in_company_is_the_lane_alone(name: str, make) -> None:
    strategy, backbone = STRATEGIES[name](), make()
    net, y = toy.network(strategy, backbone, space.defaults(strategy.space), rows=20)
    of = [
        lane._replace(hp={**lane.hp, "lr": 1e-4 * (1 + lane.seed)}) for lane in toy.lanes(strategy, y, count=4, rows=8)
    ]
    found = []
    for width in (1, 4):
        pack = toy.pack(strategy, net, of, width=width, batch=4)
        pack.start()
        pack.advance(3)
        found.append(torch.stack(pack.predict(net.bank[12:])))
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_low_rank_branches_are_on_every_layer_but_grouped_convolutions(make) -> None:
    _, module, net = built("lora", make())
    branched = [m.layer for m in module.modules() if isinstance(m, LowRank)]
    layers = [m for m in blocks_of(net.tail).modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    grouped = [m for m in layers if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert len(branched) == len(layers) - len(grouped) > 0
    assert all(m.groups == 1 for m in branched if isinstance(m, nn.Conv2d))
    for branch in (m for m in module.modules() if isinstance(m, LowRank)):
        nn.init.normal_(branch.up)
        nn.init.normal_(branch.down)
    with torch.no_grad():
        assert not torch.allclose(module.tail(net.bank[:2]), net.tail(net.bank[:2]))


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_an_adapter_follows_every_block_and_starts_as_nothing(make) -> None:
    backbone = make()
    _, module, net = built("adapter", backbone)
    assert sum(isinstance(m, Bottleneck) for m in module.modules()) == backbone.blocks
    torch.testing.assert_close(module.tail(net.bank[:2]), net.tail(net.bank[:2]))


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_partial_freezing_trains_the_last_block_and_what_is_above(make) -> None:
    backbone = make()
    _, module, net = built("partial_freeze", backbone)
    above = sum(p.numel() for p in nn.ModuleList([backbone.trunk.blocks[-1], backbone.trunk.head]).parameters())
    head = sum(p.numel() for name, p in module.named_parameters() if "." not in name)
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == above + head
    assert len(net.tail.blocks) == 1


@pytest.mark.parametrize(("name", "stay"), [("full_finetune", True), ("from_scratch", False)])
def test_statistics_of_batch_norm_stay_but_from_scratch(name: str, stay: bool) -> None:
    strategy, backbone = STRATEGIES[name](), tiny.timm_resnet()
    net, y = toy.network(strategy, backbone, space.defaults(strategy.space), rows=12)
    pack = toy.pack(strategy, net, toy.lanes(strategy, y, count=2, rows=8), batch=4)
    pack.start()
    before = {k: v.clone() for k, v in pack.states[1]["buffers"].items()}
    pack.advance(3)
    moved = [k for k, v in pack.states[1]["buffers"].items() if "running" in k and not torch.equal(v, before[k])]
    assert bool(moved) != stay


def test_bitfit_on_a_network_without_biases_trains_the_head() -> None:
    from timm.models import VisionTransformer

    def bare() -> nn.Module:
        model = VisionTransformer(img_size=32, patch_size=16, embed_dim=24, depth=1, num_heads=3, num_classes=0)
        for module in model.modules():
            if getattr(module, "bias", None) is not None:
                module.register_parameter("bias", None)
        return model

    strategy, module, _ = built("bitfit", tiny.of_timm(bare))
    assert [name for name, p in module.named_parameters() if p.requires_grad] == ["weight", "bias"]


def test_fine_tuning_a_vit_of_timm_follows_a_plain_loop_step_by_step() -> None:
    strategy, backbone = FullFinetune(), tiny.timm_vit()
    hp = {"lr": 1e-3, "weight_decay": 1e-2}
    net, y = toy.network(strategy, backbone, hp, rows=16)
    lane = toy.lanes(strategy, y, count=1, rows=12)[0]._replace(hp=hp)
    pack = toy.pack(strategy, net, [lane], width=1, steps=10, batch=4)
    pack.start()
    plain = plain_network(backbone)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=1e-3, eps=EPSILON, weight_decay=1e-2)
    before = {name: p.detach().clone() for name, p in plain.named_parameters()}
    for number in range(10):
        clock = Clock(torch.tensor(number), 10, 4)
        x, target = batch_of(strategy, pack.task(0), pack.states[0]["key"], clock)
        optimiser.param_groups[0]["lr"] = 1e-3 * float(schedule(clock))
        optimiser.zero_grad()
        nn.functional.cross_entropy(plain(x), target).backward()
        optimiser.step()
        pack.advance(number + 1)
        ours = trained_numbers(strategy.module(pack.task(0), hp), pack.states[0]["theta"])
        assert len(ours) == len(before)
        for name, p in plain.named_parameters():
            torch.testing.assert_close(ours[name], p.detach(), rtol=1e-5, atol=1e-5)
    assert all((p - before[name]).abs().max() > 1e-4 for name, p in plain.named_parameters() if "k_norm" not in name)
    with torch.no_grad():
        torch.testing.assert_close(pack.predict(net.bank[12:])[0], plain(net.bank[12:]), rtol=1e-4, atol=1e-5)


def plain_network(backbone: tiny.Tiny) -> nn.Module:
    """timm's own network with the same first weights, its own attention, and a head of zeros."""
    with rng.ambient(0):
        whole = backbone.make()
    whole.head = nn.Linear(24, toy.CLASSES)
    nn.init.zeros_(whole.head.weight)
    nn.init.zeros_(whole.head.bias)
    return whole.eval()


def batch_of(strategy: FullFinetune, task: Task, key: torch.Tensor, clock: Clock) -> tuple[torch.Tensor, torch.Tensor]:
    rows, share, keys = minibatch(task.weight, key, clock)
    torch.testing.assert_close(share, torch.full_like(share, 1 / len(share)))
    return strategy.augment(task, {}, task.x[rows], keys), task.y[rows]


def trained_numbers(module: nn.Module, theta: torch.Tensor) -> dict[str, torch.Tensor]:
    """The vector cut up again, under timm's names."""
    named = dict(module.named_parameters())
    pieces = theta.split([p.numel() for p in named.values()])
    own = {name: piece.view(p.shape) for (name, p), piece in zip(named.items(), pieces, strict=True)}
    return {
        name.replace("tail.stem.model.", "").replace("tail.head.model.", "").replace("tail.", "")
        if name.startswith("tail.")
        else f"head.{name}": piece
        for name, piece in own.items()
    }
