"""How long does each statistic of a large leaderboard take? Seconds of CPU and peak memory; run by `make perf`.

python tests/perf/inference.py --strategies 50 --datasets 30 --budgets 6 --seeds 10
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from tlbench.report.analysis import Analysis
from tlbench.report.meta import Meta

# In the order in which a report needs them: what an earlier one has made, a later one only reads.
STATISTICS: dict[str, Callable[[Analysis], object]] = {
    "headline, pairs and tiers": lambda analysis: analysis.ranking,
    "resamples": lambda analysis: analysis.resamples,
    "rank intervals, IQM, profiles": lambda analysis: analysis.standings,
    "sensitivity": lambda analysis: analysis.sensitivity,
    "verdicts, ratings, more seeds": lambda analysis: analysis.verdicts,
    "crossovers, labels needed": lambda analysis: analysis.labels,
    "negative transfer": lambda analysis: analysis.transfer,
}


def cells(*, strategies: int, datasets: int, budgets: int, seeds: int) -> pd.DataFrame:
    """A whole suite of cells with no hole; strategies are close, so that little is decided early."""
    rng = np.random.Generator(np.random.PCG64(7))
    names = [f"strategy {i}" for i in range(strategies)], [f"dataset {i}" for i in range(datasets)]
    sizes = [2**b for b in range(budgets)]
    axes = pd.MultiIndex.from_product([*names, sizes, range(seeds)], names=["strategy", "dataset", "budget", "seed"])
    frame = axes.to_frame(index=False)
    level = [rng.normal(0.5, 0.03, strategies), rng.normal(0, 0.1, datasets)]
    places = [pd.Categorical(frame[name], known).codes for name, known in zip(axes.names, names, strict=False)]
    taste = rng.normal(0, 0.05, (strategies, datasets))[tuple(places)]
    score = level[0][places[0]] + level[1][places[1]] + taste + 0.03 * np.log2(frame.budget)
    score += rng.normal(0, 0.03, len(frame))
    flops = dict(zip(names[0], 10 ** rng.uniform(8, 11, strategies), strict=True))
    return frame.assign(
        key=[f"{i:06d}" for i in range(len(frame))], backbone="glyph_vit", status="done", reason="", score=score,
        train_flops=frame.strategy.map(flops) * frame.budget,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("strategies", 50), ("datasets", 30), ("budgets", 6), ("seeds", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = vars(parser.parse_args())
    analysis = Analysis(cells(**asked), Meta("inference", "standard", "python tests/perf/inference.py"))
    whole = 0.0
    for name, make in STATISTICS.items():
        before = time.process_time()
        make(analysis)
        seconds = time.process_time() - before
        whole += seconds
        print(f"{seconds:7.2f} s  {name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = " x ".join(f"{number} {name}" for name, number in asked.items())
    print(f"{whole:7.2f} s  all, {size}; peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()
