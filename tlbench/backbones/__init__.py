"""Which backbone has this name? The embedded ones, those of plug-ins, and those that another library names."""

from __future__ import annotations

from tlbench.backbones import glyph, minilm, timm, torchvision, transformers
from tlbench.backbones.base import Backbone, Named, Pixels, Trunk
from tlbench.registry import BACKBONES

__all__ = ["Backbone", "Named", "Pixels", "Trunk", "get", "glyph", "minilm", "timm", "torchvision", "transformers"]


def get(reference: str) -> Backbone:
    """The backbone of this name or reference (see `tlbench list backbones`), with its weights.

    Raises TlbenchError with the nearest names, or where weights are missing or damaged.
    """
    return BACKBONES[reference]()
