"""Does a published cell come out again, and is whatever changed named?"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tlbench import cli, runner, verify_words
from tlbench.executors import Means
from tlbench.store import Store
from tlbench.suite import load_suite
from tlbench.types import Cell, Record, Status, TlbenchError
from tlbench.verify import Change, Predictions, Verdict, Verification, _compared, chosen_trial, verify

SUITE = """
name = "tiny"
description = "For tests of verification."
protocol = "TLB-1"
plugins = ["plugin.py"]
strategies = ["linear_probe", "always_fails"]
backbones = ["glyph_vit"]
datasets = ["count"]
default_preset = "smoke"

[presets.smoke]
budgets = [2]
seeds = 2
effort = { trials = 2, steps = 6, batch_size = 8, folds = "lite" }
"""
PLUGIN = """
from tlbench.registry import register
from tlbench.strategies.probes import LinearProbe


@register.strategy
class AlwaysFails(LinearProbe):
    name = "always_fails"

    def init(self, task, hp, key):
        raise ValueError("as it always does")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plug-in, a suite that uses it, and its results."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "tiny.toml").write_text(SUITE)
    runner.run(load_suite(folder / "tiny.toml"), results=folder / "results", means=Means(2, "cpu"))
    return folder


@pytest.fixture
def store(home: Path, tmp_path: Path) -> Path:
    """A copy of the published results, to spoil."""
    return Path(shutil.copytree(home / "results" / "tiny", tmp_path / "results" / "tiny"))


def published(folder: Path, strategy: str = "linear_probe", seed: int = 1) -> Record:
    with Store.open(folder, create=False) as opened:
        return opened.find(f"{strategy}/glyph_vit/count/2/{seed}")[0]


def spoil(folder: Path, record: Record, sealed: str = "") -> str:
    """Puts the record in the store and returns its key; `sealed` takes the place of the seal that was kept."""
    with Store.open(folder) as opened:
        opened.save([record])
        opened.put_seals({record.cell.key: sealed or record.measurement.selection_seal})
    return record.cell.key


def typed(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, list(words))
    return result.exit_code, " ".join(result.output.split())


def test_a_published_cell_comes_out_bit_for_bit_and_its_store_is_left_alone(home: Path) -> None:
    folder = home / "results" / "tiny"
    before = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*.*") if file.is_file()}
    code, said = typed("verify", "linear_probe/glyph_vit/count/2/1", "--results", str(home / "results"))
    assert code == 0 and "identical: the published cell comes out again, bit for bit" in said
    for words in ("data of the dataset as it was", "under the same seal", "1 other cells", "of every refitted trial"):
        assert words in said
    assert all(hashlib.sha256(file.read_bytes()).hexdigest() == digest for file, digest in before.items())


def test_a_cell_that_failed_fails_again(home: Path) -> None:
    folder = home / "results" / "tiny"
    record = published(folder, "always_fails")
    assert record.measurement.status is Status.FAILED
    made = verify(folder, record.cell.key, plugins=[str(home / "plugin.py")])
    said = list(verify_words.lines(made))
    assert sum("ValueError: as it always does" in line for line in said) == 2
    assert said[-1] == "identical: failed again, for the same reason"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("data_fingerprint", "0" * 64, "data of the dataset"),
        ("weights_fingerprint", "0" * 64, "weights of the backbone"),
        ("strategy_source", "0" * 64, "source of the plug-in"),
        ("strategy_version", 99, "version of the strategy"),
        ("metric", "accuracy", "primary metric of the dataset"),
    ],
)
def test_what_a_result_depends_on_is_named_when_it_changed(store: Path, name: str, value: object, words: str) -> None:
    record = published(store)
    made = verify(store, spoil(store, replace(record, cell=replace(record.cell, **{name: value}))))
    assert [change.what for change in made.changed] == [words]
    assert made.again is None and not made.held
    last = list(verify_words.lines(made))[-1]
    assert last == f"different: it was not run again, since the {words} changed"


def test_a_choice_that_was_altered_after_it_was_sealed_is_found(store: Path) -> None:
    record = published(store)
    other = replace(record.measurement, hyperparameters={**record.measurement.hyperparameters, "lr": 0.5})
    made = verify(store, spoil(store, replace(record, measurement=other)))
    assert [change.what for change in made.changed] == ["selection under its seal"]
    made = verify(store, spoil(store, record, sealed="0" * 64))
    assert [change.what for change in made.changed] == ["seal of the selection"]


def test_another_score_is_different(home: Path, store: Path) -> None:
    record = published(store)
    better = replace(record, measurement=replace(record.measurement, score=record.measurement.score + 0.1))
    code, said = typed("verify", spoil(store, better), "--results", str(store.parent))
    assert code == 1 and "same bit for bit" in said and "different: another choice" in said


