"""Would the harness notice? Faults are planted on purpose, and each must be found (PROTOCOL 4).

A canary that dies tells of a fault in the harness, not in a strategy.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlbench import canaries_data, contract, runner
from tlbench.canaries_data import SHUFFLED, TASKS
from tlbench.datasets import base
from tlbench.executors import Means
from tlbench.registry import load_plugin
from tlbench.report import stats
from tlbench.report.numbers import half_width, percent, points, signed
from tlbench.report.stats import pairs
from tlbench.store import Store
from tlbench.suite import Suite, fill_registries
from tlbench.types import PROTOCOL, Effort

PLUGIN = "tlbench.canaries_plugin"
LEARNERS = ("linear_probe", "canary_once")
ALL = ("majority", *LEARNERS, "canary_twice", "canary_neighbourly", "canary_thief")
EFFORT = Effort(trials=2, steps=20, batch_size=16, folds="lite")
BUDGET = 5  # labels a class
LEVEL = 0.999  # of the interval that must hold 0: one false alarm in 1000


class Canary(NamedTuple):
    name: str
    done: str
    found: str
    alive: bool


class Cage(NamedTuple):
    """Where runs of planted faults are kept, apart from everything else."""

    folder: Path
    seeds: int

    def cells(self, strategies: Sequence[str], datasets: Sequence[str]) -> pd.DataFrame:
        """One row for each cell, as a suite's run stores them; what was run before is not run again."""
        suite = Suite(
            name="canaries", preset="", description="", strategies=tuple(strategies), backbones=("glyph_vit",),
            datasets=tuple(datasets), budgets=(BUDGET,), seeds=tuple(range(self.seeds)), effort=EFFORT,
            plugins=(PLUGIN,), protocol=PROTOCOL, path=Path(),
        )  # fmt: skip
        runner.run(suite, results=self.folder, means=Means(device="cpu"))
        with Store.open(self.folder / suite.name, create=False) as store:
            return store.frame(suite.cells())

    def scores(self, strategies: Sequence[str], datasets: Sequence[str]) -> np.ndarray:
        """[strategies, datasets, seeds]"""
        table = self.cells(strategies, datasets).set_index(["strategy", "dataset", "seed"]).score
        index = pd.MultiIndex.from_product([strategies, datasets, range(self.seeds)])
        return table.reindex(index).to_numpy(float).reshape(len(strategies), len(datasets), self.seeds)


def canaries(*, quick: bool = False) -> Iterator[Canary]:
    """Every canary, alive or dead, as it is looked at. `quick` takes 2 seeds instead of 4."""
    with cage(seeds=2 if quick else 4) as made:
        made.cells(ALL, (*TASKS, *SHUFFLED))  # all at once: starting workers takes longer than their work
        for look in LOOKS:
            yield look(made)


@contextmanager
def cage(*, seeds: int) -> Iterator[Cage]:
    """An empty cage, gone afterwards. Data is made anew in it: what a cache holds was made by older code."""
    fill_registries()
    load_plugin(PLUGIN)
    canaries_data.registered()
    before = os.environ.get("TLBENCH_CACHE")
    with tempfile.TemporaryDirectory() as place:
        os.environ["TLBENCH_CACHE"] = str(Path(place) / "cache")
        try:
            yield Cage(Path(place), seeds)
        finally:
            os.environ.pop("TLBENCH_CACHE")
            if before is not None:
                os.environ["TLBENCH_CACHE"] = before


def shuffled_labels(cage: Cage) -> Canary:
    """Who learns from shuffled labels must score as guessing does, and who learns from true ones must not."""
    wrong, right = (cage.scores(LEARNERS, names).reshape(len(LEARNERS), -1) for names in (SHUFFLED, TASKS))
    chance, known = stats.cell(wrong, LEVEL), right.mean(1)
    told = [
        f"{name} {signed(chance.mean[i])} {half_width(chance, i)} points, with true labels {points(known[i])}"
        for i, name in enumerate(LEARNERS)
    ]
    alive = bool(np.all(chance.holds_zero & (chance.high < known / 2)))
    done = "strategies learned from shuffled labels: their scores must be 0 within noise"
    return Canary("shuffled labels", done, "; ".join(told), alive)


