"""Does a run cost twice as much for twice as many cells? Seconds of whole runs of 100 to 10,000 cheap cells.

    python tests/perf/growth.py --cells 100 1000 10000

Cells of majority and nearest_mean on noise, made more by seeds or by datasets. A run counts from the first dataset
made to the last record stored, with its worker's start and without the report, in processor seconds of all processes,
which other work on the machine does not change much. Prints, and writes to results/perf/growth.{md,json,png}.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import synthetic
import written

from tlbench import machine, runner
from tlbench.executors import Means
from tlbench.store import Store
from tlbench.suite import Suite

STRATEGIES, BUDGETS = ("majority", "nearest_mean"), 5
UNIT = len(STRATEGIES) * BUDGETS  # cells of one dataset and seed
SEEDS_A_DATASET = 10  # where datasets are added


class Row(NamedTuple):
    """What one run took."""

    more: str  # seeds | datasets
    cells: int
    processor: float  # seconds
    wall: float


def main() -> None:
    asked = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, Store.open(folder) as store:
        plan = machine.kept(store, "cpu", say=print)
    machine.kept = lambda *_, **__: plan  # measured once, not for each new folder
    rows = []
    for more in ("seeds", "datasets"):
        for cells in asked.cells:
            rows.append(measured(more, cells))
            print(rows[-1], flush=True)
    how, found = written.made(), {more: _exponents([row for row in rows if row.more == more]) for more in _kinds(rows)}
    text = _text(rows, found, how)
    data = {"how": how, "rows": [row._asdict() for row in rows], "exponents": found}
    written.write(asked.out, "growth", text=text, data=data)
    _draw(rows, asked.out / "growth.png")
    print(text)


def measured(more: str, cells: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLBENCH_CACHE"] = folder
        before, began = _processor(), time.perf_counter()
        summary = runner.run(_suite(more, cells), results=Path(folder), means=Means(workers=1, device="cpu"))
        row = Row(more, len(summary.cells), _processor() - before, time.perf_counter() - began)
    assert summary.ok
    return row


def _suite(more: str, cells: int) -> Suite:
    if more == "seeds":
        datasets, seeds = 1, max(1, cells // UNIT)
    else:
        datasets, seeds = max(1, cells // (UNIT * SEEDS_A_DATASET)), SEEDS_A_DATASET
    suite = synthetic.suite("grid", datasets=datasets, budgets=BUDGETS, seeds=seeds)
    return replace(suite, strategies=STRATEGIES, backbones=("glyph_vit",))


def _processor() -> float:
    """Seconds that this process and those that it has waited for have computed."""
    of = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in of)


def _kinds(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row.more for row in rows))


def _exponents(rows: list[Row]) -> dict[str, float]:
    """Of cells, in seconds ~ cells ** exponent: over all runs, between the last two, and seconds of a further cell."""
    cells, seconds = np.log([row.cells for row in rows]), np.log([row.processor for row in rows])
    last, before = rows[-1], rows[-2]
    return {
        "all": float(np.polyfit(cells, seconds, 1)[0]),
        "last two": float((seconds[-1] - seconds[-2]) / (cells[-1] - cells[-2])),
        "milliseconds a further cell": 1e3 * (last.processor - before.processor) / (last.cells - before.cells),
    }


def _text(rows: list[Row], found: dict[str, dict[str, float]], how: dict[str, Any]) -> str:
    lines = [written.sentence(how), "", "| more | cells | processor seconds | wall seconds |", "|---|---|---|---|"]
    lines += [f"| {row.more} | {row.cells} | {row.processor:.1f} | {row.wall:.1f} |" for row in rows]
    for more, each in found.items():
        lines += [
            "",
            f"More {more}: seconds grow as cells to the power {each['all']:.2f} over all runs (a start of seconds "
            f"flattens the small ones) and {each['last two']:.2f} between the last two, where a further cell takes "
            f"{each['milliseconds a further cell']:.1f} ms.",
        ]
    return "\n".join(lines) + "\n"


def _draw(rows: list[Row], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    for more in _kinds(rows):
        own = [row for row in rows if row.more == more]
        axes.loglog([row.cells for row in own], [row.processor for row in own], marker="o", label=f"more {more}")
    cells, last = np.array([rows[0].cells, rows[-1].cells]), rows[-1]
    axes.loglog(cells, last.processor * cells / last.cells, color="grey", linestyle=":", label="in proportion")
    axes.set(xlabel="cells", ylabel="processor seconds of a whole run")
    axes.legend()
    figure.savefig(file, dpi=150)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", type=int, default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
