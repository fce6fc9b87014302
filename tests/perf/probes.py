"""How fast is a path of penalties solved? 64 L2 values at once, against scikit-learn fit by fit on the same features.

    python tests/perf/probes.py --rows 50 200 1000 --repeats 3

Prints, and writes to results/perf/probes.{md,json}: milliseconds of processor time a path, medians of turns in one
process with one thread; and how far above the better of two objectives each solver ends, scikit-learn also at a
tolerance of 1e-8. Features are 512 wide, of 10 classes that overlap, with a common mean and a spectrum that falls as
that of networks does.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import born
import numpy as np
import torch
import written
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from tlbench.strategies import convex

STRENGTHS = np.geomspace(1e-4, 1e4, 64)
CHECKED = slice(0, None, 9)  # strengths at which objectives are compared
WIDTH, CLASSES = 512, 10


class Data(NamedTuple):
    x: np.ndarray  # [n, d] float32
    y: np.ndarray  # [n]


class Row(NamedTuple):
    """Milliseconds a path, one a turn; the largest excess over the best objective known, relative to it."""

    solver: str
    rows: int
    ours: list[float]
    theirs: list[float]
    our_excess: float
    their_excess: float

    @property
    def ratio(self) -> float:
        return statistics.median(self.theirs) / statistics.median(self.ours)


def main() -> None:
    asked = _parser().parse_args()
    born.again()
    torch.set_num_threads(1)
    for warning in (ConvergenceWarning, LinAlgWarning):
        warnings.simplefilter("ignore", warning)
    rows = []
    for n in asked.rows:
        for compare in (logistic, ridge):
            rows.append(compare(features(n), asked.repeats))
            print(_line(rows[-1]), flush=True)
    how = written.made()
    text = "\n".join([written.sentence(how), "", *HEAD, *map(_line, rows)]) + "\n"
    written.write(asked.out, "probes", text=text, data={"made": how, "rows": rows})


def features(n: int) -> Data:
    draw = np.random.default_rng(n)
    y = np.arange(n) % CLASSES
    spread = np.geomspace(1, 0.01, WIDTH)
    turned = np.linalg.qr(draw.normal(size=(WIDTH, WIDTH)))[0]
    centres = draw.normal(size=(CLASSES, WIDTH))
    x = ((0.5 * centres[y] + draw.normal(size=(n, WIDTH))) * spread) @ turned + draw.normal(size=WIDTH)
    return Data(x.astype(np.float32), y)


def logistic(data: Data, repeats: int) -> Row:
    def theirs() -> list[LogisticRegression]:
        return [LogisticRegression(C=c, max_iter=1000).fit(*data) for c in STRENGTHS]

    ours, path, times, fits = _turns(convex.LOGISTIC, theirs, data, repeats)
    gaps = []
    for c, head, fit in zip(STRENGTHS[CHECKED], path[CHECKED], fits[CHECKED], strict=True):
        exact = LogisticRegression(C=c, tol=1e-8, max_iter=20_000).fit(data.x.astype(np.float64), data.y)
        heads = head, _head(fit), _head(exact)
        values = [_logistic_objective(data, c, each) for each in heads]
        gaps.append([value / min(values) - 1 for value in values])
    return Row("logistic regression", len(data.y), ours, times, *np.max(gaps, axis=0)[:2].tolist())


def ridge(data: Data, repeats: int) -> Row:
    target = np.eye(CLASSES, dtype=np.float32)[data.y]

    def theirs() -> list[Ridge]:
        return [Ridge(alpha=penalty).fit(data.x, target) for penalty in STRENGTHS]

    ours, path, times, fits = _turns(convex.RIDGE, theirs, data, repeats)
    gaps = []
    for penalty, head, fit in zip(STRENGTHS[CHECKED], path[CHECKED], fits[CHECKED], strict=True):
        exact = Ridge(alpha=penalty).fit(data.x.astype(np.float64), target.astype(np.float64))
        heads = head, _head(fit), _head(exact)
        values = [_ridge_objective(data, penalty, each) for each in heads]
        gaps.append([value / min(values) - 1 for value in values])
    return Row("ridge", len(data.y), ours, times, *np.max(gaps, axis=0)[:2].tolist())


def _turns(
    solver: Callable[..., torch.Tensor], fit: Callable[[], list], data: Data, repeats: int
) -> tuple[list[float], np.ndarray, list[float], list]:
    """(our milliseconds, our heads [T, C, d + 1], their milliseconds, their fits)"""
    x, y, strengths = torch.from_numpy(data.x)[None], torch.from_numpy(data.y)[None], torch.tensor(STRENGTHS)[None]

    def path() -> torch.Tensor:
        return solver(x, y, torch.ones(1, len(data.y)), strengths, CLASSES)

    path()  # warms up
    ours, theirs = [], []
    for _ in range(repeats):
        found, ms = _timed(path)
        ours.append(ms)
        fits, ms = _timed(fit)
        theirs.append(ms)
    return ours, found[0].double().numpy(), theirs, fits


def _timed(action: Callable[[], object]) -> tuple:
    before = time.process_time()
    found = action()
    return found, (time.process_time() - before) * 1e3


def _head(fit: LogisticRegression | Ridge) -> np.ndarray:
    return np.concatenate([fit.coef_, fit.intercept_[:, None]], axis=1).astype(np.float64)


def _logistic_objective(data: Data, strength: float, head: np.ndarray) -> float:
    logits = data.x.astype(np.float64) @ head[:, :-1].T + head[:, -1]
    loss = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(data.y)), data.y]
    return strength * loss.sum() + (head[:, :-1] ** 2).sum() / 2


def _ridge_objective(data: Data, penalty: float, head: np.ndarray) -> float:
    missed = data.x.astype(np.float64) @ head[:, :-1].T + head[:, -1] - np.eye(CLASSES)[data.y]
    return (missed**2).sum() + penalty * (head[:, :-1] ** 2).sum()


HEAD: Sequence[str] = (
    "| solver | rows | tlbench, ms a path | scikit-learn | ratio | excess of tlbench | of scikit-learn |",
    "|---|---|---|---|---|---|---|",
)


def _line(row: Row) -> str:
    ours, theirs = statistics.median(row.ours), statistics.median(row.theirs)
    return (
        f"| {row.solver} | {row.rows} | {ours:.1f} | {theirs:.0f} | {row.ratio:.1f} | "
        f"{row.our_excess:.0e} | {row.their_excess:.0e} |"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=int, default=[50, 200, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
