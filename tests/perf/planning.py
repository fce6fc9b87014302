"""How long does a grid of 100,000 cells take to plan, and to go on with? Seconds of each part but training and report.

    python tests/perf/planning.py --datasets 20 --budgets 10 --seeds 25

Prints, and writes to results/perf/planning.{md,json}, the seconds with an empty store, with one that holds half of the
cells, and with one that holds all; tests/perf/report.py times the report over so many.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import synthetic
import written

from tlbench import runner
from tlbench.store import Store
from tlbench.suite import Suite

T = TypeVar("T")
PARTS = {
    "data": "read the datasets, draw the budgets",
    "open": "open the store and check it",
    "plan": "cells, keys, folds, what is missing, blocks, how long each will take",
    "end": "count what is stored",
}


class Watch:
    """Seconds of named parts, in the order in which they ran, and of the processor in all of them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.process_time()

    def __call__(self, part: str, action: Callable[[], T]) -> T:
        before = time.perf_counter()
        result = action()
        self.seconds[part] = time.perf_counter() - before
        self.seconds["processor"] = time.process_time() - self._began
        return result


def main() -> None:
    asked = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLBENCH_CACHE"] = folder
        suite = synthetic.suite("grid", datasets=asked.datasets, budgets=asked.budgets, seeds=asked.seeds)
        cells = runner.identified(suite, runner.prepared(suite))  # and the datasets are made
        rows = {}
        for share, held in (("nothing", []), ("half", cells[::2]), ("all", cells[1::2])):
            with Store.open(Path(folder) / "grid") as store:
                synthetic.fill(store, held)
            rows[share] = resumed(suite, Path(folder) / "grid")
            print(share, {part: round(seconds, 2) for part, seconds in rows[share].items()}, flush=True)
    how, data = written.made(), {"cells": len(cells), "peak_mb": _peak_mb(), "seconds": rows}
    text = _table(rows, f"{written.sentence(how)}; {len(cells)} cells, at most {_peak_mb():.0f} MiB.")
    written.write(asked.out, "planning", text=text, data={"how": how, **data})
    print(text)


def resumed(suite: Suite, folder: Path) -> dict[str, float]:
    """Seconds of what a run does besides training and its report."""
    watch = Watch()
    data = watch("data", lambda: runner.prepared(suite))
    with watch("open", lambda: Store.open(folder)) as store:
        watch("plan", lambda: runner.planned(suite, store, data))
        watch("end", store.statuses)
    return watch.seconds


def _table(rows: dict[str, dict[str, float]], how: str) -> str:
    head = "| seconds | " + " | ".join(f"{share} is stored" for share in rows) + " |"
    lines = [how, "", head, "|---" * (len(rows) + 1) + "|"]
    lines += [f"| {said} | " + " | ".join(f"{row[p]:.2f}" for row in rows.values()) + " |" for p, said in PARTS.items()]
    lines.append("| all of it | " + " | ".join(f"{sum(row[p] for p in PARTS):.2f}" for row in rows.values()) + " |")
    lines.append("| of it on the processor | " + " | ".join(f"{row['processor']:.2f}" for row in rows.values()) + " |")
    return "\n".join(lines) + "\n"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=20)
    parser.add_argument("--budgets", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
