"""How long does a report over many stored cells take? Writes such a store, then opens, frames and reports it.

    python tests/perf/report.py --store --strategies 40 --datasets 25 --budgets 10 --seeds 10

Without --store the same for a simulated frame. Run by `make perf`.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from report_simulation import meta, simulate  # noqa: E402

from tlbench import report  # noqa: E402
from tlbench.metrics import METRICS  # noqa: E402
from tlbench.store import Store  # noqa: E402
from tlbench.types import COSTS, Cell, Effort, Measurement, Provenance, Record, Status  # noqa: E402

BUDGETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
EFFORT = Effort(trials=4, steps=200, batch_size=32)
PLACE = Provenance(
    commit="0123abcd" * 5, packages={f"package_{i}": f"{i}.2.3" for i in range(12)}, device="cpu", width=4,
    started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:01:00+00:00",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategies", type=int, default=10)
    parser.add_argument("--datasets", type=int, default=12, help="with --store")
    parser.add_argument("--budgets", type=int, default=3, help="with --store")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--store", action="store_true", help="through a store, as a run leaves it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.store:
            shape = asked.strategies, asked.datasets, asked.budgets, asked.seeds
            stored(Path(folder), list(cells(*shape)))
        else:
            frame = simulate(strategies=asked.strategies, seeds=asked.seeds)
            with timed(f"report of {len(frame)} cells"):
                report.write(frame, meta(), Path(folder))
            said(Path(folder))


def stored(folder: Path, asked: list[Cell]) -> None:
    with timed(f"store {len(asked)} records"), Store.open(folder) as store:
        for start in range(0, len(asked), 5000):
            store.save([record(cell) for cell in asked[start : start + 5000]])
    with timed("open"):
        store = Store.open(folder, create=False)
    with store, timed("frame"):
        frame = store.frame(asked)
    with timed("write"):
        report.write(frame, report.Meta(name="large", preset="precision", command="tlbench run large"), folder)
    said(folder)


def cells(strategies: int, datasets: int, budgets: int, seeds: int) -> Iterator[Cell]:
    axes = range(datasets), range(strategies), BUDGETS[:budgets], range(seeds)
    for d, s, budget, seed in product(*axes):
        print_of = hashlib.sha256(str(d).encode()).hexdigest()
        strategy = "from_scratch" if s == 0 else f"strategy_{s:02d}"
        yield Cell(f"dataset_{d:02d}", "glyph_vit", strategy, budget, seed, 1, "", print_of, "b" * 64, effort=EFFORT)


def record(cell: Cell) -> Record:
    """What a real cell leaves behind; one in a hundred failed."""
    rng = np.random.Generator(np.random.PCG64(int(cell.key[:12], 16)))
    if rng.uniform() < 0.01:
        return Record(cell, Measurement(Status.TIMED_OUT, "no answer within 600 s"), PLACE)
    skill = int(hashlib.sha256(cell.strategy.encode()).hexdigest()[:4], 16) / 65536
    ease = int(cell.data_fingerprint[:4], 16) / 65536
    score = 0.3 * skill + 0.3 * ease + 0.03 * np.log2(cell.budget) + rng.normal(0, 0.03)
    trials = tuple(
        {
            "number": n, "params": {"lr": rng.uniform(), "weight_decay": rng.uniform()}, "value": rng.uniform(),
            "nll": rng.uniform(), "steps": 200, "state": "complete", "score": rng.uniform(),
        }
        for n in range(4)
    )  # fmt: skip
    found = Measurement(
        Status.DONE, score=score, floor=0.1, metrics={name: rng.uniform() for name in METRICS}, peek_gap=0.01,
        default_score=score - 0.02, labels=10 * cell.budget, hyperparameters={"lr": 0.01, "weight_decay": 1e-4},
        trials=trials, selection_seal="a" * 64, logits="c" * 64 + ".safetensors",
        cost={name: 1e3 * rng.uniform() * (1 + skill) for name in COSTS},
    )  # fmt: skip
    return Record(cell, found, PLACE)


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what}: {spent[0]:.1f} s ({spent[1]:.1f} s of CPU), peak {peak:.0f} MiB", flush=True)


def said(folder: Path) -> None:
    print(f"page {(folder / 'report.html').stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
