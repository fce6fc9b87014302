"""How do a text's tokens become one vector? As the network's own files say, in the way of sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.registry import unknown
from tlbench.types import TlbenchError

Find = Callable[[str], Path | None]  # a file's name in the network's folder or repository -> where it lies, if at all


class Pooling(NamedTuple):
    """Modes side by side; where `normalized`, at length sqrt(d).

    sentence-transformers normalises to length 1. A root mean square of 1 is what other networks' features have, so that
    a probe's L2 strength and a head's learning rate mean the same for all.
    """

    modes: tuple[str, ...] = ("mean",)
    normalized: bool = False


def pooled(h: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Features [m, d] of h [m, s, d], with mask [m, s] false at padding."""
    features = torch.cat([MODES[mode](h, mask) for mode in pooling.modes], dim=-1)
    return F.normalize(features, dim=-1) * features.shape[-1] ** 0.5 if pooling.normalized else features


def found(find: Find, *, where: str) -> Pooling:
    """The pooling that modules.json names; the mean where there is no such file.

    Raises TlbenchError for a kind of module or pooling that tlbench does not have.
    """
    file = find("modules.json")
    if file is None:
        return Pooling()
    modes: tuple[str, ...] = ("mean",)
    normalized = False
    for module in json.loads(file.read_text())[1:]:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            modes = _modes(find(f"{module['path']}/config.json"), where=where)
        elif kind == "Normalize":
            normalized = True
        else:
            raise TlbenchError(
                f"{where}: its modules.json names a {kind} layer, which tlbench does not have; "
                f"to leave it out, write ?pooling={'|'.join(MODES)}"
            )
    return Pooling(modes, normalized)


def named(mode: str) -> Pooling:
    """The pooling that a reference asks for. Raises TlbenchError for an unknown one."""
    if mode not in MODES:
        raise TlbenchError(unknown("pooling", mode, MODES, f"?pooling={'|'.join(MODES)}"))
    return Pooling((mode,))


def _modes(file: Path | None, *, where: str) -> tuple[str, ...]:
    if file is None:
        raise TlbenchError(f"{where}: modules.json names a Pooling layer whose config.json is missing")
    config: dict[str, Any] = json.loads(file.read_text())
    said = config.get("pooling_mode")
    names = [said] if isinstance(said, str) else list(said or [])
    for key, value in config.items():  # the older form: one flag for each mode
        if key.startswith("pooling_mode_") and value is True:
            names.append(key.removeprefix("pooling_mode_").removesuffix("_token").removesuffix("_tokens"))
    strange = [name for name in names if name not in MODES]
    if strange:
        raise TlbenchError(
            f"{where}: {unknown('pooling', strange[0], MODES, 'its 1_Pooling/config.json')}; "
            f"to choose another, write ?pooling={'|'.join(MODES)}"
        )
    return tuple(names) or ("mean",)


def _mean(h: Tensor, mask: Tensor) -> Tensor:
    seen = mask[..., None].to(h.dtype)
    return (h * seen).sum(1) / seen.sum(1).clamp_min(1)


def _first(h: Tensor, mask: Tensor) -> Tensor:
    return h[:, 0]


def _most(h: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask[..., None], h, torch.finfo(h.dtype).min).amax(1)


MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": _mean, "cls": _first, "max": _most}
