"""What does `tlbench run --explain` print? The machine's plan, and how each block would be done."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tlbench import caches, machine, runner
from tlbench.cli_run import reading
from tlbench.executors import Means
from tlbench.explain import Files, Way, ways
from tlbench.machine import Figures, Machine
from tlbench.precision import LARGE, MIXED
from tlbench.provenance import devices
from tlbench.suite import Suite, parse_only

WIDTH = 200  # characters of a line, at most; a terminal that is narrower wraps it


def explanation(suite: Suite, results: Path, only: Sequence[str], means: Means) -> str:
    """Two tables: what the machine does best, and a row for each strategy, network and tap of the suite's cells."""
    chosen, device = parse_only(only, suite), devices(means.device)[0]
    with reading(results / suite.name) as store:
        known = machine.known(store, device, say=lambda _text: None)
    data = runner.prepared(suite, chosen)
    cells = runner.identified(suite, data, chosen)
    largest, first = max(cell.budget for cell in cells), min(cell.seed for cell in cells)
    one_each = [cell for cell in cells if (cell.budget, cell.seed) == (largest, first)]
    blocks = [replace(block, plan=known.plan, device=device) for block in runner.blocks(suite, data, one_each)]
    found = list(ways(blocks))
    return "\n".join(
        [
            f"how this machine works ({known.source}):",
            _printed(_of_machine(known, device)),
            f"how blocks are done (lanes are those of tuning at {largest} labels a class):",
            _printed(_of_ways([way for way in found if not way.skipped])),
            *(f"  {way.strategy} on {way.backbone} is skipped: {way.skipped}" for way in found if way.skipped),
        ]
    )


def _of_machine(known: Machine, device: str) -> Table:
    plan, figures = known.plan, known.figures
    table = _table("", "chosen", "measured")
    for what, choice, measured in (
        ("products of stacked lanes", f"by {plan.products}", _speeds(figures.products) if figures else ""),
        ("OpenBLAS is told of", plan.openblas or "nothing", _told(figures)),
        ("lanes that train together", f"{plan.most} at most", ""),
        ("lanes one by one", f"from {plan.wide} channels on", _gains(figures)),
        ("memory of one step", f"{caches.size(plan.step_bytes)} at most", "(a rule)"),
        ("precision and layout", _precision(device), "(a rule)"),
    ):
        table.add_row(what, choice, measured)
    return table


def _precision(device: str) -> str:
    if device.partition(":")[0] not in MIXED:
        return "float32, as torch lays it out"
    return f"bfloat16 and channels last below the tap; bfloat16 above it from {LARGE:,} parameters on"


def _speeds(rates: Mapping[str, float]) -> str:
    return "GFLOP/s: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())


def _told(figures: Figures | None) -> str:
    if figures is None or not figures.openblas:
        return ""
    return _speeds({name or "as it is": rate for name, rate in figures.openblas.items()})


def _gains(figures: Figures | None) -> str:
    if figures is None:
        return ""
    return "stacked layers are faster: " + ", ".join(
        f"{size} wide {gain:.1f}x" for size, gain in figures.layers.items()
    )


def _of_ways(found: Sequence[Way]) -> Table:
    names = ("strategy", "backbone", "solver", "tap", "cached below", "lanes", "limited by", "products", "activations")
    table = _table(*names)
    for way in found:
        solver = f"{way.solver} ({way.values})" if way.values else way.solver
        lanes, limit = str(way.lanes.together), way.lanes.limit
        share = f"{way.below:.0%} of a pass"
        table.add_row(way.strategy, way.backbone, solver, way.tap, share, lanes, limit, way.products, _kept(way.files))
    return table


def _kept(files: Files) -> str:
    if not files.total:
        return "not kept"
    return f"{caches.size(files.bytes)}, {files.there} of {files.total} files are there"


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _printed(table: Table) -> str:
    out = io.StringIO()
    Console(file=out, width=WIDTH).print(table)
    return "\n".join(f"  {line.rstrip()}" for line in out.getvalue().splitlines())
