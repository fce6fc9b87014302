"""Advice on a user's own data: how it is cut, what the intervals are worth, and what is said of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from tlbench import advise_data, advise_words, exported, runner
from tlbench.advise import Wishes, advise
from tlbench.advise_calibration import calibrated, temperature
from tlbench.advise_data import Fold, Labelled, budgets, labelled, outer_folds, reference_of
from tlbench.advise_findings import choice, findings, ranked
from tlbench.advise_runs import Contest, Ways, promising, usual_networks
from tlbench.advise_scores import Confused
from tlbench.advise_stats import Design, corrected, needed, other_choice, share
from tlbench.cli import app
from tlbench.datasets import base
from tlbench.executors import Means
from tlbench.suite import fill_registries
from tlbench.types import COSTS, Card, TlbenchError

NAMES = ("zero", "one", "two", "three")


def write_digits(folder: Path, per_class: int, *, first: int = 0, classes: int = 3) -> Path:
    """Scanned digits as PNG files of 32 x 32, a folder for each class."""
    x, y = load_digits(return_X_y=True)
    for label in range(classes):
        (folder / NAMES[label]).mkdir(parents=True)
        for i in np.flatnonzero(y == label)[first : first + per_class]:
            pixels = (x[i].reshape(8, 8) * 15.9).astype(np.uint8)
            Image.fromarray(pixels).resize((32, 32)).save(folder / NAMES[label] / f"{i}.png")
    return folder


def table_in(folder: Path, rows: list[tuple[str, ...]], head: tuple[str, ...] = ("text", "label")) -> Path:
    """A CSV called like its folder: two of one name cannot be known at once."""
    file = folder / f"{folder.name}.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([head, *rows])
    return file


def opened(path: Path, root: Path) -> Labelled:
    fill_registries()
    return labelled(reference_of(str(path)), root)


def sentences(counts: dict[str, int]) -> list[tuple[str, str]]:
    return [(f"{label} sentence number {i}", label) for label, count in counts.items() for i in range(count)]


# ---- how the examples are cut


def test_every_example_is_tested_once_and_never_trains_where_it_is_tested(tmp_path):
    data = opened(table_in(tmp_path, sentences({"a": 7, "b": 12, "c": 5})), tmp_path)
    folds = [base.load(fold.dataset, tmp_path) for fold in outer_folds(data)]
    tested = [text for fold in folds for text in fold.test_x]
    assert len(folds) == 5
    assert sorted(tested) == sorted(data.inputs(np.arange(24))) and len(set(tested)) == 24
    for fold in folds:
        assert not set(fold.pool_x) & set(fold.test_x)
        assert set(fold.pool_y) == {0, 1, 2}


def test_the_test_labels_of_a_fold_are_those_of_its_texts(tmp_path):
    data = opened(table_in(tmp_path, sentences({"a": 8, "b": 8})), tmp_path)
    for fold in outer_folds(data):
        loaded = base.load(fold.dataset, tmp_path)
        said = [data.class_names[label] for label in base.sealed_labels(loaded)]
        assert [text[0] for text in loaded.test_x] == said


def test_a_group_never_stands_on_both_sides(tmp_path):
    rows = [(f"{label} of {g} number {i}", label, g) for g in "pqrstuvw" for label in "ab" for i in range(3)]
    data = opened(table_in(tmp_path, rows, ("text", "label", "group")), tmp_path)
    for fold in outer_folds(data):
        loaded = base.load(fold.dataset, tmp_path)
        groups_of = [{text.split()[2] for text in part} for part in (loaded.pool_x, loaded.test_x)]
        assert not groups_of[0] & groups_of[1]


def test_a_class_of_one_group_is_refused(tmp_path):
    pairs = ("ap", "aq", "as", "at", "au", "br")
    rows = [(f"{group} number {i} {label}", label, group) for label, group in pairs for i in range(6)]
    with pytest.raises(TlbenchError, match="'b'"):
        outer_folds(opened(table_in(tmp_path, rows, ("text", "label", "group")), tmp_path))


def test_there_are_fewer_folds_where_a_class_is_small(tmp_path):
    data = opened(table_in(tmp_path, sentences({"a": 9, "b": 4})), tmp_path)
    assert len(outer_folds(data)) == 4


def test_copies_and_single_labels_are_left_out_and_counted(tmp_path):
    rows = sentences({"a": 6, "b": 6})
    again = [(rows[0][0].upper() + "!", "a"), (rows[1][0], "b"), ("", "a"), ("alone", "c")]
    data = opened(table_in(tmp_path, [*rows, *again]), tmp_path)
    assert data.class_names == ("a", "b")
    assert len(data.y) == 12
    assert sum(data.left_out.values()) == len(again)


@pytest.mark.parametrize(
    ("counts", "said"),
    [({"a": 20}, "one class only"), ({"a": 2, "b": 2}, "label about 2 more a class")],
)
def test_too_little_data_is_refused_with_what_would_do(tmp_path, counts, said):
    table = table_in(tmp_path, sentences(counts))
    with pytest.raises(TlbenchError, match=said):
        opened(table, tmp_path)


def test_a_path_that_is_not_there_is_told(tmp_path):
    fill_registries()
    with pytest.raises(TlbenchError, match="no file or folder 'digts'.*did you mean 'digits'"):
        reference_of("digts")


def test_columns_are_named_behind_a_path(tmp_path):
    table = table_in(tmp_path, sentences({"a": 9, "b": 9}), ("words", "kind"))
    data = opened(Path(f"{table}?text=words&label=kind"), tmp_path)
    assert data.counts.tolist() == [9, 9]


def test_other_files_are_left_to_the_datasets_library(tmp_path):
    file = tmp_path / f"{tmp_path.name}.jsonl"
    rows = [{"text": text, "label": label} for text, label in sentences({"a": 9, "b": 9})]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert reference_of(str(file)) == f"hf:{file}"
    assert opened(file, tmp_path).counts.tolist() == [9, 9]


def test_a_table_without_the_columns_is_told_with_those_it_has(tmp_path):
    with pytest.raises(TlbenchError, match="'words'"):
        opened(table_in(tmp_path, sentences({"a": 9, "b": 9}), ("words", "kind")), tmp_path)


def test_many_examples_are_not_cut_into_folds(tmp_path, monkeypatch):
    monkeypatch.setattr(advise_data, "SINGLE_FROM", 40)
    data = opened(table_in(tmp_path, sentences({"a": 30, "b": 30})), tmp_path)
    (fold,) = outer_folds(data)
    assert (fold.dataset, fold.train, fold.test) == (data.card.name, 48, 12)


@pytest.mark.parametrize("counts", [(40, 40, 40), (100, 20, 5), (4, 4, 4), (2, 3, 3)])
def test_budgets_are_about_a_quarter_a_half_and_all_of_the_labels(counts):
    classes = np.array(counts)
    found = budgets([Fold("d", int(classes.sum()), 9, classes)])
    taken = [int(np.minimum(classes, k).sum()) for k in found]
    assert taken[-1] == classes.sum()
    assert list(found) == sorted(set(found))
    if min(counts) > 10:
        assert [round(share / taken[-1], 1) for share in taken] == [0.2, 0.5, 1.0]


# ---- what the numbers are worth


def test_the_interval_is_that_of_the_corrected_resampled_t_test():
    values = np.array([0.7, 0.8, 0.75, 0.9, 0.65])
    found = corrected(values, Design(ratio=0.25, examples=1000))
    error = np.sqrt((1 / 5 + 0.25) * values.var(ddof=1))
    assert found.error == pytest.approx(error)
    assert found.low == pytest.approx(values.mean() - stats.t.ppf(0.975, 4) * error)
    assert found.above(0.7) == pytest.approx(stats.t.cdf((0.76 - 0.7) / error, 4))


def test_without_shared_training_sets_it_is_plain_t():
    values = np.array([0.7, 0.8, 0.75, 0.9])
    found = corrected(values, Design(ratio=0.0, examples=1000))
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_folds_that_agree_perfectly_are_not_certain():
    same = corrected(np.zeros(5), Design(0.25, 60))
    assert same.low < 0 < same.high
    perfect = share(np.ones(5), Design(0.25, 60))
    assert perfect.high == 1.0 and perfect.low <= 1 - 3 / 60


def test_two_equal_ways_are_rarely_told_apart():
    """Folds of one data set: a common deviation of the training sets would fool a plain t test far more often."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        common, own = rng.normal(0, 0.02), rng.normal(0, 0.04, 5)
        wrong += corrected(common + own, Design(0.25, 10_000)).above_zero
    assert wrong / 400 <= 0.025


