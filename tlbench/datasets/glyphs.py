"""How does a character of a bundled font become a small picture, and a picture look written by hand?

Outlines are read in font units and filled here, not by FreeType's rasteriser, whose versions differ: the pictures
rest on the font files, on `raster` and on PCG64 alone.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.datasets.raster import SIZE, binomial, halved_and_enlarged, quantised, sampled, smooth, uniform

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

SAMPLES = 4  # samples a pixel side when an outline is filled
CURVE_STEPS = 6  # straight pieces a curve is cut into

FAMILIES = {
    "DejaVu Sans": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    "DejaVu Sans Mono": (
        "DejaVuSansMono",
        "DejaVuSansMono-Bold",
        "DejaVuSansMono-Oblique",
        "DejaVuSansMono-BoldOblique",
    ),
    "DejaVu Serif": ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    "STIX": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    "Computer Modern Roman": ("cmr10", "cmb10"),
    "Computer Modern Italic": ("cmti10", "cmmi10"),
    "Computer Modern Sans": ("cmss10",),
    "Computer Modern Typewriter": ("cmtt10",),
}


class Style(NamedTuple):
    """How strongly pictures vary; 0 turns a variation off. Lengths are in pixels of the result."""

    rotation: float = 0.15  # tangent of half the largest angle; 0.15 is 17 degrees
    shear: float = 0.25
    scale: tuple[float, float] = (0.75, 1.1)
    aspect: float = 0.15  # largest relative change of width against height
    shift: float = 3.0
    elastic: float = 2.2  # largest displacement of a knot of the elastic grid
    weight: float = 0.25  # thickening and thinning of strokes
    blur: float = 1.0  # 1: from sharp to twice binomially blurred
    shrink: float = 0.25  # share of pictures that are halved and enlarged again
    contrast: float = 0.35  # least difference of brightness between ink and paper
    colour: float = 0.25  # largest deviation of a channel from grey
    gradient: float = 0.2  # largest change of the paper's brightness from centre to edge
    noise: float = 0.08
    light_ink: float = 0.5  # share of pictures with light ink on dark paper


HAND = Style()


def fonts() -> list[Path]:
    """The text fonts that matplotlib bundles, in the order of FAMILIES."""
    return [font_path(name) for names in FAMILIES.values() for name in names]


def font_path(name: str) -> Path:
    """The file of a bundled font, such as "DejaVuSans-Bold"."""
    import matplotlib

    return Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")


@lru_cache(maxsize=64)
def characters(font: Path) -> list[str]:
    """The characters a font has a visible glyph for, in code-point order; no marks, spaces or private use.

    Of the Computer Modern fonts only a-z and A-Z: elsewhere their code points do not mean what Unicode says.
    """
    codes = sorted(_face(font).get_charmap())
    if font.stem.startswith("cm"):
        codes = [code for code in codes if code < 128 and chr(code).isalpha()]
    visible = [chr(code) for code in codes if unicodedata.category(chr(code))[0] in "LNPS"]
    return [char for char in visible if len(_outline(font, char)[0])]


@lru_cache(maxsize=2048)
def glyph(font: Path, text: str, size: int = 64) -> np.ndarray:
    """Coverage [size, size] float32 in 0..1 of a short text, centred, its longer side filling 0.8 of the picture.

    Small signs (a full stop) are enlarged by at most 1.4 times the size that the font gives them. Read-only.
    """
    segments = _segments(font, text)
    picture = np.zeros((size, size), np.float32)
    if len(segments):
        xs, ys = segments[:, 0::2], segments[:, 1::2]
        extent = max(xs.max() - xs.min(), ys.max() - ys.min())
        scale = min(0.8 * size / extent, 1.4 * size / _face(font).units_per_EM)
        centre = np.array([xs.min() + xs.max(), ys.min() + ys.max()] * 2) / 2
        fitted = (segments - centre) * np.array([scale, -scale] * 2) + size / 2
        picture = _filled(fitted, size)
    picture.flags.writeable = False
    return picture


def distorted(glyphs: np.ndarray, rng: np.random.Generator, style: Style = HAND) -> np.ndarray:
    """Pictures uint8 [n, 32, 32, 3] of glyphs [n, s, s] (0..1), as if written by hand on coloured paper."""
    return painted(written(glyphs, rng, style), rng, style)


def written(glyphs: np.ndarray, rng: np.random.Generator, style: Style = HAND) -> np.ndarray:
    """Ink float32 [n, 32, 32] in 0..1: glyphs [n, s, s] turned, sheared, bent, thickened and blurred."""
    parts = [_written(glyphs[at : at + 256], rng, style) for at in range(0, len(glyphs), 256)]
    return np.concatenate(parts) if parts else np.zeros((0, SIZE, SIZE), np.float32)


def painted(ink: np.ndarray, rng: np.random.Generator, style: Style = HAND) -> np.ndarray:
    """Pictures uint8 [n, h, w, 3] of ink [n, h, w]: two colours, a shaded background and noise."""
    n, height, width = ink.shape
    paper, pen = _colours(n, rng, style)
    slope = uniform(rng, (n, 2), -style.gradient, style.gradient)
    y = (np.arange(height, dtype=np.float32) * 2 + (1 - height)) / height
    x = (np.arange(width, dtype=np.float32) * 2 + (1 - width)) / width
    shade = slope[:, :1, None] * y[None, :, None] + slope[:, 1:, None] * x[None, None, :]
    cover = ink[..., None]
    value = (paper[:, None, None] + shade[..., None]) * (1 - cover) + pen[:, None, None] * cover
    return quantised(value + uniform(rng, value.shape, -style.noise, style.noise))


@lru_cache(maxsize=64)
def _face(font: Path) -> FT2Font:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(font))


def _segments(font: Path, text: str) -> np.ndarray:
    """Straight pieces [e, 4] (x0, y0, x1, y1) of a text's outline, in font units, y upwards."""
    pieces, origin = [], 0.0
    for char in text:
        if _face(font).get_char_index(ord(char)) == 0:
            continue
        vertices, codes, advance = _outline(font, char)
        pieces += _straight(vertices + np.array([origin, 0.0]), codes)
        origin += advance
    return np.array(pieces, np.float64).reshape(-1, 4)


