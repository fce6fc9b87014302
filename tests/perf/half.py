"""What would cached activations in 2 bytes change? The same cells on activations as they are, and rounded.

    python tests/perf/half.py --datasets digits --strategies linear_probe partial_freeze lora

Every activation is left as it is, moved by the last bit of float32 (what another batch size or library may do), rounded
to float16, or to bfloat16. A row tells how the test answers and scores of each fit then differ from those of the first.
One process, one thread. Prints, and writes to results/perf/ as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlbench import block as blocks
from tlbench import features, runner
from tlbench.datasets import base
from tlbench.features import Bank
from tlbench.fits import Block
from tlbench.store import Store
from tlbench.suite import Filter, load_suite
from tlbench.types import Effort

Logits = dict[tuple[str, int], np.ndarray]  # by cell and trial
EXACT = "as they are"


def _last_bit(x: Tensor) -> Tensor:
    return torch.nextafter(x, x + torch.where(torch.arange(x.numel()).view(x.shape) % 2 == 0, 1.0, -1.0))


ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "last bit of float32": _last_bit,
    "float16": lambda x: x.half().float(),
    "bfloat16": lambda x: x.bfloat16().float(),
}


class Row(NamedTuple):
    """How the fits of one strategy and dataset differ from those on activations as they are."""

    dataset: str
    strategy: str
    rounding: str
    fits: int
    logits: float  # largest change of a fit's logits, relative to its largest logit; the median over fits
    same_answers: float  # share of test predictions
    mean_change: float  # of accuracy, in points
    largest_change: float


def main() -> None:
    asked = _parser().parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tlbench-half-") as folder:
        given, labels = _given(asked, Path(folder))
        rows = []
        for block in given:
            rows += compared(block, labels[block.jobs[0].cell.dataset])
            print(*(_line(row) for row in rows[-len(ROUNDINGS) :]), sep="\n", flush=True)
    lines = [
        f"`python tests/perf/half.py {' '.join(sys.argv[1:])}`, one thread, torch {torch.__version__}",
        "",
        "| dataset | strategy | activations | fits | logits | same answers | accuracy, points | largest |",
        "|---|---|---|---|---|---|---|---|",
        *map(_line, rows),
    ]
    text = "\n".join(lines) + "\n"
    asked.out.mkdir(parents=True, exist_ok=True)
    name = "_".join(["half", *asked.datasets])
    (asked.out / f"{name}.md").write_text(text)
    (asked.out / f"{name}.json").write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    print(text)


def compared(block: Block, y: np.ndarray) -> list[Row]:
    """One row a rounding; `y` [m] are the test labels."""
    exact, rows = fitted(block), []
    for name, rounding in ROUNDINGS.items():
        other = fitted(block, rounding)
        same = [np.mean(exact[key].argmax(1) == other[key].argmax(1)) for key in exact]
        change = [100 * (np.mean(other[key].argmax(1) == y) - np.mean(exact[key].argmax(1) == y)) for key in exact]
        moved = [np.abs(exact[key] - other[key]).max() / np.abs(exact[key]).max() for key in exact]
        cell, most = block.jobs[0].cell, float(np.abs(change).max())
        found = float(np.median(moved)), float(np.mean(same)), float(np.mean(change)), most
        rows.append(Row(cell.dataset, cell.strategy, name, len(exact), *found))
    return rows


def fitted(block: Block, rounding: Callable[[Tensor], Tensor] | None = None) -> Logits:
    """Test logits of every refitted trial, the banks of the block rounded."""
    original = features.bank
    if rounding is not None:
        features.bank = partial(_rounded, original, rounding)
    try:
        outcomes = blocks.work(block)
    finally:
        features.bank = original
    wrong = [f"{each.cell.name}: {each.status} {each.reason}" for each in outcomes if not each.logits]
    if wrong:
        raise SystemExit("\n".join(wrong))
    return {(each.cell.key, trial): logits for each in outcomes for trial, logits in each.logits.items()}


def _line(row: Row) -> str:
    return (
        f"| {row.dataset} | {row.strategy} | {row.rounding} | {row.fits} | {row.logits:.0e} | "
        f"{row.same_answers:.2%} | {row.mean_change:+.2f} | {row.largest_change:.2f} |"
    )


def _rounded(original: Callable, rounding: Callable[[Tensor], Tensor], *given: object, **named: object) -> Tensor:
    bank: Tensor | Bank = original(*given, **named)
    return rounding(bank if isinstance(bank, Tensor) else torch.cat(list(bank.pieces(len(bank)))))


def _given(asked: argparse.Namespace, folder: Path) -> tuple[list[Block], dict[str, np.ndarray]]:
    """The blocks, and test labels by dataset: taken before the first block seals the process."""
    suite = load_suite(asked.suite, "lite", datasets=asked.datasets, backbones=asked.backbones)
    effort = Effort(trials=asked.trials, steps=asked.steps, batch_size=16, folds="lite")
    suite = replace(
        suite, strategies=tuple(asked.strategies), budgets=tuple(asked.budgets), seeds=tuple(range(asked.seeds)),
        effort=effort,
    )  # fmt: skip
    data = runner.prepared(suite, Filter())
    labels = {name: base.sealed_labels(each.loaded) for name, each in data.items()}
    with Store.open(folder / "store") as store:
        plan = runner.planned(suite, store, data, Filter())
    return [replace(block, cache=folder) for block in plan.blocks], labels


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="few_shot_vision")
    parser.add_argument("--datasets", nargs="+", default=["digits"])
    parser.add_argument("--backbones", nargs="+", default=["glyph_vit"])
    parser.add_argument("--strategies", nargs="+", default=["linear_probe", "partial_freeze", "lora"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[5, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
