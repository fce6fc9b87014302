"""What do the cells of a comparison say: which way is best, how sure is it, and what would more labels buy?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench.advise_runs import FLOORS, Contest
from tlbench.advise_stats import Design, Estimate, corrected, needed, other_choice, share
from tlbench.types import COSTS, TlbenchError

Name = tuple[str, str]  # strategy, network
Scores = Mapping[tuple[str, str, int], np.ndarray]  # (strategy, network, budget) -> [K], one a fold

NEGLIGIBLE = 0.01  # a point: PROTOCOL 6 calls what is within it equivalent
WORTH = 0.02  # points that are worth computing for, even where they may be chance
ENOUGH = 10.0  # times the labels there are: more is no advice


class Way(NamedTuple):
    """A strategy on a network, on all labels."""

    strategy: str
    network: str
    value: Estimate
    behind: Estimate  # what the best way has more, paired by fold
    cost: dict[str, float]  # types.COSTS, means over folds

    @property
    def told_apart(self) -> bool:
        """Is the best way surely better?"""
        return self.behind.above_zero

    @property
    def effort(self) -> float:
        """Operations of tuning and training: what "cheap" means, and the same whenever it is counted."""
        return self.cost.get("tune_flops", 0.0) + self.cost.get("train_flops", 0.0)


class Point(NamedTuple):
    """A place on the learning curve."""

    labels: float  # in all, mean over folds
    value: Estimate


class More(NamedTuple):
    """What more labels would buy."""

    gain: Estimate | None  # of the last doubling of labels, paired by fold; None where there was none
    to_know: float  # labels in all from which the gain would be known from 0; inf where there is no telling
    rival: Way | None  # the closest that differs by more than a point and cannot be told apart
    to_choose: float  # labels in all from which it would be told apart


@dataclass(frozen=True)
class Findings:
    """The numbers behind an advice."""

    ways: tuple[Way, ...]  # best first
    advised: Way | None  # None: nothing is known to beat guessing
    against: dict[str, Estimate]  # by floor: what the advised (else the best) way has more
    flattery: float  # what choosing the best on the same folds adds to its score
    curve: tuple[Point, ...]  # of the advised (else the best) way
    more: More
    failed: dict[str, str]  # ways that are not compared, and why

    @property
    def best(self) -> Way:
        return self.ways[0]

    @property
    def subject(self) -> Way:
        """What the text is about."""
        return self.advised or self.best

    @property
    def frugal(self) -> Way | None:
        """The best of the ways that cannot be told apart from the best and need less than half the computing.

        A floor is none: that a network helps may be unproven without being doubtful.
        """
        floors = {name for pair in FLOORS.values() for name in pair}
        rivals = [way for way in self.rivals if way.strategy not in floors and 2 * way.effort < self.subject.effort]
        return min(rivals, key=lambda way: (way.behind.mean, way.effort), default=None)

    @property
    def rivals(self) -> list[Way]:
        """Other ways that cannot be told apart from the best."""
        return [way for way in self.ways if not way.told_apart and way[:2] != self.subject[:2]]


def findings(contest: Contest, frame: pd.DataFrame, scores: Scores) -> Findings:
    """Findings from one row a cell and the scores of each fold."""
    ways = ranked(contest, frame, scores)
    advised = choice(ways, contest, scores)
    subject = advised or ways[0]
    own = _scores(scores, contest, subject)
    floors = {way.strategy: way for way in ways if way.strategy in contest.floors and way is not subject}
    against = {name: corrected(own - _scores(scores, contest, way), design(contest)) for name, way in floors.items()}
    names = [way[:2] for way in ways]
    table = np.stack([scores[(*name, contest.budgets[-1])] for name in names])
    curve, gain = _curve(contest, frame, scores, subject[:2])
    return Findings(
        ways=tuple(ways),
        advised=advised,
        against=against,
        flattery=float(table.mean(1).max()) - other_choice(table),
        curve=tuple(curve),
        more=_more(contest, ways, gain),
        failed=_failed(frame),
    )


def ranked(contest: Contest, frame: pd.DataFrame, scores: Scores) -> list[Way]:
    """Every way that was done on all folds with all labels, best first. Raises TlbenchError where there is none."""
    all_labels = contest.budgets[-1]
    names = [(strategy, network) for strategy, network, budget in scores if budget == all_labels]
    if not names:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in _failed(frame).items())
        raise TlbenchError(f"{contest.data.card.name}: nothing that was tried could be done ({reasons})")
    means = {name: float(scores[(*name, all_labels)].mean()) for name in names}
    costs = {name: _cost(frame, name, all_labels) for name in names}
    names.sort(key=lambda name: (-means[name], costs[name].get("train_flops", 0.0), name))
    best = scores[(*names[0], all_labels)]
    found = []
    for name in names:
        values = scores[(*name, all_labels)]
        value = share(values, design(contest))
        found.append(Way(*name, value, corrected(best - values, design(contest)), costs[name]))
    return found


def choice(ways: list[Way], contest: Contest, scores: Scores) -> Way | None:
    """The cheapest way that the best cannot be told apart from, within one standard error and two points of it.

    Of ways alike the cheapest, but not one that is merely not proven worse. None where the best is not known to beat
    the majority class.
    """
    majority = next((way for way in ways if way.strategy == "majority"), None)
    best = ways[0]
    if majority is not None:
        lead = _scores(scores, contest, best) - _scores(scores, contest, majority)
        if best.strategy == "majority" or not corrected(lead, design(contest)).above_zero:
            return None
    close = [way for way in ways if not way.told_apart and way.behind.mean <= min(way.behind.error, WORTH)]
    close = [way for way in close if way.strategy != "majority"]
    return min(close, key=lambda way: (way.effort, way.behind.mean, way.strategy, way.network))


def design(contest: Contest) -> Design:
    """Of the folds; the parts of a single hold-out share one fit."""
    folds = contest.folds
    ratio = float(np.mean([fold.test / fold.train for fold in folds])) if len(folds) > 1 else 0.0
    return Design(ratio, sum(fold.test for fold in folds))


def _curve(
    contest: Contest, frame: pd.DataFrame, scores: Scores, name: Name
) -> tuple[list[Point], Estimate | None]:
    """The learning curve, and what the last doubling of labels brought, per doubling."""
    points, known = [], [k for k in contest.budgets if (*name, k) in scores]
    for k in known:
        rows = frame[(frame.strategy == name[0]) & (frame.backbone == name[1]) & (frame.budget == k)]
        points.append(Point(float(rows.labels.mean()), share(scores[(*name, k)], design(contest))))
    if len(points) < 2:
        return points, None
    doublings = math.log2(points[-1].labels / points[-2].labels)
    rise = (scores[(*name, known[-1])] - scores[(*name, known[-2])]) / doublings
    return points, corrected(rise, design(contest))


def _more(contest: Contest, ways: list[Way], gain: Estimate | None) -> More:
    """Labels needed: for the gain to be known from 0, and for the closest serious rival to be told apart."""
    n = len(contest.data.y)
    rival = next((way for way in ways if not way.told_apart and way.behind.mean > NEGLIGIBLE), None)
    to_choose = float(n) if rival is None else needed(rival.behind, n, rival.behind.mean)
    to_know = math.inf if gain is None else needed(gain, n, max(abs(gain.mean), NEGLIGIBLE))
    return More(gain, to_know, rival, to_choose)


def _scores(scores: Scores, contest: Contest, way: Way) -> np.ndarray:
    return scores[way.strategy, way.network, contest.budgets[-1]]


def _cost(frame: pd.DataFrame, name: Name, budget: int) -> dict[str, float]:
    rows = frame[(frame.strategy == name[0]) & (frame.backbone == name[1]) & (frame.budget == budget)]
    means = rows[list(COSTS)].mean()
    return {key: float(value) for key, value in means.items() if not math.isnan(value)}


def _failed(frame: pd.DataFrame) -> dict[str, str]:
    """Ways with a cell that is not done: the first reason, and how many cells met one."""
    found = {}
    wrong = frame[frame.status != "done"]
    for (strategy, network), rows in wrong.groupby(["strategy", "backbone"]):
        first = rows.iloc[0]
        found[f"{strategy} on {network}"] = f"{first.status} in {len(rows)} cells: {first.reason or 'no reason given'}"
    return found
