"""How should two cores be used? The same blocks by one or two processes of one or two threads, pinned or not.

    python tests/perf/layout.py --steps 32 --repeats 3

Layouts take turns; each turn is a whole run into a new folder with the frozen features at hand. Prints, and writes to
results/perf/layout.{md,json}: seconds of the blocks and of the whole run (with the start of workers, judging and
storing), the share of the workers' time in which one had no block, threads that computed, and the most memory of all
processes (proportional set size: shared pages count once).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import written
from memory import Peak

from tlbench import block as blocks
from tlbench import executors, machine, runner
from tlbench.block import Outcome
from tlbench.executors import Means
from tlbench.fits import Block
from tlbench.store import Store
from tlbench.suite import Suite, load_suite

LOG = "TLBENCH_PERF_LOG"  # a file of lines (process, begin, end, busy threads)
BUSY = 0.05  # of a block's processor time, from which a thread counts


class Layout(NamedTuple):
    workers: int
    threads: int
    pinned: bool

    def __str__(self) -> str:
        return f"{self.workers} x {self.threads}{', pinned' if self.pinned else ''}"


class Turn(NamedTuple):
    """What one run took."""

    blocks: float  # seconds from the first block's begin to the last one's end
    whole: float
    processor: float  # seconds of the workers in blocks
    idle: float  # share of the workers' time between those two in which they had no block
    tail: float  # seconds in which a worker had nothing left to do
    threads: int  # that computed, in the busiest worker
    memory: float  # MiB, of all processes together, at most


def main() -> None:
    asked = _parser().parse_args()
    layouts = [Layout(2, 1, True), Layout(2, 1, False), Layout(1, 2, False), Layout(1, 1, False)]
    suite = _suite(asked)
    turns: dict[Layout, list[Turn]] = {layout: [] for layout in layouts}
    executors._work = work
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLBENCH_CACHE"] = folder
        with Store.open(Path(folder) / "machine") as store:
            plan = machine.kept(store, "cpu", say=print)
        machine.kept = lambda *_, **__: plan  # measured once, not for each new folder
        turn(suite, layouts[0])  # makes datasets and features
        for _ in range(asked.repeats):
            for layout in layouts:
                turns[layout].append(turn(suite, layout))
                print(layout, turns[layout][-1], flush=True)
    how, rows = written.made(), {str(layout): _row(turns[layout]) for layout in layouts}
    text = _text(rows, written.sentence(how), len(suite.cells()))
    written.write(asked.out, "layout", text=text, data={"how": how, "rows": {k: v._asdict() for k, v in rows.items()}})
    print(text)


def turn(suite: Suite, layout: Layout) -> Turn:
    """One run into a new folder."""
    if not layout.pinned:
        executors.seats = lambda *_: None
    else:
        executors.seats = SEATS
    executors.THREADS.update(dict.fromkeys(executors.THREADS, str(layout.threads)))
    with tempfile.TemporaryDirectory() as folder, Peak(os.getpid()) as memory:
        os.environ[LOG] = f"{folder}/log"
        before = time.perf_counter()
        summary = runner.run(suite, results=Path(folder), means=Means(layout.workers, "cpu"))
        whole = time.perf_counter() - before
        lines = [list(map(float, line.split())) for line in Path(os.environ[LOG]).read_text().splitlines()]
    assert summary.ok
    begin, end = min(line[1] for line in lines), max(line[2] for line in lines)
    span, work_seconds = end - begin, sum(line[2] - line[1] for line in lines)
    ends = [max(line[2] for line in lines if line[0] == process) for process in {line[0] for line in lines}]
    return Turn(
        blocks=span,
        whole=whole,
        processor=sum(line[3] for line in lines),
        idle=1 - work_seconds / span / layout.workers,
        tail=layout.workers * end - sum(ends) - (layout.workers - len(ends)) * begin,
        threads=int(max(line[4] for line in lines)),
        memory=memory.mib,
    )


def work(block: Block) -> list[Outcome]:
    """A worker's job with as many threads as its environment allows, and a line on when and how it was done."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    blocks.torch.set_num_threads = lambda _: None
    before, begin, threads = time.process_time(), time.time(), _threads()
    found = blocks.work(block)
    end, processor = time.time(), time.process_time() - before
    ran = [seconds - threads.get(name, 0.0) for name, seconds in _threads().items()]
    busy = sum(seconds > BUSY * processor for seconds in ran)
    with open(os.environ[LOG], "a") as file:
        file.write(f"{os.getpid()} {begin} {end} {processor} {busy}\n")
    return found


def _threads() -> dict[str, float]:
    """Processor seconds of each thread of this process."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[task.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _row(turns: list[Turn]) -> Turn:
    """Medians, and the most threads and memory."""
    columns = list(zip(*turns, strict=True))
    return Turn(*(statistics.median(column) for column in columns[:5]), max(columns[5]), max(columns[6]))


def _text(rows: dict[str, Turn], how: str, cells: int) -> str:
    lines = [
        f"{how}; {cells} cells. The run's own first choice comes first; processes x threads.",
        "",
        "| layout | blocks, s | whole run, s | its time to the first | idle | at the end, s | threads | memory, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = next(iter(rows.values()))
    for layout, row in rows.items():
        lines.append(
            f"| {layout} | {row.blocks:.1f} | {row.whole:.1f} | {row.blocks / first.blocks:.2f} | {row.idle:.1%} | "
            f"{row.tail:.1f} | {row.threads} | {row.memory:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _suite(asked: argparse.Namespace) -> Suite:
    suite = load_suite("few_shot_vision", "lite", datasets=asked.datasets)
    return replace(
        suite,
        strategies=tuple(asked.strategies or suite.strategies),
        budgets=tuple(asked.budgets),
        seeds=tuple(range(asked.seeds)),
        effort=replace(suite.effort, steps=asked.steps),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["digits", "hebrew"])
    parser.add_argument("--strategies", nargs="+", default=[], help="all ten of the suite by default")
    parser.add_argument("--budgets", nargs="+", type=int, default=[2, 10])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


SEATS = executors.seats
if __name__ == "__main__":
    main()
