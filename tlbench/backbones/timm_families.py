"""Where is a network of timm cut into stem, blocks and head? By families; every other is tried and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tlbench.backbones.base import Trunk
from tlbench.backbones.fusible import ChannelsSecond, ToChannelsLast, ToChannelsSecond
from tlbench.types import TlbenchError

CONTAINERS = ("stages", "blocks", "layers", "features")  # where networks of other families keep what runs in a row
CLOSE = 1e-4  # relative to the largest feature: the cut network against the whole


def cut(model: Any, name: str) -> Trunk:
    """The network as stem, blocks and head, its classifier left out.

    Raises TlbenchError where it is of no known family and no way of cutting it gives the same features.
    """
    for family, found in FAMILIES.items():
        if any(base.__name__ == family for base in type(model).__mro__):
            return found(model)
    try:
        return _in_a_row(model)
    except _Unfit as why:
        raise TlbenchError(
            f"timm:{name}: a {type(model).__name__} cannot be cut into blocks ({why}); choose a network of timm's "
            f"families {', '.join(FAMILIES)}, or another whose stages run in a row"
        ) from why


class _Unfit(Exception):
    """The pieces of a network, run one after the other, are not the network; the message says what they did."""


class Tokens(nn.Module):
    """The stem of a ViT: patches, class token and positions. [m, 3, S, S] -> [m, tokens, width]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = _hollow(model, {"patch_embed", "norm_pre", *TOKENS})

    def forward(self, x: Tensor) -> Tensor:
        return self.model.forward_features(x)


class Pool(nn.Module):
    """The head without its classifier: what follows the blocks, then pooling. Activations -> [m, width]."""

    def __init__(self, model: Any, after: Iterable[str], keep: Iterable[str]) -> None:
        super().__init__()
        self.after = tuple(after)  # children that the features run through before the head does
        self.model = _hollow(model, {*self.after, *keep})

    def forward(self, x: Tensor) -> Tensor:
        for name in self.after:
            x = getattr(self.model, name)(x)
        return self.model.forward_head(x, pre_logits=True)


class Rotated(nn.Module):
    """A block that is told where its tokens stand."""

    rope: Tensor

    def __init__(self, block: nn.Module, rope: Tensor) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("rope", rope.detach().clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, rope=self.rope)


def _vit(model: Any) -> Trunk:
    return Trunk(Tokens(model), list(model.blocks), Pool(model, ["norm"], ["attn_pool", "fc_norm"]))


def _eva(model: Any) -> Trunk:
    blocks = list(model.blocks)
    if model.rope is not None:
        kept = hasattr(model.rope, "feat_shape") and not model.dynamic_img_size
        rope = model.rope.get_embed(**({} if kept else {"shape": model.patch_embed.grid_size}))
        ropes = list(rope) if getattr(model, "rope_mixed", False) else [rope] * len(blocks)
        blocks = [Rotated(block, each) for block, each in zip(blocks, ropes, strict=True)]
    return Trunk(EvaTokens(model), blocks, Pool(model, ["norm"], ["attn_pool", "fc_norm"]))


class EvaTokens(nn.Module):
    """The stem of an EVA or DINOv3: patches, class token and learnt positions. [m, 3, S, S] -> [m, tokens, width]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = _hollow(model, {"patch_embed", "norm_pre", "rope", *TOKENS})

    def forward(self, x: Tensor) -> Tensor:
        tokens, _ = self.model._pos_embed(self.model.patch_embed(x))
        return self.model.norm_pre(tokens)


def _resnet(model: Any) -> Trunk:
    blocks = [block for layer in (model.layer1, model.layer2, model.layer3, model.layer4) for block in layer]
    stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
    return Trunk(stem, blocks, Pool(model, [], ["global_pool"]))


def _regnet(model: Any) -> Trunk:
    blocks = [block for stage in (model.s1, model.s2, model.s3, model.s4) for block in stage.children()]
    return Trunk(model.stem, blocks, Pool(model, ["final_conv"], ["head"]))


def _convnext(model: Any) -> Trunk:
    return Trunk(model.stem, _staged(model.stages), Pool(model, ["norm_pre"], ["head"]))


def _efficientnet(model: Any) -> Trunk:
    blocks = [block for stage in model.blocks for block in stage]
    after = ["conv_head", "bn2"] if hasattr(model, "bn2") else []
    keep = ["global_pool", "conv_head", "norm_head", "act2", "flatten"]
    return Trunk(nn.Sequential(model.conv_stem, model.bn1), blocks, Pool(model, after, keep))


def _swin(model: Any) -> Trunk:
    return _turned(Trunk(model.patch_embed, _staged(model.layers), Pool(model, ["norm"], ["head"])))


def _staged(stages: Iterable[Any]) -> list[nn.Module]:
    """The blocks of all stages; what shrinks the map goes with a stage's first block."""
    blocks: list[nn.Module] = []
    for stage in stages:
        first, *rest = stage.blocks
        blocks += [nn.Sequential(stage.downsample, first), *rest]
    return blocks


