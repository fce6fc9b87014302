"""What does this machine do best? Measured once, in processes that begin as workers do, and kept.

A value departs from its default (`MachinePlan`) only where that was CLEAR times better, and what was measured is kept
beside the caches for all results folders of this machine: they hold the same bytes for the same cells. A folder keeps
its own plan for good, whatever is measured later.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple, TypeVar

from filelock import FileLock

from tlbench import caches, machine_measure
from tlbench.executors import OPENBLAS, VARIABLES, avx512, born
from tlbench.executors_server import SPAWN, context
from tlbench.store import Store
from tlbench.types import sha256
from tlbench.width import Library, MachinePlan

MEASURED = 2  # raised when something else is measured, or measured in another way
CLEAR = 1.2  # times better: less may be chance
AVX512 = "SkylakeX"  # what OpenBLAS calls the first processor that had it
DEFAULT = MachinePlan()
T = TypeVar("T")


class Figures(NamedTuple):
    """What was measured."""

    day: str
    openblas: Mapping[str, float]  # GFLOP/s of stacked products by what OpenBLAS is told; nothing without AVX-512
    products: Mapping[str, float]  # GFLOP/s by library
    layers: Mapping[str, float]  # how many times faster a linear layer is stacked than in a loop, by its features


class Machine(NamedTuple):
    """How a machine works, and on what grounds."""

    plan: MachinePlan
    figures: Figures | None  # None: on a GPU, and in folders that are older than the measurement
    source: str  # where they are from


def kept(store: Store, device: str, *, say: Callable[[str], None]) -> MachinePlan:
    """The folder's plan; made, and kept, where it has none."""
    found = known(store, device, say=say)
    if found.figures is not None:
        store.plan_put("machine", found.figures._asdict())
    return MachinePlan(**store.plan_put("width", found.plan._asdict()))


def known(store: Store, device: str, *, say: Callable[[str], None]) -> Machine:
    """The folder's plan, or the one that it would get."""
    plan, figures = store.plan_get("width"), store.plan_get("machine")
    if plan is not None:
        known_ones = figures and Figures(**{name: figures[name] for name in Figures._fields})  # older ones had more
        return Machine(MachinePlan(**plan), known_ones, "kept in the folder")
    if device != "cpu":
        return Machine(DEFAULT, None, f"not measured for {device}")
    measured, source = here(say=say)
    return Machine(planned(measured), measured, source)


def planned(figures: Figures) -> MachinePlan:
    """The plan that these figures speak for."""
    faster = figures.openblas.get(AVX512, 0.0) >= CLEAR * figures.openblas.get("", float("inf"))
    library: Library = "torch" if figures.products["torch"] >= CLEAR * figures.products["numpy"] else "numpy"
    return MachinePlan(
        wide=_wide({int(size): gain for size, gain in figures.layers.items()}),
        products=library,
        openblas=AVX512 if faster else "",
    )


def here(*, say: Callable[[str], None]) -> tuple[Figures, str]:
    """This machine's figures, and where they are from; measured now where they are not kept."""
    path = caches.folder() / "machine" / f"{_name()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if path.exists():
            found = Figures(**json.loads(path.read_text(encoding="utf-8")))
            return found, f"measured here on {found.day}"
        say("measuring what this machine does best, once; it takes some seconds")
        found = measured()
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(found._asdict()), encoding="utf-8")
        draft.replace(path)
        return found, "measured now"


def measured() -> Figures:
    """Takes about a second of one core beside the loading of libraries, which workers need anyway."""
    rates: dict[str, float] = {}
    told = MachinePlan(openblas=AVX512)
    if avx512():
        for plan in (DEFAULT, told):
            with born(plan):
                rates[plan.openblas] = _aside(machine_measure.numpy_rate, SPAWN)
    day = datetime.now(UTC).date().isoformat()
    best = told if rates and rates[AVX512] >= CLEAR * rates[""] else DEFAULT
    with born(best):
        return Figures(day, rates, **_aside(machine_measure.trial, context(VARIABLES))._asdict())


def _aside(work: Callable[[], T], how: BaseContext) -> T:
    """What it gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=how) as pool:
        return pool.submit(work).result()


def _wide(gains: Mapping[int, float]) -> int:
    """The smallest layer from which on stacking is no gain, moved from its default by a clear loss or gain alone."""
    if gains[DEFAULT.wide] >= CLEAR:
        return min((s for s, gain in gains.items() if s > DEFAULT.wide and gain < CLEAR), default=2 * max(gains))
    lost = [size for size in gains if all(gain <= 1 / CLEAR for other, gain in gains.items() if other >= size)]
    return min([DEFAULT.wide, *lost])


def _name() -> str:
    """A name for all that the figures depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else [platform.processor()]
    processor = sorted({line for line in lines if line.startswith(("model", "flags", "Features"))}) or lines
    packages = [version(name) for name in ("numpy", "torch")]
    return sha256([MEASURED, platform.platform(), processor, packages, os.environ.get(OPENBLAS, "")])[:16]