def test_a_choice_among_equals_flatters_and_the_other_folds_tell():
    rng = np.random.default_rng(1)
    tables = rng.normal(0.5, 0.1, (300, 8, 5))
    best = np.mean([table.mean(1).max() for table in tables])
    elsewhere = np.mean([other_choice(table) for table in tables])
    assert best > 0.55
    assert elsewhere == pytest.approx(0.5, abs=0.01)


def test_four_times_the_labels_halve_an_interval():
    found = corrected(np.array([0.0, 0.1, 0.2, 0.1, 0.1]), Design(0.25, 100))
    assert needed(found, 100, found.half) == pytest.approx(100)
    assert needed(found, 100, found.half / 2) == pytest.approx(400)
    assert needed(found, 100, 0.0) == float("inf")


def heldout(scale: float, *, m: int = 400, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Logits whose softmax is true once they are divided by `scale`, in five folds."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (m, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = np.array([rng.choice(4, p=row) for row in p])
    return [(scale * logits[i::5], y[i::5]) for i in range(5)]


@pytest.mark.parametrize("scale", [0.05, 1.0, 300.0])
def test_the_temperature_of_true_probabilities_is_found(scale):
    found = calibrated(heldout(scale, m=2000))
    assert found.temperature == pytest.approx(scale, rel=0.1)
    assert found.error < 0.05


def test_a_temperature_mends_distances_that_are_taken_for_certainty():
    found = calibrated(heldout(300.0))
    assert found.raw_error > 0.2 and found.error < 0.08


def test_examples_that_were_all_right_do_not_make_the_next_one_certain():
    y = np.arange(30) % 3
    parts = [(1000.0 * np.eye(3)[y], y)] * 2
    share_of = np.exp(1000 / temperature(parts))
    assert share_of / (share_of + 2) == pytest.approx(1 - 1 / 62, abs=1e-3)


# ---- what is said of them


def contest(per_class: int = 12, classes: int = 3, networks: tuple[str, ...] = ("glyph_vit",)) -> Contest:
    """A comparison by five folds whose numbers the test makes up."""
    fill_registries()
    n, names = per_class * classes, tuple(f"class {i}" for i in range(classes))
    card = Card("folder:toy", "image", classes, "toy", "real", "your own data", "made", "none")
    x = np.zeros((n, 8, 8, 3), np.uint8)
    y = np.arange(n) % classes
    inputs = {"pool_x": x, "pool_y": y, "test_x": x[:1], "class_names": names, "groups": None}
    facts = {"fingerprint": "print", "duplicates_removed": 0, "excluded": {}, "origin": "", "folder": Path("nowhere")}
    loaded = base.Loaded(card=card, **inputs, **facts)
    data = Labelled(card, loaded, np.arange(n), y, None, names, {})
    counts = np.full(classes, per_class * 4 // 5)
    folds = [Fold(f"folder:toy fold {i}", int(counts.sum()), n - int(counts.sum()), counts) for i in range(1, 6)]
    strategies = ["majority", "pixels_logistic", "nearest_mean", "linear_probe", "lora"]
    return Contest(data, folds, "quick", list(networks), strategies)


def results(scores: dict[str, list[float]], of: Contest, *, flops: dict[str, float] | None = None):
    """(frame, scores) in which each strategy has these scores on all labels, and a quarter less on fewer."""
    rows, table = [], {}
    for strategy, values in scores.items():
        for budget in of.budgets:
            share_of = 1.0 if budget == of.budgets[-1] else 0.75
            table[strategy, "glyph_vit", budget] = share_of * np.array(values)
            labels = 3 * min(budget, of.budgets[-1])
            cost = dict.fromkeys(COSTS, 1.0) | {"train_flops": (flops or {}).get(strategy, 1.0)}
            rows += [
                {"strategy": strategy, "backbone": "glyph_vit", "budget": budget, "dataset": fold.dataset}
                | {"labels": labels, "status": "done", "reason": "", "score": share_of * values[i], **cost}
                for i, fold in enumerate(of.folds)
            ]
    return pd.DataFrame(rows), table


FLOOR = {"majority": [1 / 3] * 5}
CLEAR = FLOOR | {
    "pixels_logistic": [0.5, 0.52, 0.48, 0.5, 0.5],
    "nearest_mean": [0.88, 0.91, 0.9, 0.86, 0.9],
    "lora": [0.9, 0.91, 0.9, 0.88, 0.9],
}


def said(scores: dict[str, list[float]], *, mistakes: tuple[Confused, ...] = (), per_class: int = 60, **kwargs) -> str:
    of = contest(per_class)
    frame, table = results(scores, of, **kwargs)
    return advise_words.markdown(of, findings(of, frame, table), mistakes)


def test_the_cheapest_of_those_that_cannot_be_told_apart_is_advised():
    of = contest(60)
    frame, table = results(CLEAR, of, flops={"nearest_mean": 1.0, "lora": 1e6})
    ways = ranked(of, frame, table)
    assert ways[0].strategy == "lora"
    text = said(CLEAR, flops={"nearest_mean": 1.0, "lora": 1e6})
    chosen = choice(ways, of, table)
    assert chosen is not None
    closest = next(way for way in ways if way.strategy == "nearest_mean")
    cheap = not closest.told_apart and closest.behind.mean <= min(closest.behind.error, 0.02)
    assert chosen.strategy == ("nearest_mean" if cheap else "lora")
    assert f"**Use {chosen.strategy} on glyph_vit.**" in text


def test_a_cheap_way_that_is_merely_not_proven_worse_is_not_advised():
    scores = FLOOR | {"nearest_mean": [0.5, 0.9, 0.6, 0.85, 0.7], "lora": [0.9, 0.91, 0.9, 0.88, 0.9]}
    of = contest(60)
    frame, table = results(scores, of, flops={"nearest_mean": 1.0, "lora": 1e6})
    ways = ranked(of, frame, table)
    assert not next(way for way in ways if way.strategy == "nearest_mean").told_apart
    assert choice(ways, of, table).strategy == "lora"
    assert "Cannot be told apart from the best with these labels: nearest_mean" in said(scores)


def test_a_cheap_way_that_gives_up_points_is_named_and_not_advised():
    scores = FLOOR | {"nearest_mean": [0.85, 0.95, 0.8, 0.9, 0.75], "lora": [0.9, 0.91, 0.9, 0.88, 0.9]}
    text = said(scores, flops={"nearest_mean": 9.0, "lora": 99.0})
    assert "**Use lora on glyph_vit.**" in text
    assert "Where computing is dear: nearest_mean on glyph_vit needs 10 times less of it. It scored 4.8 points" in text


def test_nothing_is_advised_where_guessing_is_not_beaten():
    text = said(FLOOR | {"linear_probe": [0.2, 0.5, 0.3, 0.45, 0.4]})
    assert "**Nothing here is known to beat guessing.**" in text
    assert "**Use " not in text


def test_majority_alone_is_no_advice():
    text = said(FLOOR | {"linear_probe": [0.3, 0.3, 0.31, 0.3, 0.3]})
    assert "**Nothing here is known to beat guessing.**" in text


def test_a_sure_gain_is_told_per_doubling():
    assert "**More labels help.** The last doubling of labels brought +" in said(CLEAR)


def unsure(noise: float) -> tuple[float, str]:
    """Labels that would tell the gain of the last doubling, and the text, where folds disagree on it."""
    of = contest(60)
    frame, table = results(CLEAR | {"nearest_mean": [0.6] * 5}, of)
    spread = noise * np.array([1, -1, 1, -1, 0])
    table["lora", "glyph_vit", of.budgets[-2]] = table["lora", "glyph_vit", of.budgets[-1]] - 0.05 + spread
    found = findings(of, frame, table)
    return found.more.to_know, advise_words.markdown(of, found, [])


def test_an_unsure_gain_comes_with_the_labels_that_would_tell():
    labels, text = unsure(0.03)
    assert 180 < labels < 360
    assert "**Cannot tell what more labels would buy.**" in text
    assert f"Label about {int(np.ceil((labels - 180) / 3))} more a class and ask again: the interval should" in text
    assert "narrow enough to tell" in text


def test_a_gain_far_from_known_is_asked_for_with_as_many_labels_again():
    labels, text = unsure(0.3)
    assert labels > 360
    assert "Label about 60 more a class and ask again: the interval should shrink by a third" in text


def test_a_perfect_score_has_little_to_gain():
    assert "**More labels would buy little.**" in said(FLOOR | {"lora": [1.0] * 5})


def test_the_weakest_classes_and_the_unusable_files_are_named():
    of = contest(12)
    of.data.left_out["empty text"] = 3
    frame, table = results(CLEAR, of)
    text = advise_words.markdown(of, findings(of, frame, table), [Confused("class 1", 0.25, 12, "class 2")])
    assert "- 'class 1': 25 % of 12 found; most others taken for 'class 2'" in text
    assert "- Left out: 3 x empty text." in text


def test_a_way_that_failed_is_named_and_not_ranked():
    of = contest(12)
    frame, table = results(CLEAR, of)
    bad = frame[frame.strategy == "lora"].assign(status="diverged", reason="not finite")
    frame = pd.concat([frame[frame.strategy != "lora"], bad])
    table = {name: values for name, values in table.items() if name[0] != "lora"}
    found = findings(of, frame, table)
    assert all(way.strategy != "lora" for way in found.ways)
    assert "not finite" in advise_words.markdown(of, found, [])


def test_where_everything_failed_the_reasons_are_told():
    of = contest(12)
    frame, _ = results(CLEAR, of)
    with pytest.raises(TlbenchError, match="failed in 15 cells: no room"):
        findings(of, frame.assign(status="failed", reason="no room"), {})


def test_the_networks_that_do_best_without_training_are_trained_on():
    of = contest(12)
    frame, _ = results({"nearest_mean": [0.5] * 5}, of)
    means = {"a": 0.2, "b": 0.9, "c": 0.6}
    frame = pd.concat([frame.assign(backbone=name, score=score) for name, score in means.items()])
    assert promising(frame, ["a", "b", "c"]) == ["b", "c"]


def test_networks_that_cannot_be_opened_are_left_out_with_the_reason():
    found, left_out = usual_networks("image", "quick")
    assert "glyph_vit" in found
    assert all("timm:" in name and reason for name, reason in left_out.items())


# ---- the whole way


@pytest.fixture(scope="module")
def advice(tmp_path_factory):
    place = tmp_path_factory.mktemp("advise")
    folder = write_digits(place / "images", 10)
    (folder / "one" / "broken.png").write_bytes(b"no image")
    said_so: list[str] = []
    wishes = Wishes(("glyph_vit",), ("nearest_mean", "linear_probe"), "quick")
    return advise(str(folder), wishes, Ways(place / "results", Means(1, "cpu"), lambda: None, said_so.append))


def test_digits_are_found_to_be_easy_and_the_answer_is_written(advice):
    found = advice.findings
    assert found.advised is not None and found.advised.value.mean > 0.8
    assert {way.strategy for way in found.ways} == {"majority", "pixels_logistic", "nearest_mean", "linear_probe"}
    assert len(found.curve) == 3
    assert sum(advice.contest.data.left_out.values()) == 1
    text = (advice.folder / "advice.md").read_text()
    assert text == advice.text and f"**Use {advise_words.named(found.advised)}.**" in text
    facts = json.loads((advice.folder / "advice.json").read_text())
    assert facts["advised"] == list(found.advised[:2])
    assert facts["calibration"]["temperature"] > 0 and 0 <= facts["calibration"]["error"] <= 1
    assert facts["data"]["classes"] == {"one": 10, "two": 10, "zero": 10}


def test_a_score_is_the_mean_of_what_the_scorer_found_on_each_fold(advice):
    from tlbench.store import Store

    with Store.open(advice.folder, create=False) as store:
        frame = store.frame()
    best = advice.findings.best
    rows = frame[(frame.strategy == best.strategy) & (frame.budget == frame.budget.max())]
    assert len(rows) == 5 and rows.dataset.nunique() == 5
    assert best.value.mean == pytest.approx(rows.balanced_accuracy.mean())
    assert (rows.status == "done").all()


def test_mistakes_are_counted_on_tested_examples(advice):
    subject = advice.findings.subject
    if subject.value.mean == 1.0:
        assert advice.mistakes == ()
    for each in advice.mistakes:
        assert each.examples == 10 and each.found < 1 and each.taken_for != each.name


def test_the_same_question_again_runs_nothing_and_answers_the_same(advice, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a block was run again")

    monkeypatch.setattr(runner.executors, "outcomes", lambda blocks, **_: refuse() if blocks else iter(()))
    place = advice.folder.parent.parent
    ways = Ways(advice.folder.parent, Means(1, "cpu"), lambda: None, lambda _text: None)
    again = advise(str(place / "images"), Wishes(("glyph_vit",), ("nearest_mean", "linear_probe"), "quick"), ways)
    assert again.text == advice.text


def test_what_is_exported_names_new_digits_as_well_as_was_promised(advice, tmp_path):
    folder = exported.export(advice, tmp_path / "model", device="cpu")
    write_digits(tmp_path / "new", 30, first=40)
    answer = CliRunner().invoke(app, ["predict", str(folder), str(tmp_path / "new")])
    rows = list(csv.DictReader(answer.stdout.splitlines()))
    right = np.mean([Path(row["input"]).parent.name == row["class"] for row in rows])
    assert answer.exit_code == 0 and len(rows) == 90
    assert right >= advice.findings.subject.value.low - 2 * np.sqrt(right * (1 - right) / len(rows))


def test_the_command_tells_bad_input_as_a_sentence(tmp_path):
    answer = CliRunner().invoke(app, ["advise", str(tmp_path / "nothing")])
    assert answer.exit_code == 2
    assert "there is no file or folder" in answer.output
