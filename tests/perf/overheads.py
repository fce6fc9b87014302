"""What does a run cost besides training? The share of each named part of a small lite grid, and milliseconds a trial.

    python tests/perf/overheads.py --datasets digits count --budgets 2 5

The blocks are worked off in this process, with a clock around the functions that make a part; a part's seconds are its
own, without those of parts that it calls. Prints, and writes to results/perf/overheads.{md,json}.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import born
import torch
import written

from tlbench import block as blocks
from tlbench import features, halving, machine, packs, provenance, runner, scorer, tune
from tlbench.block import Outcome
from tlbench.engine import Pack
from tlbench.fits import Bench, Block
from tlbench.store import Store
from tlbench.suite import Suite, load_suite
from tlbench.types import Cell

BOOKKEEPING = ("Optuna", "keys", "store", "scoring", "planning")
PARTS: dict[str, list[tuple[Any, str]]] = {
    "Optuna": [(tune.Search, name) for name in ("__init__", "ask", "tell", "finalists", "selection")],
    "keys": [(Cell, "key")],
    "store": [
        (Store, name)
        for name in ("open", "save", "put_seals", "put_logits", "plan_put", "missing", "statuses", "costs")
    ],
    "scoring": [(scorer.Scorer, "evaluate"), (runner, "seal")],
    "planning": [(runner, "prepared"), (runner, "planned"), (provenance, "here"), (provenance, "devices")],
    "frozen features": [(features, "bank")],
    "training": [(Pack, "start"), (Pack, "advance")],
    "predicting": [(Pack, "predict"), (Pack, "predict_rows")],
    "comparing on folds": [(halving, "all_metrics")],
    "timing latency": [(Bench, "latency")],
    "does a prediction depend on company": [(blocks, "_transductive")],
    "opening networks": [(Bench, "__init__"), (Bench, "network"), (Bench, "prefix_flops"), (Bench, "state_bytes")],
    "counting parameters": [(blocks, "_sizes")],
    "measuring the machine": [(machine, "kept")],
    "width": [(packs, "width")],
}
REST = "everything else"


class Clock:
    """Seconds of named parts, each without what it spends in another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.processor: dict[str, float] = defaultdict(float)  # without waiting for a disk or for other processes
        self.calls: dict[str, int] = defaultdict(int)
        self._open = [REST]
        self._since = time.perf_counter(), time.process_time()

    def turn(self, part: str | None) -> None:
        """What passed until now belongs to the part that was on; from now on to `part`, or to the one before it."""
        now = time.perf_counter(), time.process_time()
        self.seconds[self._open[-1]] += now[0] - self._since[0]
        self.processor[self._open[-1]] += now[1] - self._since[1]
        self._since = now
        if part is None:
            self._open.pop()
        else:
            self._open.append(part)
            self.calls[part] += 1

    def around(self, part: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.turn(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.turn(None)

        return timed

    def watch(self, part: str, owner: Any, name: str) -> None:
        """Puts a clock around what is called `name` in a class or module."""
        own = vars(owner)[name]
        if isinstance(own, functools.cached_property):
            cached = functools.cached_property(self.around(part, own.func))
            cached.__set_name__(owner, name)
            setattr(owner, name, cached)
        elif isinstance(own, classmethod):
            setattr(owner, name, classmethod(self.around(part, own.__func__)))
        else:
            setattr(owner, name, self.around(part, own))


def main() -> None:
    asked = _parser().parse_args()
    born.again()
    torch.set_num_threads(1)
    suite, clock = _suite(asked), Clock()
    for part, places in PARTS.items():
        for owner, name in places:
            clock.watch(part, owner, name)
    runner.executors.outcomes = _here
    blocks.base.seal = lambda: None  # which would keep this process from scoring
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLBENCH_CACHE"] = folder
        runner.prepared(suite)
        for _ in range(2):  # the first run imports what is imported where it is needed
            clock.__init__()
            shutil.rmtree(Path(folder) / "features", ignore_errors=True)
            shutil.rmtree(Path(folder) / "results", ignore_errors=True)
            runner.run(suite, results=Path(folder) / "results")
            clock.turn(REST)
        with Store.open(Path(folder) / "results" / suite.name, create=False) as store:
            trials = [len(record.measurement.trials) for record in store.records()]
    how, total = written.made(), sum(clock.seconds.values())
    kept, computed = (sum(of[part] for part in BOOKKEEPING) for of in (clock.seconds, clock.processor))
    found = {
        "cells": len(trials),
        "trials": sum(trials),
        "seconds": total,
        "bookkeeping": kept / total,
        "bookkeeping_ms_a_trial": 1e3 * kept / sum(trials),
        "bookkeeping_of_processor": computed / sum(clock.processor.values()),
        "bookkeeping_processor_ms_a_trial": 1e3 * computed / sum(trials),
    }
    text = _text(clock, found, how)
    data = {
        "how": how,
        **found,
        "parts": dict(clock.seconds),
        "processor": dict(clock.processor),
        "calls": dict(clock.calls),
    }
    written.write(asked.out, "overheads", text=text, data=data)
    print(text)


def _here(given: Sequence[Block], **_: Any) -> Iterator[list[Outcome]]:
    """Works the blocks off in this process."""
    for block in given:
        yield blocks.work(block)


def _text(clock: Clock, found: dict[str, Any], how: dict[str, Any]) -> str:
    lines = [
        written.sentence(how),
        "",
        f"{found['cells']} cells, {found['trials']} trials, {found['seconds']:.1f} s. Bookkeeping "
        f"({', '.join(BOOKKEEPING)}) takes {found['bookkeeping']:.1%} of it, {found['bookkeeping_ms_a_trial']:.2f} ms "
        f"a trial, and {found['bookkeeping_of_processor']:.1%} of the processor's time, "
        f"{found['bookkeeping_processor_ms_a_trial']:.2f} ms a trial: the rest waits for the disk (or, on a busy "
        "machine, for its turn), which in a real run keeps no worker waiting.",
        "",
        "| part | seconds | of the processor | share | calls | ms a trial |",
        "|---|---|---|---|---|---|",
    ]
    for part, seconds in sorted(clock.seconds.items(), key=lambda each: -each[1]):
        share, each = seconds / found["seconds"], 1e3 * seconds / found["trials"]
        lines.append(
            f"| {part} | {seconds:.2f} | {clock.processor[part]:.2f} | {share:.1%} | {clock.calls[part]} | {each:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _suite(asked: argparse.Namespace) -> Suite:
    suite = load_suite("few_shot_vision", "lite", datasets=asked.datasets)
    chosen = tuple(asked.strategies or suite.strategies)
    return replace(suite, budgets=tuple(asked.budgets), seeds=tuple(range(asked.seeds)), strategies=chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["digits", "count"])
    parser.add_argument("--strategies", nargs="+", default=[], help="all ten of the suite by default")
    parser.add_argument("--budgets", nargs="+", type=int, default=[2, 5, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
