"""How good was a sealed selection? The only code that holds test labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.metrics import all_metrics, floor, z
from tlbench.types import Cell, Status, TlbenchError, sha256

if TYPE_CHECKING:
    from tlbench.datasets.base import Loaded


class Scorer:
    """Evaluates the cells of one dataset, each once."""

    def __init__(self, loaded: Loaded, labels: Callable[[], np.ndarray] | None = None) -> None:
        """`labels` gives the test labels [m]; first called by the first evaluation, and by default it reads them."""
        self.num_classes = len(loaded.class_names)
        self._labels = functools.cache(labels or functools.partial(_read_labels, loaded))
        self._evaluated: set[str] = set()

    def seal(self, selection: Mapping[str, Any]) -> str:
        """sha256 of what tuning chose; keep it durably (`Store.put_seals`) before `evaluate` looks at labels."""
        return sha256(dict(selection))

    def evaluate(
        self, cell: Cell, seal: str, selection: Mapping[str, Any], logits: Mapping[int, np.ndarray]
    ) -> dict[str, Any]:
        """The fields of a Measurement that only test labels can fill, from `status` to `peek_gap`.

        `logits` holds the test logits [m, C] of refitted trials by trial number, `selection["chosen"]` among them.
        Where the chosen trial's have another shape the status is `failed`, where they are not finite `diverged`;
        another trial that went wrong scores 0 (PROTOCOL 7). `default_score` is trial 0's, None when it was not
        refitted; `peek_gap` is what the best of the trials handed in scores above the chosen one.
        Raises TlbenchError when the selection is not the sealed one and when the cell was evaluated before.
        """
        self._admit(cell, seal, selection)
        y = self._labels()
        chosen = selection["chosen"]
        wrong = self._wrong(logits.get(chosen), len(y))
        if wrong is not None:
            return {"status": wrong[0], "reason": wrong[1]}
        base = floor(cell.metric, y, self.num_classes)
        found = {number: self._metrics(array, y) for number, array in sorted(logits.items())}
        scores = {number: z(each[cell.metric], base) if each else 0.0 for number, each in found.items()}
        return {
            "status": Status.DONE,
            "reason": "",
            "score": scores[chosen],
            "floor": base,
            "metrics": found[chosen],
            "default_score": scores.get(0),
            "peek_gap": max(scores.values()) - scores[chosen],
        }

    def _admit(self, cell: Cell, seal: str, selection: Mapping[str, Any]) -> None:
        if self.seal(selection) != seal:
            raise TlbenchError(
                f"{cell.name}: the selection is not the one that was sealed ({seal[:12]}); it changed after test "
                "labels could be seen, so nothing is scored; run the cell again"
            )
        if cell.key in self._evaluated:
            raise TlbenchError(f"{cell.name} was evaluated before; a second look at test labels is not allowed")
        self._evaluated.add(cell.key)

    def _metrics(self, logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Every metric, or none for logits that cannot be scored."""
        return all_metrics(np.asarray(logits), y) if self._wrong(logits, len(y)) is None else {}

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


def _read_labels(loaded: Loaded) -> np.ndarray:
    from tlbench.datasets import base

    return base.sealed_labels(loaded)
