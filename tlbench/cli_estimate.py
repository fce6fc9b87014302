"""How long will these blocks take? From what the store has seen, or a rough guess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlbench.registry import STRATEGIES
from tlbench.tune import course

if TYPE_CHECKING:
    import pandas as pd

    from tlbench.fits import Block

# Seconds of one worker on a small network and a CPU, to have a figure before anything was measured.
GUESS_STEP, GUESS_FIT = 0.006, 0.1


def seconds_of(blocks: Sequence[Block], frame: pd.DataFrame) -> tuple[float, str]:
    """(seconds of one worker for all blocks, a phrase that says what that is based on).

    A cell is taken to cost what cells of the same strategy, backbone and budget cost before, else of the same strategy.
    """
    done = frame[frame.fit_seconds.notna()]
    others = done.peek_seconds.fillna(done.fit_seconds * (done.trials.map(len) - 1).clip(lower=0))
    costs = done.tune_seconds.fillna(0) + done.fit_seconds + others
    exact = costs.groupby([done.strategy, done.backbone, done.budget]).mean().to_dict()
    close = costs.groupby(done.strategy).mean().to_dict()
    total, guessed = 0.0, False
    for block in blocks:
        for job in block.jobs:
            known = exact.get((block.strategy, block.backbone, job.cell.budget), close.get(block.strategy))
            guessed |= known is None
            total += _guess(block, len(job.folds)) if known is None else known
    return total, "a rough guess: nothing like it was run here yet" if guessed else "as such cells took before"


def _guess(block: Block, folds: int) -> float:
    effort, strategy = block.jobs[0].cell.effort, STRATEGIES[block.strategy]
    steps = round(effort.steps * strategy.share) if strategy.trains else 0
    a_fold, left = course(effort, steps) if steps else (0, effort.trials)
    refits = min(effort.trials, left + 1)  # and the default
    return GUESS_FIT * (folds * effort.trials + refits) + GUESS_STEP * (folds * a_fold + refits * steps)
