"""What do cached activations cost, and what do workers share of them? Seconds, and memory with shared pages once.

    python tests/perf/cache.py [--rows 1024] [--row_kib 512]

Processes of one thread each, on files of this machine's temporary folder. Prints, and writes to results/perf/ as
Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import backbones, features
from tlbench.datasets import cache
from tlbench.features import Bank, Place
from tlbench.features_kept import kept

IMAGES, LANES, LANE_ROWS, REPEATS = 8000, 24, 100, 5
LARGE = 100 * 2**30


class Given(NamedTuple):
    """An array of float32, as it is kept."""

    folder: Path
    rows: int
    numbers: int  # a row

    def kept(self) -> np.ndarray:
        found = kept(self.folder / "large", self._made, rows=self.rows, about={}, most=LARGE)
        assert found is not None
        return found

    def _made(self) -> Iterator[np.ndarray]:
        return (np.full((1, self.numbers), row, np.float32) for row in range(self.rows))


def main() -> None:
    asked = _parser().parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tlbench-cache-") as folder:
        given = Given(Path(folder), asked.rows, asked.row_kib * 256)
        found = {**opened(given), **gathered(given), **shared(given), **made_at_once(Path(folder))}
    how = f"`python tests/perf/cache.py {' '.join(sys.argv[1:])}`, {os.cpu_count()} cores, torch {torch.__version__}"
    lines = [f"{how}; an array of {given.rows * given.numbers / 2**28:.2f} GiB", "", "| what | |", "|---|---|"]
    text = "\n".join([*lines, *(f"| {what} | {value:.3g} |" for what, value in found.items())]) + "\n"
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "cache.md").write_text(text)
    (asked.out / "cache.json").write_text(json.dumps({"how": lines[0], **found}, indent=1) + "\n")
    print(text)


def opened(given: Given) -> dict[str, float]:
    """Seconds of writing an array, of opening it first in a process, and for a next block."""
    writing = _seconds(given.kept)
    first = _alone(_opening, given)
    again = min(_seconds(given.kept) for _ in range(REPEATS))
    whole = min(_seconds(partial(cache.verify, given.folder / "large")) for _ in range(2))
    return {"write, s": writing, "open first, s": first, "open again, s": again, "checksum of all of it, s": whole}


def gathered(given: Given) -> dict[str, float]:
    """Milliseconds of reading the rows of 24 lanes, 100 each, from the file's map and from memory, in turns."""
    mapped = torch.from_numpy(given.kept())
    held = mapped.clone()
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, given.rows, (LANES, LANE_ROWS)))
    times: dict[str, list[float]] = {"map": [], "memory": []}
    for _ in range(REPEATS):
        for name, source in (("map", mapped), ("memory", held)):
            times[name].append(_seconds(partial(_lanes, source, rows)) * 1e3)
    return {f"rows of {LANES} lanes from {name}, ms": float(np.median(each)) for name, each in times.items()}


def _lanes(source: Tensor, rows: Tensor) -> list[Tensor]:
    return [source[own] for own in rows]


def shared(given: Given) -> dict[str, float]:
    """MiB that two workers add by reading all of a bank: as mapped, and as a copy in each."""
    return {f"two workers, bank {how}, MiB": _memory_of_two(given, how) for how in ("mapped", "copied")}


def made_at_once(folder: Path) -> dict[str, float]:
    """CPU seconds of one worker that needs activations, and of two that need the same ones at the same time."""
    return {f"CPU of {n} that need one bank, s": sum(_together(n, _needing, folder / str(n))) for n in (1, 2)}


def _needing(folder: Path, start: Barrier, answers: Queue[float]) -> None:
    torch.set_num_threads(1)
    network = backbones.get("glyph_vit")
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    encoded = Bank(images, np.arange(IMAGES), nn.Identity(), "cpu")
    start.wait()
    before = time.process_time()
    features.bank("features", partial(network.prefix, "features"), encoded, place=Place(folder, "images", {}, LARGE))
    answers.put(time.process_time() - before)


def _memory_of_two(given: Given, how: str) -> float:
    before, after = zip(*_together(2, _reading, (given, how)), strict=True)
    return sum(after) - sum(before)


def _reading(asked: tuple[Given, str], start: Barrier, answers: Queue[tuple[float, float]]) -> None:
    given, how = asked
    bank = torch.from_numpy(given.kept())
    start.wait()
    before = _pss()
    start.wait()
    bank = bank.clone() if how == "copied" else bank
    assert float(bank[:, 0].sum()) >= 0
    float(bank.sum())
    start.wait()
    answers.put((before, _pss()))
    start.wait()


def _opening(given: Given, start: Barrier, answers: Queue[float]) -> None:
    start.wait()
    answers.put(_seconds(given.kept))


def _alone(work: Callable[..., None], given: Given) -> float:
    return _together(1, work, given)[0]


def _together(count: int, work: Callable[..., None], given: Any) -> list[Any]:
    """What `count` processes answer that start their work at the same time."""
    spawn = multiprocessing.get_context("spawn")
    start, answers = spawn.Barrier(count), spawn.Queue()
    processes = [spawn.Process(target=work, args=(given, start, answers)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def _pss() -> float:
    """MiB of this process, of shared pages its share."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)) / 1024


def _seconds(action: Callable[[], object]) -> float:
    before = time.perf_counter()
    action()
    return time.perf_counter() - before


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--row_kib", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
