"""How long does it take from raw inputs to logits? Timed once in a process for fitted lanes of one kind."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tlbench.datasets import base
from tlbench.engine import Pack
from tlbench.fits_networks import Opened

BATCHES, TURNS = (1, 64), 7
T = TypeVar("T")


def latency(pack: Pack, network: Opened, tap: str, *, one: Tensor, data: Path) -> dict[str, float]:
    """Milliseconds from the raw test inputs in `data` to the logits of one fitted lane, by name in a cell's cost.

    Lanes of one strategy and network, whose states and encoded inputs (`one` of them) have the same shape, are of one
    kind; with texts, which are of any length, those of one dataset.
    """
    device, inputs = str(one.device), str(data) if network.backbone.modality == "text" else one.shape
    state = tuple((leaf.shape, leaf.dtype) for leaf in pytree.tree_leaves(pack.states[0]))
    strategy = type(pack.strategy), *sorted(pack.static.items())
    found = _known((network.fingerprint, tap, device, strategy, state, inputs))
    if not found:
        raw = base.read_inputs(data, "test")[: max(BATCHES)].copy()
        for m in BATCHES:
            predict = functools.partial(_predicted, pack, network, network.prefix(tap, device), raw[:m])
            times = [1e3 * timed(predict, device)[1] for _ in range(TURNS)]
            found[f"predict_ms_{m}"] = float(np.median(times))
            found[f"predict_ms_{m}_p95"] = float(np.quantile(times, 0.95))
    return found


def timed(action: Callable[[], T], device: str) -> tuple[T, float]:
    """What it returns, and the seconds that it took; a GPU works on after a call has returned."""
    start = time.perf_counter()
    result = action()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - start


@torch.no_grad()
def _predicted(pack: Pack, network: Opened, prefix: torch.nn.Module, raw: np.ndarray) -> list[Tensor]:
    encoded = torch.from_numpy(network.backbone.encoded(raw)).to(pack.network.bank.device)
    return pack.predict(prefix(encoded), of=[0])


@functools.cache
def _known(kind: Hashable) -> dict[str, float]:
    """A place for what is found of a kind."""
    return {}
