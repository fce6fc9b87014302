"""What does successive halving save, and what does it lose? The same searches with and without it, in turns.

    python tests/perf/halving.py --datasets digits typeface --strategies lora --trials 16

One process, one thread. Both searches of a cell draw the same trials on the same folds. What is lost of the best
validation value is told strictly: the best value that a trial reaches at the end, less the value that the trial chosen
with halving reaches there. It is never negative: the largest of many noisy values is more than its trial is worth, and
halving looks at fewer. What is lost on the test set, where both chosen trials are fitted on all labels, is unbiased.
Prints, and writes to results/perf/ as Markdown and JSON, a row a dataset and strategy.
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
from tlbench.block import _refit, tuned
from tlbench.datasets import base
from tlbench.fits import Bench, Block, Job
from tlbench.metrics import all_metrics
from tlbench.packs import Bill, Fits
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
    lost_on_test: list[float]
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
        for block, labels in _blocks(asked, Path(folder)):
            rows.append(measured(block, labels, asked))
            print(_line(rows[-1]), flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / f"{asked.name}.md").write_text(table(rows))
    made = {"command": _command(), "cores": os.cpu_count(), "torch": torch.__version__}
    kept = {**made, "rows": [row._asdict() for row in rows]}
    (asked.out / f"{asked.name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(table(rows))


def measured(block: Block, labels: np.ndarray, asked: argparse.Namespace) -> Row:
    """The cells of each budget together, as a worker has them: the whole searches first, then the halved ones."""
    bench = Bench(block, STRATEGIES[block.strategy]())
    searched(bench, _with(block.jobs[:1], trials=2, rungs=(), steps=2))  # what is cached is no part of the comparison
    best, lost, tested, pairs = list[float](), list[float](), list[float](), list[tuple[Searched, Searched]]()
    for budget in asked.budgets:
        jobs = [job for job in block.jobs if job.cell.budget == budget]
        whole, halved = (searched(bench, _with(jobs, rungs=rungs)) for rungs in ((), tuple(asked.rungs)))
        pairs.append((whole, halved))
        for complete, cut in zip(whole.searches, halved.searches, strict=True):
            best.append(complete.winner().value)
            lost.append(best[-1] - complete.trials[cut.winner().number].value)
        scores = [_on_test(bench, jobs, side.searches, labels) for side in (whole, halved)]
        tested += [a - b for a, b in zip(*scores, strict=True)]
    steps, seconds, refits = (
        tuple(sum(getattr(each, name) for each in side) for side in zip(*pairs, strict=True))
        for name in ("steps", "seconds", "refits")
    )
    return Row(block.name, best, lost, tested, steps, seconds, refits)


def searched(bench: Bench, jobs: Sequence[Job]) -> Searched:
    before = time.perf_counter()
    searches, bill = tuned(bench, jobs)
    seconds = time.perf_counter() - before
    return Searched([searches[job.cell.key] for job in jobs], sum(bill.steps.values()), seconds)


def _on_test(bench: Bench, jobs: Sequence[Job], searches: Sequence[Search], labels: np.ndarray) -> list[float]:
    """The metric of each cell's chosen trial, fitted on all its labels."""
    fits = [_refit(job, search.winner()) for job, search in zip(jobs, searches, strict=True)]
    fitted = Fits(bench, Bill()).on_test(fits, bench.steps(jobs[0].cell.effort))
    found = {each.fit.job.cell.key: all_metrics(each.logits, labels)[each.fit.job.cell.metric] for each in fitted}
    return [found[job.cell.key] for job in jobs]


def table(rows: Sequence[Row]) -> str:
    everything = [sum((getattr(row, name) for row in rows), start=[]) for name in ("best", "lost", "lost_on_test")]
    pairs = [np.sum([getattr(row, name) for row in rows], axis=0).tolist() for name in ("steps", "seconds", "refits")]
    head = [
        f"`{_command()}`, one thread, {os.cpu_count()} cores, torch {torch.__version__}",
        "",
        "| dataset and strategy | cells | best value | lost, points | lost on test | steps | seconds | refits |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *map(_line, rows), _line(Row("all", *everything, *pairs))]) + "\n"


def _line(row: Row) -> str:
    steps, refits = (f"{b:,} of {a:,} ({a / b:.1f}x)" for a, b in (row.steps, row.refits))
    seconds = "{1:.1f} of {0:.1f} ({2:.1f}x)".format(*row.seconds, row.seconds[0] / row.seconds[1])
    lost, on_test = _mean(row.lost), _mean(row.lost_on_test)
    return (
        f"| {row.name} | {len(row.lost)} | {100 * np.mean(row.best):.1f} | {lost} | {on_test} | "
        f"{steps} | {seconds} | {refits} |"
    )


def _mean(differences: Sequence[float]) -> str:
    """In points, with the 95 % half-width of Student's t over cells."""
    points = 100 * np.array(differences)
    half = stats.t.ppf(0.975, len(points) - 1) * points.std(ddof=1) / len(points) ** 0.5 if len(points) > 1 else np.nan
    return f"{points.mean():.2f} ± {half:.2f}"


def _with(jobs: Sequence[Job], **changes: object) -> list[Job]:
    return [replace(job, cell=replace(job.cell, effort=replace(job.cell.effort, **changes))) for job in jobs]


def _blocks(asked: argparse.Namespace, folder: Path) -> list[tuple[Block, np.ndarray]]:
    """Each block with its test labels."""
    effort = Effort(trials=asked.trials, steps=asked.steps, batch_size=16, folds=asked.folds, eta=asked.eta)
    suite = replace(
        load_suite("few_shot_vision", "lite", datasets=asked.datasets, backbones=[asked.backbone]),
        strategies=tuple(asked.strategies),
        budgets=tuple(asked.budgets),
        seeds=tuple(range(asked.seeds)),
        effort=effort,
    )
    data = runner.prepared(suite, Filter())
    labels = {name: base.sealed_labels(each.loaded) for name, each in data.items()}
    with Store.open(folder / "store") as store:
        blocks = runner.planned(suite, store, data, Filter()).blocks
    return [(replace(block, cache=folder), labels[block.jobs[0].cell.dataset]) for block in blocks]


def _command() -> str:
    return " ".join(["python", "tests/perf/halving.py", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["digits", "photo_patches", "typeface"])
    parser.add_argument("--strategies", nargs="+", default=["full_finetune", "lora", "bitfit"])
    parser.add_argument("--backbone", default="glyph_vit")
    parser.add_argument("--budgets", nargs="+", type=int, default=[2, 5, 10])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--folds", choices=["lite", "standard"], default="lite")
    parser.add_argument("--rungs", nargs="+", type=float, default=[1 / 6, 1 / 2])
    parser.add_argument("--eta", type=int, default=3)
    parser.add_argument("--name", default="halving", help="of the files that are written")
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