def _outline(font: Path, char: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Vertices [v, 2] and codes [v] of a character's path, and its advance, in font units; before any hinting."""
    from matplotlib.ft2font import LoadFlags

    face = _face(font)
    advance = face.load_char(ord(char), flags=LoadFlags.NO_SCALE).horiAdvance
    vertices, codes = face.get_path()
    return vertices * 64, codes, advance


def _straight(vertices: np.ndarray, codes: np.ndarray) -> list[list[float]]:
    """A path with quadratic curves (code 3) as straight pieces; contours closed."""
    pieces: list[list[float]] = []
    pen = start = (0.0, 0.0)
    at = 0
    while at < len(codes):
        point = (float(vertices[at][0]), float(vertices[at][1]))
        if codes[at] == 1:
            pen = start = point
        elif codes[at] == 3:
            end = (float(vertices[at + 1][0]), float(vertices[at + 1][1]))
            pieces += _curve(pen, point, end)
            pen, at = end, at + 1
        else:
            target = start if codes[at] == 79 else point
            pieces.append([*pen, *target])
            pen = target
        at += 1
    return pieces


def _curve(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> list[list[float]]:
    points = []
    for step in range(CURVE_STEPS + 1):
        t = step / CURVE_STEPS
        u = 1 - t
        points.append([u * u * p + 2 * u * t * q + t * t * r for p, q, r in zip(a, b, c, strict=True)])
    return [[*p, *q] for p, q in zip(points, points[1:], strict=False)]


def _filled(segments: np.ndarray, size: int) -> np.ndarray:
    """Coverage [size, size] of the outline's inside (non-zero winding), from SAMPLES x SAMPLES samples a pixel."""
    side = size * SAMPLES
    rows = (np.arange(side) + 0.5) / SAMPLES
    x0, y0, x1, y1 = segments.T[:, :, None]
    up, down = (y0 <= rows) & (rows < y1), (y1 <= rows) & (rows < y0)
    edge, row = np.nonzero(up | down)
    along = (rows[row] - y0[edge, 0]) / (y1[edge, 0] - y0[edge, 0])
    crossing = x0[edge, 0] + along * (x1[edge, 0] - x0[edge, 0])
    column = np.clip(np.ceil(crossing * SAMPLES - 0.5), 0, side).astype(np.int64)
    winding = np.zeros((side, side + 1), np.int64)
    np.add.at(winding, (row, column), np.where(up[edge, row], 1, -1))
    inside = np.cumsum(winding, axis=1)[:, :side] != 0
    counts = inside.reshape(size, SAMPLES, size, SAMPLES).sum(axis=(1, 3))
    return (counts / (SAMPLES * SAMPLES)).astype(np.float32)


def _written(glyphs: np.ndarray, rng: np.random.Generator, style: Style) -> np.ndarray:
    y, x = _source(len(glyphs), glyphs.shape[1], rng, style)
    ink = sampled(binomial(glyphs), y, x)
    weight = uniform(rng, (len(ink), 1, 1), -style.weight, style.weight)
    ink = np.clip((ink - 0.5) * np.float32(1.3) + 0.5 + weight * (ink > 0), 0, 1)
    for _ in range(2):
        share = uniform(rng, (len(ink), 1, 1), 0, style.blur)
        ink = ink + share * (binomial(ink) - ink)
    small = rng.random(len(ink)) < style.shrink
    ink[small] = halved_and_enlarged(ink[small])
    return ink


def _source(n: int, size: int, rng: np.random.Generator, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of the result comes from: y and x [n, 32, 32] in pixels of a picture of side `size`."""
    half_tangent = uniform(rng, (n,), -style.rotation, style.rotation)
    cos = (1 - half_tangent * half_tangent) / (1 + half_tangent * half_tangent)
    sin = 2 * half_tangent / (1 + half_tangent * half_tangent)
    zoom = 1 / uniform(rng, (n,), *style.scale)
    aspect = 1 + uniform(rng, (n,), -style.aspect, style.aspect)
    shear = uniform(rng, (n,), -style.shear, style.shear)
    shift = uniform(rng, (n, 2), -style.shift, style.shift)
    bend = [smooth(n, rng, style.elastic) for _ in range(2)]
    grid = np.arange(SIZE, dtype=np.float32) - np.float32((SIZE - 1) / 2)
    v = grid[None, :, None] + bend[0] - shift[:, :1, None]
    u = grid[None, None, :] + bend[1] - shift[:, 1:, None]
    cos, sin, zoom, aspect, shear = (p[:, None, None] for p in (cos, sin, zoom, aspect, shear))
    ratio, middle = np.float32(size / SIZE), np.float32((size - 1) / 2)
    turned_y, turned_x = cos * v + sin * u, cos * u - sin * v
    y = turned_y * zoom * aspect * ratio + middle
    x = (turned_x + shear * turned_y) * zoom / aspect * ratio + middle
    return y, x


def _colours(n: int, rng: np.random.Generator, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Paper and ink colours [n, 3], their grey values at least `contrast` apart."""
    dark = uniform(rng, (n,), 0, (1 - style.contrast))
    light = dark + style.contrast + (1 - style.contrast - dark) * uniform(rng, (n,), 0, 1)
    swap = rng.random(n) < style.light_ink
    paper, pen = np.where(swap, dark, light), np.where(swap, light, dark)
    tint = uniform(rng, (2, n, 3), -style.colour, style.colour)
    tint = tint - (tint[..., :1] + tint[..., 1:2] + tint[..., 2:]) / np.float32(3)
    return paper[:, None] + tint[0], pen[:, None] + tint[1]
