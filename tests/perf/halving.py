"""What does successive halving save, and what does it lose? The same searches with and without it, in turns.

    python tests/perf/halving.py --datasets digits typeface --strategies lora --trials 16

One process, one thread. Both searches of a cell draw the same trials on the same folds. What is lost is told strictly:
the best validation value that a trial reaches at the end, less the value that the trial chosen with halving reaches
there. Prints, and writes to results/perf/ as Markdown and JSON, a row a dataset and strategy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats

from tlbench import runner
from tlbench.block import tuned
from tlbench.fits import Bench, Block, Job
from tlbench.registry import STRATEGIES
from tlbench.store import Store
from tlbench.suite import Filter, load_suite
from tlbench.tune import Search
from tlbench.types import Effort


class Row(NamedTuple):
    """The cells of one dataset and strategy; pairs are (without halving, with it)."""

    name: str
    best: list[float]  # validation value of the best trial at the end, one a cell
    lost: list[float]  # of it, by halving
    steps: tuple[int, int]
    seconds: tuple[float, float]
    refits: tuple[int, int]


class Searched(NamedTuple):
    searches: list[Search]
    steps: int
    seconds: float

    @property
    def refits(self) -> int:
        return sum(len(search.finalists()) for search in self.searches)


def main() -> None:
    asked = _parser().parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for block in _blocks(asked, Path(folder)):
            rows.append(measured(block, asked))
            print(_line(rows[-1]), flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "halving.md").write_text(table(rows))
    made = {"command": _command(), "cores": os.cpu_count(), "torch": torch.__version__}
    kept = {**made, "rows": [row._asdict() for row in rows]}
    (asked.out / "halving.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(table(rows))


def measured(block: Block, asked: argparse.Namespace) -> Row:
    """The cells of each budget together, as a worker has them: the whole searches first, then the halved ones."""
    bench = Bench(block, STRATEGIES[block.strategy]())
    searched(bench, _with(block.jobs[:1], trials=2, rungs=(), steps=2))  # what is cached is no part of the comparison
    best, lost, pairs = list[float](), list[float](), list[tuple[Searched, Searched]]()
    for budget in asked.budgets:
        jobs = [job for job in block.jobs if job.cell.budget == budget]
        whole, halved = (searched(bench, _with(jobs, rungs=rungs)) for rungs in ((), tuple(asked.rungs)))
        pairs.append((whole, halved))
        for complete, cut in zip(whole.searches, halved.searches, strict=True):
            best.append(complete.winner().value)
            lost.append(best[-1] - complete.trials[cut.winner().number].value)
    steps, seconds, refits = (
        tuple(sum(getattr(each, name) for each in side) for side in zip(*pairs, strict=True))
        for name in ("steps", "seconds", "refits")
    )
    return Row(block.name, best, lost, steps, seconds, refits)


def searched(bench: Bench, jobs: Sequence[Job]) -> Searched:
    before = time.perf_counter()
    searches, bill = tuned(bench, jobs)
    seconds = time.perf_counter() - before
    return Searched([searches[job.cell.key] for job in jobs], sum(bill.steps.values()), seconds)


def table(rows: Sequence[Row]) -> str:
    everything = [sum((getattr(row, name) for row in rows), start=[]) for name in ("best", "lost")]
    pairs = [tuple(np.sum([getattr(row, name) for row in rows], axis=0)) for name in ("steps", "seconds", "refits")]
    head = [
        f"`{_command()}`, one thread, {os.cpu_count()} cores, torch {torch.__version__}",
        "",
        "| dataset and strategy | cells | best value | lost by halving, points | steps | seconds | refits |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *map(_line, rows), _line(Row("all", *everything, *pairs))]) + "\n"


def _line(row: Row) -> str:
    lost = 100 * np.array(row.lost)
    half = stats.t.ppf(0.975, len(lost) - 1) * lost.std(ddof=1) / len(lost) ** 0.5 if len(lost) > 1 else np.nan
    steps, seconds, refits = (f"{b:,.0f} of {a:,.0f} ({a / b:.1f}x)" for a, b in (row.steps, row.seconds, row.refits))
    return (
        f"| {row.name} | {len(lost)} | {100 * np.mean(row.best):.1f} | {lost.mean():.2f} ± {half:.2f} | "
        f"{steps} | {seconds} | {refits} |"
    )


def _with(jobs: Sequence[Job], **changes: object) -> list[Job]:
    return [replace(job, cell=replace(job.cell, effort=replace(job.cell.effort, **changes))) for job in jobs]


def _blocks(asked: argparse.Namespace, folder: Path) -> list[Block]:
    effort = Effort(trials=asked.trials, steps=asked.steps, batch_size=16, folds=asked.folds, eta=asked.eta)
    suite = replace(
        load_suite("few_shot_vision", "lite", datasets=asked.datasets, backbones=[asked.backbone]),
        strategies=tuple(asked.strategies),
        budgets=tuple(asked.budgets),
        seeds=tuple(range(asked.seeds)),
        effort=effort,
    )
    with Store.open(folder / "store") as store:
        blocks = runner.planned(suite, store, runner.prepared(suite, Filter()), Filter()).blocks
    return [replace(block, cache=folder) for block in blocks]


def _command() -> str:
    return " ".join(["python", "tests/perf/halving.py", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["digits", "photo_patches", "typeface"])
    parser.add_argument("--strategies", nargs="+", default=["full_finetune", "lora", "bitfit"])
    parser.add_argument("--backbone", default="glyph_vit")
    parser.add_argument("--budgets", nargs="+", type=int, default=[2, 10])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--folds", choices=["lite", "standard"], default="lite")
    parser.add_argument("--rungs", nargs="+", type=float, default=[1 / 9, 1 / 3])
    parser.add_argument("--eta", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
