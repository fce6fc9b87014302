"""Is a pair decided as often as was foretold? Pairs that three seeds leave undecided, and what endless seeds say.

python tests/simulations/more_seeds.py > tests/simulations/more_seeds.md
"""

from __future__ import annotations

import numpy as np

from tlbench.report.stats.more_seeds import LIKELY, of_pair
from tlbench.report.stats.pairs import UNDECIDED, compare

PAIRS = 150
DATASETS, SEEDS = 12, 3
GAP = 0.03  # standard deviation of the true mean difference of a pair

HEAD = f"""# Do more seeds decide what they are said to decide?

Made by `python tests/simulations/more_seeds.py`: {PAIRS} undecided pairs a line, {DATASETS} datasets x {SEEDS} seeds;
the true difference of a pair is drawn with a standard deviation of {100 * GAP:g} points.

| spread over datasets | noise of a seed | foretold | came true | said to be likely | of these came true |
| --- | --- | --- | --- | --- | --- |"""


def outcomes(rng: np.random.Generator, taste: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """For PAIRS undecided pairs: the chance foretold for endless seeds, and whether the truth is decided."""
    foretold, came_true = [], []
    while len(foretold) < PAIRS:
        truth = GAP * rng.normal() + taste * rng.normal(size=(DATASETS, 1))
        seen = np.stack([truth + noise * rng.normal(size=(DATASETS, SEEDS)), np.zeros((DATASETS, SEEDS))])
        known = compare(seen)
        if known.verdict[0, 1] == UNDECIDED:
            foretold.append(of_pair(seen, known, (0, 1)).chance)
            came_true.append(compare(np.stack([truth, np.zeros_like(truth)])).verdict[0, 1] != UNDECIDED)
    return np.array(foretold), np.array(came_true)


def main() -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    print(HEAD)
    for taste, noise in ((0.003, 0.03), (0.01, 0.02), (0.01, 0.05), (0.03, 0.02)):
        foretold, came_true = outcomes(rng, taste, noise)
        likely = foretold >= LIKELY
        kept = f"{100 * came_true[likely].mean():.0f} %" if likely.any() else "none"
        print(f"| {100 * taste:g} points | {100 * noise:g} points | {100 * foretold.mean():.0f} % ", end="")
        print(f"| {100 * came_true.mean():.0f} % | {100 * likely.mean():.0f} % | {kept} |", flush=True)


if __name__ == "__main__":
    main()
