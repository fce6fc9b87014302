"""Does a strategy keep the contract, and what must its author change? `tlbench check` and `tlbench new strategy`.

The laws are tried in a process of their own, sealed off from labels, in which nothing may run for ever.
"""

from __future__ import annotations

import functools
import keyword
import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import TimeoutError as Overrun
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from tlbench import contract_watch
from tlbench.contract_words import LABELS, Finding, report
from tlbench.registry import STRATEGIES, load_plugin, unknown
from tlbench.types import TaskShape, TlbenchError

__all__ = ["Finding", "check", "new_strategy", "ok", "report"]

IMAGES, TEXTS = TaskShape(64, 4, "image"), TaskShape(64, 4, "text")
FIRST, LAST = ("entry", "shapes"), "labels"  # where one of the first is broken, the others would only say so again

TEMPLATE = '''\
"""{name}: what is new about this way of transferring a pretrained network?"""

from torch import nn

from tlbench.registry import register
from tlbench.space import Float
from tlbench.strategies.gradient import GradientStrategy
from tlbench.strategies.modules import Classifier, features_dim, thawed


@register.strategy
class {title}(GradientStrategy):
    """The last block and a linear head train, from the pretrained values (name the paper and its defaults here)."""

    name = "{name}"
    tap = "blocks.-1"
    space = {{
        "lr": Float(1e-5, 1e-2, log=True, default=1e-3),
        "weight_decay": Float(1e-4, 1e-1, log=True, default=1e-2),
    }}

    def module(self, task, hp) -> nn.Module:
        return Classifier(thawed(task.tail), features_dim(task.tail, task.x[:1]), task.num_classes)
'''


def check(plugin: str | Path, *, backbone: str = "", seconds: float = 60.0) -> list[Finding]:
    """One finding for each law and strategy of a plug-in (a file, a module's name, or a known strategy's name).

    It is tried on `backbone`; unless one is named, on glyph_vit, and where it skips images on a tiny text network.
    `seconds` is what one strategy may take. What cannot be loaded, reaches for labels or never ends is a finding too.
    """
    plugin = str(plugin)
    reaches = contract_watch.reaches(plugin)
    if reaches:
        return [Finding(plugin, "labels", "broken", reach) for reach in reaches]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPool(max_workers=1, context=spawn, initializer=_shut_off) as pool:
        try:
            laws = pool.schedule(_laws).result()  # importing torch is not the plug-in's time
            names, findings = _registered(pool, plugin, seconds)
            for name in names:
                findings += _tried(pool, (plugin, name, backbone), laws, seconds)
        finally:
            pool.stop()
    return findings


def ok(findings: Iterable[Finding]) -> bool:
    """Is there at least one finding, and no law broken?"""
    found = list(findings)
    return bool(found) and all(finding.ok for finding in found)


def new_strategy(name: str, folder: str | Path = ".") -> Path:
    """Writes `folder`/`name`.py, a strategy to start from that keeps the contract; returns its path.

    Raises TlbenchError for a name that is no identifier or is taken, and never writes over a file.
    """
    import tlbench.strategies  # noqa: F401 - registers

    if not name.isidentifier() or keyword.iskeyword(name):
        raise TlbenchError(f"{name!r} cannot name a strategy; use letters, digits and _ only, such as my_idea")
    if name in STRATEGIES:
        raise TlbenchError(f"a strategy called {name!r} exists already; choose another name (tlbench list strategies)")
    file = Path(folder) / f"{name}.py"
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_")) or "Strategy"
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(TEMPLATE.format(name=name, title=title))
    except FileExistsError as error:
        raise TlbenchError(f"{file} exists already and is left as it is; choose another name, or remove it") from error
    except OSError as error:
        raise TlbenchError(f"{file} cannot be written: {error.strerror}; choose another folder") from error
    return file


def _registered(pool: ProcessPool, plugin: str, seconds: float) -> tuple[list[str], list[Finding]]:
    """The strategies that the plug-in registers; or what is wrong with loading it."""
    try:
        names = pool.schedule(_load, args=[plugin], timeout=seconds).result()
    except Overrun:
        return [], [Finding(plugin, "loading", "broken", _never_ends("importing it", seconds))]
    except ProcessExpired as error:
        return [], [Finding(plugin, "loading", "broken", f"importing it ends the whole process ({error})")]
    except TlbenchError as error:
        return [], [Finding(plugin, "labels" if LABELS in str(error) else "loading", "broken", str(error))]
    if not names:
        advice = "put @register.strategy above a class with a new `name`; see: tlbench new strategy my_idea"
        return [], [Finding(plugin, "loading", "broken", f"it registers no strategy; {advice}")]
    return names, []


def _tried(pool: ProcessPool, subject: tuple[str, str, str], laws: Iterable[str], seconds: float) -> list[Finding]:
    """A finding for each law on (plug-in, strategy, backbone), until one leaves no way to try the next."""
    findings: list[Finding] = []
    end = time.monotonic() + seconds
    for law in laws:
        if law != LAST and any(each.law in FIRST and not each.ok for each in findings):
            continue
        try:
            left = max(0.1, end - time.monotonic())
            findings.append(pool.schedule(_judged, args=[law, *subject], timeout=left).result())
        except Overrun:
            return [*findings, Finding(subject[1], law, "broken", _never_ends(f"the law {law!r}", seconds))]
        except ProcessExpired as error:
            return [*findings, Finding(subject[1], law, "broken", f"it ends the whole process ({error})")]
    return findings


def _never_ends(what: str, seconds: float) -> str:
    return f"{what} had not ended when the check's {seconds:g} s were over: look for a loop that never ends, or do less"


# What follows runs in the process of the check.


def _shut_off() -> None:
    """One thread, no labels, no network."""
    import torch

    import tlbench.backbones
    import tlbench.strategies  # noqa: F401 - registers
    from tlbench.datasets.seals import seal

    torch.set_num_threads(1)
    contract_watch.arm()  # before the seal, whose own watch would stop a reach before it is written down
    seal()


def _laws() -> tuple[str, ...]:
    from tlbench.contract_laws import LAWS

    return tuple(LAWS)


def _load(plugin: str) -> list[str]:
    """Names of the strategies that loading it adds; a known strategy's name stands for itself."""
    if plugin in STRATEGIES:
        return [plugin]
    if not plugin.endswith(".py") and contract_watch.source(plugin) is None:
        raise TlbenchError(unknown("strategy or module", plugin, STRATEGIES, "tlbench list strategies"))
    before = set(STRATEGIES)
    load_plugin(plugin)
    return sorted(set(STRATEGIES) - before)


def _judged(law: str, plugin: str, name: str, backbone: str) -> Finding:
    from tlbench.contract_laws import judged

    return judged(law, _toy(plugin, name, backbone))


@functools.cache
def _toy(plugin: str, name: str, backbone: str) -> Any:
    from tlbench import backbones, contract_text
    from tlbench.contract_toy import Toy

    if name not in STRATEGIES:
        load_plugin(plugin)  # in a process that took the place of one that ended
    make = STRATEGIES[name]
    if not backbone and make().skip(IMAGES) and not make().skip(TEXTS):
        return Toy(make, contract_text.network())
    return Toy(make, backbones.get(backbone or "glyph_vit"))
