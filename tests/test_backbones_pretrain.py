"""Does the pretraining recipe learn, repeat itself to the bit, and see nothing that benchmarks hold out?"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

from tlbench.backbones.alphabet import allowed, alphabet, signed_distance
from tlbench.backbones.pretrain import Progress, Recipe, pretrain
from tlbench.backbones.scribble import scribble
from tlbench.datasets.glyphs import font_path
from tlbench.types import TlbenchError

TINY = Recipe(
    steps=160,
    batch_size=48,
    lr=2e-3,
    warmup=10,
    characters=6,
    fonts=("cmr10", "cmss10", "cmtt10"),
    least_fonts=3,
    placing_weight=0,
    digits_splits=0,
)
HELD_OUT = ("ARMENIAN", "GEORGIAN", "HEBREW", "CYRILLIC", "ARABIC", "LAO", "TIFINAGH", "NKO", "CANADIAN", "LISU")


def test_no_character_of_a_held_out_script_or_number_is_allowed() -> None:
    chars = [chr(code) for code in range(0x20, 0x1F000)]
    kept = [char for char in chars if allowed(char)]
    assert len(kept) > 1_000
    for char in kept:
        name = unicodedata.name(char)
        assert not any(script in name for script in HELD_OUT), name
        assert unicodedata.numeric(char, None) is None and "DIGIT" not in name and "NUMERAL" not in name, name
        letter = unicodedata.category(char)[0] == "L"
        assert not letter or name.startswith(("LATIN", "GREEK")), name


@pytest.mark.parametrize("char", "0123456789²¾①Ⅳⅷ➃❷𝟘ƻաბאЖфℵ٣๑ⵣ☰⠿")
def test_numbers_and_other_scripts_are_refused_one_by_one(char: str) -> None:
    assert char == "☰" or not allowed(char)


@pytest.mark.parametrize("char", "AzÄøαΩß+→∑◆?")
def test_latin_greek_and_symbols_are_allowed(char: str) -> None:
    assert allowed(char)


def test_characters_that_look_the_same_are_one_class() -> None:
    glyphs = alphabet([font_path("DejaVuSerif")], least_fonts=1, limit=700)
    assert "AΑ" in glyphs.names and "B" in "".join(glyphs.names)
    assert len(glyphs.distance) == len(glyphs.character) == len(glyphs.font)
    assert set(glyphs.character) == set(range(len(glyphs.names)))


def test_a_signed_distance_is_positive_inside_and_exact_at_the_edge() -> None:
    coverage = np.zeros((9, 9), np.float32)
    coverage[2:7, 2:7] = 1
    coverage[2, 2:7] = 0.25
    distance = signed_distance(coverage)
    assert distance[4, 4] > distance[4, 6] > 0 > distance[4, 8]
    assert distance[2, 4] == -2  # a quarter covered: a quarter of a pixel outside


def test_scribbling_repeats_itself_and_uses_the_whole_range() -> None:
    distance = torch.linspace(-5, 5, 48).expand(64, 48, 48)
    once, again = (scribble(distance, np.random.Generator(np.random.PCG64(1))) for _ in range(2))
    assert torch.equal(once.pictures, again.pictures) and torch.equal(once.placing, again.placing)
    assert once.pictures.dtype == torch.uint8 and once.pictures.shape == (64, 32, 32, 3)
    assert once.pictures.min() < 20 and once.pictures.max() > 235


@pytest.mark.parametrize("name", ["glyph_vit", "glyph_cnn"])
def test_a_short_run_learns_and_repeats_itself_to_the_bit(name: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    cards = [pretrain(name, tmp_path / run, recipe=TINY, progress=seen.append) for run in ("a", "b")]
    weights = [(tmp_path / run / f"{name}.safetensors").read_bytes() for run in ("a", "b")]
    assert weights[0] == weights[1]
    assert cards[0]["training_accuracy"] > 2 / cards[0]["classes"]
    assert [p.step for p in seen[: TINY.steps]] == list(range(1, TINY.steps + 1))


def test_only_embedded_backbones_can_be_pretrained(tmp_path: Path) -> None:
    with pytest.raises(TlbenchError, match="did you mean 'glyph_cnn'"):
        pretrain("glyph_cn", tmp_path)
