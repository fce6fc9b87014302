"""Do rank intervals, typical scores and other orders say what the scores say, and nothing where nothing can be said?"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from report_simulation import meta, simulate

from tlbench import backbones
from tlbench.datasets.glyphs import font_path, glyph
from tlbench.registry import BACKBONES, DATASETS
from tlbench.report import page_sensitivity
from tlbench.report.analysis import Analysis
from tlbench.report.document import plain
from tlbench.report.sensitivity import document, sensitivity
from tlbench.report.standings import document as standings_document
from tlbench.report.standings import mean_ranks, ranks


@pytest.fixture(scope="module")
def whole() -> Analysis:
    return Analysis(simulate(holes=False), meta())


def draw(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(7)).normal(size=shape)


def part(query: str, **changes: object) -> Analysis:
    return Analysis(simulate(holes=False).query(query), meta(**changes))


def test_a_row_that_always_leads_has_rank_1_and_no_other() -> None:
    found = ranks(draw(500, 4) * 0.01 + [3, 2, 1, 0])
    assert found.low.tolist() == found.high.tolist() == [1, 2, 3, 4]
    assert found.first.tolist() == [1, 0, 0, 0]


def test_rows_that_are_equal_share_ranks_and_the_first_place() -> None:
    one = draw(500, 1)
    found = ranks(np.hstack([one, one, one - 5]))
    assert found.low.tolist() == [1, 1, 3] and found.high.tolist() == [2, 2, 3]
    assert found.first.tolist() == [0.5, 0.5, 0]


def test_chances_of_being_first_sum_to_one_and_lie_where_ranks_allow(whole: Analysis) -> None:
    standing = whole.standings[0]
    assert standing.first.sum() == pytest.approx(1) and standing.splits.first.sum() == pytest.approx(1)
    places = np.arange(1, len(standing.first) + 1)
    assert np.all((standing.rank_low <= places) & (places <= standing.rank_high))
    assert np.all(standing.first[standing.rank_low > 1] <= 0.025)


def test_mean_ranks_are_over_datasets_and_equal_rows_share() -> None:
    values = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.2]])[..., None].repeat(3, axis=2)
    assert mean_ranks(values).tolist() == [2.0, 1.75, 2.25]


def test_a_new_row_changes_no_other_rows_iqm_or_profile(whole: Analysis) -> None:
    fewer = part("strategy != 'lora'")
    kept = [place for place, row in enumerate(whole.main.ranked) if whole.grid.rows[row][0] != "lora"]  # type: ignore[union-attr]
    for name in ("iqm", "iqm_tasks", "profile"):
        before, after = getattr(fewer.standings[0], name), getattr(whole.standings[0], name)
        assert np.allclose(np.array(before), np.array(after)[:, kept], rtol=0, atol=1e-11)


def test_few_datasets_give_no_rank_interval_for_others_and_one_seed_none_for_splits() -> None:
    few = part("dataset in ['digits', 'count', 'hebrew', 'texture', 'symmetry']").standings[0]
    assert np.isnan(few.rank_low).all() and np.isnan(few.iqm_tasks.low).all() and np.isfinite(few.splits.low).all()
    dataset, seed = part("dataset == 'digits'").standings[0], part("seed == 0").standings[0]
    assert np.isnan(dataset.rank_low).all() and np.isnan(dataset.first).all() and np.isnan(dataset.iqm_tasks.low).all()
    assert np.isfinite(dataset.splits.low).all() and np.isfinite(dataset.iqm.low).all()
    assert np.isnan(seed.splits.first).all() and np.isnan(seed.iqm.low).all() and np.isfinite(seed.rank_low).all()


def test_leaving_a_dataset_out_is_a_report_without_it(whole: Analysis) -> None:
    left_out = {variant.name: variant for variant in whole.sensitivity.left_out}  # type: ignore[union-attr]
    other = part("dataset != 'symmetry'")
    names = [whole.grid.rows[row] for row in whole.main.ranked]  # type: ignore[union-attr]
    order = [names[place] for place in np.argsort(left_out["without symmetry"].rank, kind="stable")]
    assert order == [other.grid.rows[row] for row in other.main.ranked]  # type: ignore[union-attr]
    assert sorted(left_out["without symmetry"].tier.tolist()) == list(other.main.tiers)  # type: ignore[union-attr]


def test_the_first_variant_is_the_leaderboard(whole: Analysis) -> None:
    headline = whole.sensitivity.headline  # type: ignore[union-attr]
    assert headline.rank.tolist() == list(range(1, len(headline.rank) + 1))
    assert headline.tier.tolist() == list(whole.main.tiers)  # type: ignore[union-attr]


def test_one_dataset_that_decides_is_named() -> None:
    frame = simulate(strategies=10, holes=False).query("strategy in ['lora', 'linear_probe']").copy()
    frame["score"] = 0.5 + 0.01 * frame.strategy.eq("lora") * frame.dataset.ne("count") + 0.001 * frame.seed
    frame.loc[frame.strategy.eq("lora") & frame.dataset.eq("count"), "score"] = 0.3
    panel = page_sensitivity.section(Analysis(frame, meta()))
    assert panel is not None
    said = " ".join(panel.sentences)
    assert "linear_probe stays first in 11 of 12 cases" in said and "without count the first is lora" in said
    assert "by the IQM it is lora" in said


def test_what_was_seen_in_pretraining_is_left_out_for_all_rows() -> None:
    seen = {("glyph_vit", "typeface"): "the same letters", ("another", "digits"): "not in this suite"}
    analysis = part("strategy in ['lora', 'linear_probe', 'bitfit']", contaminated=seen)
    found = sensitivity(analysis)
    assert found is not None and found.clean is not None
    assert [one.dataset for one in found.seen] == ["typeface"] and found.clean.datasets == 11
    without = next(variant for variant in found.left_out if variant.name == "without typeface")
    assert np.array_equal(found.clean.rank, without.rank)
    assert part("strategy in ['lora', 'bitfit']").sensitivity.clean is None  # type: ignore[union-attr]


def test_where_all_was_seen_nothing_is_left_to_rank_by() -> None:
    analysis = part(
        "dataset in ['digits', 'count']", contaminated={("glyph_vit", d): "it" for d in ("digits", "count")}
    )
    assert (
        analysis.sensitivity is not None and analysis.sensitivity.clean is None and len(analysis.sensitivity.seen) == 2
    )


def test_networks_declare_datasets_that_there_are() -> None:
    declared = {name: BACKBONES[name].seen for name in ("glyph_vit", "glyph_cnn", "all_minilm_l6_v2")}
    assert all(dataset in DATASETS and what for seen in declared.values() for dataset, what in seen.items())
    assert set(backbones.get("glyph_vit").seen) == {"armenian", "cyrillic", "digits", "typeface"}
    font = font_path("DejaVuSans")
    assert np.array_equal(glyph(font, "а"), glyph(font, "a"))  # noqa: RUF001 - the first is the Cyrillic letter


def test_documents_are_plain_and_name_every_row(whole: Analysis) -> None:
    made = json.loads(json.dumps(plain(document(whole))))
    assert len(made["variants"]) == 1 + 2 + 12 and made["seen_in_pretraining"] == []
    assert all(len(variant["rank"]) == len(made["rows"]) for variant in made["variants"])


def test_a_program_reads_ranks_chances_and_typical_scores(whole: Analysis) -> None:
    rows = json.loads(json.dumps(plain(standings_document(whole))))[0]["rows"]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row["probability_first"]["tasks"] for row in rows) == pytest.approx(1)
    for row in rows:
        assert row["rank_interval"]["suite"][0] <= row["rank"] <= row["rank_interval"]["suite"][1]
        for kind, typical in row["iqm"].items():
            assert typical["covers"] == kind and typical["low"] <= typical["mean"] <= typical["high"]


def test_the_order_of_the_frame_changes_nothing(whole: Analysis) -> None:
    frame: pd.DataFrame = simulate(holes=False).sample(frac=1, random_state=np.random.Generator(np.random.PCG64(3)))
    again = Analysis(frame, meta())
    for one, other in zip(whole.standings[0], again.standings[0], strict=True):
        assert np.array_equal(np.array(one), np.array(other))
