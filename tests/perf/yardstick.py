"""How much faster is tlbench than the loops people write? The same cells, in turns, in one process with one thread.

    python tests/perf/yardstick.py                                        # about ten minutes
    python tests/perf/yardstick.py --strategies linear_probe --trials 64 --seeds 10 --budgets 5 20 100 --no-tutorial
    python tests/perf/yardstick.py --backbones glyph_vit glyph_cnn --strategies partial_freeze

Contestants: tlbench, `plain` (plain.py), and `tutorial` (tutorial.py). Prints, and writes to results/perf/ as Markdown
and JSON, a row a network and strategy: seconds of processor time of tlbench, so that what else runs counts for little;
ratios of medians to the others, with the smallest and largest of a turn; how states and test accuracies differ; the
most that caching what is frozen can give; and the share that tlbench reaches of the speed that this machine's matrix
products would allow (floor.py).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import agreement
import born
import floor
import numpy as np
import plain
import torch
import tutorial
import written

from tlbench import block as blocks
from tlbench import caches, registry, runner
from tlbench.datasets import base
from tlbench.fits import Block
from tlbench.store import Store
from tlbench.strategies.probes import LogisticStrategy
from tlbench.suite import Filter, load_suite
from tlbench.types import Effort

STRATEGIES = ("linear_probe", "full_finetune", "partial_freeze", "lora", "adapter", "bitfit", "from_scratch")
CACHED = "plain on cached features"
OTHERS = ("plain", CACHED, "tutorial")
FREE = 0.95  # of the time at work: with less a row says so
Contestant = Callable[[Block], plain.Logits]


class Row(NamedTuple):
    """What was measured of one strategy on one network; seconds by contestant, one a turn."""

    backbone: str
    strategy: str
    seconds: dict[str, list[float]]
    states: agreement.States
    points: dict[str, agreement.Points]  # by the other contestant
    flops: int  # that the block needs
    caching: float  # (prefix + suffix) / suffix in operations
    core: float  # share of the time in which the process was at work; less where it waits, or others use the core

    def median(self, of: str) -> float:
        return statistics.median(self.seconds[of])

    def ratio(self, to: str) -> tuple[float, float, float]:
        """Ratio of medians, and the smallest and largest ratio of a turn."""
        turns = [b / a for a, b in zip(self.seconds["tlbench"], self.seconds[to], strict=True)]
        return self.median(to) / self.median("tlbench"), min(turns), max(turns)

    @property
    def wrong(self) -> str:
        """Why this row does not count; "" where it does."""
        said = [] if self.states.close else ["states differ"]
        return "; ".join(said + [f"accuracies differ from {to}" for to, each in self.points.items() if not each.close])

    @property
    def remark(self) -> str:
        busy = [] if self.core > FREE else [f"at work {self.core:.0%} of the time"]
        return "; ".join(([f"does not count: {self.wrong}"] if self.wrong else []) + busy)


def main() -> None:
    asked = _parser().parse_args()
    plan = born.again()
    torch.set_num_threads(1)
    rates, rows = floor.rates(), list[Row]()
    rate = max(rates.values())
    head = _head(rates)
    print(*head, sep="\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="tlbench-yardstick-") as folder:
        y = base.sealed_labels(base.load(asked.dataset, caches.folder()))  # the first block shuts the process off
        for block in _blocks(asked, Path(folder)):
            rows.append(measured(replace(block, plan=plan), y, Path(folder), asked))
            print(_line(rows[-1], rate), flush=True)
    print(*_totals(rows, rate), sep="\n")
    text = "\n".join([*head, *(_line(row, rate) for row in rows), *_totals(rows, rate)]) + "\n"
    data = {"made": written.made(), "matrix_flops_a_second": rates, "rows": rows}
    written.write(asked.out, "yardstick", text=text, data=data)


def measured(block: Block, y: np.ndarray, folder: Path, asked: argparse.Namespace) -> Row:
    """Contestants take turns, after the checks, which warm them up; y [m] are the test labels."""
    trials, kept = plain.proposed(block), _fresh(block, folder)
    states, need = agreement.states(kept, trials), floor.needed(kept, trials)
    contestants = _contestants(block, trials, folder, tutorials=asked.tutorial)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    scores: dict[str, agreement.Accuracies] = {}
    since = time.perf_counter(), time.process_time()
    for _ in range(asked.repeats):
        for name, (contest, own) in contestants.items():
            before = time.process_time()
            logits = contest(own)
            seconds[name].append((time.process_time() - before) * len(block.jobs) / len(own.jobs))
            scores[name] = agreement.accuracies(logits, own, y)
    core = (time.process_time() - since[1]) / (time.perf_counter() - since[0])
    points = {name: agreement.points(scores["tlbench"], each) for name, each in scores.items() if name != "tlbench"}
    cell = block.jobs[0].cell
    return Row(cell.backbone, cell.strategy, seconds, states, points, need.total, need.caching, core)


def _contestants(
    block: Block, trials: plain.Trials, folder: Path, *, tutorials: bool
) -> dict[str, tuple[Contestant, Block]]:
    """Each with the cells that it works off; tlbench computes its cached activations anew each time."""
    found: dict[str, tuple[Contestant, Block]] = {
        "tlbench": (lambda own: ours(_fresh(own, folder)), block),
        "plain": (lambda own: plain.work(own, trials), block),
    }
    if issubclass(registry.STRATEGIES[block.strategy], LogisticStrategy):
        found[CACHED] = (lambda own: plain.work(own, trials, cached=True)), block
    if tutorials:
        files = Path(tempfile.mkdtemp(dir=folder))
        tutorial.write_files(block, files)
        first = tuple(job for job in block.jobs if job.cell.seed == block.jobs[0].cell.seed)
        found["tutorial"] = (lambda own: tutorial.work(own, trials, files)), replace(block, jobs=first)
    return found


def ours(block: Block) -> plain.Logits:
    """Test logits of tlbench's trials. Ends the script where a cell goes wrong."""
    outcomes = blocks.work(block)
    if wrong := [f"{each.cell.name}: {each.status} {each.reason}" for each in outcomes if not each.logits]:
        raise SystemExit("\n".join(wrong))
    return {(each.cell.key, number): logits for each in outcomes for number, logits in each.logits.items()}


