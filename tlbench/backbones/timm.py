"""How does a network of timm become a backbone? `timm:NAME` with random weights, `timm:NAME@FILE` with a file's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tlbench import rng
from tlbench.backbones.base import Backbone, Named, Pixels, Trunk
from tlbench.registry import register, unknown
from tlbench.types import TlbenchError

PREFIX = "timm:"


@register.backbone_family("timm:NAME[@WEIGHTS]", "A network of timm.")
def opened(reference: str) -> tuple[str, Named]:
    """The name of a network with the file it comes from shortened to its stem, and how to make it."""
    model, at, weights = reference.removeprefix(PREFIX).partition("@")
    return f"{PREFIX}{model}{at}{Path(weights).stem if at else ''}", Named("image", lambda: Timm(reference))


class Timm(Backbone):
    """A ResNet, ViT or ConvNeXt of timm. `size` overrides the side of its pictures (224 for most).

    Raises TlbenchError for an unknown model, a family that cannot be cut into blocks and a file that does not fit.
    """

    def __init__(self, spec: str, *, size: int | None = None, seed: int = 0) -> None:
        import timm.data

        self.spec, self.size = spec.removeprefix(PREFIX), size
        model_name, _, file = self.spec.partition("@")
        model = _created(model_name, seed)
        if file:
            _load(model, Path(file))
        if size is not None and hasattr(model, "set_input_size"):
            model.set_input_size(img_size=size)
        config = timm.data.resolve_model_data_config(model)
        side = size or config["input_size"][-1]
        self.name = PREFIX + self.spec
        super().__init__(Pixels(side, config["mean"], config["std"]), _cut(model), dim=model.num_features)

    def scratch(self, seed: int = 0) -> Timm:
        return Timm(self.spec.partition("@")[0], size=self.size, seed=seed)


class Tokens(nn.Module):
    """The stem of a ViT: patches, class token and positions. [m, 3, S, S] -> [m, tokens, width]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = _hollow(model, {"patch_embed", "norm_pre", "cls_token", "reg_token", "pos_embed"})

    def forward(self, x: Tensor) -> Tensor:
        return self.model.forward_features(x)


class Pool(nn.Module):
    """The head of a ViT without its classifier: norm, pooling, norm. [m, tokens, width] -> [m, width]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = _hollow(model, {"norm", "attn_pool", "fc_norm"})

    def forward(self, x: Tensor) -> Tensor:
        return self.model.forward_head(self.model.norm(x), pre_logits=True)


def _created(name: str, seed: int) -> Any:
    import timm

    if not timm.is_model(name):
        raise TlbenchError(unknown("timm model", name, timm.list_models(), "timm.list_models() in Python"))
    with rng.ambient(seed):
        model = timm.create_model(name, pretrained=False, num_classes=0)
    module: Any
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # the fused kernel has no batching rule
        if getattr(module, "inplace", False):
            module.inplace = False  # an activation at a tap must survive the tail
    return model


def _load(model: nn.Module, file: Path) -> None:
    """Loads all but the classifier from a file of safetensors, or of tensors that torch saved."""
    if not file.is_file():
        raise TlbenchError(f"{file} is not a file; write timm:NAME@FILE, or timm:NAME for random weights")
    state = {name: value for name, value in _state(file).items() if not name.startswith(_classifiers(model))}
    own = model.state_dict()
    wrong = sorted(set(state) ^ set(own)) + [k for k in state if k in own and state[k].shape != own[k].shape]
    if wrong:
        raise TlbenchError(
            f"{file} does not fit the model: {len(wrong)} tensors differ, first {wrong[0]!r}; is it of another variant?"
        )
    model.load_state_dict(state)


def _state(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        return torch.load(file, map_location=torch.empty(0).device, weights_only=True)
    except Exception as error:
        raise TlbenchError(
            f"{file} cannot be read as weights: {type(error).__name__}: {error}; save a state dict as safetensors"
        ) from error


def _classifiers(model: Any) -> tuple[str, ...]:
    names = model.pretrained_cfg.get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _cut(model: Any) -> Trunk:
    for family, cut in FAMILIES.items():
        if any(base.__name__ == family for base in type(model).__mro__):
            return cut(model)
    raise TlbenchError(
        f"a {type(model).__name__} cannot be cut into blocks yet; choose a model of timm's families "
        f"{', '.join(FAMILIES)}"
    )


def _resnet(model: Any) -> Trunk:
    blocks = [block for layer in (model.layer1, model.layer2, model.layer3, model.layer4) for block in layer]
    return Trunk(nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool), blocks, model.global_pool)


def _convnext(model: Any) -> Trunk:
    blocks = []
    for stage in model.stages:
        first, *rest = stage.blocks
        blocks += [nn.Sequential(stage.downsample, first), *rest]
    return Trunk(model.stem, blocks, nn.Sequential(model.norm_pre, model.head))


def _vit(model: Any) -> Trunk:
    return Trunk(Tokens(model), list(model.blocks), Pool(model))


FAMILIES: dict[str, Callable[[Any], Trunk]] = {"ResNet": _resnet, "VisionTransformer": _vit, "ConvNeXt": _convnext}


def _hollow(model: Any, keep: set[str]) -> Any:
    """A shallow copy of the model in which only the children and parameters in `keep` remain."""
    part = object.__new__(type(model))
    part.__dict__ = dict(model.__dict__)
    modules = {k: child if k in keep or child is None else nn.Identity() for k, child in model._modules.items()}
    part.__dict__["_modules"] = modules
    part.__dict__["_parameters"] = {k: p if k in keep else None for k, p in model._parameters.items()}
    return part
