"""How often are two copies of one strategy called different, and how often is a better one found?

    python tests/simulations/a_a.py > tests/simulations/a_a.md

Simulated leaderboards, as large as a small suite: 12 datasets x 5 seeds x 3 budgets. Strategies differ in their mean
and in their taste for datasets; each cell has its own noise, and splits are shared, which moves all scores of a seed
together. Two of the strategies have the same truth and their own noise: the copies.
"""

from __future__ import annotations

import numpy as np

from tlbench.report.scores import area
from tlbench.report.stats.pairs import BETTER, EQUIVALENT, WORSE, compare

LEADERBOARDS = 1_000
DATASETS, SEEDS, BUDGETS = 12, 5, (2, 5, 10)
TASTE = 0.03  # standard deviation of a strategy's own difference on a dataset
SPLIT, NOISE = 0.03, 0.02  # of what a split adds to all strategies, and of what a seed adds to one

HEAD = f"""# Two copies of one strategy, and one that is better

Made by `python tests/simulations/a_a.py`: {LEADERBOARDS} leaderboards a line, {DATASETS} datasets x {SEEDS} seeds x \
{len(BUDGETS)} budgets.
A seed's own noise is {100 * NOISE:g} points; datasets differ in what they add to a strategy by the spread named.

| strategies | truth | spread over datasets | better | worse | equivalent | different, headline or a budget |
| --- | --- | --- | --- | --- | --- | --- |"""


def leaderboard(rng: np.random.Generator, strategies: int, gap: float, taste: float) -> np.ndarray:
    """[strategies, D, B, S]; the first two are the copies, the first of them above the other by `gap` in truth."""
    mean = rng.normal(0.5, 0.1, (strategies, 1, 1, 1)) + 0.08 * np.arange(len(BUDGETS))[:, None]
    own = taste * rng.normal(size=(strategies, DATASETS, 1, 1))
    if not gap:
        own[1] = own[0]
    mean[1] = mean[0] - gap
    shared = 0.1 * rng.normal(size=(DATASETS, 1, 1)) + SPLIT * rng.normal(size=(DATASETS, len(BUDGETS), SEEDS))
    return mean + own + shared + NOISE * rng.normal(size=(strategies, DATASETS, len(BUDGETS), SEEDS))


def shares(strategies: int, gap: float, taste: float) -> dict[str, float]:
    """Of LEADERBOARDS: how often the first copy is called better, worse or equivalent, by the headline and anywhere."""
    rng = np.random.Generator(np.random.PCG64([strategies, round(1000 * gap), round(1000 * taste)]))
    counts = dict.fromkeys(("better", "worse", "equivalent", "different at any budget"), 0)
    for _ in range(LEADERBOARDS):
        z = leaderboard(rng, strategies, gap, taste)
        headline = compare(area(z, BUDGETS)).verdict[0, 1]
        at = [compare(z[:, :, b], equivalence=False).verdict[0, 1] for b in range(len(BUDGETS))]
        counts["better"] += headline == BETTER
        counts["worse"] += headline == WORSE
        counts["equivalent"] += headline == EQUIVALENT
        counts["different at any budget"] += bool({headline, *at} & {BETTER, WORSE})
    return {name: count / LEADERBOARDS for name, count in counts.items()}


def any_different(strategies: int) -> float:
    """Of LEADERBOARDS of copies alone: how often any pair is called better or worse."""
    rng = np.random.Generator(np.random.PCG64(strategies))
    found = 0
    for _ in range(LEADERBOARDS):
        z = 0.5 + NOISE * rng.normal(size=(strategies, DATASETS, len(BUDGETS), SEEDS))
        found += bool((compare(area(z, BUDGETS), equivalence=False).verdict == BETTER).any())
    return found / LEADERBOARDS


def main() -> None:
    print(HEAD)
    cases = [(0.0, TASTE), *((gap, taste) for taste in (0.01, TASTE) for gap in (0.01, 0.03, 0.05))]
    for strategies in (5, 10):
        for gap, taste in cases:
            found = " | ".join(f"{100 * share:.1f} %" for share in shares(strategies, gap, taste).values())
            truth, spread = (f"+{100 * gap:g} points", f"{100 * taste:g} points") if gap else ("two copies", "none")
            print(f"| {strategies} | {truth} | {spread} | {found} |", flush=True)
    print("\nThe last column asks four families of tests at once; each is held to 5 % by itself.")
    print("\nWhere all are copies of one, the share of leaderboards whose headline calls any two different:")
    for strategies in (5, 10):
        print(f"{strategies} strategies: {100 * any_different(strategies):.1f} %.")


if __name__ == "__main__":
    main()
