"""Where is a network of torchvision cut into stem, blocks and head? By families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tlbench.backbones.base import Trunk
from tlbench.backbones.fusible import Average, ChannelsSecond, ToChannelsLast, ToChannelsSecond
from tlbench.kernels.attention import attend
from tlbench.types import TlbenchError


def cut(model: Any, name: str) -> Trunk:
    """The network as stem, blocks and head; what was its classifier is an identity.

    Raises TlbenchError where it is of no known family.
    """
    check_family(model, name)
    return FAMILIES[type(model).__name__](model)


def check_family(model: Any, name: str) -> None:
    """Raises TlbenchError where the network is of no family that can be cut."""
    if type(model).__name__ not in FAMILIES:
        raise TlbenchError(
            f"torchvision:{name}: a {type(model).__name__} cannot be cut into blocks; choose one of torchvision's "
            f"families {', '.join(FAMILIES)}, or look for it at timm: tlbench list backbones --timm '{name[:4]}*'"
        )


class Patches(nn.Module):
    """The stem of a ViT: patches, class token and positions. [m, 3, S, S] -> [m, tokens, width]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv_proj, self.class_token = model.conv_proj, model.class_token
        self.pos_embedding = model.encoder.pos_embedding

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embedding


class FirstToken(nn.Module):
    """Tokens [m, t, d] -> the class token [m, d]."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class Attention(nn.Module):
    """Self-attention with the weights of a `torch.nn.MultiheadAttention`, in layers and steps that lanes can share.

    The original keeps its projection in a bare parameter, where no low-rank branch finds it, and calls a fused kernel.
    """

    def __init__(self, of: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, dim = of.num_heads, of.embed_dim
        self.qkv = nn.Linear(dim, 3 * dim, device="meta")  # the weights come from the original
        self.proj = nn.Linear(dim, dim, device="meta")
        self.qkv.weight, self.qkv.bias = of.in_proj_weight, of.in_proj_bias
        self.proj.weight, self.proj.bias = of.out_proj.weight, of.out_proj.bias

    def forward(self, x: Tensor, *_: Tensor, **__: Any) -> tuple[Tensor, None]:
        return self.proj(attend(self.qkv(x), self.heads)), None


def _resnet(model: Any) -> Trunk:
    blocks = [block for layer in (model.layer1, model.layer2, model.layer3, model.layer4) for block in layer]
    return Trunk(nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool), blocks, _pooled())


def _regnet(model: Any) -> Trunk:
    blocks = [block for stage in model.trunk_output for block in stage]
    return Trunk(model.stem, blocks, _pooled())


def _vit(model: Any) -> Trunk:
    blocks = list(model.encoder.layers)
    for block in blocks:
        block.self_attention = Attention(block.self_attention)
    return Trunk(Patches(model), blocks, nn.Sequential(model.encoder.ln, FirstToken(), model.heads))


def _convnext(model: Any) -> Trunk:
    return Trunk(model.features[0], _staged(model.features), nn.Sequential(Average(), model.classifier))


def _swin(model: Any) -> Trunk:
    blocks = [ChannelsSecond(block) for block in _staged(model.features)]
    head = [ToChannelsLast(), model.norm, model.permute, Average(), model.flatten]
    return Trunk(nn.Sequential(model.features[0], ToChannelsSecond()), list(blocks), nn.Sequential(*head))


def _efficientnet(model: Any) -> Trunk:
    stem, *stages, last = model.features
    return Trunk(stem, [block for stage in stages for block in stage], _pooled(last, then=model.classifier))


def _mobilenet(model: Any) -> Trunk:
    stem, *blocks, last = model.features
    return Trunk(stem, blocks, _pooled(last, then=model.classifier))


def _staged(features: Any) -> list[nn.Module]:
    """The blocks of stem, stage, shrinking, stage, ...; what shrinks the map goes with the next stage's first block."""
    blocks: list[nn.Module] = []
    shrinking: nn.Module = nn.Identity()
    for number, part in enumerate(features):
        if number % 2:
            first, *rest = part
            blocks += [nn.Sequential(shrinking, first), *rest]
        else:
            shrinking = part
    blocks[0] = features[1][0]
    return blocks


def _pooled(*parts: nn.Module, then: nn.Module | None = None) -> nn.Sequential:
    """Parts in a row, the mean of the map they give, and what stands between it and the classifier."""
    return nn.Sequential(*parts, Average(), nn.Flatten(1), *([] if then is None else [then]))


FAMILIES: dict[str, Callable[[Any], Trunk]] = {
    "ResNet": _resnet,
    "RegNet": _regnet,
    "VisionTransformer": _vit,
    "ConvNeXt": _convnext,
    "SwinTransformer": _swin,
    "EfficientNet": _efficientnet,
    "MobileNetV2": _mobilenet,
    "MobileNetV3": _mobilenet,
}
