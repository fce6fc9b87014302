"""How much faster is tlbench than the loops people write? The same cells, in turns, in one process with one thread.

    python tests/perf/yardstick.py --strategies lora linear_probe --budgets 2 10 --repeats 3

Prints, and writes to results/perf/ as Markdown and JSON, a row a strategy: seconds of tlbench, ratios of medians to
`plain` (plain.py) and `tutorial` (tutorial.py) with their spread, whether the states agree over the first ten steps,
and the fraction of the speed that this machine's matrix products would allow.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import plain
import torch
import tutorial

from tlbench import block as blocks
from tlbench import runner
from tlbench.backbones.linear import Product
from tlbench.engine import Lane, Pack
from tlbench.fits import Bench, Block
from tlbench.operations import Operations
from tlbench.store import Store
from tlbench.strategies.gradient import GradientStrategy
from tlbench.suite import Filter, Suite, load_suite
from tlbench.tune import Trial
from tlbench.types import Effort

STRATEGIES = ("linear_probe", "full_finetune", "partial_freeze", "lora", "adapter", "bitfit", "from_scratch")
FIRST_STEPS, CLOSE = 10, 1e-5


class Row(NamedTuple):
    """What was measured of one strategy; seconds by contestant, one a repeat."""

    strategy: str
    seconds: dict[str, list[float]]
    agreement: float  # largest relative difference of trained values after ten steps; NaN for convex strategies
    same_answers: float  # share of test predictions that tlbench and plain share
    flops: int  # that tlbench executes

    def ratio(self, to: str) -> tuple[float, float, float]:
        """Ratio of medians, and the smallest and largest ratio of a turn."""
        ours, theirs = self.seconds["tlbench"], self.seconds[to]
        turns = [b / a for a, b in zip(ours, theirs, strict=True)]
        return statistics.median(theirs) / statistics.median(ours), min(turns), max(turns)


def main() -> None:
    asked = _parser().parse_args()
    torch.set_num_threads(1)
    rate = gemm_rate()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for block in _blocks(_suite(asked), Path(folder)):
            rows.append(measured(block, Path(folder), asked))
            print(_line(rows[-1], rate), flush=True)
    text = _table(rows, rate, asked)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "yardstick.md").write_text(text)
    kept = [{**row._asdict(), "gemm_flops_a_second": rate} for row in rows]
    (asked.out / "yardstick.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(text)


def measured(block: Block, folder: Path, asked: argparse.Namespace) -> Row:
    """Contestants take turns; tlbench computes its cached activations anew each time."""
    trials, ours, flops = _first_run(_fresh(block, folder))
    contestants: dict[str, Callable[[], object]] = {
        "tlbench": lambda: blocks.work(_fresh(block, folder)),
        "plain": lambda: plain.work(block, trials),
    }
    if asked.tutorial and isinstance(plain.setting(block).strategy, GradientStrategy):
        files = Path(tempfile.mkdtemp(dir=folder))
        tutorial.write_files(block, files)
        contestants["tutorial"] = lambda: tutorial.work(block, trials, files)
    theirs = plain.work(block, trials)  # warms up
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(asked.repeats):
        for name, contest in contestants.items():
            before = time.perf_counter()
            contest()
            seconds[name].append(time.perf_counter() - before)
    same = np.mean([np.mean(ours[key].argmax(1) == theirs[key].argmax(1)) for key in ours])
    return Row(block.strategy, seconds, _agreement(block, trials), float(same), flops)


def gemm_rate() -> float:
    """Floating-point operations a second of the better of two libraries' products of 1024 x 1024 float32 matrices."""
    a, b = torch.rand(2, 1024, 1024)
    best = 0.0
    for product in (torch.matmul, lambda x, w: Product.apply(x, w)):
        for _ in range(5):
            before = time.perf_counter()
            product(a, b)
            best = max(best, 2 * 1024**3 / (time.perf_counter() - before))
    return best


