"""How often do intervals of crossovers and of label equivalence hold the truth? Simulated suites whose truth is known.

    OMP_NUM_THREADS=1 python tests/simulations/label_questions.py > tests/simulations/label_questions.md

Two strategies on datasets whose difficulty, and whose liking for each strategy, is random; scores are bounded by 1 and
noise shrinks with the labels. The truth of `tasks` is that of the mean curves over 200,000 such datasets, the truth of
`suite` that of the expected curves of the datasets at hand. Where the curves never cross, an interval holds the truth
if it is open on that side. Labels needed are counted where the truth lies within the budgets.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from scipy import special

from tlbench.report.label_questions import Answers, answers
from tlbench.report.stats.curves import Place, meeting, reach
from tlbench.report.stats.resampling import means, resamples

BUDGETS = (1, 2, 5, 10, 20, 50)
POPULATION = 200_000
RNG_SEED = 20_260_118


class World(NamedTuple):
    """Two curves in log odds at one label, and what a doubling of the labels adds to them."""

    name: str
    levels: tuple[float, float]
    slopes: tuple[float, float]
    taste: float = 0.25  # sd over datasets of how much a strategy suits a dataset, in log odds
    noise: float = 0.3  # sd over splits at one label, in log odds


WORLDS = (
    World("cross in the middle", (-1.0, -0.4), (0.45, 0.25)),
    World("cross in the middle, datasets much alike", (-1.0, -0.4), (0.45, 0.25), taste=0.08),
    World("cross near the last budget", (-1.0, -0.4), (0.36, 0.25)),
    World("never cross", (-0.6, -0.9), (0.35, 0.33)),
)


def main(repetitions: int, datasets: int, seeds: int) -> None:
    print("# How often intervals of crossovers and of labels needed hold the truth\n")
    print(f"Made by `python tests/simulations/label_questions.py --repetitions {repetitions}`, seed {RNG_SEED}:")
    print(f"{repetitions:,} simulated suites of {datasets} datasets x {seeds} splits in each world; nominal 95 %.\n")
    print("| world | kind | crossover held | placed within the budgets | labels needed held | of these open |")
    print("| --- | --- | --- | --- | --- | --- |")
    for world in WORLDS:
        for kind, (crossover, located, needed, censored) in simulated(world, repetitions, datasets, seeds).items():
            held = f"{100 * crossover:.1f} % | {100 * located:.0f} % | {100 * needed:.1f} % | {100 * censored:.0f} %"
            print(f"| {world.name} | {kind} | {held} |")


def simulated(world: World, repetitions: int, datasets: int, seeds: int) -> dict[str, list[float]]:
    """For each kind: how often crossover and labels needed are held, the first is placed, the second is open."""
    rng = np.random.Generator(np.random.PCG64(RNG_SEED))
    weights = resamples([f"dataset {d}" for d in range(datasets)], np.ones((datasets, seeds), bool))
    population = _truth(_expected(world, _effects(world, POPULATION, rng)))
    found: dict[str, list] = {"tasks": [], "suite": []}
    for _ in range(repetitions):
        effects = _effects(world, datasets, rng)
        noise = rng.normal(0, world.noise, (len(BUDGETS), 2, datasets, seeds))
        z = _scores(world, effects, noise)
        curves = z.mean((2, 3))
        here = _truth(_expected(world, effects))
        for kind, weight, truth in (("tasks", weights.tasks, population), ("suite", weights.suite, here)):
            draws = np.ascontiguousarray(np.moveaxis(means(weight, z), 0, -1))
            found[kind].append(_held(answers(curves, draws, BUDGETS), truth))
    return {kind: [float(np.nanmean(part)) for part in zip(*all_, strict=True)] for kind, all_ in found.items()}


def _effects(world: World, datasets: int, rng: np.random.Generator) -> np.ndarray:
    """[2 strategies, datasets] in log odds: a difficulty that they share, and each one's own part."""
    return rng.normal(0, 0.6, datasets) + rng.normal(0, world.taste, (2, datasets))


def _scores(world: World, effects: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """[B, 2, D, S] for noise [B, 2, D, S], which broadcasts."""
    doublings = np.log2(BUDGETS)[:, None, None]
    odds = np.array(world.levels)[:, None] + doublings * np.array(world.slopes)[:, None] + effects
    return special.expit(odds[..., None] + noise / np.sqrt(1 + doublings[..., None]))


def _expected(world: World, effects: np.ndarray) -> np.ndarray:
    """[B, 2]: mean over datasets of what splits give on average, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    parts = [_scores(world, effects, np.full(1, world.noise * node))[..., 0].mean(-1) for node in nodes]
    return np.tensordot(weights / weights.sum(), parts, 1)


def _truth(curves: np.ndarray) -> tuple[float, np.ndarray]:
    """From mean curves [B, 2]: where the first is ahead from, and the labels that the second needs to match it."""
    ahead = float(meeting(curves[:, 0] - curves[:, 1], BUDGETS).ahead)
    return ahead, reach(curves[:, 1, None], curves[:, 0], BUDGETS)


def _held(made: Answers, truth: tuple[float, np.ndarray]) -> tuple[bool, bool, np.ndarray, np.ndarray]:
    """Is the crossover held, and placed; are the labels needed [B], and is their interval open; NaN: not within."""
    ahead = Place(*(values[0, 1] for values in made.ahead))
    needed = Place(*(values[0, 1] for values in made.needed))
    placed = bool(ahead.low > 0 and np.isfinite(ahead.high))
    inside = np.where((truth[1] > 0) & np.isfinite(truth[1]), 1.0, np.nan)
    held = (needed.low <= truth[1]) & (truth[1] <= needed.high)
    open_ = (needed.low == 0) | np.isinf(needed.high)
    return bool(ahead.low <= truth[0] <= ahead.high), placed, held * inside, open_ * inside


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1_000)
    parser.add_argument("--datasets", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    main(**vars(parser.parse_args()))
