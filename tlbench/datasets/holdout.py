"""Which examples are for testing where nobody has said so?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from tlbench.types import TlbenchError

LARGEST_TEST, SMALLEST_TEST = 10_000, 500  # PROTOCOL 1.2: more is cut, fewer is flagged
SHARE = 0.2  # of the examples, for testing (PROTOCOL 1.1)
SALT = b"TLB-1 test"
SEEN_ONCE = "label seen once"


def held_out(x: Iterable[object], y: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Which examples [n] are for testing where nobody has said so: a fifth, at most 10,000, whole groups together."""
    count = min(max(1, round(SHARE * len(y))), LARGEST_TEST)
    return stratified_by_hash(x, y, count) if groups is None else groups_by_hash(groups, y, count)


def seen_once(y: np.ndarray) -> np.ndarray:
    """Which labels [n] no other example has: such an example cannot be on both sides of a split."""
    _, place, counts = np.unique(y.astype(str), return_inverse=True, return_counts=True)
    return counts[place] == 1


def groups_by_hash(groups: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    """Which examples [n] are for testing: whole groups, in the order of sha256(name), as long as they fit.

    A group fits when most of its examples belong to classes that still want some, and every class stays in the pool.
    Raises TlbenchError when no group fits.
    """
    names, place = np.unique(groups.astype(str), return_inverse=True)
    order = sorted(range(len(names)), key=lambda g: hashlib.sha256(str(names[g]).encode() + SALT).digest())
    left = np.bincount(y)
    wanted = _shares(left, min(count, len(y)))
    picked = np.zeros(len(y), bool)
    for group in order:
        rows = place == group
        gives = np.bincount(y[rows], minlength=len(left))
        if 2 * np.minimum(gives, wanted).sum() >= gives.sum() and not np.any((gives > 0) & (gives >= left)):
            picked |= rows
            left, wanted = left - gives, np.maximum(wanted - gives, 0)
    if not picked.any():
        problem = f"no test part of about {count} can be made of whole groups ({len(names)} for {len(y)} examples)"
        raise TlbenchError(f"{problem}; say which examples are for testing with a split column")
    return picked


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