def compared(record: Record, predictions: Predictions | None = None, **changes: object) -> Verdict:
    again = replace(record, measurement=replace(record.measurement, **changes))
    return Verification(record, again, (), (), predictions, 1).verdict


def test_rounding_is_the_same_and_nothing_else_is(home: Path) -> None:
    record = published(home / "results" / "tiny")
    score, bits, rounded = record.measurement.score, Predictions(True, 0.0, 0.0), Predictions(False, 1e-6, 0.002)
    assert compared(record, bits) is Verdict.IDENTICAL
    assert compared(record, rounded) is Verdict.SAME
    assert compared(record, rounded, score=score + 0.004) is Verdict.SAME
    assert compared(record, rounded, score=score + 0.006) is Verdict.DIFFERENT
    assert compared(record, None, status=Status.FAILED) is Verdict.DIFFERENT
    assert compared(record, bits, hyperparameters={"lr": 0.5}) is Verdict.DIFFERENT
    made = Verification(record, record, (), (Change("torch", "2.14", "2.15"),), rounded, 1)
    said = list(verify_words.lines(made))
    assert any("differ by 1e-06 at most; 0.2% of predictions" in line for line in said)
    assert any("2.14 then, 2.15 now" in line for line in said) and "some of these differ" in said[-1]


def test_logits_that_are_no_numbers_are_compared_too(home: Path) -> None:
    record = published(home / "results" / "tiny")
    good, bad = np.eye(3, dtype=np.float32), np.full((3, 3), np.nan, np.float32)
    both = {"0": good, "1": bad} if chosen_trial(record) == 0 else {"0": bad, "1": good}
    assert _compared(record, both, both) == (True, 0.0, 0.0)
    moved = {name: array + np.float32(0.5) for name, array in both.items()}
    assert _compared(record, both, moved) == (False, 0.5, 0.0)
    assert _compared(record, both, {}) is None


def test_the_chosen_trial_is_known_by_its_seal(home: Path) -> None:
    record = published(home / "results" / "tiny")
    number = chosen_trial(record)
    assert record.measurement.trials[number]["params"] == record.measurement.hyperparameters
    assert record.measurement.trial_scores[str(number)] == record.measurement.score
    assert chosen_trial(published(home / "results" / "tiny", "always_fails")) is None


def test_a_strategy_of_a_plug_in_asks_for_its_file(store: Path) -> None:
    record = published(store)
    key = spoil(store, replace(record, cell=replace(record.cell, strategy="from_a_plug_in")))
    with pytest.raises(TlbenchError, match=r"from_a_plug_in.*--plugin FILE\.py"):
        verify(store, key)


@pytest.mark.parametrize("axis", ["dataset", "backbone"])
def test_what_cannot_be_opened_by_its_name_asks_for_a_reference(store: Path, axis: str) -> None:
    record = published(store)
    key = spoil(store, replace(record, cell=replace(record.cell, **{axis: "nowhere"})))
    with pytest.raises(TlbenchError, match=f"{axis} 'nowhere' cannot be opened.*--{axis} REF"):
        verify(store, key)


def test_a_reference_to_something_else_is_refused(home: Path) -> None:
    record = published(home / "results" / "tiny")
    with pytest.raises(TlbenchError, match="'symmetry' is called 'symmetry', but the cell was run on 'count'"):
        verify(home / "results" / "tiny", record.cell.key, dataset="symmetry")


def test_no_cell_and_several_cells_are_errors_that_say_so(home: Path) -> None:
    results = str(home / "results")
    code, said = typed("verify", "linear_probe/glyph_vit", "--results", results)
    assert code == 2 and "2 cells start with" in said and "linear_probe/glyph_vit/count/2/0" in said
    assert typed("verify", "nobody", "--results", results)[0] == 2


def test_a_cell_shows_its_classes_and_its_calibration(home: Path) -> None:
    record = published(home / "results" / "tiny")
    code, said = typed("show", record.cell.key, "--results", str(home / "results"))
    assert code == 0 and "classes, the hardest first" in said and "calibration, by confidence" in said
    worst = record.measurement.metrics["worst_class_recall"]
    assert f"recall {worst:6.1%}".replace("  ", " ") in said
    assert np.sum(record.measurement.classes["support"]) == np.sum(record.measurement.reliability["examples"])


def test_a_record_without_classes_is_shown_without_them(store: Path) -> None:
    record = published(store)
    old = replace(record.measurement, classes={}, reliability={}, trial_scores={})
    key = spoil(store, replace(record, measurement=old))
    code, said = typed("show", key, "--results", str(store.parent))
    assert code == 0 and "classes, the hardest first" not in said
    assert isinstance(record.cell, Cell)
