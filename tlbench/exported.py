"""How does an advised way become a folder that predicts: weights, config, model card, and nothing that runs code?"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from tlbench import __version__, runner
from tlbench.advise import Advice
from tlbench.backbones import saved
from tlbench.exported_card import card
from tlbench.exported_fit import Refit, refitted
from tlbench.types import TlbenchError, sha256

FORMAT = 1  # raised when an older folder cannot be read any more
WEIGHTS, CONFIG, README = "model.safetensors", "config.json", "README.md"


def export(advice: Advice, folder: Path, *, device: str) -> Path:
    """Trains the advised way on all labels and writes it to `folder`; an earlier export there is replaced.

    Raises TlbenchError where nothing is advised, and where the folder holds anything else (see `refuse_other`).
    """
    refuse_other(folder)
    way = advice.findings.advised
    if way is None:
        raise TlbenchError("nothing here is known to beat guessing, so nothing is exported; see the advice")
    contest = advice.contest
    refit = refitted(contest.data, way[:2], contest.effort, root=runner.cache(), device=device)
    return write(advice, refit, folder)


def refuse_other(folder: Path) -> None:
    """Raises TlbenchError where a folder holds anything that no export put there."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise TlbenchError(f"{str(folder)!r} is a file; name a new folder to export to")
    ours = {CONFIG, README, WEIGHTS}
    if (folder / CONFIG).is_file():
        ours |= set(_known(folder))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    other = sorted(files - ours) or (sorted(files) if files and not _known(folder) else [])
    if other:
        raise TlbenchError(f"{str(folder)!r} holds {other[0]!r}, which no export wrote; name a new folder to export to")


def write(advice: Advice, refit: Refit, folder: Path) -> Path:
    """Writes the folder as a whole or not at all."""
    folder = folder.expanduser().resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        draft = Path(place) / "draft"
        draft.mkdir()
        config = _config(advice, refit, draft)
        tensors, config["state"] = _tensors(refit)
        save_file(tensors, draft / WEIGHTS)
        (draft / README).write_text(card(advice, refit, config), encoding="utf-8")
        config["files"] = checksums(draft)
        config["sha256"] = sha256(config)
        (draft / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rename(Path(place) / "before")
        draft.rename(folder)
    return folder


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder that is read to predict, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: _sha256(path) for name, path in named.items() if name not in (CONFIG, README)}


def _config(advice: Advice, refit: Refit, draft: Path) -> dict[str, Any]:
    data, way, predictor = advice.contest.data, advice.findings.subject, refit.predictor
    images = data.card.modality == "image"
    return {
        "format": FORMAT,
        "tlbench": __version__,
        "strategy": {"name": way.strategy, "version": predictor.strategy.version, "hyperparameters": refit.params},
        "network": saved.described(predictor.backbone, draft),
        "tap": predictor.tap,
        "modality": data.card.modality,
        "picture": list(data.loaded.pool_x.shape[1:3]) if images else None,
        "classes": list(data.class_names),
        "temperature": advice.calibration.temperature,
        "data": {
            "name": data.card.name,
            "fingerprint": data.fingerprint,
            "origin": data.loaded.origin,
            "examples": dict(zip(data.class_names, data.counts.tolist(), strict=True)),
            "left_out": data.left_out,
        },
        "score": {
            "metric": data.card.metric,
            "mean": way.value.mean,
            "low": way.value.low,
            "high": way.value.high,
        },
    }


def _tensors(refit: Refit) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors under names of their own, and the state with such names in the tensors' places."""
    predictor = refit.predictor
    tensors = {f"network.{name}": value for name, value in saved.weights(predictor.backbone).items()}
    structure = _structure(predictor.state, "state", tensors)
    return tensors, structure


def _structure(state: Mapping[str, Any], name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in state.items():
        inner = f"{name}.{key}"
        if isinstance(value, dict):
            found[key] = _structure(value, inner, tensors)
        else:
            tensors[inner] = value.contiguous().clone()
            found[key] = inner
    return found


def _known(folder: Path) -> list[str]:
    """The files that an export in this folder lists; none where there is no export."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return [str(name) for name in config["files"]] if "tlbench" in config else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
