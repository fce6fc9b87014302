"""Which datasets are real pictures: handwritten digits, and regions of photographs?"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from tlbench.datasets.mini.drawn import TEST, drawn
from tlbench.datasets.raster import SIZE, quantised, sampled, uniform
from tlbench.registry import register
from tlbench.types import Arrays

GRID = (2, 5)  # rows and columns of regions in one photograph
SMALLEST, LARGEST = 24, 44  # sides of a patch, in pixels of the photograph
TEST_BAND = (0.3, 0.7)  # the middle of a region's width is for testing, both sides of it for the pool


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


@register.dataset(
    "photo_patches",
    modality="image",
    classes=2 * GRID[0] * GRID[1],
    summary="Which of twenty regions of two photographs (a temple, a flower) is this patch from? Test patches share no "
    "pixel with the pool: they come from the middle of each region, the pool from both sides of it.",
    kind="real",
    group="real images",
    source="china.jpg and flower.jpg, as scikit-learn bundles them",
    licence="CC BY 2.0, by Yann Forget (china) and by Darkroom Daze (flower)",
    horizontal_flip=True,
)
def photo_patches(root: Path) -> Arrays:
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    photographs = {Path(name).stem: image for name, image in zip(bunch.filenames, bunch.images, strict=True)}
    return patches("photo_patches", dict(sorted(photographs.items())), GRID)


@register.dataset(
    "dev_portrait",
    modality="image",
    classes=12,
    summary="Which of twelve regions of a portrait is this patch from? For development only.",
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
        return patches("dev_portrait", {"portrait": np.asarray(image.convert("RGB"))}, (4, 3))


def patches(name: str, photographs: dict[str, np.ndarray], cells: tuple[int, int]) -> Arrays:
    """Patches 32 x 32 of photographs [H, W, 3]; a class is one region of a grid of `cells` rows and columns.

    A patch is a square of 24 to 44 pixels inside its region, mirrored half of the time, its channels rescaled as by
    another white balance. In a region the middle of its width (TEST_BAND) is for testing and the rest for the pool.
    """
    regions = [(title, row, column) for title in photographs for row in range(cells[0]) for column in range(cells[1])]
    names = [f"{title}, row {row + 1}, column {column + 1}" for title, row, column in regions]

    def draw(labels: np.ndarray, rng: np.random.Generator, bands: tuple[tuple[float, float], ...]) -> np.ndarray:
        chances = rng.random((len(labels), 5))
        cuts = []
        for label, chance in zip(labels, chances, strict=True):
            title, row, column = regions[label]
            band = bands[int(chance[0] * len(bands))]
            cuts.append(_cut(_region(photographs[title], row, column, cells), band, chance[1:]))
        gain = uniform(rng, (len(labels), 1, 1, 3), 0.85, 1.15) * uniform(rng, (len(labels), 1, 1, 1), 0.75, 1.25)
        return quantised(np.stack(cuts) * gain)

    middle, sides = (TEST_BAND,), ((0.0, TEST_BAND[0]), (TEST_BAND[1], 1.0))
    return drawn(name, names, lambda y, rng: draw(y, rng, sides), lambda y, rng: draw(y, rng, middle))


def _region(photograph: np.ndarray, row: int, column: int, cells: tuple[int, int]) -> np.ndarray:
    height, width = photograph.shape[0] // cells[0], photograph.shape[1] // cells[1]
    return photograph[row * height : (row + 1) * height, column * width : (column + 1) * width]


def _cut(region: np.ndarray, band: tuple[float, float], chance: np.ndarray) -> np.ndarray:
    """A square [32, 32, 3] in 0..1 from a band of the region's width; its side, place and mirroring by chance."""
    left, right = int(band[0] * region.shape[1]), int(band[1] * region.shape[1])
    side = SMALLEST + int(chance[0] * (min(LARGEST, right - left) - SMALLEST + 1))
    top = int(chance[1] * (region.shape[0] - side + 1))
    left = left + int(chance[2] * (right - left - side + 1))
    square = region[top : top + side, left : left + side].astype(np.float32) / np.float32(255)
    at = (np.arange(SIZE, dtype=np.float32) + 0.5) * np.float32(side / SIZE) - np.float32(0.5)
    y, x = np.broadcast_arrays(np.clip(at, 0, side - 1)[:, None], np.clip(at, 0, side - 1)[None, :])
    planes = np.ascontiguousarray(square.transpose(2, 0, 1))
    small = sampled(planes, np.stack([y] * 3), np.stack([x] * 3)).transpose(1, 2, 0)
    return small[:, ::-1] if chance[3] < 0.5 else small


def stratified_by_hash(x: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    """Which examples [n] are for testing: `count` in all, the first of each class in the order of sha256(content)."""
    digests = [hashlib.sha256(row.tobytes() + b"tlbench").hexdigest() for row in x]
    classes = np.unique(y)
    chosen_rows = np.zeros(len(y), bool)
    for place, label in enumerate(classes):
        share = count // len(classes) + (place < count % len(classes))
        rows = sorted(np.flatnonzero(y == label), key=lambda row: digests[row])
        chosen_rows[rows[:share]] = True
    return chosen_rows
