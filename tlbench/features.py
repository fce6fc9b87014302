"""Frozen activations, computed once per (data, backbone, tap) and kept on disk under a name made of their content."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tlbench.backbones.base import Backbone
from tlbench.types import sha256

log = logging.getLogger("tlbench")
ROWS = 256  # inputs sent through the prefix at once; fixed, so that a bank is the same wherever it is made


def file_name(backbone: Backbone, tap: str, content: str) -> str:
    """The name of the bank of inputs that `content` (a fingerprint) names."""
    return f"{sha256([content, backbone.name, backbone.fingerprint, tap])}.npy"


def bank(backbone: Backbone, tap: str, raw: np.ndarray, *, file: Path, device: str) -> Tensor:
    """Activations [N, ...] of raw inputs [N, ...] at a resolved tap, float32 on `device`; kept in `file`.

    A file whose checksum is wrong is said, and computed again.
    """
    if tap == "input":
        return _computed(backbone, tap, raw, device)
    kept = _read(file)
    if kept is not None:
        return torch.from_numpy(kept).to(device)
    made = _computed(backbone, tap, raw, device)
    _write(file, made.cpu().numpy())
    return made


def named(rows: np.ndarray) -> str:
    """A name for a choice of rows: sha256 of their numbers."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()


def _computed(backbone: Backbone, tap: str, raw: np.ndarray, device: str) -> Tensor:
    prefix = backbone.prefix(tap).to(device)
    with torch.inference_mode():
        pieces = [prefix(torch.from_numpy(raw[i : i + ROWS].copy()).to(device)) for i in range(0, len(raw), ROWS)]
    return torch.cat(pieces).clone()


def _read(path: Path) -> np.ndarray | None:
    seal = path.with_suffix(".sha256")
    if not (path.is_file() and seal.is_file()):
        return None
    if hashlib.sha256(path.read_bytes()).hexdigest() != seal.read_text():
        log.warning("cached activations %s do not match their checksum; computing them again", path)
        return None
    return np.load(path, allow_pickle=False)


def _write(path: Path, array: np.ndarray) -> None:
    """Whole or not at all: under another name first, the checksum last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        np.save(file, array, allow_pickle=False)
    digest = hashlib.sha256(Path(file.name).read_bytes()).hexdigest()
    os.replace(file.name, path)
    temporary = Path(f"{file.name}.sha256")
    temporary.write_text(digest)
    os.replace(temporary, path.with_suffix(".sha256"))