def _in_a_row(model: Any) -> Trunk:
    """The first container of stages as blocks, what is registered before it as stem, the rest as head.

    Raises _Unfit where that is not how the network computes its features, as found on a picture of noise.
    """
    names = [name for name, _ in model.named_children()]
    for container in CONTAINERS:
        held = getattr(model, container, None)
        if isinstance(held, nn.Sequential | nn.ModuleList) and len(held) > 1:
            at = names.index(container)
            stem = nn.Sequential(*(getattr(model, name) for name in names[:at]))
            head = Pool(model, [name for name in names[at + 1 :] if name not in HEADS], HEADS)
            return _checked(Trunk(stem, list(held), head), model)
    raise _Unfit(f"it keeps no stages under {', '.join(CONTAINERS)}")


def _checked(trunk: Trunk, model: Any) -> Trunk:
    side = model.pretrained_cfg["input_size"][-1]
    x = torch.linspace(-2, 2, 3 * side * side).reshape(1, 3, side, side).sin()
    model.eval()
    trunk.eval()
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(x), pre_logits=True)
        try:
            blocks = nn.Sequential(trunk.stem, *trunk.blocks)(x)
            found = trunk.head(blocks)
        except Exception as error:  # foreign layers in an order that they were not made for may raise anything
            raise _Unfit(f"its pieces do not follow each other: {type(error).__name__}: {error}") from error
    if not isinstance(found, Tensor) or found.shape != expected.shape or found.ndim != 2:
        raise _Unfit("its pieces give features of another shape")
    if (found - expected).abs().max() > CLOSE * expected.abs().max():
        raise _Unfit("its pieces give other features")
    channels_last = blocks.ndim == 4 and blocks.shape[-1] == model.num_features != blocks.shape[1]
    return _turned(trunk) if channels_last else trunk


def _turned(trunk: Trunk) -> Trunk:
    """The same network with maps whose channels come second between its blocks."""
    stem, head = nn.Sequential(trunk.stem, ToChannelsSecond()), nn.Sequential(ToChannelsLast(), trunk.head)
    return Trunk(stem, [ChannelsSecond(block) for block in trunk.blocks], head)


HEADS = ("global_pool", "head", "fc", "classifier", "head_drop", "fc_norm", "attn_pool", "flatten", "last_linear")
TOKENS = ("cls_token", "reg_token", "dist_token", "pos_embed")
FAMILIES: dict[str, Callable[[Any], Trunk]] = {
    "VisionTransformer": _vit,
    "Eva": _eva,
    "ResNet": _resnet,
    "RegNet": _regnet,
    "ConvNeXt": _convnext,
    "EfficientNet": _efficientnet,
    "MobileNetV3": _efficientnet,
    "SwinTransformer": _swin,
    "SwinTransformerV2": _swin,
}


def _hollow(model: Any, keep: set[str]) -> Any:
    """A shallow copy of the model in which only the children and parameters in `keep` remain."""
    part = object.__new__(type(model))
    part.__dict__ = dict(model.__dict__)
    modules = {k: child if k in keep or child is None else nn.Identity() for k, child in model._modules.items()}
    part.__dict__["_modules"] = modules
    part.__dict__["_parameters"] = {k: p if k in keep else None for k, p in model._parameters.items()}
    return part
