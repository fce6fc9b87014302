"""Which datasets are letters: four scripts and a development script, and which typeface a text is set in?"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tlbench.datasets.glyphs import FAMILIES, HAND, Style, distorted, font_path, glyph
from tlbench.datasets.mini.drawn import drawn
from tlbench.datasets.raster import chosen
from tlbench.registry import register
from tlbench.types import Arrays

ARMENIAN = "աբգդեէըթժիլխծկհձղճմյնշոչպջռսվտրցփքօֆ"
GEORGIAN = "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ"
HEBREW = "אבגדהוזחטיכלמנסעפצקרשת"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
LAO = "ກຂຄງຈຊຍດຕຖທນບປຜຝພຟມຢຣລວສຫອຮ"
LATIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

MATPLOTLIB_FONTS = "fonts that matplotlib bundles"
FONT_LICENCE = "DejaVu: Bitstream Vera licence and public domain; STIX: SIL Open Font Licence 1.1"

SANS, MONO, SERIF, STIX = (FAMILIES[name] for name in ("DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif", "STIX"))
PEN = HAND._replace(light_ink=0.0, colour=0.12)
CHALK = HAND._replace(light_ink=1.0, colour=0.12, elastic=2.8, shear=0.35, noise=0.15)
PRINT = Style(
    rotation=0.04, shear=0.03, scale=(0.95, 1.15), aspect=0.05, shift=2.0, elastic=0.5, weight=0.1, blur=0.4,
    shrink=0.0, contrast=0.5, colour=0.1, gradient=0.1, noise=0.05, light_ink=0.0,
)  # fmt: skip


@register.dataset(
    "armenian",
    modality="image",
    classes=len(ARMENIAN),
    summary="Which lower-case Armenian letter is this (two look-alikes left out)? Twelve fonts, distorted as "
    "if by hand, dark on light.",
    kind="procedural",
    group="scripts",
    source=f"DejaVu Sans, Sans Mono and Serif among the {MATPLOTLIB_FONTS}",
    licence=FONT_LICENCE,
)
def armenian(root: Path) -> Arrays:
    return letters("armenian", ARMENIAN, SANS + MONO + SERIF, PEN)


@register.dataset(
    "georgian",
    modality="image",
    classes=len(GEORGIAN),
    summary="Which Georgian (Mkhedruli) letter is this? Twelve fonts, distorted as if by hand, in any two colours.",
    kind="procedural",
    group="scripts",
    source=f"DejaVu Sans, Sans Mono and Serif among the {MATPLOTLIB_FONTS}",
    licence=FONT_LICENCE,
)
def georgian(root: Path) -> Arrays:
    return letters("georgian", GEORGIAN, SANS + MONO + SERIF)


@register.dataset(
    "hebrew",
    modality="image",
    classes=len(HEBREW),
    summary="Which Hebrew letter is this (final forms left out)? Four fonts, strongly distorted as if by hand, "
    "light on dark.",
    kind="procedural",
    group="scripts",
    source=f"DejaVu Sans among the {MATPLOTLIB_FONTS}",
    licence=FONT_LICENCE,
)
def hebrew(root: Path) -> Arrays:
    return letters("hebrew", HEBREW, SANS, CHALK)


@register.dataset(
    "cyrillic",
    modality="image",
    classes=len(CYRILLIC),
    summary="Which lower-case Russian letter is this? Sixteen fonts, distorted as if by hand, in any two colours; "
    "a third of the letters look like Latin ones, which the embedded backbones have seen.",
    kind="procedural",
    group="scripts",
    source=f"DejaVu Sans, Sans Mono, Serif and STIX among the {MATPLOTLIB_FONTS}",
    licence=FONT_LICENCE,
)
def cyrillic(root: Path) -> Arrays:
    return letters("cyrillic", CYRILLIC, SANS + MONO + SERIF + STIX)


@register.dataset(
    "dev_lao",
    modality="image",
    classes=len(LAO),
    summary="Which Lao consonant is this? Eight fonts, distorted as if by hand; for development only.",
    kind="procedural",
    group="development",
    source=f"DejaVu Sans and Sans Mono among the {MATPLOTLIB_FONTS}",
    licence=FONT_LICENCE,
)
def dev_lao(root: Path) -> Arrays:
    return letters("dev_lao", LAO, SANS + MONO)


@register.dataset(
    "typeface",
    modality="image",
    classes=len(FAMILIES),
    summary="Which font family are these two Latin letters set in? Eight families, in their upright, bold and slanted "
    "styles, dark on light; the embedded backbones have seen these fonts, but were never asked which is which.",
    kind="procedural",
    group="typography",
    source=f"DejaVu, STIX and Computer Modern among the {MATPLOTLIB_FONTS}",
    licence=FONT_LICENCE + "; Computer Modern: BaKoMa fonts licence",
)
def typeface(root: Path) -> Arrays:
    return drawn("typeface", tuple(FAMILIES), _pairs)


def letters(name: str, alphabet: Sequence[str], font_names: Sequence[str], style: Style = HAND) -> Arrays:
    """Letters of an alphabet, each picture in a font drawn at random, written in a style."""
    paths = [font_path(font) for font in font_names]

    def draw(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        fonts = chosen(rng, len(labels), len(paths))
        pictures = [glyph(paths[font], alphabet[label]) for font, label in zip(fonts, labels, strict=True)]
        return distorted(np.stack(pictures), rng, style)

    return drawn(name, [unicodedata.name(letter).lower() for letter in alphabet], draw)


def _pairs(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    families = [[font_path(font) for font in names] for names in FAMILIES.values()]
    which = rng.random(len(labels))
    first, second = chosen(rng, len(labels), len(LATIN)), chosen(rng, len(labels), len(LATIN))
    pictures = []
    for label, share, a, b in zip(labels, which, first, second, strict=True):
        fonts = families[label]
        pictures.append(glyph(fonts[int(share * len(fonts))], LATIN[a] + LATIN[b]))
    return distorted(np.stack(pictures), rng, PRINT)
