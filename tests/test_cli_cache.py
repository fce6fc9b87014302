"""What `tlbench cache` shows and removes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tlbench import cli
from tlbench.datasets import cache
from tlbench.features_kept import kept


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with activations of two taps, what a process left that died, and a dataset in two versions."""
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("TLBENCH_CACHE_GB", raising=False)
    for tap in ("blocks.0", "features"):
        about = {"dataset": "digits", "part": "test", "backbone": "glyph_vit", "tap": tap}
        kept(tmp_path / "features" / tap, lambda: iter([np.zeros((512, 512))]), rows=512, about=about, most=10**9)
    (tmp_path / "features" / ".dead-abcdefgh").mkdir()
    for version in ("aaaa", "bbbb"):
        with cache.building(tmp_path / "datasets" / f"hf:owner-name-{version}") as place:
            cache.write(tmp_path / "datasets" / f"hf:owner-name-{version}", {"pool_x": np.zeros(3)}, {}, place=place)
    return tmp_path


def typed(*words: str) -> str:
    done = CliRunner().invoke(cli.app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def test_it_shows_what_takes_how_much_and_what_for() -> None:
    activations, network, left, datasets, dataset = typed("cache").splitlines()
    assert activations.startswith("activations: 4.0 MiB in 3 folders of at most 20.0 GiB in ")
    assert network.split()[:7] == ["glyph_vit", "on", "digits", "4.0", "MiB", "in", "2"]
    assert left.strip().startswith("of an older tlbench, or unfinished")
    assert datasets.startswith("datasets: ") and dataset.strip().startswith("hf:owner-name ")


@pytest.mark.parametrize(
    "what, activations, datasets", [("activations", 0, 2), ("datasets", 3, 0), ("all", 0, 0)], ids=str
)
def test_it_removes_what_is_named_and_nothing_else(home: Path, what: str, activations: int, datasets: int) -> None:
    assert "removed from" in typed("cache", "--clear", what)
    assert len(list((home / "features").iterdir())) == activations
    assert len(list((home / "datasets").iterdir())) == datasets


def test_what_was_measured_of_the_machine_goes_with_all(home: Path) -> None:
    (home / "machine").mkdir()
    for what in ("activations", "datasets"):
        typed("cache", "--clear", what)
        assert (home / "machine").is_dir()
    typed("cache", "--clear", "all")
    assert not (home / "machine").exists()


def test_what_is_being_made_stays(home: Path) -> None:
    with cache.building(home / "features" / "slow"):
        assert "1 are being made at this moment and stay" in typed("cache", "--clear", "activations")


def test_an_empty_cache_is_no_mistake(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(home / "nothing"))
    assert typed("cache").startswith("activations: 0 B in 0 folders")