def registered_twice(cage: Cage) -> Canary:
    """A strategy must not be better than itself; and the same test must see that guessing is worse."""
    twins = pairs.compare(cage.scores(("canary_once", "canary_twice"), TASKS))
    control = pairs.compare(cage.scores(("canary_once", "majority"), TASKS))
    said, known = str(twins.verdict[0, 1]), str(control.verdict[0, 1])
    found = (
        f"{said}, {signed(twins.tasks.mean[0, 1])} points, p = {twins.holm[0, 1]:.2f}; "
        f"against guessing: {known}, p = {control.holm[0, 1]:.2f}"
    )
    alive = said in (pairs.UNDECIDED, pairs.EQUIVALENT) and known == pairs.BETTER
    return Canary("registered twice", "one strategy ran under two names: neither may be better", found, alive)


def planted_copies(cage: Cage) -> Canary:
    """Copies of test examples must leave the pool, and nothing else must."""
    told, alive = [], True
    for modality, planted in canaries_data.planted().items():
        kept, removed = base.prepared(planted.arrays, canaries_data.card(modality))
        ours = len(planted.arrays.pool_x) - planted.copies
        alive &= removed == planted.copies and np.array_equal(kept.pool_x, planted.arrays.pool_x[:ours])
        told.append(
            f"{modality}s: {removed} of {planted.copies} taken out, {len(kept.pool_x)} of {ours} others left in"
        )
    done = "copies of test examples, as they are and changed a little, were put in the pool"
    return Canary("planted copies", done, "; ".join(told), alive)


def reach_for_labels(cage: Cage) -> Canary:
    """`tlbench check` must refuse a plug-in that imports what leads to labels, and one that opens them under cover."""
    sources = {"by import": "from tlbench.datasets import base\n", "under cover": "open('test_' + 'y.npy')\n"}
    told, alive = [], True
    for way, source in sources.items():
        plugin = cage.folder / f"{way.replace(' ', '_')}.py"
        plugin.write_text(source)
        seen = any(each.law == "labels" and not each.ok for each in contract.check(plugin))
        alive &= seen
        told.append(f"{way}: {'refused' if seen else 'not noticed'}")
    return Canary("reach for labels", "plug-ins that open labels were checked", "; ".join(told), alive)


def labels_in_a_worker(cage: Cage) -> Canary:
    """A plug-in that looks for labels where it runs must find none."""
    cells = cage.cells(["canary_thief"], TASKS[:1])
    tries = [re.search(r"labels were had in (\d+) of (\d+) ways", reason) for reason in cells.reason]
    counts = [(int(found[1]), int(found[2])) if found else (1, 0) for found in tries]
    alive = all(stolen == 0 and ways > 0 for stolen, ways in counts)
    done = "a plug-in looked for labels in the process that trains it"
    return Canary("labels in a worker", done, f"had in {counts[0][0]} of {counts[0][1]} ways", alive)


def majority_floor(cage: Cage) -> Canary:
    """Always guessing the most frequent class must score 0, not nearly 0."""
    scores = cage.scores(["majority"], TASKS)
    zeros = int((scores == 0).sum())
    found = f"{zeros} of {scores.size} cells are exactly 0"
    return Canary("majority floor", "always the most frequent class was predicted", found, zeros == scores.size)


def other_company(cage: Cage) -> Canary:
    """A strategy that looks at the other test inputs must be marked, and one that does not must not."""
    marked = cage.cells(["canary_neighbourly", "canary_once"], TASKS[:1]).groupby("strategy").transductive.mean()
    looks, honest = float(marked["canary_neighbourly"]), float(marked["canary_once"])
    found = f"marked in {percent(looks)} of its cells; one that does not look, in {percent(honest)}"
    return Canary("other company", "a plug-in looked at the other test inputs", found, looks == 1 and honest == 0)


LOOKS: tuple[Callable[[Cage], Canary], ...] = (
    shuffled_labels, registered_twice, planted_copies, reach_for_labels, labels_in_a_worker, majority_floor,
    other_company,
)  # fmt: skip
