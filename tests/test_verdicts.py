"""Do the sentences about pairs say what the tests found, from how many labels on, and at what price?"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from report_simulation import mark, meta, simulate

from tlbench.report import document, document_pairs, page_pairs
from tlbench.report.analysis import Analysis
from tlbench.report.plot_pairs import critical_differences, pair_matrix
from tlbench.report.stats.more_seeds import Outlook
from tlbench.report.stats.pairs import BETTER, NOT_ENOUGH, UNDECIDED
from tlbench.report.verdicts import Verdict, Verdicts


@pytest.fixture(scope="module")
def whole() -> pd.DataFrame:
    return simulate(holes=False)


def analysis(frame: pd.DataFrame) -> Analysis:
    return Analysis(frame, meta())


def pair(found: Verdicts, analysed: Analysis, *strategies: str) -> Verdict:
    names = [name for name, _ in analysed.grid.rows]
    return found.of(*(names.index(strategy) for strategy in strategies))


def lifted(frame: pd.DataFrame, budgets: tuple[int, ...], points: float) -> pd.DataFrame:
    """`one` and `other` alone: the same scores but for noise, and so many points more for `one` at these budgets."""
    other = frame[frame.strategy.eq("lora")].assign(strategy="other")
    noise = np.random.Generator(np.random.PCG64(2)).normal(0, 0.001, len(other))
    one = other.assign(strategy="one", score=other.score + noise, train_flops=other.train_flops * 2.3)
    one.loc[one.budget.isin(budgets), "score"] += points / 100
    return pd.concat([one, other.assign(key=other.key + "other")])


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ((2, 5, 10), "one is better than other at every budget (interval 10."),
        ((5, 10), "one is better than other from 5 labels a class on (interval 10."),
        ((10,), "one is better than other at 10 labels a class (interval 10."),
        ((2,), "one is better than other at 2 labels a class (interval 10."),
        ((5,), "one is better than other at 5 labels a class (interval 10."),
        ((2, 10), "one is better than other at 2 and 10 labels a class (interval 10."),
    ],
)
def test_a_sentence_says_from_how_many_labels_on(whole: pd.DataFrame, budgets: tuple[int, ...], said: str) -> None:
    analysed = analysis(lifted(whole, budgets, 10.5))
    verdict = pair(analysed.verdicts[0], analysed, "one", "other")
    assert verdict.words.startswith(said) and verdict.words.endswith("; 2.3 times the cost")
    rest = {
        (2, 5, 10): "",
        (5, 10): ", equivalent below",
        (10,): ", equivalent below",
        (2,): ", equivalent above",
        (2, 10): ", equivalent at 5",
    }
    assert rest.get(budgets, ", equivalent at 2, 10") in verdict.words


def test_rows_that_are_equivalent_everywhere_are_said_to_be(whole: pd.DataFrame) -> None:
    analysed = analysis(lifted(whole, (), 0.0))
    (verdict,) = analysed.verdicts[0].pairs
    assert "are equivalent at every budget (interval " in verdict.words


def test_what_is_decided_over_all_budgets_alone_is_said(whole: pd.DataFrame) -> None:
    frame = lifted(whole, (2, 5, 10), 1.5)
    noise = np.random.Generator(np.random.PCG64(4)).normal(0, 0.03, len(frame))
    analysed = analysis(frame.assign(score=frame.score + noise))
    (verdict,) = analysed.verdicts[0].pairs
    assert verdict.overall == BETTER and [run.verdict for run in verdict.runs] == [UNDECIDED]
    assert verdict.words.startswith("one is better than other over all budgets (interval ")
    assert "undecided at each of them; " in verdict.words


def test_a_budget_with_too_few_datasets_is_not_called_undecided(whole: pd.DataFrame) -> None:
    frame = lifted(whole, (2, 5, 10), 10.0)
    names = sorted(frame.dataset.unique())[:6]
    frame = frame[frame.dataset.isin(names)].copy()
    for budget, name in ((5, names[0]), (10, names[1])):  # five of six datasets agree: not enough to decide
        frame.loc[frame.strategy.eq("one") & frame.budget.eq(budget) & frame.dataset.eq(name), "score"] -= 0.2
    mark(frame, frame.budget.eq(2) & frame.dataset.eq(names[2]), "skipped", "no such task")
    analysed = analysis(frame)
    (verdict,) = analysed.verdicts[0].pairs
    assert verdict.overall == BETTER
    assert "points), not enough datasets at 2, undecided at 5, 10; " in verdict.words


def test_an_interval_that_leaves_out_zero_does_not_contradict_undecided(whole: pd.DataFrame) -> None:
    names = whole.dataset.unique()
    taste = dict(zip(names, np.random.Generator(np.random.PCG64(5)).normal(0.03, 0.03, len(names)), strict=True))
    up = whole[whole.strategy.eq("lora")].copy()
    up = up.assign(strategy="up", key=up.key + "up", score=up.score + up.dataset.map(taste))
    analysed = analysis(pd.concat([whole, up]))
    verdict = pair(analysed.verdicts[0], analysed, "up", "lora")
    assert verdict.overall == UNDECIDED and verdict.runs[0].difference.low > 0
    assert "; too little for one of 55 pairs)" in verdict.words


def test_what_would_decide_is_said_in_words(whole: pd.DataFrame) -> None:
    analysed = analysis(whole)
    (found,) = analysed.verdicts
    one = Outlook(0, 1, seeds=1, chance=0.9, datasets=18)
    rows = [analysed.grid.rows[row][0] for row in found.group.ranked[:2]]
    said = {
        one: f"1 more seed would likely decide {' and '.join(rows)}; with more datasets like these it would take about",
        one._replace(seeds=None): "More than 100 more seeds would decide ",
        one._replace(seeds=None, chance=0.6, datasets=None): "More seeds might decide ",
        one._replace(seeds=None, chance=0.0): "More seeds would probably not decide ",
    }
    for outlook, start in said.items():
        assert page_pairs.outlook_words(analysed.grid, found, outlook).startswith(start)
    never = page_pairs.outlook_words(analysed.grid, found, one._replace(seeds=None, chance=0.0, datasets=None))
    assert "(< 1 % chance, however many)" in never and never.endswith("more than 120 in all.")


def test_too_few_datasets_are_never_no_difference(whole: pd.DataFrame) -> None:
    analysed = analysis(whole[whole.dataset.isin(["digits", "count", "hebrew", "texture"])])
    (found,) = analysed.verdicts
    assert {one.overall for one in found.pairs} == {NOT_ENOUGH} and not found.outlooks
    assert all(one.words.endswith("4 datasets are not enough to tell, it takes 11") for one in found.pairs)
    assert critical_differences(analysed, {}) is None and pair_matrix(analysed) is not None
    (part,) = page_pairs.section(analysed) or []
    assert not part["enough"] and part["needed"] == 11


def test_each_pair_has_one_verdict_about_the_row_ranked_higher(whole: pd.DataFrame) -> None:
    (found,) = analysis(whole).verdicts
    rank = found.group.ranked.index
    assert len(found.pairs) == 45 == len({frozenset((one.first, one.second)) for one in found.pairs})
    assert all(rank(one.first) < rank(one.second) for one in found.pairs)
    assert all(one.overall == found.group.headline.verdict[rank(one.first), rank(one.second)] for one in found.pairs)


def test_a_tier_ends_before_the_first_row_that_its_best_is_better_than(whole: pd.DataFrame) -> None:
    (found,) = analysis(whole).verdicts
    group, best = found.group, 0
    for place in range(1, len(group.ranked)):
        ends = group.headline.verdict[best, place] == BETTER
        assert group.tiers[place] - group.tiers[place - 1] == int(ends)
        best = place if ends else best
    assert group.tiers[0] == 1 < group.tiers[-1]


def test_another_row_changes_no_interval_and_no_probability_of_a_pair(whole: pd.DataFrame) -> None:
    few, many = (document_pairs.pairs(analysis(frame)) for frame in (whole, simulate(strategies=13, holes=False)))
    for name in ("lora", "majority", "adapter"):
        assert numbers(few, name) == numbers(many, name)


def test_rows_that_skip_are_compared_among_their_like(whole: pd.DataFrame) -> None:
    frame = whole.copy()
    mark(frame, frame.strategy.isin(["lora", "bitfit"]) & frame.dataset.eq("digits"), "skipped", "no")
    mark(frame, frame.strategy.isin(["lora", "bitfit"]) & frame.budget.eq(2), "skipped", "needs five")
    first, second = analysis(frame).verdicts
    assert len(first.pairs) == 28 and len(second.pairs) == 1
    assert second.group.headline.datasets == 11
    assert [budget for run in second.pairs[0].runs for budget in run.budgets] == [5, 10]


def test_the_document_holds_every_pair_with_every_test(whole: pd.DataFrame) -> None:
    found = json.loads(json.dumps(document.plain(document_pairs.pairs(analysis(whole)))))["groups"][0]
    assert len(found["pairs"]) == 45 and found["datasets"] == 12 and found["datasets_needed"] == 11
    first = found["pairs"][0]
    assert [at["budget"] for at in first["at"]] == [2, 5, 10]
    for tested in (first["headline"], *first["at"]):
        assert {"verdict", "difference", "p", "p_holm", "probability", "first_wins"} == set(tested) - {"budget"}
        assert sum(tested["probability"].values()) == pytest.approx(1)
        assert [one["covers"] for one in tested["difference"]] == ["suite", "tasks"]
    assert len(found["bradley_terry"]) == 10


def numbers(written: dict, name: str) -> dict:
    """What the document says of bitfit and another row, but for what depends on the family."""
    both = {"bitfit", name}
    pairs = (
        one for one in written["groups"][0]["pairs"] if {one["first"]["strategy"], one["second"]["strategy"]} == both
    )
    one = document.plain(next(pairs))
    kept = ("difference", "p", "probability", "first_wins")
    return {"cost": one["times_the_cost"], **{key: [at[key] for at in (one["headline"], *one["at"])] for key in kept}}
