"""How long does a whole grid take on all cores, against the loops people write? With and without halving.

    python tests/perf/grid.py                  # few_shot_vision, preset lite, two workers: about an hour
    python tests/perf/grid.py --datasets digits hebrew   # a sixth of it
    python tests/perf/grid.py --quick          # a tiny grid: does the script run?

`tlbench run` makes the grid twice, each time in a fresh results folder with an empty cache: without halving (every
trial goes to the end) and with the suite's own. `plain` and `tutorial` know no halving; they work off a sample of its
cells, one dataset of each group and one seed, spread over as many processes of one thread as tlbench has workers.
Their time is scaled strategy by strategy: mean seconds of a sampled cell, times the grid's cells, shared evenly by the
processes. Prints, and writes to results/perf/grid.{md,json}.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import born
import floor
import memory
import plain
import torch
import tutorial
import written

from tlbench import runner
from tlbench.fits import Block
from tlbench.registry import DATASETS
from tlbench.store import Store
from tlbench.suite import Filter, Suite, load_suite

CONTESTANTS = ("plain", "tutorial")
Kind = tuple[str, str]  # backbone, strategy


class Whole(NamedTuple):
    """One `tlbench run`."""

    seconds: float
    peak_mib: float  # of all its processes at once


class Task(NamedTuple):
    """Cells that one contestant works off."""

    contestant: str
    block: Block
    files: Path  # its images


class Sampled(NamedTuple):
    """How long that took."""

    contestant: str
    dataset: str
    backbone: str
    strategy: str
    cells: int
    seconds: float


def main() -> None:
    asked = _parser().parse_args()
    born.again()
    torch.set_num_threads(1)
    suite, rate = _suite(asked), max(floor.rates().values())
    with tempfile.TemporaryDirectory(prefix="tlbench-grid-") as folder:
        runs = {}
        for name, rungs in (("off", ()), ("on", suite.effort.rungs)):
            halved = replace(suite, effort=replace(suite.effort, rungs=rungs))
            runs[name] = run = whole(halved, Path(folder) / name, asked.workers)
            print(f"tlbench, halving {name}: {run.seconds:.1f} s, {run.peak_mib:.0f} MiB", flush=True)
        suite = replace(suite, effort=replace(suite.effort, rungs=()))
        sample = sampled(_tasks(suite, Path(folder)), asked.workers)
        least = operations(suite, Path(folder)) / rate / asked.workers
    text = table(suite, runs, sample, asked) + _floor_line(runs["off"], least)
    data = {"made": written.made(), "workers": asked.workers, "runs": runs, "sample": sample, "floor_seconds": least}
    if not asked.quick:
        written.write(asked.out, "grid", text=text, data=data)
    print(text)


def whole(suite: Suite, folder: Path, workers: int) -> Whole:
    """Runs a suite as a user would, with nothing stored and nothing cached. Ends the script where it goes wrong."""
    folder.mkdir(parents=True)
    file = folder / "suite.toml"
    file.write_text(toml(suite))
    words = [
        "run",
        str(file),
        "--preset",
        suite.preset,
        "--workers",
        str(workers),
        "--results",
        str(folder / "results"),
    ]
    environment = {name: value for name, value in os.environ.items() if name not in born.variables()}
    environment["TLBENCH_CACHE"] = str(folder / "cache")
    before = time.perf_counter()
    with (folder / "output").open("w") as output:
        run = subprocess.Popen([sys.executable, "-m", "tlbench", *words], stdout=output, stderr=output, env=environment)
        try:
            with memory.Peak(run.pid) as peak:
                code = run.wait()
        finally:
            run.terminate()  # where this script is stopped, what it started ends too
    seconds = time.perf_counter() - before
    if code:
        raise SystemExit("\n".join(["tlbench run went wrong:", *(folder / "output").read_text().splitlines()[-20:]]))
    return Whole(seconds, peak.mib)


def sampled(tasks: Sequence[Task], workers: int) -> list[Sampled]:
    """Every task, `workers` at a time, each process with one thread."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        found = []
        for each in pool.imap_unordered(_worked_off, tasks, chunksize=1):
            found.append(each)
            print(f"{each.contestant:10}{each.strategy:18}{each.dataset:16}{each.seconds:8.1f} s", flush=True)
    return found


def scaled(cells: Mapping[Kind, int], sample: Sequence[Sampled], workers: int) -> float:
    """Seconds of so many cells of each kind for so many processes, from a sample of all kinds."""
    total = 0.0
    for kind, count in cells.items():
        own = [each for each in sample if (each.backbone, each.strategy) == kind]
        total += count * sum(each.seconds for each in own) / sum(each.cells for each in own)
    return total / workers


def operations(suite: Suite, folder: Path) -> float:
    """That a grid needs, halving none of it; counted on the sample's datasets."""
    own = _of_groups(suite)
    total = sum(
        floor.needed(block, plain.proposed(block)).total for block in _blocks(suite, Filter(dataset=own), folder)
    )
    return total * len(suite.datasets) / len(own)


