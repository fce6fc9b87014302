"""How does a network of timm become a backbone? `timm:NAME` pretrained, `@FILE` with a file's weights, `@random`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tlbench import rng
from tlbench.backbones.base import Backbone, Named
from tlbench.backbones.fusible import fusible
from tlbench.backbones.preprocessing import Preprocessing, Recipe
from tlbench.backbones.spec import Spec, read
from tlbench.backbones.timm_families import cut
from tlbench.backbones.weights_files import from_hub, tensors, weights_file
from tlbench.registry import register, unknown
from tlbench.types import TlbenchError

PREFIX = "timm:"
HUB_FILES = ("model.safetensors", "open_clip_model.safetensors")
HEADS = ("head", "fc", "classifier", "head.fc", "last_linear")  # where the classifiers of older checkpoints are
PICTURES = ("input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "pool_size")


@register.backbone_family("timm:NAME[@WEIGHTS]", "A network of timm, pretrained; @FILE, @FOLDER or @random.")
def opened(reference: str) -> tuple[str, Named]:
    """The name of a network, and how to make it."""
    spec = read(reference)
    return spec.name, Named("image", lambda: Timm(spec))


def names(pattern: str) -> list[str]:
    """The pretrained networks of timm whose names fit a pattern such as "vit*"."""
    import timm

    return timm.list_models(pattern, pretrained=True)


class Timm(Backbone):
    """A network of timm.

    Raises TlbenchError for an unknown model, weights that are missing or do not fit, and a network that cannot be cut.
    """

    def __init__(self, spec: Spec, *, fresh: bool = False, seed: int = 0) -> None:
        self.spec = spec
        self.name = read(spec.reference).name
        model = fusible(_sized(_created(spec, seed, fresh=fresh or spec.weights == "random"), spec))
        super().__init__(Preprocessing(_recipe(model, spec)), cut(model, spec.model), dim=_dim(model))

    def scratch(self, seed: int = 0) -> Timm:
        return Timm(self.spec, fresh=True, seed=seed)


def _created(spec: Spec, seed: int, *, fresh: bool) -> Any:
    import timm

    _check_name(spec.model)
    path = Path(spec.weights)
    saved = _saved(spec, path)
    if fresh:
        with rng.ambient(seed):
            return timm.create_model(
                spec.model, num_classes=0, pretrained_cfg_overlay=saved.pictures or None, **saved.arguments
            )
    file = weights_file(path, spec.reference) if spec.weights else _own_weights(spec)
    return _loaded(spec, tensors(file), saved)


def _check_name(model: str) -> None:
    import timm

    architecture, _, tag = model.partition(".")
    see = f"tlbench list backbones --timm '{architecture[:3]}*'"
    if not timm.is_model(architecture):
        raise TlbenchError(unknown("timm model", architecture, timm.list_models(), see))
    tags = [name.partition(".")[2] for name in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise TlbenchError(unknown(f"weights of {architecture}", tag, tags, see))


def _own_weights(spec: Spec) -> Path:
    """The file of timm's own weights, from the cache or the hub."""
    import timm

    config = timm.get_pretrained_cfg(spec.model)
    if config is None or not config.hf_hub_id:
        raise TlbenchError(
            f"{spec.reference!r}: timm keeps no safetensors of it on the hub"
            f"{f' (but a file at {config.url})' if config is not None and config.url else ''}; "
            f"write {spec.reference}@FILE for weights of your own, {spec.reference}@random for random ones"
        )
    return from_hub(spec.reference, config.hf_hub_id, HUB_FILES)


class Saved(NamedTuple):
    """What the config.json of a folder says."""

    pictures: dict[str, Any]  # of preprocessing
    arguments: dict[str, Any]  # that the network was made with


def _saved(spec: Spec, folder: Path) -> Saved:
    """Raises TlbenchError where the folder is of another network, or its config is not one of timm."""
    if not spec.weights or not (folder / "config.json").is_file():
        return Saved({}, {})
    try:
        held = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture, config, arguments = (
            held["architecture"],
            held.get("pretrained_cfg", held),
            held.get("model_args", {}),
        )
        pictures = {name: config[name] for name in PICTURES if name in config}
        arguments = {name: value for name, value in arguments.items() if name != "num_classes"}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TlbenchError(f"{str(folder / 'config.json')!r} is not a config that timm saved: {error!r}") from error
    if architecture != spec.model.partition(".")[0]:
        raise TlbenchError(f"{str(folder)!r} holds weights of {architecture!r}; write {PREFIX}{architecture}@FOLDER")
    return Saved(pictures, arguments)


def _loaded(spec: Spec, state: dict[str, Tensor], saved: Saved) -> Any:
    """A network with these tensors, each of them used but the classifier's; renamed and resampled as timm does it."""
    import timm

    classes = _classes(spec, state)
    overlay = {
        **saved.pictures,
        "state_dict": state,
        "num_classes": classes,
        "label_offset": None,
        "custom_load": False,
    }
    made_with: dict[str, Any] = {**saved.arguments, "num_classes": classes, "pretrained_cfg_overlay": overlay}
    try:
        model: Any = timm.create_model(spec.model, pretrained=True, **made_with)
    except (RuntimeError, KeyError, TypeError, ValueError, AssertionError) as error:
        raise TlbenchError(
            f"{spec.reference!r}: the weights do not fit: {_differences(error)}; are they of another variant?"
        ) from error
    model.reset_classifier(0)
    model.pretrained_cfg = {k: v for k, v in model.pretrained_cfg.items() if k != "state_dict"}
    model.default_cfg = model.pretrained_cfg
    return model


def _classes(spec: Spec, state: dict[str, Tensor]) -> int:
    """How many classes the classifier in a state dict has; 0 where it has none."""
    import timm

    config = timm.get_pretrained_cfg(spec.model)
    own = (config.classifier if config is not None else None) or ()
    for name in [*([own] if isinstance(own, str) else own), *HEADS]:
        if f"{name}.weight" in state:
            return len(state[f"{name}.weight"])
    return 0


def _differences(error: BaseException) -> str:
    """The first differences that torch found, with both shapes, from its message of many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shapes = [line for line in lines if line.startswith("size mismatch")]
    said = (shapes or lines[1:] or lines or [type(error).__name__])[:3]
    return "; ".join(line[:200] for line in said)


def _sized(model: Any, spec: Spec) -> Any:
    """The network for pictures of the size asked for; convolutional ones take any."""
    if spec.size is not None and hasattr(model, "set_input_size"):
        try:
            model.set_input_size(img_size=spec.size)
        except (AssertionError, ValueError, RuntimeError) as error:
            raise TlbenchError(f"{spec.reference!r}: pictures of {spec.size} pixels do not fit it: {error}") from error
    return model


def _recipe(model: Any, spec: Spec) -> Recipe:
    import timm.data

    config = timm.data.resolve_model_data_config(model)
    size = spec.size or config["input_size"][-1]
    return Recipe(
        size,
        math.floor(size / config["crop_pct"]),
        config["interpolation"],
        config["crop_mode"],
        tuple(config["mean"]),
        tuple(config["std"]),
    )


def _dim(model: Any) -> int:
    return getattr(model, "head_hidden_size", None) or model.num_features
