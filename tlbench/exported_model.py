"""How is an exported folder read again, and what does it say of new inputs?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tlbench.backbones import saved
from tlbench.exported_files import CONFIG, FORMAT, WEIGHTS, checksums
from tlbench.exported_fit import Predictor
from tlbench.registry import STRATEGIES
from tlbench.space import Choice
from tlbench.suite import fill_registries
from tlbench.types import Modality, TlbenchError, sha256

AGAIN = "export it anew: tlbench advise PATH --export DIR"


class Guess(NamedTuple):
    """A class and its probability."""

    name: str
    probability: float


@dataclass(frozen=True)
class Model:
    """An exported way, ready to predict."""

    predictor: Predictor
    classes: tuple[str, ...]
    modality: Modality
    side: int | None  # pixels of the squares that images become
    temperature: float  # logits over it become probabilities

    def logits(self, raw: np.ndarray) -> Tensor:
        """[m, C] of images uint8 [m, S, S, 3] or texts [m]."""
        return self.predictor.logits(raw, num_classes=len(self.classes))

    def guesses(self, raw: np.ndarray, *, top: int = 1) -> list[list[Guess]]:
        """The `top` most probable classes of each input, best first."""
        shares, places = (self.logits(raw) / self.temperature).softmax(1).topk(min(top, len(self.classes)), dim=1)
        pairs = zip(shares.tolist(), places.tolist(), strict=True)
        return [[Guess(self.classes[i], p) for p, i in zip(*each, strict=True)] for each in pairs]


def load(folder: Path) -> Model:
    """The model in a folder, from its own files alone.

    Raises TlbenchError where the folder is no export, was changed, or was made for another version of its strategy.
    """
    config = _config(folder)
    fill_registries()
    strategy = config["strategy"]
    kind = STRATEGIES[strategy["name"]]
    if kind.version != strategy["version"]:
        raise TlbenchError(
            f"{folder} holds {strategy['name']} version {strategy['version']}, this tlbench has {kind.version}; {AGAIN}"
        )
    tensors = _tensors(folder)
    network = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    backbone = saved.rebuilt(config["network"], folder, network)
    values = {name: _among(kind.space.get(name), value) for name, value in strategy["hyperparameters"].items()}
    predictor = Predictor(kind(), backbone, values, _state(config["state"], tensors, folder))
    side = config["picture"][0] if config["picture"] else None
    model = Model(predictor, tuple(config["classes"]), config["modality"], side, config["temperature"])
    _check_shapes(model, folder)
    return model


def _config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.is_file():
        make = "make one: tlbench advise PATH --export DIR"
        raise TlbenchError(f"{str(folder)!r} holds no {CONFIG}, so it is no export; {make}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        form, claimed = config["format"], config.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise TlbenchError(f"{file} is not what an export writes ({type(error).__name__}: {error}); {AGAIN}") from error
    if form != FORMAT:
        raise TlbenchError(f"{folder} was exported in format {form}, this tlbench reads {FORMAT}; {AGAIN}")
    if sha256(config) != claimed:
        raise TlbenchError(f"{file} was changed after it was written; {AGAIN}")
    found = checksums(folder)
    for name, expected in config["files"].items():
        if found.get(name) != expected:
            problem = "is missing" if name not in found else "was changed after it was written"
            raise TlbenchError(f"{folder / name} {problem}; {AGAIN}")
    return config


def _tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise TlbenchError(f"{folder / WEIGHTS} cannot be read as weights ({error}); {AGAIN}") from error


def _state(structure: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for key, value in structure.items():
        if isinstance(value, dict):
            state[key] = _state(value, tensors, folder)
        elif value in tensors:
            state[key] = tensors[value]
        else:
            raise TlbenchError(f"{folder / WEIGHTS} lacks the tensor {value!r}; {AGAIN}")
    return state


def _among(parameter: Any, value: Any) -> Any:
    """A value as the strategy's space has it: JSON makes lists of tuples."""
    if isinstance(parameter, Choice):
        return next((each for each in parameter.values if json.loads(json.dumps(each)) == value), value)
    return value


def _check_shapes(model: Model, folder: Path) -> None:
    """Predicts one blank input: a state of other shapes is found out before anything is printed."""
    if model.modality == "image":
        blank = np.zeros((1, model.side or 1, model.side or 1, 3), np.uint8)
    else:
        blank = np.array(["a"], object)
    try:
        logits = model.logits(blank)
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        said = str(error).partition("\n")[0]
        raise TlbenchError(f"the weights in {folder} do not fit their strategy and network: {said}; {AGAIN}") from error
    shape = list(logits.shape)
    if shape != [1, len(model.classes)]:
        raise TlbenchError(f"{folder} gives {shape} for one input of {len(model.classes)} classes; {AGAIN}")