def table(suite: Suite, runs: Mapping[str, Whole], sample: Sequence[Sampled], asked: argparse.Namespace) -> str:
    """Ratios, with the smallest and largest that one dataset of the sample alone would give."""
    cells, datasets = Counter((cell.backbone, cell.strategy) for cell in suite.cells()), _datasets(sample)
    lines = [
        f"{written.sentence(written.made())}. {len(suite.cells())} cells of {suite.name}, {asked.workers} workers.",
        "",
        f"The others worked off {len(datasets)} of {len(suite.datasets)} datasets ({', '.join(datasets)}) and one of "
        f"{len(suite.seeds)} seeds in {asked.workers} processes of one thread; their time is the mean of a cell of "
        f"each strategy times the grid's cells, over {asked.workers} processes.",
        "",
        "| | seconds | halving off | halving on |",
        "|---|---|---|---|",
        "| tlbench, seconds | | " + " | ".join(f"{run.seconds:.1f}" for run in runs.values()) + " |",
    ]
    for contestant in CONTESTANTS:
        own = [each for each in sample if each.contestant == contestant]
        whole_time = scaled(cells, own, asked.workers)
        alone = [scaled(cells, [each for each in own if each.dataset == name], asked.workers) for name in datasets]
        ratios = (
            f"{whole_time / run.seconds:.2f} ({min(alone) / run.seconds:.2f} to {max(alone) / run.seconds:.2f})"
            for run in runs.values()
        )
        lines.append(f"| {contestant} / tlbench | {whole_time:.0f} | " + " | ".join(ratios) + " |")
    lines.append(
        "| all processes of tlbench, peak MiB | | " + " | ".join(f"{r.peak_mib:.0f}" for r in runs.values()) + " |"
    )
    return "\n".join(lines) + "\n"


def _floor_line(run: Whole, least: float) -> str:
    return f"| of the floor's speed ({least:.0f} s) | | {least / run.seconds:.0%} | |\n"


def toml(suite: Suite) -> str:
    """A suite file that holds this suite alone."""
    effort = {name: value for name, value in asdict(suite.effort).items() if value}
    lists = {name: list(getattr(suite, name)) for name in ("strategies", "backbones", "datasets")}
    top = {"name": suite.name, "description": "", "protocol": suite.protocol, **lists, "default_preset": suite.preset}
    preset = {"budgets": list(suite.budgets), "seeds": len(suite.seeds)}
    parts = ((None, top), (f"presets.{suite.preset}", preset), (f"presets.{suite.preset}.effort", effort))
    lines = []
    for title, values in parts:
        lines += [f"[{title}]"] if title else []
        lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _suite(asked: argparse.Namespace) -> Suite:
    suite = load_suite("few_shot_vision", "lite")
    if not asked.quick:
        return replace(suite, datasets=tuple(asked.datasets or suite.datasets))
    return replace(
        suite, strategies=("majority", "linear_probe", "lora"), datasets=("digits", "count"), budgets=(2,), seeds=(0,),
        effort=replace(suite.effort, steps=16),
    )  # fmt: skip


def _tasks(suite: Suite, folder: Path) -> list[Task]:
    """The sample: the cells of the first seed on the first dataset of each group, with their files."""
    found = []
    for block in _blocks(suite, Filter(dataset=_of_groups(suite), seed=suite.seeds[:1]), folder):
        files = folder / "files" / block.jobs[0].cell.dataset
        if not files.exists():
            tutorial.write_files(block, files)
        found += [Task(contestant, block, files) for contestant in CONTESTANTS]
    return found


def _blocks(suite: Suite, only: Filter, folder: Path) -> list[Block]:
    with Store.open(folder / "planned") as store:
        found = runner.planned(suite, store, runner.prepared(suite, only), only).blocks
    return [replace(block, cache=folder / "activations") for block in found]


def _of_groups(suite: Suite) -> tuple[str, ...]:
    """The first dataset of each group."""
    return tuple({DATASETS[name].card.group: name for name in reversed(suite.datasets)}.values())


def _worked_off(task: Task) -> Sampled:
    torch.set_num_threads(1)
    contestant, block, files = task
    cell, trials = block.jobs[0].cell, plain.proposed(block)
    before = time.perf_counter()
    if contestant == "plain":
        plain.work(block, trials)
    else:
        tutorial.work(block, trials, files)
    seconds = time.perf_counter() - before
    return Sampled(contestant, cell.dataset, cell.backbone, cell.strategy, len(block.jobs), seconds)


def _datasets(sample: Sequence[Sampled]) -> list[str]:
    return sorted({each.dataset for each in sample})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a grid so small that it says nothing about speed")
    parser.add_argument("--datasets", nargs="+", help="part of the grid: these datasets alone")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