def _blocks(asked: argparse.Namespace, folder: Path) -> list[Block]:
    """One a network and strategy, in the order in which they were asked for."""
    suite = load_suite("few_shot_vision", "lite", datasets=[asked.dataset], backbones=asked.backbones)
    effort = Effort(trials=asked.trials, steps=asked.steps, batch_size=16, folds="lite")
    suite = replace(
        suite, strategies=tuple(asked.strategies), budgets=tuple(asked.budgets), seeds=tuple(range(asked.seeds)),
        effort=effort,
    )  # fmt: skip
    with Store.open(folder / "store") as store:
        found = runner.planned(suite, store, runner.prepared(suite, Filter()), Filter()).blocks
    order = [(backbone, strategy) for backbone in suite.backbones for strategy in suite.strategies]
    return sorted(found, key=lambda block: order.index((block.jobs[0].cell.backbone, block.strategy)))


def _fresh(block: Block, folder: Path) -> Block:
    """The same work with nothing computed before."""
    return replace(block, cache=Path(tempfile.mkdtemp(dir=folder)))


def _head(rates: dict[str, float]) -> list[str]:
    speeds = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items())
    titles = [
        "network", "strategy", "tlbench, s", "plain / tlbench", "plain on cached features / tlbench",
        "tutorial / tlbench", "states after 10 steps: alone, among others, of rounding",
        "accuracy less plain's, points", "the same, tutorial's", "caching saves at most", "of the floor's speed", "",
    ]  # fmt: skip
    return [
        f"{written.sentence(written.made())}. One process, one thread, seconds of its processor time.",
        "",
        f"Matrix products, GFLOP/s: {speeds}; the best of them is what the floor's speed means. The tutorial's loops "
        "work off the cells of one seed; their seconds are scaled to all.",
        "",
        "| " + " | ".join(titles) + " |",
        "|---" * len(titles) + "|",
    ]


def _line(row: Row, rate: float) -> str:
    median = row.median("tlbench")
    states = row.states
    values = [
        row.backbone, row.strategy, f"{median:.2f}", *(_ratio(row, to) for to in OTHERS),
        f"{states.alone:.0e}, {states.together:.0e} of {states.lanes}, {states.rounding:.0e}" if states.lanes else "–",
        *(_points(row.points.get(to)) for to in ("plain", "tutorial")),
        f"{row.caching:.1f}x", f"{row.flops / rate / median:.0%}", row.remark,
    ]  # fmt: skip
    return "| " + " | ".join(values) + " |"


def _totals(rows: Sequence[Row], rate: float) -> list[str]:
    """By time: all seconds of one against all of the other. Rows that do not count are left out of both totals."""
    counted = [row for row in rows if not row.wrong]
    if not counted:
        return []
    spent = sum(row.median("tlbench") for row in counted)
    by_time, geometric = list[str](), list[str]()
    for to in OTHERS:
        own = [row for row in counted if to in row.seconds]
        whole = len(own) == len(counted)
        by_time.append(f"{sum(row.median(to) for row in own) / spent:.2f}" if whole else "–")
        geometric.append(f"{statistics.geometric_mean(row.ratio(to)[0] for row in own):.2f}" if whole else "–")
    floor_share = f"{sum(row.flops for row in counted) / rate / spent:.0%}"
    missing = len(rows) - len(counted)
    left_out = f"without {missing} row{'s' * (missing > 1)}" if missing else ""
    return [
        "| " + " | ".join(["all", "by time", f"{spent:.2f}", *by_time, "", "", "", "", floor_share, left_out]) + " |",
        "| " + " | ".join(["all", "geometric mean", "", *geometric, "", "", "", "", "", left_out]) + " |",
    ]


def _ratio(row: Row, to: str) -> str:
    if to not in row.seconds:
        return "–"
    median, low, high = row.ratio(to)
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _points(points: agreement.Points | None) -> str:
    return "–" if points is None else f"{points.difference:+.2f} ± {points.error:.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--backbones", nargs="+", default=["glyph_vit"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[2, 10])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tutorial", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
