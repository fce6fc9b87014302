"""Which datasets are real pictures: handwritten digits, and regions of photographs?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlbench.datasets.holdout import stratified_by_hash
from tlbench.datasets.mini.drawn import TEST, drawn
from tlbench.datasets.raster import SIZE, quantised, sampled, uniform
from tlbench.registry import register
from tlbench.types import Arrays

TEST_BAND = (0.35, 0.65)  # of a region's longer side
POOL_PER_CLASS = 150  # patches of plain sky may be taken for copies of each other; at least 100 remain
SMALLEST, LARGEST = 20, 36  # sides of a patch, in pixels of the photograph


@register.dataset(
    "digits",
    modality="image",
    classes=10,
    summary="Which digit is this? Handwriting of 43 people, 8 x 8 grey levels enlarged to 32 x 32; it comes without "
    "an official split, so 500 examples are chosen by hash.",
    kind="real",
    group="real images",
    source="UCI Optical Recognition of Handwritten Digits (test part), as scikit-learn bundles it",
    licence="CC BY 4.0",
)
def digits(root: Path) -> Arrays:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels, labels = bunch.images.astype(np.float32), bunch.target.astype(np.int64)
    at = (np.arange(SIZE, dtype=np.float32) + 0.5) / 4 - 0.5
    y, x = np.broadcast_to(at[None, :, None], (1, SIZE, SIZE)), np.broadcast_to(at[None, None, :], (1, SIZE, SIZE))
    large = sampled(levels / 16, np.repeat(y, len(levels), 0), np.repeat(x, len(levels), 0))
    pictures = np.repeat(quantised(large)[..., None], 3, axis=3)
    test = stratified_by_hash(bunch.images.astype(np.uint8), labels, TEST)
    return Arrays(pictures[~test], labels[~test], pictures[test], labels[test], tuple("0123456789"))


REGIONS = {  # photograph, top, left, bottom, right
    "sky": ("china", 0, 330, 100, 640),
    "top roof": ("china", 62, 100, 135, 315),
    "upper gallery": ("china", 185, 95, 245, 325),
    "middle roof": ("china", 240, 70, 290, 345),
    "lower gallery": ("china", 285, 85, 345, 340),
    "lake": ("china", 225, 360, 295, 545),
    "left tree": ("china", 345, 30, 427, 205),
    "middle tree": ("china", 310, 390, 425, 560),
    "right tree": ("china", 160, 575, 427, 640),
    "heart": ("flower", 150, 245, 270, 370),
    "upper petals": ("flower", 85, 225, 150, 400),
    "lower petals": ("flower", 280, 210, 350, 400),
    "shade": ("flower", 30, 465, 400, 640),
    "second flower": ("flower", 382, 290, 427, 465),
}

PORTRAIT = {
    "stars": ("portrait", 0, 0, 190, 130),
    "cap": ("portrait", 40, 190, 175, 370),
    "face": ("portrait", 190, 215, 330, 345),
    "background": ("portrait", 60, 400, 400, 512),
    "collar": ("portrait", 360, 190, 480, 330),
    "left sleeve": ("portrait", 440, 30, 600, 150),
    "right breast": ("portrait", 440, 330, 600, 470),
    "flag": ("portrait", 200, 0, 400, 150),
}


@register.dataset(
    "photo_patches",
    modality="image",
    classes=len(REGIONS),
    summary="Which region of two photographs (a temple by a lake, a dahlia) is this patch from? Test patches share no "
    "pixel with the pool: they come from the middle of each region, the pool from both ends.",
    kind="real",
    group="real images",
    source="china.jpg by danielbuechele and flower.jpg by vultilion, as scikit-learn bundles them",
    licence="CC BY 2.0",
    horizontal_flip=True,
)
def photo_patches(root: Path) -> Arrays:
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    photographs = {Path(name).stem: image for name, image in zip(bunch.filenames, bunch.images, strict=True)}
    return patches("photo_patches", photographs, REGIONS)


@register.dataset(
    "dev_portrait",
    modality="image",
    classes=len(PORTRAIT),
    summary="Which of eight regions of a portrait is this patch from? For development only.",
    kind="real",
    group="development",
    source="grace_hopper.jpg, as matplotlib bundles it",
    licence="public domain (United States Navy)",
    horizontal_flip=True,
)
def dev_portrait(root: Path) -> Arrays:
    from matplotlib import get_data_path
    from PIL import Image

    with Image.open(Path(get_data_path(), "sample_data", "grace_hopper.jpg")) as image:
        return patches("dev_portrait", {"portrait": np.asarray(image.convert("RGB"))}, PORTRAIT)


def patches(
    name: str, photographs: dict[str, np.ndarray], regions: dict[str, tuple[str, int, int, int, int]]
) -> Arrays:
    """Patches 32 x 32 of photographs [H, W, 3]; a class is one region (photograph, top, left, bottom, right).

    A patch is a square of 20 to 36 pixels inside its region, mirrored half of the time, its channels rescaled as by
    another light. Along the longer side of a region the middle (TEST_BAND) is for testing and both ends for the pool.
    """
    upright = [_upright(photographs[region[0]], region[1:]) for region in regions.values()]

    def draw(labels: np.ndarray, rng: np.random.Generator, bands: tuple[tuple[float, float], ...]) -> np.ndarray:
        chances = rng.random((len(labels), 5))
        cuts = []
        for label, chance in zip(labels, chances, strict=True):
            area, turned = upright[label]
            cut = _cut(area, bands[int(chance[0] * len(bands))], chance[1:])
            cut = cut.transpose(1, 0, 2) if turned else cut
            cuts.append(cut[:, ::-1] if chance[4] < 0.5 else cut)
        gain = uniform(rng, (len(labels), 1, 1, 3), 0.9, 1.1) * uniform(rng, (len(labels), 1, 1, 1), 0.75, 1.2)
        return quantised(np.stack(cuts) * gain)

    middle, ends = (TEST_BAND,), ((0.0, TEST_BAND[0]), (TEST_BAND[1], 1.0))
    return drawn(
        name,
        tuple(regions),
        lambda y, rng: draw(y, rng, ends),
        draw_test=lambda y, rng: draw(y, rng, middle),
        per_class=POOL_PER_CLASS,
    )


def _upright(photograph: np.ndarray, box: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    """A region with its longer side as its width, and whether it was transposed for that."""
    top, left, bottom, right = box
    area = photograph[top:bottom, left:right]
    turned = area.shape[0] > area.shape[1]
    return (area.transpose(1, 0, 2) if turned else area), turned


def _cut(region: np.ndarray, band: tuple[float, float], chance: np.ndarray) -> np.ndarray:
    """A square [32, 32, 3] in 0..1 from a band of the region's width; its side and place by chance."""
    left, right = int(band[0] * region.shape[1]), int(band[1] * region.shape[1])
    side = SMALLEST + int(chance[0] * (min(LARGEST, right - left, len(region)) - SMALLEST + 1))
    top = int(chance[1] * (region.shape[0] - side + 1))
    left = left + int(chance[2] * (right - left - side + 1))
    square = region[top : top + side, left : left + side].astype(np.float32) / np.float32(255)
    at = (np.arange(SIZE, dtype=np.float32) + 0.5) * np.float32(side / SIZE) - np.float32(0.5)
    y, x = np.broadcast_arrays(np.clip(at, 0, side - 1)[:, None], np.clip(at, 0, side - 1)[None, :])
    planes = np.ascontiguousarray(square.transpose(2, 0, 1))
    return sampled(planes, np.stack([y] * 3), np.stack([x] * 3)).transpose(1, 2, 0)
