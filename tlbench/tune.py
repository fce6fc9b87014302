"""Which configuration to use: Optuna asks, lanes answer, trials are halved at rungs, and a winner is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from tlbench.space import Choice, Float, Parameter, Space, at_edge, defaults
from tlbench.types import Effort, Record

optuna.logging.set_verbosity(optuna.logging.WARNING)

TPE_BATCH = 4  # trials asked at once from a sampler that learns


@dataclass
class Trial:
    """One configuration and what its folds said of it."""

    number: int
    params: dict[str, Any]
    value: float = -math.inf  # primary metric over pooled out-of-fold predictions; -inf when they are not finite
    nll: float = math.inf
    margin: float = -math.inf  # mean lead of the true class over the next, in units of its own root mean square
    cost: int = 0  # floating-point operations of its fold fits
    steps: int = 0
    state: str = "asked"  # complete (to the end, or left alone) | pruned | failed; "asked" where there are no folds
    curve: dict[int, float] = field(default_factory=dict)  # value at each rung, by steps

    @property
    def rank(self) -> tuple[float, float, int, int]:
        """Sorts the best first: value, then likelihood, then cost, then number (PROTOCOL 3)."""
        return -self.value, self.nll, self.cost, self.number

    @property
    def promise(self) -> tuple[float, float, int]:
        """Sorts those first that go on from a rung: value, then margin, then number.

        Early in training the better likelihood belongs to the smaller learning rate, the better margin does not.
        """
        return -self.value, -self.margin, self.number

    def row(self) -> dict[str, Any]:
        """Plain values for the store; None where there is no finite value."""
        finite = {name: v if math.isfinite(v) else None for name, v in (("value", self.value), ("nll", self.nll))}
        kept = {"cost": self.cost, "steps": self.steps, "state": self.state}
        return {"number": self.number, "params": self.params, **finite, **kept, "curve": dict(self.curve)}


class Search:
    """One in-memory study of one cell; trial 0 is the default."""

    def __init__(self, space: Space, effort: Effort, *, seed: int, compared: bool) -> None:
        """`compared`: are there folds to compare trials on? Without them only the default is asked for."""
        self._space, self.effort = space, effort
        self._distributions = {name: distribution(p) for name, p in space.items()}
        self._study = optuna.create_study(direction="maximize", sampler=_sampler(effort.sampler, seed % 2**32))
        self._study.enqueue_trial(defaults(space))
        self._batch = TPE_BATCH if effort.sampler == "tpe" else effort.trials
        self._left = effort.trials if space and compared else 1
        self._asked: dict[int, optuna.Trial] = {}
        self.trials: list[Trial] = []

    def ask(self) -> list[Trial]:
        """The next trials to run side by side; none when the effort is spent."""
        asked = [self._study.ask(self._distributions) for _ in range(min(self._batch, self._left))]
        self._left -= len(asked)
        self._asked |= {trial.number: trial for trial in asked}
        new = [Trial(trial.number, dict(trial.params)) for trial in asked]
        self.trials += new
        return new

    @property
    def open(self) -> bool:
        """Is there effort left?"""
        return self._left > 0

    def tell(self, trials: Iterable[Trial]) -> None:
        for trial in trials:
            asked = self._asked.pop(trial.number)
            for step, value in trial.curve.items():
                asked.report(value, step)
            if trial.state == "complete":
                self._study.tell(asked, trial.value)
            else:
                self._study.tell(asked, state=TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL)

    def winner(self) -> Trial:
        """The best of the trials that were compared to the end; the default where none was."""
        return min(self._complete() or self.trials[:1], key=lambda trial: trial.rank)

    def finalists(self) -> list[Trial]:
        """The trials to refit: those compared to the end, and the default."""
        return self.trials[:1] + [trial for trial in self._complete() if trial.number > 0]

    def selection(self) -> dict[str, Any]:
        """What tuning chose, and on what grounds: the value that is sealed."""
        winner = self.winner()
        edges = list(at_edge(self._space, winner.params))
        trials = [trial.row() for trial in self.trials]
        return {"chosen": winner.number, "params": winner.params, "at_edge": edges, "trials": trials}

    def _complete(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.state == "complete"]


def survivors(trials: Sequence[Trial], eta: int) -> list[Trial]:
    """The best one in `eta` of them, rounded up, decided on all values at once (Jamieson and Talwalkar 2016)."""
    return sorted(trials, key=lambda trial: trial.promise)[: math.ceil(len(trials) / eta)]


def rungs(effort: Effort, steps: int) -> list[int]:
    """Steps after which trials are compared: the effort's fractions of `steps`, and the end."""
    return sorted({max(1, round(share * steps)) for share in effort.rungs} | {steps})


def course(effort: Effort, steps: int) -> tuple[int, int]:
    """Steps of all trials of a halved search on one fold, and how many trials are compared to the end."""
    total, before, left = 0, 0, effort.trials
    for rung in rungs(effort, steps):
        total += left * (rung - before)
        before, left = rung, left if rung == steps else math.ceil(left / effort.eta)
        if left == 1:
            break
    return total, left


def distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    if isinstance(parameter, Float):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return IntDistribution(parameter.low, parameter.high, log=parameter.log)


def export(records: Iterable[Record], space_of: Callable[[Record], Space], storage: str) -> int:
    """Writes each cell's trials as a study into an Optuna storage URL, for its dashboard; returns how many studies.

    A study that is there already is replaced.
    """
    count = 0
    opened = optuna.storages.RDBStorage(storage)
    present = set(optuna.get_all_study_names(opened))
    for record in records:
        name = record.cell.name
        if name in present:
            optuna.delete_study(study_name=name, storage=opened)
        study = optuna.create_study(study_name=name, storage=opened, direction="maximize")
        study.set_user_attr("cell", record.cell.key)
        study.add_trials([_frozen(row, space_of(record)) for row in record.measurement.trials])
        count += 1
    return count


def _frozen(row: Mapping[str, Any], space: Space) -> optuna.trial.FrozenTrial:
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    state = states.get(row["state"], TrialState.FAIL) if row["value"] is not None else TrialState.FAIL
    return optuna.trial.create_trial(
        params=dict(row["params"]),
        distributions={name: distribution(p) for name, p in space.items()},
        value=row["value"] if state is not TrialState.FAIL else None,
        state=state,
        intermediate_values={int(step): value for step, value in row["curve"].items() if value is not None},
        user_attrs={"nll": row["nll"], "cost": row["cost"], "steps": row["steps"], "state": row["state"]},
    )


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed) if name == "tpe" else optuna.samplers.RandomSampler(seed=seed)
