"""How does an advised way become a folder that predicts: weights, config, model card, and nothing that runs code?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from tlbench import __version__, caches
from tlbench.advise import Advice
from tlbench.backbones import saved
from tlbench.exported_card import card
from tlbench.exported_files import CONFIG, FORMAT, README, WEIGHTS, checksums
from tlbench.exported_fit import CLOSE_ACROSS, Refit, refitted
from tlbench.exported_model import load
from tlbench.types import TlbenchError, sha256


def export(advice: Advice, folder: Path, *, device: str) -> Path:
    """Trains the advised way on all labels and writes it to `folder`; an earlier export there is replaced.

    Raises TlbenchError where nothing is advised, and where the folder holds anything else (see `refuse_other`).
    """
    refuse_other(folder)
    way = advice.findings.advised
    if way is None:
        raise TlbenchError("nothing here is known to beat guessing, so nothing is exported; see the advice")
    contest = advice.contest
    refit = refitted(contest.data, way[:2], contest.effort, root=caches.folder(), device=device)
    return write(advice, refit, folder)


def refuse_other(folder: Path) -> None:
    """Raises TlbenchError where a folder holds anything that no export put there."""
    folder = folder.expanduser()
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
        (draft / WEIGHTS).chmod((draft / README).stat().st_mode)  # safetensors lets nobody else read
        config["files"] = checksums(draft)
        config["sha256"] = sha256(config)
        (draft / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        _check(draft, refit)
        if folder.exists():
            folder.rename(Path(place) / "before")
        draft.rename(folder)
    return folder


def _check(draft: Path, refit: Refit) -> None:
    """Raises TlbenchError where what was written does not predict what was fitted."""
    found = load(draft).logits(refit.sample).numpy()
    if not np.allclose(found, refit.logits, rtol=0, atol=CLOSE_ACROSS * max(1.0, float(np.abs(refit.logits).max()))):
        raise TlbenchError(
            f"what was written predicts something else than what was trained (by "
            f"{float(np.abs(found - refit.logits).max()):.3g}), so nothing is exported; this is a mistake of tlbench"
        )


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
