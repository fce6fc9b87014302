"""Laws of the machine's plan: its defaults, unless something else was clearly better, and the same for ever after."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tlbench import machine, machine_measure
from tlbench.executors import OPENBLAS, avx512, born
from tlbench.kernels.products import LIBRARY
from tlbench.machine import Figures, planned
from tlbench.store import Store
from tlbench.width import MachinePlan

EVEN = Figures(
    day="2026-01-02",
    openblas={"": 100.0, "SkylakeX": 110.0},
    products={"numpy": 100.0, "torch": 110.0},
    layers={"64": 1.9, "128": 1.5, "256": 1.1, "512": 0.9},
)


def silent(_text: str) -> None:
    """Nobody listens."""


def test_what_is_not_clearly_better_changes_nothing():
    assert planned(EVEN) == MachinePlan()


@pytest.mark.parametrize(
    ("name", "figures", "change"),
    [
        ("openblas", {"": 100.0, "SkylakeX": 121.0}, {"openblas": "SkylakeX"}),
        ("openblas", {}, {"openblas": ""}),
        ("products", {"numpy": 100.0, "torch": 121.0}, {"products": "torch"}),
        ("layers", {"64": 1.9, "128": 0.7, "256": 0.7, "512": 0.7}, {"wide": 128}),
        ("layers", {"64": 1.9, "128": 0.7, "256": 1.0, "512": 0.7}, {"wide": 256}),
        ("layers", {"64": 1.9, "128": 1.9, "256": 1.9, "512": 1.0}, {"wide": 512}),
        ("layers", {"64": 1.9, "128": 1.9, "256": 1.9, "512": 1.9}, {"wide": 1024}),
    ],
)
def test_what_is_clearly_better_is_chosen(name, figures, change):
    assert planned(EVEN._replace(**{name: figures})) == MachinePlan()._replace(**change)


@pytest.fixture
def measured(tmp_path, monkeypatch) -> Path:
    """The file in which this machine's figures are kept, with some in it."""
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "cache" / "machine" / f"{machine._name()}.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(EVEN._replace(products={"numpy": 1.0, "torch": 9.0})._asdict()))
    return file


def test_folders_of_one_machine_share_what_was_measured_and_keep_it(tmp_path, measured):
    for folder in ("one", "two"):
        with Store.open(tmp_path / folder) as store:
            assert machine.kept(store, "cpu", say=silent) == MachinePlan(products="torch")
    measured.write_text(json.dumps(EVEN._asdict()))
    with Store.open(tmp_path / "one") as store:
        assert machine.kept(store, "cpu", say=silent) == MachinePlan(products="torch")
        assert machine.known(store, "cpu", say=silent).source == "kept in the folder"
    with Store.open(tmp_path / "three") as store:
        assert machine.known(store, "cpu", say=silent).source == "measured here on 2026-01-02"
        assert machine.kept(store, "cpu", say=silent) == MachinePlan()


def test_a_folder_that_is_older_than_the_measurement_keeps_its_plan(tmp_path, measured):
    with Store.open(tmp_path / "old") as store:
        store.plan_put("width", {"most": 7, "step_bytes": 1 << 20, "wide": 99})
        assert machine.kept(store, "cpu", say=silent) == MachinePlan(most=7, step_bytes=1 << 20, wide=99)
        assert store.plan_get("machine") is None


def test_a_folder_may_know_figures_that_are_not_measured_any_more(tmp_path):
    with Store.open(tmp_path / "old") as store:
        store.plan_put("width", MachinePlan()._asdict())
        store.plan_put("machine", EVEN._asdict() | {"lanes": {"24": 2.2}})
        assert machine.known(store, "cpu", say=silent).figures == EVEN


def test_nothing_is_measured_for_a_gpu(tmp_path, measured):
    measured.unlink()
    with Store.open(tmp_path / "gpu") as store:
        assert machine.kept(store, "cuda:0", say=silent) == MachinePlan()
    assert not measured.exists()


def environment() -> dict[str, str]:
    return dict(os.environ)


def test_a_process_is_born_with_its_plan_and_leaves_nothing_behind(monkeypatch):
    monkeypatch.setenv(OPENBLAS, "Haswell")
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    before = dict(os.environ)
    plan = MachinePlan(products="torch", openblas="SkylakeX")
    with born(plan), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(environment).result()
    assert dict(os.environ) == before
    assert (found[LIBRARY], found["RAYON_NUM_THREADS"]) == ("torch", "1")
    assert found[OPENBLAS] == ("SkylakeX" if avx512() else "Haswell"), "told of AVX-512 only where there is"


def test_each_way_of_working_is_timed():
    found = machine_measure.trial()
    assert set(found.products) == {"numpy", "torch"}
    assert str(MachinePlan().wide) in found.layers
    assert min(*found.products.values(), *found.layers.values()) > 0
