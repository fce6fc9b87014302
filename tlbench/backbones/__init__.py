"""Which backbone has this name? The embedded ones, those of plug-ins, and `timm:NAME`."""

from __future__ import annotations

from tlbench.backbones import glyph
from tlbench.backbones.base import Backbone, Pixels, Trunk
from tlbench.registry import BACKBONES

__all__ = ["Backbone", "Pixels", "Trunk", "get", "glyph"]


def get(name: str) -> Backbone:
    """The backbone called `name`: a registered one, `timm:MODEL` with random weights, or `timm:MODEL@FILE`.

    Raises TlbenchError with the nearest names, or where weights are missing or damaged.
    """
    if name.startswith("timm:"):
        from tlbench.backbones.timm import Timm

        return Timm(name)
    return BACKBONES[name]()
