"""Which examples are for testing where nobody has said so?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

LARGEST_TEST, SMALLEST_TEST = 10_000, 500  # PROTOCOL 1.2: more is cut, fewer is flagged
SALT = b"TLB-1 test"


def stratified_by_hash(x: Iterable[object], y: np.ndarray, count: int) -> np.ndarray:
    """Which examples [n] are for testing: about count / n of each class, the first in the order of sha256(content).

    The choice depends on the contents alone (of `Pictures`, their files), so it survives another order and another
    download (PROTOCOL 1.1).
    """
    digests = np.array([hashlib.sha256(_bytes(item) + SALT).hexdigest() for item in x])
    classes, counts = np.unique(y, return_counts=True)
    picked = np.zeros(len(y), bool)
    for label, share in zip(classes, _shares(counts, min(count, len(y))), strict=True):
        rows = np.flatnonzero(y == label)
        picked[rows[np.argsort(digests[rows], kind="stable")][:share]] = True
    return picked


def _shares(counts: np.ndarray, total: int) -> np.ndarray:
    """Whole shares of `total` in proportion to counts: largest remainders, classes without a share first."""
    shares, remainders = np.divmod(counts * total, counts.sum())
    order = np.lexsort((-remainders, shares > 0))
    shares[order[: total - shares.sum()]] += 1
    return shares


def _bytes(item: object) -> bytes:
    if isinstance(item, bytes):
        return item
    return item.encode() if isinstance(item, str) else np.ascontiguousarray(item).tobytes()
