"""Is all here that a suite needs from elsewhere? It is fetched, prepared and verified, for runs without a network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from tlbench import backbones, caches
from tlbench.caches import size
from tlbench.datasets import base, cache
from tlbench.suite import Suite, typed
from tlbench.types import TlbenchError

# Where libraries keep what they download: the variable that moves it, and its folder under the user's cache.
HOMES = {"HF_HOME": "huggingface", "TORCH_HOME": "torch"}


class Item(NamedTuple):
    """A dataset or network of a suite, and what came of fetching it."""

    kind: Literal["dataset", "backbone"]
    name: str
    facts: str = ""  # counts, size, fingerprint, in words
    problem: str = ""  # why a run could not use it; "" where it can


def fetched(suite: Suite, *, say: Callable[[str], None]) -> list[Item]:
    """Makes all of a suite's datasets in the cache of runs, and builds each of its networks once.

    What is there is verified and not fetched again, so the same call goes on where one was stopped. `say` gets a line
    before and after each item. One that cannot be had tells its `problem`, and the others are fetched all the same.
    """
    total, found = len(suite.datasets) + len(suite.backbones), []
    example: np.ndarray | None = None
    for number, (kind, name) in enumerate(_needed(suite), start=1):
        say(f"[{number}/{total}] {kind} {name}")
        began, item = time.monotonic(), Item(kind, name)
        try:
            if kind == "dataset":
                facts, example = _dataset(name)
            else:
                facts = _backbone(name, example)
            item = item._replace(facts=f"{facts}, {time.monotonic() - began:.0f} s")
        except Exception as error:  # whatever a library raises: it is told at the end, and the rest is fetched
            item = item._replace(problem=_sentence(error))
        say(f"  {item.facts or 'cannot be used; why is told at the end'}")
        found.append(item)
    return found


def summary(suite: Suite, items: list[Item]) -> str:
    """The problems, or how to run the suite on a machine without a network."""
    problems = [item for item in items if item.problem]
    if not problems:
        return "\n".join([f"all {len(items)} are here and verified", *_elsewhere(suite)])
    lines = [f"{len(problems)} of {len(items)} cannot be used:"]
    lines += [f"  {item.problem if item.name in item.problem else f'{item.name}: {item.problem}'}" for item in problems]
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        lines.append("HF_HUB_OFFLINE is set, which forbids any download from the Hugging Face hub; unset it to fetch")
    return "\n".join([*lines, f"what is here is kept; the same command fetches the rest: tlbench fetch {typed(suite)}"])


def _needed(suite: Suite) -> Iterator[tuple[Literal["dataset", "backbone"], str]]:
    """Datasets first: each network then reads an example of one."""
    yield from (("dataset", name) for name in suite.datasets)
    yield from (("backbone", name) for name in suite.backbones)


def _dataset(name: str) -> tuple[str, np.ndarray]:
    """What there is to say of a dataset, and one example of it. Raises TlbenchError."""
    folders = caches.folder() / "datasets"
    before = {path.name for path in folders.iterdir()} if folders.is_dir() else set()
    loaded = base.load(name, caches.folder())
    origin = "made now"
    if loaded.folder.name in before:
        loaded, origin = _verified(name, loaded)
    facts = [
        origin,
        f"{len(loaded.pool_y):,} + {len(loaded.test_x):,} examples of {len(loaded.class_names)} classes",
        *([f"{loaded.duplicates_removed:,} copies removed"] if loaded.duplicates_removed else []),
        *(f"{count:,} left out ({reason})" for reason, count in loaded.excluded.items()),
        size(sum(file.stat().st_size for file in loaded.folder.iterdir())),
        f"sha256 {loaded.fingerprint[:12]}",
    ]
    return ", ".join(facts), np.array(loaded.pool_x[:1])


def _verified(name: str, loaded: base.Loaded) -> tuple[base.Loaded, str]:
    """The dataset once every byte of it, test labels included, is what was written; made again where it is not."""
    try:
        cache.verify(loaded.folder)
        return loaded, "was here"
    except (cache.Damaged, FileNotFoundError) as damage:
        cache.remove(loaded.folder)
        return base.load(name, caches.folder()), f"was damaged ({damage}) and is made again"


def _backbone(name: str, example: np.ndarray | None) -> str:
    """What there is to say of a network. Raises TlbenchError where it makes no finite features of the example."""
    network = backbones.get(name)
    if example is not None:
        with torch.inference_mode():
            features = network.prefix("features")(torch.from_numpy(network.encoded(example)))
        if features.shape != (1, network.dim) or not bool(torch.isfinite(features).all()):
            raise TlbenchError(
                f"it makes features of shape {tuple(features.shape)} of an example, finite: "
                f"{bool(torch.isfinite(features).all())}; expected (1, {network.dim}); are these the right weights?"
            )
    count = sum(p.numel() for part in (network.reader, network.trunk) for p in part.parameters())
    return f"{count / 1e6:.1f} M parameters, {size(4 * count)}, sha256 {network.fingerprint[:12]}"


def _elsewhere(suite: Suite) -> list[str]:
    """Lines for a shell on a machine that shares, or got copies of, what is cached here."""
    cached = {variable: _home(variable, folder) for variable, folder in HOMES.items()}
    return [
        "on a machine without a network, with the same versions of all packages, share or copy these folders:",
        f"  export TLBENCH_CACHE={caches.folder().resolve()}",
        *(f"  export {variable}={path}" for variable, path in cached.items() if path.is_dir()),
        "  export HF_HUB_OFFLINE=1",
        f"  tlbench run {typed(suite)}",
    ]


def _home(variable: str, folder: str) -> Path:
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / folder
    return Path(os.environ.get(variable) or usual).expanduser().resolve()


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, TlbenchError) else f"{type(error).__name__}: {error}"
