"""What does leaderboard.json say of pairs? Every difference, interval, test, probability and verdict."""

from __future__ import annotations

from typing import Any

from tlbench.report.analysis import Analysis
from tlbench.report.scores import Grid
from tlbench.report.stats import Interval
from tlbench.report.stats.more_seeds import LIKELY, Outlook
from tlbench.report.stats.pairs import BEATS, WITHIN, Pairs
from tlbench.report.stats.signed_rank import ALPHA, PRIOR, ROPE
from tlbench.report.verdicts import Verdict, Verdicts

RULE = {
    "difference": "first minus second, on the scale of the scores",
    "p": "Wilcoxon signed-rank test over dataset means, exact, two-sided; p_holm is corrected for the family",
    "family": "all pairs of a group's ranked rows by one score: the headline, or the score at one budget",
    "alpha": ALPHA,
    "equivalence": {"half_width": ROPE, "prior": PRIOR, "test": "Bayesian signed-rank"},
    "better": f"p_holm < {ALPHA}, the tasks interval of the difference is above 0, and first_wins >= {BEATS}",
    "equivalent": f"the probability of a difference within {ROPE} is at least {WITHIN}",
}


def pairs(analysis: Analysis) -> dict[str, Any]:
    return {"rule": RULE, "groups": [_group(analysis.grid, found) for found in analysis.verdicts]}


def _group(grid: Grid, found: Verdicts) -> dict[str, Any]:
    group = found.group
    return {
        "title": group.title,
        "datasets": group.headline.datasets,
        "datasets_needed": group.headline.needed,
        "cost": found.cost or None,
        "pairs": [_pair(grid, found, one) for one in found.pairs],
        "undecided": [_outlook(grid, found, one) for one in found.outlooks],
        "bradley_terry": [
            {**grid.named(row), "rating": found.ratings.spelled("tasks", place)}
            for place, row in enumerate(group.ranked)
        ],
    }


def _pair(grid: Grid, found: Verdicts, one: Verdict) -> dict[str, Any]:
    group = found.group
    place = group.ranked.index(one.first), group.ranked.index(one.second)
    at = zip(grid.budgets, group.budgets, found.beats_at, strict=True)
    return {
        "first": grid.named(one.first),
        "second": grid.named(one.second),
        "words": one.words,
        "times_the_cost": one.cost,
        "headline": _tests(group.headline, found.beats, place),
        "at": [{"budget": budget, **_tests(tested, beats, place)} for budget, tested, beats in at if tested.datasets],
        "runs": [
            {"verdict": run.verdict, "budgets": run.budgets, "difference": run.difference.spelled("tasks")}
            for run in one.runs
        ],
    }


def _tests(tested: Pairs, beats: Interval, place: tuple[int, int]) -> dict[str, Any]:
    return {
        "verdict": str(tested.verdict[place]),
        "difference": [tested.suite.spelled("suite", *place), tested.tasks.spelled("tasks", *place)],
        "p": tested.p[place],
        "p_holm": tested.holm[place],
        "probability": dict(zip(("worse", "equivalent", "better"), tested.posterior[place], strict=True)),
        "first_wins": beats.spelled("tasks", *place),
    }


def _outlook(grid: Grid, found: Verdicts, one: Outlook) -> dict[str, Any]:
    """What would decide the pair closest to a verdict, and the best two; simulated."""
    ranked = found.group.ranked
    return {
        "first": grid.named(ranked[one.first]),
        "second": grid.named(ranked[one.second]),
        "more_seeds": one.seeds,
        "chance_with_endless_seeds": one.chance,
        "datasets": one.datasets,
        "likely": LIKELY,
    }
