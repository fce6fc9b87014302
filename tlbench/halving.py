"""Which trials go on? Successive halving across lanes, decided in each cell on all its trials' values at once.

Every trial of a cell is trained to the first rung on all its folds; the best one in `eta` goes on to the next, and so
on to the end of the clock, where the rest are compared a last time (Jamieson and Talwalkar 2016, algorithm 1; one
bracket of Li et al. 2018, table 1). Trials that are cut are cut on all their folds. One trial left alone has won, and
is trained no further. At a rung ties go to the larger margin, at the end as PROTOCOL 3 has it.

On three dev tasks (2 and 10 labels a class, 32 cells; points on the test set with 95 % intervals, against searches in
which every trial goes on to the end):

    16 trials, eta 3, cut at 1/6 and 1/2    36 % of the steps    +0.5 +- 0.7
    16 trials, eta 3, cut at 1/9 and 1/3    28 %                 -0.2 +- 1.0
     4 trials, eta 4, cut at 1/4            25 %                 -0.2 +- 0.4; -0.7 +- 0.5 with ties by likelihood

The best validation value itself falls by 1.6, 3.3 and 2.0 points: of fewer noisy values the largest is smaller.

What the suite says of effort holds for every strategy alike: how many trials, how many steps, where the rungs are. So
the steps of a search are known beforehand: with n trials and F folds, F times the sum over rungs of (trials alive) x
(steps since the rung before). What halving saves is time: no new trials are asked for the places that become free,
since then strategies whose static values split them into small packs would try fewer. Those who want more trials for
the same steps ask for more `trials`. Free places are taken by lanes of the cells that wait.

Rungs are synchronous. ASHA (Li et al. 2020) promotes on what is known so far, lest workers wait for stragglers; lanes
of one worker have none, and would be promoted wrongly for nothing. Strategies that do not train are never cut.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from tlbench.fits import Bench, Fit, Job
from tlbench.metrics import all_metrics
from tlbench.packs import Bill, Fits
from tlbench.tune import Trial, rungs, survivors


class Race:
    """The trials of one cell on their way to the end of the clock."""

    def __init__(self, job: Job, fits: Sequence[Fit], rungs: Sequence[int]) -> None:
        """`fits`: every trial on every fold. `rungs`: the clocks at which they are compared; the last is the end."""
        self.job, self.fits = job, list(fits)
        self.alive = list({id(fit.trial): fit.trial for fit in fits}.values())
        self.clock, self.ahead = 0, list(rungs)

    @property
    def decided(self) -> bool:
        """Is nobody trained further after the next rung?"""
        return len(self.ahead) == 1 or len(self.alive) <= self.job.cell.effort.eta

    def compare(self, logits: Iterable[tuple[Fit, np.ndarray]], bill: Bill) -> None:
        """Values of living trials from their lanes' out-of-fold logits [v, C] at the next rung."""
        self.clock = self.ahead.pop(0)
        found = {id(fit): each for fit, each in logits}
        for trial in self.alive:
            parts = [(fit, found[id(fit)]) for fit in self.fits if fit.trial is trial]
            _judge(trial, parts, self.job, self.clock)
            trial.cost = bill.flops[self.job.cell.key, trial.number]

    def cut(self) -> None:
        """Lets the best go on, on every fold, while there is a rung ahead and more than one of them."""
        going = survivors(self.alive, self.job.cell.effort.eta) if self.ahead else self.alive
        self.ahead = self.ahead if len(going) > 1 else []
        for trial in self.alive:
            stays = any(trial is other for other in going)
            trial.state = "failed" if math.isinf(trial.value) else "complete" if stays else "pruned"
        self.alive = going
        self.fits = [fit for fit in self.fits if any(fit.trial is trial for trial in going)]


def compared(bench: Bench, entered: Sequence[tuple[Job, list[Fit]]], bill: Bill) -> None:
    """Trains each cell's trials on their folds, from rung to rung, and writes down what each is worth.

    The youngest lanes go first, and cells come in while there is room for their states, so that survivors gather at
    a rung until they fill the room.
    """
    fits = Fits(bench, bill)
    waiting = deque(Race(job, each, _clocks(bench, job)) for job, each in entered)
    going: list[Race] = []
    while waiting or going:
        taken = fits.taken(_lanes(going))
        while waiting and (not going or taken + fits.taken(waiting[0].fits) <= fits.room):
            taken += fits.taken(waiting[0].fits)
            going.append(waiting.popleft())
        behind = min(race.clock for race in going)
        _to_next_rung(fits, [race for race in going if race.clock == behind], bill)
        going = [race for race in going if race.ahead]
        fits.keep(_lanes(going))


def whole(bench: Bench, job: Job, trials: int) -> int:
    """Steps of a search in which every trial goes on to the end, on every fold; 0 where nothing is trained."""
    return trials * len(job.folds) * bench.steps(job.cell.effort) if bench.strategy.trains else 0


def _to_next_rung(fits: Fits, races: Sequence[Race], bill: Bill) -> None:
    until = races[0].ahead[0]
    logits: dict[str, list[tuple[Fit, np.ndarray]]] = {race.job.cell.key: [] for race in races}
    for fit, each in fits.out_of_fold(_lanes(races), until, last=all(race.decided for race in races)):
        logits[fit.job.cell.key].append((fit, each))
    for race in races:
        race.compare(logits[race.job.cell.key], bill)
        race.cut()


def _clocks(bench: Bench, job: Job) -> list[int]:
    effort = job.cell.effort
    steps = bench.steps(effort)
    return rungs(effort, steps) if bench.strategy.trains else [steps]


def _lanes(races: Iterable[Race]) -> list[Fit]:
    return [fit for race in races for fit in race.fits]


def _judge(trial: Trial, parts: Sequence[tuple[Fit, np.ndarray]], job: Job, clock: int) -> None:
    """A trial's value on pooled out-of-fold predictions."""
    logits = np.concatenate([each for _, each in parts])
    y = np.concatenate([job.y[fit.held_out] for fit, _ in parts])
    trial.steps, trial.value, trial.nll, trial.margin = clock, -math.inf, math.inf, -math.inf
    if np.isfinite(logits).all():
        found = all_metrics(logits, y)
        trial.value, trial.nll, trial.margin = found[job.cell.metric], found["nll"], _margin(logits, y)
        trial.curve[clock] = trial.value


def _margin(logits: np.ndarray, y: np.ndarray) -> float:
    """In -1 ... 1, and the same for logits [v, C] of any scale."""
    own = np.take_along_axis(logits.astype(np.float64), y[:, None], axis=1)[:, 0]
    others = logits.astype(np.float64)
    np.put_along_axis(others, y[:, None], -math.inf, axis=1)
    leads = own - others.max(axis=1)
    size = math.sqrt(np.mean(leads**2))
    return float(leads.mean() / size) if size > 0 else 0.0
