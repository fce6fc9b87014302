"""How does a pretrained network want its pictures? Resized, cropped and normalised as its own library does it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench.types import TlbenchError

INTERPOLATIONS = {"bilinear": "bilinear", "bicubic": "bicubic", "nearest": "nearest-exact"}  # ours to torch's
CROPS = ("center", "squash", "border")


class Recipe(NamedTuple):
    """What a network's own library does to a picture before the network sees it."""

    size: int  # side of what the network takes
    resized: int  # pixels of the side that is resized before the crop
    interpolation: str = "bicubic"
    crop: str = "center"  # shorter side to `resized`; "squash": both sides; "border": longer side, then padded
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


class Preprocessing(nn.Module):
    """uint8 [m, H, W, 3] -> normalised float32 [m, 3, S, S].

    Resizing is antialiased and rounds to whole shades after each of its two passes, as Pillow does. Raises
    TlbenchError for an unknown recipe.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        if recipe.interpolation not in INTERPOLATIONS or recipe.crop not in CROPS:
            raise TlbenchError(
                f"pictures cannot be resized by {recipe.interpolation!r} and cropped by {recipe.crop!r}; "
                f"known are {', '.join(INTERPOLATIONS)} and {', '.join(CROPS)}; choose another network"
            )
        self.recipe = recipe
        self.register_buffer("mean", torch.tensor(recipe.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(recipe.std).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        images = _cropped(self._resized(x.movedim(-1, 1).to(torch.float32)), self.recipe.size, fill=255 * self.mean)
        return (images / 255 - self.mean) / self.std

    def extra_repr(self) -> str:
        """Part of a backbone's fingerprint: another recipe makes other features of the same weights."""
        recipe = self.recipe
        return f"{recipe.interpolation} to {recipe.resized}, {recipe.crop} crop of {recipe.size}"

    def _resized(self, images: Tensor) -> Tensor:
        height, width = _size_after(images.shape[-2], images.shape[-1], self.recipe)
        mode = INTERPOLATIONS[self.recipe.interpolation]
        for size in ((images.shape[-2], width), (height, width)):  # across, then down, as Pillow does it
            if size != tuple(images.shape[-2:]):
                images = F.interpolate(images, size, mode=mode, antialias=mode != "nearest-exact").round().clamp(0, 255)
        return images


def _size_after(height: int, width: int, recipe: Recipe) -> tuple[int, int]:
    """(height, width) before the crop."""
    if recipe.crop == "squash":
        return recipe.resized, recipe.resized
    if recipe.crop == "border":
        scale = recipe.resized / max(height, width)
        return round(height * scale), round(width * scale)
    longer = int(recipe.resized * max(height, width) / min(height, width))
    return (recipe.resized, longer) if height <= width else (longer, recipe.resized)


def _cropped(images: Tensor, size: int, *, fill: Tensor) -> Tensor:
    """The middle [m, 3, S, S] of images, shades of `fill` [1, 3, 1, 1] where they are too small."""
    height, width = images.shape[-2:]
    if height < size or width < size:
        down, across = max(0, size - height), max(0, size - width)
        sides = (across // 2, across - across // 2, down // 2, down - down // 2)
        fill = fill.round()
        return _cropped(F.pad(images - fill, sides) + fill, size, fill=fill)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return images[..., top : top + size, left : left + size]
