"""How does a network stand in a folder, so that it can be made again without the library's hub?

Its weights are tensors; the rest is a description of plain values and, of a text network, transformers' own files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tlbench.backbones import timm, torchvision
from tlbench.backbones.base import Backbone
from tlbench.backbones.minilm import AllMiniLM
from tlbench.backbones.preprocessing import Preprocessing, Recipe
from tlbench.backbones.spec import Spec
from tlbench.backbones.text_network import TextBackbone, TextNetwork, fresh_model
from tlbench.backbones.text_pooling import Pooling
from tlbench.backbones.text_tokens import Tokens
from tlbench.registry import BACKBONES
from tlbench.types import TlbenchError

FOLDER = "network"  # transformers' files, beside the weights
UNKNOWN = "unknown: look at the page of the network that they come from"


def weights(backbone: Backbone) -> dict[str, Tensor]:
    """Every parameter and buffer by name, in memory of its own."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in _modules(backbone).state_dict().items()}


def described(backbone: Backbone, place: Path) -> dict[str, Any]:
    """What `rebuilt` needs besides the weights; writes a text network's config and tokenizer under `place`."""
    said: dict[str, Any] = {"name": backbone.name, "fingerprint": backbone.fingerprint}
    if isinstance(backbone, TextBackbone) and isinstance(backbone.tokens, Tokens):
        backbone.config.save_pretrained(place / FOLDER)
        backbone.tokens.tokenizer.save_pretrained(place / FOLDER)
        tokens = {"length": backbone.tokens.length, "lower": backbone.tokens.lower}
        return said | {"kind": "text", "tokens": tokens, "pooling": backbone.pooling._asdict()}
    if isinstance(backbone.reader, Preprocessing):
        said["recipe"] = backbone.reader.recipe._asdict()
    if isinstance(backbone, timm.Timm):
        config = Path(backbone.spec.weights) / "config.json"
        if backbone.spec.weights and config.is_file():  # what else than its name the network was made with
            (place / FOLDER).mkdir()
            shutil.copyfile(config, place / FOLDER / config.name)
        return said | {"kind": "timm", "model": backbone.spec.model, "size": backbone.spec.size}
    if isinstance(backbone, torchvision.Torchvision):
        return said | {"kind": "torchvision", "model": backbone.spec.model, "size": said["recipe"]["size"]}
    return said | {"kind": "named"}


def rebuilt(said: Mapping[str, Any], place: Path, tensors: Mapping[str, Tensor]) -> Backbone:
    """The network that `described` described, with these weights, and nothing from a hub.

    Raises TlbenchError where tensors are missing or have other shapes, and where it is not the same network any more.
    """
    backbone = KINDS[said["kind"]](said, place)
    if "recipe" in said:
        recipe: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in said["recipe"].items()}
        backbone.reader = Preprocessing(Recipe(**recipe)).eval().requires_grad_(False)
    _load(backbone, tensors, said["name"])
    backbone.name = said["name"]
    if backbone.fingerprint != said["fingerprint"]:
        raise TlbenchError(
            f"the network {said['name']!r} is not the one that was exported: its fingerprint is "
            f"{backbone.fingerprint[:12]}, expected {said['fingerprint'][:12]}; export it anew with this tlbench"
        )
    return backbone


def licence(backbone: Backbone) -> str:
    """The licence of its weights, where it is known."""
    if isinstance(backbone, AllMiniLM):
        return "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)"
    if type(backbone).__module__ == "tlbench.backbones.glyph":
        return "MIT, as tlbench itself"
    if isinstance(backbone, timm.Timm) and not backbone.spec.weights:
        from timm import get_pretrained_cfg

        config = get_pretrained_cfg(backbone.spec.model)
        return str(getattr(config, "license", None) or UNKNOWN)
    return UNKNOWN


def _text(said: Mapping[str, Any], place: Path) -> TextNetwork:
    from transformers import AutoConfig, AutoTokenizer

    folder = place / FOLDER
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).partition("\n")[0]
        raise TlbenchError(f"{folder} cannot be read ({first}); export the model anew") from error
    pooling = Pooling(tuple(said["pooling"]["modes"]), said["pooling"]["normalized"])
    return TextNetwork(said["name"], fresh_model(config, 0), Tokens(tokenizer, **said["tokens"]), pooling)


def _timm(said: Mapping[str, Any], place: Path) -> timm.Timm:
    own = (place / FOLDER / "config.json").is_file()
    weights = str(place / FOLDER) if own else "random"
    reference = f"{timm.PREFIX}{said['model']}@random"
    return timm.Timm(Spec(reference, said["model"], weights, said["size"]), fresh=True)


def _torchvision(said: Mapping[str, Any], place: Path) -> torchvision.Torchvision:
    reference = f"{torchvision.PREFIX}{said['model']}@random"
    return torchvision.Torchvision(Spec(reference, said["model"], "random", said["size"]))


def _named(said: Mapping[str, Any], place: Path) -> Backbone:
    return BACKBONES[said["name"]]()


KINDS: dict[str, Callable[[Mapping[str, Any], Path], Backbone]] = {
    "text": _text,
    "timm": _timm,
    "torchvision": _torchvision,
    "named": _named,
}


def _load(backbone: Backbone, tensors: Mapping[str, Tensor], name: str) -> None:
    modules = _modules(backbone)
    own = modules.state_dict()
    wrong = [f"{key} is missing" for key in own if key not in tensors]
    wrong += [f"{key} is not part of it" for key in tensors if key not in own]
    wrong += [
        f"{key} is {list(tensors[key].shape)}, not {list(value.shape)}"
        for key, value in own.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    if wrong:
        raise TlbenchError(f"the weights do not fit the network {name!r}: {'; '.join(wrong[:3])} ({len(wrong)} in all)")
    modules.load_state_dict(dict(tensors))


def _modules(backbone: Backbone) -> nn.ModuleDict:
    return nn.ModuleDict({"reader": backbone.reader, "trunk": backbone.trunk})
