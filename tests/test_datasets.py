"""The embedded datasets are what their cards say, the same everywhere, and not solved by pixel templates."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from tlbench.datasets import base, mini, versions
from tlbench.datasets.glyphs import distorted, font_path, fonts, glyph
from tlbench.datasets.mini import scripts
from tlbench.datasets.mini.drawn import stream
from tlbench.datasets.mini.photographs import patches
from tlbench.registry import DATASETS

RANKED = {"digits", "photo_patches", "armenian", "georgian", "hebrew", "cyrillic", "typeface", "texture"} | {
    "count",
    "orientation",
    "distance",
    "symmetry",
}
DEVELOPMENT = {"dev_lao", "dev_portrait", "dev_shape", "dev_size"}

# First 16 digits of each fingerprint. The same came out with numpy 2.0.2 and 2.4.6, Pillow 10.4
# and 13.0, matplotlib 3.11.2 (letters also with 3.10.9), with AVX-512 and without.
GOLDEN = {
    "armenian": "7ab5cbfb8974ee41",
    "count": "4c12ffe77decc89b",
    "cyrillic": "fbd5175c659e9223",
    "dev_lao": "772f643ca82ee1ae",
    "dev_portrait": "f4b2555606b28132",
    "dev_shape": "5fde0870aafa7cb2",
    "dev_size": "ca476cacebc7d2df",
    "digits": "aa62d033607d8a95",
    "distance": "f6dc67e21cedbd96",
    "georgian": "97fa6aa8ba169080",
    "hebrew": "04c9dcb33c1aaf99",
    "orientation": "d7994af03d70dae5",
    "photo_patches": "103de626dbddda72",
    "symmetry": "04f0780481ef40f5",
    "texture": "a85a24728900c01b",
    "typeface": "eda318a13f6e2a9f",
}


@lru_cache(maxsize=20)
def loaded(name: str) -> tuple[base.Loaded, np.ndarray]:
    with tempfile.TemporaryDirectory() as root:
        found = base.load(name, root)
        return found, base.sealed_labels(found)


def test_twelve_ranked_datasets_and_four_for_development_are_embedded() -> None:
    embedded = {name for name in DATASETS if DATASETS[name].__module__.startswith(mini.__name__)}
    assert embedded == RANKED | DEVELOPMENT == set(GOLDEN)
    assert {name for name in embedded if DATASETS[name].card.group == "development"} == DEVELOPMENT


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_dataset_is_what_its_card_says_to_the_bit(name: str) -> None:
    data, test_y = loaded(name)
    packages = ", ".join(f"{package} {version(package)}" for package in versions.SOURCES_OF_CHANGE)
    assert data.pool_x.dtype == data.test_x.dtype == np.uint8
    assert data.pool_x.shape[1:] == (32, 32, 3)
    assert data.test_x.shape == (500, 32, 32, 3)
    assert 4 <= data.card.classes == len(data.class_names) <= 40
    assert np.bincount(data.pool_y).min() >= 100
    assert np.ptp(np.bincount(test_y)) <= (3 if name == "digits" else 1)
    assert data.fingerprint[:16] == GOLDEN[name], f"the data of {name} changed; drawn with {packages}"


def test_the_pictures_do_not_depend_on_the_processor() -> None:
    code = "import sys; sys.path.insert(0, 'tests'); from test_datasets import drawn_here; print(drawn_here())"
    features = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL X86_V4 AVX2 FMA3 X86_V3"
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features}
    command = [sys.executable, "-W", "ignore", "-c", code]
    root = Path(__file__).parent.parent
    found = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == drawn_here(), found.stderr


def drawn_here() -> str:
    """Fingerprint of pictures that use every operation of `raster`, trigonometry included."""
    letters = np.stack([glyph(font, "a") for font in fonts()] * 20)
    return base.cache.content(distorted(letters, stream("test", "letters"))) + base.fingerprint(
        DATASETS["orientation"].make(Path())
    )


@pytest.mark.parametrize(
    ("alphabet", "font_names"),
    [
        (scripts.ARMENIAN, scripts.SANS + scripts.MONO + scripts.SERIF),
        (scripts.GEORGIAN, scripts.SANS + scripts.MONO + scripts.SERIF),
        (scripts.HEBREW, scripts.SANS),
        (scripts.CYRILLIC, scripts.SANS + scripts.MONO + scripts.SERIF + scripts.STIX),
        (scripts.LAO, scripts.SANS + scripts.MONO),
    ],
    ids=["armenian", "georgian", "hebrew", "cyrillic", "lao"],
)
def test_every_font_has_every_letter_and_no_two_look_the_same(alphabet: str, font_names: tuple[str, ...]) -> None:
    for name in font_names:
        font = font_path(name)
        drawn = np.stack([glyph(font, letter, 32) for letter in alphabet]).reshape(len(alphabet), -1)
        ink = drawn.sum(1)
        assert ink.min() > 0, f"{name} lacks {alphabet[int(ink.argmin())]}"
        apart = np.abs(drawn[:, None] - drawn[None]).sum(-1) / np.minimum(ink[:, None], ink[None])
        np.fill_diagonal(apart, 1)
        assert apart.min() > 0.03, (name, alphabet[int(apart.min(0).argmin())])


def test_no_pixel_of_a_photograph_is_in_both_the_pool_and_the_test_set() -> None:
    photograph = np.zeros((100, 300, 3), np.uint8)
    photograph[:, 105:195, 0] = 255  # the middle of the region, where test patches come from
    photograph[:, :105, 1] = photograph[:, 195:, 1] = 255
    regions = {"all": ("photograph", 0, 0, 100, 300), "left": ("photograph", 0, 0, 100, 300)}
    made = patches("toy", {"photograph": photograph}, regions)
    assert not made.pool_x[..., 0].any()
    assert not made.test_x[..., 1].any()


@pytest.mark.parametrize(
    ("name", "ceiling"),
    [
        ("count", 0.5),
        ("orientation", 0.35),
        ("distance", 0.45),
        ("symmetry", 0.35),
        ("texture", 0.35),
        ("typeface", 0.45),
    ],
)
def test_a_pixel_template_does_not_solve_a_structured_dataset(name: str, ceiling: float) -> None:
    """A ridge classifier on 50 labels a class; the best of three penalties must stay below the ceiling."""
    from sklearn.linear_model import RidgeClassifier

    data, test_y = loaded(name)
    rows = np.concatenate([np.flatnonzero(data.pool_y == label)[:50] for label in range(data.card.classes)])
    x, test_x = (np.asarray(part, np.float32).reshape(len(part), -1) / 255 for part in (data.pool_x[rows], data.test_x))
    right = [
        (RidgeClassifier(penalty).fit(x, data.pool_y[rows]).predict(test_x) == test_y).mean()
        for penalty in (10, 300, 3000)
    ]
    assert max(right) < ceiling


def test_drawing_again_draws_the_same() -> None:
    letters = np.stack([glyph(font, "b") for font in fonts()])
    assert np.array_equal(distorted(letters, stream("a", "b")), distorted(letters, stream("a", "b")))
    assert not np.array_equal(distorted(letters, stream("a", "b")), distorted(letters, stream("a", "c")))


def test_registering_needs_neither_torch_nor_fonts() -> None:
    code = (
        "import sys, tlbench.datasets.base; print([m for m in ('torch', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