def _first_run(block: Block) -> tuple[plain.Trials, plain.Logits, int]:
    """The trials that tlbench draws, its test logits, and the operations it executes."""
    with Operations() as counted:
        outcomes = blocks.work(block)
    wrong = [f"{each.cell.name}: {each.status} {each.reason}" for each in outcomes if not each.logits]
    if wrong:
        raise SystemExit("\n".join(wrong))
    trials = {o.cell.key: [Trial(t["number"], t["params"]) for t in o.selection["trials"]] for o in outcomes}
    return trials, {(o.cell.key, n): each for o in outcomes for n, each in o.logits.items()}, counted.total


def _agreement(block: Block, trials: plain.Trials) -> float:
    """Largest difference of trained values after ten steps of the first fit, relative to the largest value."""
    given, job = plain.setting(block), block.jobs[0]
    if not isinstance(given.strategy, GradientStrategy):
        return float("nan")
    fit = next(plain.fits(job, trials[job.cell.key]))
    bench = Bench(block, given.strategy)
    rows, y = (torch.from_numpy(np.ascontiguousarray(each[fit.train])) for each in (job.rows, job.y))
    network = bench.network(bench.tap(fit.trial.params))
    steps, size = bench.steps(job.cell.effort), job.cell.effort.batch_size
    pack = Pack(given.strategy, network, [Lane(fit.trial.params, rows, y, fit.seed)], steps=steps, batch_size=size)
    pack.start()
    pack.advance(min(FIRST_STEPS, steps))
    ours = pack.states[0]["theta"]
    model = plain.trained(given, fit, until=FIRST_STEPS)
    theirs = torch.nn.utils.parameters_to_vector([p for p in model.parameters() if p.requires_grad]).detach()
    return float((ours - theirs).abs().max() / ours.abs().max())


def _suite(asked: argparse.Namespace) -> Suite:
    suite = load_suite("few_shot_vision", "lite", datasets=[asked.dataset], backbones=[asked.backbone])
    effort = Effort(trials=asked.trials, steps=asked.steps, batch_size=16, folds="lite")
    return replace(
        suite, strategies=tuple(asked.strategies), budgets=tuple(asked.budgets), seeds=tuple(range(asked.seeds)),
        effort=effort,
    )  # fmt: skip


def _blocks(suite: Suite, folder: Path) -> list[Block]:
    with Store.open(folder / "store") as store:
        return runner.planned(suite, store, runner.prepared(suite, Filter()), Filter()).blocks


def _fresh(block: Block, folder: Path) -> Block:
    """The same work with nothing computed before."""
    return replace(block, cache=Path(tempfile.mkdtemp(dir=folder)))


def _line(row: Row, rate: float) -> str:
    ratios = "".join(f"{_ratio(row, to):>24}" for to in ("plain", "tutorial"))
    ours = statistics.median(row.seconds["tlbench"])
    return (
        f"{row.strategy:<16}{ours:8.2f} s{ratios}   states {row.agreement:.0e}, answers {row.same_answers:.1%}, "
        f"{row.flops / rate / ours:.0%} of the floor's speed"
    )


def _ratio(row: Row, to: str) -> str:
    if to not in row.seconds:
        return "–"
    median, low, high = row.ratio(to)
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _table(rows: list[Row], rate: float, asked: argparse.Namespace) -> str:
    total = {
        name: sum(statistics.median(row.seconds[name]) for row in rows if name in row.seconds)
        for name in ("tlbench", "plain")
    }
    lines = [
        f"`python tests/perf/yardstick.py {' '.join(sys.argv[1:])}`, one thread, {os.cpu_count()} cores, "
        f"{rate / 1e9:.0f} GFLOP/s in matrix products, torch {torch.__version__}",
        "",
        "| strategy | tlbench, s | plain / tlbench | tutorial / tlbench | states after 10 steps | answers | floor |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = statistics.median(row.seconds["tlbench"])
        lines.append(
            f"| {row.strategy} | {ours:.2f} | {_ratio(row, 'plain')} | {_ratio(row, 'tutorial')} | "
            f"{row.agreement:.1e} | {row.same_answers:.1%} | {row.flops / rate / ours:.0%} |"
        )
    lines.append(f"| all | {total['tlbench']:.2f} | {total['plain'] / total['tlbench']:.2f} | | | | |")
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--backbone", default="glyph_vit")
    parser.add_argument("--budgets", nargs="+", type=int, default=[2, 10])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tutorial", action="store_true", help="also from image files, as tutorials do")
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
