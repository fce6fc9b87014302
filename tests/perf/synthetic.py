"""What does a grid of any size look like before anyone has spent a second on it? Suites and records for measuring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlbench.registry import register
from tlbench.store import Store
from tlbench.suite import Suite, fill_registries
from tlbench.types import PROTOCOL, Arrays, Cell, Effort, Measurement, Provenance, Record, Status

CLASSES, POOL, TEST, SIDE = 10, 800, 500, 8
BUDGETS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
STRATEGIES = (
    "majority", "nearest_mean", "pixels_logistic", "linear_probe", "full_finetune", "partial_freeze", "lora", "adapter",
    "bitfit", "from_scratch",
)  # fmt: skip
SAVED_AT_ONCE = 250


def suite(name: str, *, datasets: int, budgets: int, seeds: int) -> Suite:
    """Ten strategies x two networks x datasets of noise x budgets x seeds."""
    fill_registries()
    return Suite(
        name=name,
        preset="measured",
        description="For measuring the bookkeeping.",
        strategies=STRATEGIES,
        backbones=("glyph_vit", "glyph_cnn"),
        datasets=tuple(_noise(number) for number in range(datasets)),
        budgets=BUDGETS[:budgets],
        seeds=tuple(range(seeds)),
        effort=Effort(trials=4, steps=128, batch_size=16, folds="lite", rungs=(0.25,), eta=4),
        plugins=(),
        protocol=PROTOCOL,
        path=Path("measured.toml"),
    )


def fill(store: Store, cells: list[Cell]) -> None:
    """Stores a record of the usual size for each cell."""
    for start in range(0, len(cells), SAVED_AT_ONCE):
        store.save([_record(cell) for cell in cells[start : start + SAVED_AT_ONCE]])


def _noise(number: int) -> str:
    name = f"noise_{number:03}"

    def make(root: Path) -> Arrays:
        rng = np.random.default_rng(number)
        pool, test = (rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8) for n in (POOL, TEST))
        names = tuple(f"class {label}" for label in range(CLASSES))
        return Arrays(pool, np.arange(POOL) % CLASSES, test, np.arange(TEST) % CLASSES, names)

    make.__qualname__ = name  # two functions of one place could not both be registered
    card = {"summary": "noise", "kind": "procedural", "group": "noise", "source": "none", "licence": "none"}
    register.dataset(name, modality="image", classes=CLASSES, **card)(make)
    return name


def _record(cell: Cell) -> Record:
    trials = tuple(_trials(cell.effort.trials))
    rates = {"balanced_accuracy": 0.5, "accuracy": 0.5, "macro_f1": 0.5, "nll": 1.25, "ece": 0.125}
    found = Measurement(
        Status.DONE,
        score=0.5,
        floor=0.1,
        metrics=rates,
        classes={name: tuple(range(CLASSES)) for name in ("right", "predicted", "present")},
        reliability={name: tuple(i / 15 for i in range(15)) for name in ("counts", "confidences", "rights")},
        default_score=0.4,
        peek_gap=0.1,
        trial_scores={"0": 0.4, "1": 0.5},
        labels=CLASSES * cell.budget,
        hyperparameters=trials[1]["params"],
        trials=trials,
        selection_seal="0" * 64,
        logits="0" * 64 + ".safetensors",
        cost={"trainable_parameters": 1e4, "train_flops": 1e9, "tune_seconds": 1.5, "fit_seconds": 0.25},
    )
    made_by = Provenance(commit="0" * 40, packages={"torch": "2", "numpy": "2"}, device="cpu", width=24)
    return Record(cell, found, replace(made_by, started="2026-01-01T00:00:00", finished="2026-01-01T00:00:01"))


def _trials(count: int) -> Iterator[dict]:
    for number in range(count):
        params = {"lr": 0.001 * (number + 1), "weight_decay": 1e-4, "warmup": 0.1}
        yield {
            "number": number, "params": params, "value": 0.5, "nll": 1.25, "cost": 10**9, "steps": 128,
            "state": "complete" if number < 2 else "pruned", "curve": {"32": 0.4, "128": 0.5},
        }  # fmt: skip
