"""How long will these blocks take? From what such cells took before, or a rough guess."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tlbench.registry import STRATEGIES
from tlbench.tune import course

if TYPE_CHECKING:
    from tlbench.fits import Block
    from tlbench.types import Cell

# Seconds of one worker on a small network and a CPU, to have a figure before anything was measured.
GUESS_STEP, GUESS_FIT = 0.006, 0.1


class Pace:
    """Seconds of one worker, of cells of the same strategy, backbone and budget, else of the same strategy."""

    def __init__(self, costs: Iterable[tuple[str, str, int, Mapping[str, float]]]) -> None:
        """`costs` as `Store.costs` gives them."""
        seconds: dict[tuple, list[float]] = defaultdict(list)
        for strategy, backbone, budget, cost in costs:
            spent = sum(cost.get(part, 0.0) for part in ("tune_seconds", "fit_seconds", "peek_seconds"))
            seconds[strategy, backbone, budget].append(spent)
            seconds[strategy,].append(spent)
        self._means = {place: sum(all_of) / len(all_of) for place, all_of in seconds.items()}

    def seconds(self, block: Block) -> float:
        """What a block will take."""
        known = [self._known(job.cell) for job in block.jobs]
        return sum(
            _guess(block, len(job.folds)) if mean is None else mean for job, mean in zip(block.jobs, known, strict=True)
        )

    def grounds(self, blocks: Sequence[Block]) -> str:
        """A phrase that says what the seconds of these blocks are based on."""
        if any(self._known(job.cell) is None for block in blocks for job in block.jobs):
            return "a rough guess: nothing like it was run here yet"
        return "as such cells took before"

    def _known(self, cell: Cell) -> float | None:
        exact = self._means.get((cell.strategy, cell.backbone, cell.budget))
        return self._means.get((cell.strategy,)) if exact is None else exact


def _guess(block: Block, folds: int) -> float:
    effort, strategy = block.jobs[0].cell.effort, STRATEGIES[block.strategy]
    steps = round(effort.steps * strategy.share) if strategy.trains else 0
    a_fold, left = course(effort, steps) if steps else (0, effort.trials)
    refits = min(effort.trials, left + 1)  # and the default
    return GUESS_FIT * (folds * effort.trials + refits) + GUESS_STEP * (folds * a_fold + refits * steps)
