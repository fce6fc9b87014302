"""How often do the report's 95 % intervals hold the truth? Simulated suites whose truth is known.

    OMP_NUM_THREADS=1 python tests/simulations/coverage.py > tests/simulations/coverage.md

A world has 4,000 datasets, and a split gives one of 201 equally likely noises, so that every truth is a sum and not an
estimate. A suite draws 12 of the datasets and 5 splits of each. Scores are areas under label curves at 2, 5 and 10
labels a class, bounded by the scale of the majority floor (-0.11 to 1); noise differs between datasets and shrinks with
the labels. Eight rows see the same datasets and splits: their noises are correlated by half.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy import stats as reference

from tlbench.report import stats
from tlbench.report.scores import area
from tlbench.report.standings import ranks
from tlbench.report.stats import robust
from tlbench.report.stats.intervals import Interval
from tlbench.report.stats.resampling import Resamples, interval, means, resamples

ROWS = 8
SIZE = (12, 5)  # datasets and seeds
OTHERS = ((3, 2), (6, 3), (12, 3), (30, 10))
BUDGETS = (2, 5, 10)
PROTOTYPES, NOISES = 4_000, 201
FLOOR = 0.1
GAP = 0.04  # between neighbouring rows, on the scale of log odds
RNG_SEED = 20_260_117


SHAPES = {
    "normal": reference.norm(),
    "skewed": reference.gamma(8),  # skewness 0.7
    "strongly skewed": reference.gamma(2),  # 1.4
    "heavy": reference.t(3),
}


class World(NamedTuple):
    name: str
    spread: float  # of the datasets' difficulty, in log odds
    noise: float  # of a split at 2 labels a class, in log odds, median over datasets
    shape: str  # of the noise


WORLDS = (
    World("datasets differ, little noise", 1.0, 0.1, "normal"),
    World("datasets and splits differ", 0.6, 0.4, "normal"),
    World("skewed noise", 0.6, 0.4, "skewed"),
    World("strongly skewed noise", 0.6, 0.4, "strongly skewed"),
    World("heavy tails", 0.6, 0.4, "heavy"),
    World("alike datasets, much noise", 0.1, 0.6, "heavy"),
)


class Suites(NamedTuple):
    """Many suites drawn from one world, and what is true of each."""

    values: np.ndarray  # [ROWS, N, D, S]
    cells: np.ndarray  # [ROWS, N, D] expected scores
    typical: np.ndarray  # [N] IQM of the first row over all splits of the suite's datasets
    world: np.ndarray  # [ROWS] expected scores over all datasets
    typical_world: float


def suites(world: World, count: int, size: tuple[int, int] = SIZE) -> Suites:
    rng = np.random.Generator(np.random.PCG64(RNG_SEED))
    everything = _world(world, rng)  # [ROWS, PROTOTYPES, NOISES]
    chosen = rng.integers(PROTOTYPES, size=(count, size[0]))
    shared, own = rng.normal(size=(count, *size)), rng.normal(size=(ROWS, count, *size))
    noise = (special.ndtr((shared + own) / np.sqrt(2)) * NOISES).astype(int)  # correlated by half, each value as likely
    rows = np.arange(ROWS)[:, None, None, None]
    flat = everything[0][chosen].reshape(count, -1)
    return Suites(
        values=everything[rows, chosen[..., None], noise],
        cells=everything.mean(-1)[:, chosen],
        typical=reference.trim_mean(flat, 0.25, axis=1),
        world=everything.mean((1, 2)),
        typical_world=float(reference.trim_mean(everything[0].ravel(), 0.25)),
    )


def coverage(drawn: Suites, draws: int) -> dict[str, float]:
    """The share of suites whose interval holds the truth, for every kind that the report prints."""
    first, difference = drawn.values[0], drawn.values[0] - drawn.values[1]
    size = drawn.values.shape[2:]
    weights = resamples([f"dataset {d}" for d in range(size[0])], np.ones(size, bool), draws)
    truths = drawn.cells[0], drawn.cells[0] - drawn.cells[1]
    found = {}
    for said, values, truth, expected in (
        ("score", first, truths[0], drawn.world[0]),
        ("difference", difference, truths[1], drawn.world[0] - drawn.world[1]),
    ):
        found[f"t, cell, {said}"] = _held(stats.cell(values), truth)
        found[f"t, suite, {said}"] = _held(stats.suite(values), truth.mean(-1))
        found[f"t, tasks, {said}"] = _held(stats.tasks(values), expected)
        found[f"bootstrap, suite, {said}"] = _held(_bootstrap(weights.suite, values), truth.mean(-1))
        found[f"bootstrap, tasks, {said}"] = _held(_bootstrap(weights.tasks, values), expected)
    found["bootstrap, suite, IQM"] = _held(robust.iqm_interval(weights.suite, first), drawn.typical)
    found["bootstrap, tasks, IQM"] = _held(robust.iqm_interval(weights.tasks, first), drawn.typical_world)
    found["bootstrap, tasks, rank"] = _ranks_held(weights, drawn)
    narrow = _two_levels(draws, *size)
    found["rejected: datasets, then seeds, not widened; tasks, score"] = _held(
        _bootstrap(narrow, first), drawn.world[0]
    )
    found["rejected: the same; tasks, difference"] = _held(
        _bootstrap(narrow, difference), drawn.world[0] - drawn.world[1]
    )
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """One line a kind of interval, one column a world or a size; percent."""
    kinds = next(iter(found.values()))
    lines = [
        f"| interval | {' | '.join(found)} |",
        "| --- |" + " --- |" * len(found),
        *(f"| {kind} | {' | '.join(_percent(one[kind]) for one in found.values())} |" for kind in kinds),
    ]
    return "\n".join(lines)


def _world(world: World, rng: np.random.Generator) -> np.ndarray:
    """Areas [ROWS, PROTOTYPES, NOISES] of every row on every dataset under every noise."""
    difficulty = world.spread * rng.normal(size=PROTOTYPES)
    taste = 0.3 * rng.normal(size=(ROWS, PROTOTYPES)) * min(world.spread, 1.0)
    level = difficulty + taste - GAP * np.arange(ROWS)[:, None]
    slope = 0.4 + 0.1 * rng.normal(size=PROTOTYPES)
    scale = world.noise * np.exp(0.5 * rng.normal(size=PROTOTYPES))
    x = np.log2(np.array(BUDGETS) / BUDGETS[0])[:, None]  # [B, 1]
    noise = _noise(world.shape) / (1 + 0.3 * x)  # [B, NOISES]
    made = np.empty((ROWS, PROTOTYPES, NOISES))
    for row in range(ROWS):
        odds = level[row, :, None, None] + slope[:, None, None] * x + scale[:, None, None] * noise
        made[row] = area((special.expit(odds) - FLOOR) / (1 - FLOOR), BUDGETS)
    return made


def _noise(shape: str) -> np.ndarray:
    """[NOISES] equally likely values of mean 0 and deviation 1."""
    at = (np.arange(NOISES) + 0.5) / NOISES
    values = SHAPES[shape].ppf(at)
    return (values - values.mean()) / values.std()


def _bootstrap(weights: np.ndarray, values: np.ndarray) -> Interval:
    return interval(means(weights, values), values.mean((-2, -1)))


def _two_levels(draws: int, datasets: int, seeds: int) -> np.ndarray:
    """Weights of the scheme that was not kept: datasets are redrawn, then the seeds of each."""
    rng = np.random.Generator(np.random.PCG64(RNG_SEED))
    times = rng.multinomial(datasets, np.full(datasets, 1 / datasets), size=draws)
    return rng.multinomial(seeds * times, np.full(seeds, 1 / seeds)) / (seeds * datasets)


def _ranks_held(weights: Resamples, drawn: Suites) -> float:
    """Over all rows and suites; a rank is discrete, so that its interval holds more than it promises."""
    if np.isnan(weights.tasks).any():
        return np.nan
    true = 1 + (drawn.world[:, None] < drawn.world).sum(1)
    held = []
    for values in drawn.values.swapaxes(0, 1)[:1_000]:  # [ROWS, D, S]
        found = ranks(means(weights.tasks, values))
        held.append(np.mean((found.low <= true) & (true <= found.high)))
    return float(np.mean(held))


def _percent(share: float) -> str:
    return "none given" if np.isnan(share) else f"{100 * share:.1f}"


def _held(found: Interval, truth: np.ndarray | float) -> float:
    """NaN where no interval is given."""
    if np.isnan(found.low).all():
        return np.nan
    return float(np.mean((found.low <= truth) & (truth <= found.high)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", type=int, default=2_000)
    parser.add_argument("--resamples", type=int, default=4_000)
    asked = parser.parse_args()
    error = 100 * np.sqrt(0.05 * 0.95 / asked.suites)
    found = {world.name: coverage(suites(world, asked.suites), asked.resamples) for world in WORLDS}
    sizes = {f"{d} x {s}": coverage(suites(WORLDS[1], asked.suites, (d, s)), asked.resamples) for d, s in OTHERS}
    command = f"python tests/simulations/coverage.py --suites {asked.suites} --resamples {asked.resamples}"
    print(
        f"# Coverage of 95 % intervals\n\nPercent of {asked.suites:,} simulated suites whose interval holds the truth; "
        f"{asked.resamples:,} resamples; seed {RNG_SEED}; standard error {error:.1f}. Made by\n\n"
        f"    OMP_NUM_THREADS=1 {command} > tests/simulations/coverage.md\n\n"
        f"## {SIZE[0]} datasets x {SIZE[1]} seeds\n\n{table(found)}\n\n"
        f"## Other numbers of datasets x seeds, where {WORLDS[1].name}\n\n{table(sizes)}"
    )


if __name__ == "__main__":
    main()
