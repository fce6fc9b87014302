"""How good was a sealed selection? The only code that holds test labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tlbench.metrics import Classes, Reliability, all_metrics, classes, floor, reliability, z
from tlbench.types import Measurement, Status, TlbenchError, sha256


def seal(selection: Mapping[str, Any]) -> str:
    """sha256 of what tuning chose; keep it durably (`Store.put_seals`) before `Scorer.evaluate` sees labels."""
    return sha256(dict(selection))


class Scorer:
    """Evaluates the cells of one dataset, each once.

    `labels` gives the test labels [m] of class indices and is first called by the first evaluation.
    """

    def __init__(self, labels: Callable[[], np.ndarray], *, num_classes: int, metric: str) -> None:
        self.num_classes, self.metric = num_classes, metric
        self._labels = functools.cache(labels)
        self._evaluated: set[str] = set()

    def evaluate(
        self, key: str, logits: Mapping[int, np.ndarray], *, chosen: int, selection: Mapping[str, Any], sealed: str
    ) -> Measurement:
        """What the cell `key` scores, with what scoring alone can know; the caller fills in the rest.

        `logits` holds the test logits [m, C] of refitted trials by trial number, `chosen` among them. Logits of the
        chosen trial that have another shape give the status `failed`, not-finite ones `diverged`; another trial that
        went wrong scores 0 (PROTOCOL 7). `trial_scores` holds the score of each trial handed in, by its number as
        text; `default_score` is trial 0's, None when it was not refitted; `peek_gap` is what the best scores above the
        chosen one.
        Raises TlbenchError when the selection is not the sealed one and when the cell was evaluated before.
        """
        self._admit(key, selection, sealed)
        y = self._labels()
        wrong = self._wrong(logits.get(chosen), len(y))
        if wrong is not None:
            status, reason = wrong
            return Measurement(status, reason=reason, selection_seal=sealed)
        best = np.asarray(logits[chosen])
        found = all_metrics(best, y)
        base = floor(self.metric, y, self.num_classes)
        score = z(found[self.metric], base)
        scores = {number: self._score(array, y, base) for number, array in logits.items()}
        return Measurement(
            Status.DONE,
            score=score,
            floor=base,
            metrics=found,
            classes=_plain(classes(best.argmax(axis=1), y, self.num_classes)),
            reliability=_plain(reliability(best, y)),
            default_score=scores.get(0),
            peek_gap=max(scores.values()) - score,
            trial_scores={str(number): scores[number] for number in sorted(scores)},
            selection_seal=sealed,
        )

    def _admit(self, key: str, selection: Mapping[str, Any], sealed: str) -> None:
        if seal(selection) != sealed:
            raise TlbenchError(
                f"cell {key[:12]}: the selection is not the one that was sealed ({sealed[:12]}); it changed after "
                "test labels could be seen, so nothing is scored; run the cell again: tlbench retry"
            )
        if key in self._evaluated:
            raise TlbenchError(f"cell {key[:12]} was evaluated before; a second look at test labels is not allowed")
        self._evaluated.add(key)

    def _score(self, logits: np.ndarray, y: np.ndarray, base: float) -> float:
        usable = self._wrong(logits, len(y)) is None
        return z(all_metrics(np.asarray(logits), y)[self.metric], base) if usable else 0.0

    def _wrong(self, logits: np.ndarray | None, m: int) -> tuple[Status, str] | None:
        """The status and reason of logits that cannot be scored, None for good ones."""
        if logits is None:
            return Status.FAILED, "the chosen trial has no predictions"
        array = np.asarray(logits)
        if array.shape != (m, self.num_classes) or not np.issubdtype(array.dtype, np.floating):
            return Status.FAILED, (
                f"predictions are {array.dtype} {list(array.shape)}; "
                f"{m} test examples of {self.num_classes} classes need floats {[m, self.num_classes]}"
            )
        if not np.isfinite(array).all():
            rows = int((~np.isfinite(array)).any(axis=1).sum())
            return Status.DIVERGED, f"predictions are not finite for {rows} of {m} test examples"
        return None


def _plain(table: Classes | Reliability) -> dict[str, tuple]:
    return {name: tuple(column.tolist()) for name, column in table._asdict().items()}
