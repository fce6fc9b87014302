"""Which pool examples are copies of test examples? (PROTOCOL 1.2)"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import NamedTuple

import numpy as np

from tlbench.datasets.pieces import OnDisk, pieces

HASH_BITS = 6  # largest Hamming distance of two difference hashes of near copies
CORRELATION = 0.99  # least correlation of their thumbnails, when these have some contrast
CONTRAST = 8.0  # least standard deviation of such a thumbnail, in grey levels
FLAT_DIFFERENCE = 1.5  # largest root mean square difference of thumbnails that have none
THUMBNAIL = 16
PAIRS_AT_ONCE = 20_000


def copies(pool: np.ndarray | OnDisk, test: np.ndarray | OnDisk) -> np.ndarray:
    """Which pool examples [n] equal a test example, or nearly: uint8 images [n, H, W, 3] or strings [n]."""
    if isinstance(pool, np.ndarray) and isinstance(test, np.ndarray) and pool.dtype != np.uint8:
        known = {normalised(text) for text in test}
        return np.array([normalised(text) in known for text in pool], bool)
    ours, theirs = _looks(pool), _looks(test)
    digests = set(theirs.digests)
    return np.array([digest in digests for digest in ours.digests], bool) | _near(ours, theirs)


def normalised(text: str) -> str:
    """A text without case, punctuation and spacing (Unicode NFKC)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(char if char.isalnum() else " " for char in folded).split()) or text


class Looks(NamedTuple):
    """All that is kept of images while copies are looked for: 3 KiB each, whatever their size."""

    digests: list[bytes]
    hashes: np.ndarray  # [n] uint64
    thumbnails: np.ndarray  # [n, d] float32


def difference_hash(images: np.ndarray) -> np.ndarray:
    """64 bits [n] uint64 of images [n, H, W, 3]: is a cell of an 8 x 9 grid darker than its right neighbour?"""
    red, green, blue = np.moveaxis(images, -1, 0)
    grey = _shrunk((red.astype(np.uint16) + green + blue)[..., None], 8, 9)[..., 0]
    bits = np.packbits((grey[:, :, :-1] < grey[:, :, 1:]).reshape(len(images), 64), axis=1)
    return np.ascontiguousarray(bits).view(np.uint64)[:, 0]


def _looks(images: np.ndarray | OnDisk) -> Looks:
    digests: list[bytes] = []
    hashes, thumbnails = [], []
    for piece in pieces(images):
        digests += [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in piece]
        hashes.append(difference_hash(piece))
        thumbnails.append(_shrunk(piece, THUMBNAIL, THUMBNAIL).reshape(len(piece), -1))
    return Looks(digests, np.concatenate(hashes), np.concatenate(thumbnails))


def _near(pool: Looks, test: Looks) -> np.ndarray:
    """Pool images whose hash is near a test image's and whose thumbnail shows the same.

    The hash alone would condemn honest pictures of one drawn class; so the thumbnails must correlate, up to brightness
    and contrast, or, where both are flat, agree level by level.
    """
    near = np.zeros(len(pool.hashes), bool)
    step = max(1, PAIRS_AT_ONCE * 100 // len(near))
    for start in range(0, len(test.hashes), step):
        distance = np.bitwise_count(test.hashes[start : start + step, None] ^ pool.hashes[None, :])
        test_rows, pool_rows = np.nonzero(distance <= HASH_BITS)
        for at in range(0, len(pool_rows), PAIRS_AT_ONCE):
            rows = pool_rows[at : at + PAIRS_AT_ONCE]
            alike = _alike(pool.thumbnails[rows], test.thumbnails[start + test_rows[at : at + PAIRS_AT_ONCE]])
            near[rows[alike]] = True  # a row may stand there several times
    return near


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Do thumbnails [n, d] show the same, pair by pair?"""
    flat = np.sqrt(((a - b) ** 2).mean(1)) <= FLAT_DIFFERENCE
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    spread_a, spread_b = np.sqrt((a * a).mean(1)), np.sqrt((b * b).mean(1))
    correlated = (a * b).mean(1) >= CORRELATION * spread_a * spread_b
    return flat | (correlated & (np.minimum(spread_a, spread_b) >= CONTRAST))


def _shrunk(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means [n, height, width, c] float32 of whole numbers [n, H, W, c] over a grid; small images are enlarged."""
    for axis, cells in ((1, height), (2, width)):
        if images.shape[axis] < cells:
            images = np.repeat(images, -(-cells // images.shape[axis]), axis=axis)
        side = images.shape[axis]
        starts = np.arange(cells) * side // cells
        sizes = np.diff(np.append(starts, side)).astype(np.float32)
        shape = [1] * images.ndim
        shape[axis] = cells
        images = np.add.reduceat(images, starts, axis=axis, dtype=np.float32) / sizes.reshape(shape)
    return images
