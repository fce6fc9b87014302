"""Which glyphs do the embedded backbones learn from? Latin, Greek and symbols; no digit, no held-out script."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tlbench.datasets.glyphs import characters, glyph

SIDE = 48  # pixels a side of a distance map
STEPS = 8  # a distance map counts in eighths of a pixel

_LETTERS = ("LATIN ", "GREEK ")
_BLOCKS = (  # symbols and punctuation of no script: first and last code point
    (0x0020, 0x00BF),  # ASCII and Latin-1
    (0x2010, 0x2060),  # general punctuation
    (0x20A0, 0x20CF),  # currency
    (0x2100, 0x214F),  # letter-like
    (0x2190, 0x23FF),  # arrows, operators, technical
    (0x2500, 0x27FF),  # boxes, shapes, dingbats, more operators and arrows
    (0x2900, 0x2BFF),  # more arrows and operators
)
_NUMBERS = re.compile(
    r"\b(DIGIT|NUMBER|NUMERAL|NUMERIC|FRACTION|ZERO|ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|ELEVEN|TWELVE"
    r"|HALF|THIRD|QUARTER|FIFTHS?|SIXTHS?|EIGHTHS?|FACE-\d|DIE|TONE|EZH|YOGH|OU)\b"
)


class Glyphs(NamedTuple):
    """Signed distances to the outline, what character and what font each glyph is."""

    distance: np.ndarray  # int8 [g, 48, 48], positive inside, in eighths of a pixel
    character: np.ndarray  # int64 [g]
    font: np.ndarray  # int64 [g]
    names: tuple[str, ...]  # a class is one character, or several that look the same in some font: "AΑ"
    fonts: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """sha256 of everything above."""
        digest = hashlib.sha256(repr((self.names, self.fonts)).encode())
        for array in (self.distance, self.character, self.font):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def allowed(char: str) -> bool:
    """May pretraining see this character? Letters by name, symbols by block, never anything that means a number."""
    name, kind = unicodedata.name(char, ""), unicodedata.category(char)
    if unicodedata.numeric(char, None) is not None or _NUMBERS.search(name):
        return False
    if kind[0] == "L":
        return name.startswith(_LETTERS)
    return kind[0] in "SP" and any(first <= ord(char) <= last for first, last in _BLOCKS)


def alphabet(paths: list[Path], *, least_fonts: int = 8, limit: int | None = None) -> Glyphs:
    """The allowed characters that at least `least_fonts` of the fonts have, drawn in each of them.

    `limit` keeps the first characters in code-point order, for quick runs.
    """
    have = {path: set(filter(allowed, characters(path))) for path in paths}
    chars = sorted(c for c in set().union(*have.values()) if sum(c in s for s in have.values()) >= least_fonts)
    chars = chars[:limit]
    drawn = [
        (char, number, glyph(path, char, SIDE))
        for number, path in enumerate(paths)
        for char in chars
        if char in have[path]
    ]
    classes = _lookalikes(chars, [(char, number, picture.tobytes()) for char, number, picture in drawn])
    names = tuple(sorted(set(classes.values())))
    index = {name: i for i, name in enumerate(names)}
    return Glyphs(
        distance=np.stack([signed_distance(picture) for _, _, picture in drawn]),
        character=np.array([index[classes[char]] for char, _, _ in drawn]),
        font=np.array([number for _, number, _ in drawn]),
        names=names,
        fonts=tuple(path.stem for path in paths),
    )


def signed_distance(coverage: np.ndarray) -> np.ndarray:
    """int8 [s, s]: distance to the outline in eighths of a pixel, positive inside; exact at the edge pixels."""
    inside = coverage > 0.5
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    away = distance - 0.5 * np.sign(distance)
    edge = (coverage > 0) & (coverage < 1)
    return np.clip(np.round(np.where(edge, coverage - 0.5, away) * STEPS), -127, 127).astype(np.int8)


def _lookalikes(chars: list[str], drawn: list[tuple[str, int, bytes]]) -> dict[str, str]:
    """Each character's class: all characters that some font draws alike, joined."""
    parent = {char: char for char in chars}

    def root(char: str) -> str:
        while parent[char] != char:
            char = parent[char]
        return char

    first: dict[tuple[int, bytes], str] = {}
    for char, font, picture in drawn:
        a, b = sorted((root(first.setdefault((font, picture), char)), root(char)))
        parent[b] = a
    members: dict[str, str] = {}
    for char in chars:
        members[root(char)] = members.get(root(char), "") + char
    return {char: members[root(char)] for char in chars}
