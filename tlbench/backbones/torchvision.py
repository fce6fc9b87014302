"""How does a network of torchvision become a backbone? `torchvision:NAME`, with its own, a file's or random weights."""

from __future__ import annotations

import math
from collections import OrderedDict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tlbench import rng
from tlbench.backbones.base import Backbone, Named
from tlbench.backbones.fusible import fusible
from tlbench.backbones.preprocessing import Preprocessing, Recipe
from tlbench.backbones.spec import Spec, read
from tlbench.backbones.torchvision_families import check_family, cut
from tlbench.backbones.weights_files import from_url, load_exactly, tensors, weights_file
from tlbench.registry import register, unknown
from tlbench.types import TlbenchError

PREFIX = "torchvision:"


@register.backbone_family("torchvision:NAME[@WEIGHTS]", "A network of torchvision; @IMAGENET1K_V1, @FILE or @random.")
def opened(reference: str) -> tuple[str, Named]:
    """The name of a network, and how to make it."""
    spec = read(reference)
    return spec.name, Named("image", lambda: Torchvision(spec))


def names(pattern: str) -> list[str]:
    """The classifiers of torchvision whose names fit a pattern such as "resnet*"."""
    return [name for name in _known() if fnmatch(name, pattern)]


class Torchvision(Backbone):
    """A network of torchvision.

    Raises TlbenchError for an unknown model, weights that are missing or do not fit, and a network that cannot be cut.
    """

    def __init__(self, spec: Spec, *, seed: int = 0) -> None:
        if spec.model not in _known():
            see = f"tlbench list backbones --torchvision '{spec.model[:3]}*'"
            raise TlbenchError(unknown("torchvision model", spec.model, _known(), see))
        self.spec = spec
        self.name = read(spec.reference).name
        recipe = _recipe(spec)
        model, classifier = _created(spec, recipe.size, seed)
        super().__init__(Preprocessing(recipe), cut(fusible(model), spec.model), dim=classifier.in_features)

    def scratch(self, seed: int = 0) -> Torchvision:
        return Torchvision(self.spec._replace(weights="random"), seed=seed)


def _known() -> list[str]:
    import torchvision.models

    return torchvision.models.list_models(module=torchvision.models)


def _published(spec: Spec) -> Any:
    """The weights of torchvision's that a spec means, its best ones where it names none; an enumeration's member."""
    import torchvision.models

    published = torchvision.models.get_model_weights(spec.model)
    return getattr(published, spec.weights if spec.weights in published.__members__ else "DEFAULT")


def _recipe(spec: Spec) -> Recipe:
    does = _published(spec).transforms()
    crop, resized = does.crop_size[0], does.resize_size[0]
    size = spec.size or crop
    resized = math.floor(size * resized / crop)
    return Recipe(size, resized, does.interpolation.value, "center", tuple(does.mean), tuple(does.std))


def _created(spec: Spec, size: int, seed: int) -> tuple[nn.Module, nn.Linear]:
    """The network without its classifier, and the classifier."""
    import torchvision.models

    sized = {"image_size": size} if spec.model.startswith("vit_") else {}
    with rng.ambient(seed):
        model = torchvision.models.get_model(spec.model, weights=None, **sized)
    check_family(model, spec.model)
    name, classifier = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    if spec.weights != "random":
        state = {k: v for k, v in _state(spec).items() if not k.startswith(f"{name}.")}
        load_exactly(model, _resampled(state, size) if sized else state, source=repr(spec.reference))
    return model, classifier


def _state(spec: Spec) -> dict[str, Tensor]:
    import torchvision.models

    members = torchvision.models.get_model_weights(spec.model).__members__
    if not spec.weights or spec.weights in members:
        return tensors(from_url(spec.reference, _published(spec).url))
    if not Path(spec.weights).exists():
        known = [*(name for name in members if name != "DEFAULT"), "random"]
        raise TlbenchError(unknown(f"weights of {spec.model}", spec.weights, known, f"a path, or {', '.join(known)}"))
    return tensors(weights_file(Path(spec.weights), spec.reference))


def _resampled(state: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """Position embeddings for pictures of this size, as torchvision interpolates them."""
    from torchvision.models.vision_transformer import interpolate_embeddings

    patch = state["conv_proj.weight"].shape[-1] if "conv_proj.weight" in state else size
    return interpolate_embeddings(size, patch, OrderedDict(state)) if "encoder.pos_embedding" in state else state
