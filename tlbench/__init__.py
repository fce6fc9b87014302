"""tlbench: which way of transferring a pretrained network works when labels are few?

>>> import tlbench
>>> frame = tlbench.run("smoke")
>>> tlbench.results("results/smoke").groupby("strategy").score.mean()

A plug-in registers a `Strategy` (or `GradientStrategy`) with `@register.strategy`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "tlbench.api": ("leaderboard", "results", "run"),
    "tlbench.registry": ("BACKBONES", "DATASETS", "STRATEGIES", "register"),
    "tlbench.space": ("Choice", "Float", "Int"),
    "tlbench.strategies.base": ("State", "Strategy"),
    "tlbench.strategies.gradient": ("GradientStrategy",),
    "tlbench.task": ("Clock", "Task"),
    "tlbench.types": ("Arrays", "TlbenchError"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `tlbench --help` answers without torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'tlbench' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
