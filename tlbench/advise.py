"""What should be used on this data? A small honest comparison on it, and the answer in plain words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tlbench import __version__, advise_data, advise_runs, advise_words, caches
from tlbench.advise_calibration import Calibration, calibrated
from tlbench.advise_findings import Findings, Way, choice, findings, ranked
from tlbench.advise_runs import Contest, Thoroughness, Ways
from tlbench.advise_scores import Confused, confused, held_out, scores
from tlbench.advise_stats import Estimate
from tlbench.suite import fill_registries


class Wishes(NamedTuple):
    """What a user asks for; where nothing is named, the usual."""

    networks: Sequence[str] = ()
    strategies: Sequence[str] = ()
    effort: Thoroughness = "quick"


@dataclass(frozen=True)
class Advice:
    """The answer, and all that it rests on."""

    contest: Contest
    findings: Findings
    mistakes: tuple[Confused, ...]
    calibration: Calibration
    folder: Path  # where advice.md and advice.json lie, beside the cells

    @property
    def text(self) -> str:
        return advise_words.markdown(self.contest, self.findings, self.mistakes)


def advise(path: str, wishes: Wishes, ways: Ways) -> Advice:
    """Compares, judges, and writes advice.md and advice.json.

    `path` is a folder of class folders, a CSV, or any dataset reference. The same call goes on where it stopped.
    Raises TlbenchError for data on which nothing can be compared.
    """
    fill_registries()
    root = caches.folder()
    data = advise_data.labelled(advise_data.reference_of(path), root)
    folds = advise_data.outer_folds(data)
    asked = {"networks": wishes.networks, "strategies": wishes.strategies}
    contest = advise_runs.contest(data, folds, effort=wishes.effort, **asked)
    ways.say(plan(contest))

    def subject(frame: pd.DataFrame) -> tuple[str, str] | None:
        table = scores(contest, frame, ways.results, root)
        all_ways = ranked(contest, frame, table)
        return (choice(all_ways, contest, table) or all_ways[0])[:2]

    frame = advise_runs.run(contest, ways, subject)
    found = findings(contest, frame, scores(contest, frame, ways.results, root))
    heldout = held_out(contest, frame, found.subject[:2], ways.results, root)
    mistakes = tuple(confused(heldout, data.class_names))
    advice = Advice(contest, found, mistakes, calibrated(heldout), ways.results / contest.name)
    (advice.folder / "advice.md").write_text(advice.text, encoding="utf-8")
    (advice.folder / "advice.json").write_text(json.dumps(facts(advice), indent=1) + "\n", encoding="utf-8")
    return advice


def plan(contest: Contest) -> str:
    """What is about to be compared, in two sentences."""
    data, folds = contest.data, contest.folds
    cut = "the dataset's own test part" if len(folds) == 1 else f"{len(folds)} folds"
    return (
        f"{data.card.name}: {len(data.y)} {data.card.modality}s of {len(data.class_names)} classes, {cut}. "
        f"Comparing {', '.join(contest.strategies)} on {', '.join(contest.networks)}, {contest.thoroughness}."
    )


def facts(advice: Advice) -> dict[str, Any]:
    """The advice for programs: plain values, scores as shares of 1, intervals at 95 %."""
    contest, found, data = advice.contest, advice.findings, advice.contest.data
    return {
        "tlbench": __version__,
        "data": {
            "name": data.card.name,
            "modality": data.card.modality,
            "fingerprint": data.fingerprint,
            "origin": data.loaded.origin,
            "examples": len(data.y),
            "classes": dict(zip(data.class_names, data.counts.tolist(), strict=True)),
            "left_out": data.left_out,
        },
        "folds": [{"train": fold.train, "test": fold.test} for fold in contest.folds],
        "metric": data.card.metric,
        "advised": None if found.advised is None else found.advised[:2],
        "ways": [_of_way(way) for way in found.ways],
        "better_than": {name: _of(lead) | {"probability": lead.above()} for name, lead in found.against.items()},
        "flattery": found.flattery,
        "curve": [{"labels": point.labels} | _of(point.value) for point in found.curve],
        "gain_per_doubling": None if found.more.gain is None else _of(found.more.gain),
        "labels_to_know_the_gain": _finite(found.more.to_know),
        "labels_to_tell_rivals_apart": _finite(found.more.to_choose),
        "calibration": advice.calibration._asdict(),
        "mistakes": [each._asdict() for each in advice.mistakes],
        "not_compared": found.failed,
        "networks_left_out": contest.left_out,
        "thoroughness": contest.thoroughness,
    }


def _of_way(way: Way) -> dict[str, Any]:
    return {
        "strategy": way.strategy,
        "network": way.network,
        **_of(way.value),
        "behind_the_best": _of(way.behind),
        "told_apart_from_the_best": way.told_apart,
        "cost": way.cost,
    }


def _of(value: Estimate) -> dict[str, Any]:
    return {"mean": value.mean, "low": _finite(value.low), "high": _finite(value.high)}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
