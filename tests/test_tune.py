"""Choosing: the default first, halving on the whole vector of values, ties broken in one way."""

from __future__ import annotations

import math
from dataclasses import replace

import optuna
import pytest

from tlbench.space import Choice, Float, Int
from tlbench.tune import Search, Trial, course, export, rungs, survivors
from tlbench.types import Cell, Effort, Measurement, Provenance, Record, Status

SPACE = {"lr": Float(1e-5, 1e-1, log=True, default=1e-3), "rank": Choice(4, 8, default=8), "k": Int(1, 3, default=2)}
EFFORT = Effort(trials=6, steps=100, batch_size=16)


def search(effort: Effort = EFFORT, *, seed: int = 0, compared: bool = True) -> Search:
    return Search(SPACE, effort, seed=seed, compared=compared)


def test_trial_zero_is_the_default():
    first = search().ask()[0]
    assert (first.number, first.params) == (0, {"lr": 1e-3, "rank": 8, "k": 2})


def test_the_same_seed_asks_for_the_same_trials_and_another_for_others():
    a, b, c = (search(seed=seed).ask() for seed in (1, 1, 2))
    assert [t.params for t in a] == [t.params for t in b] != [t.params for t in c]
    assert all(trial.params[name] in parameter for trial in a for name, parameter in SPACE.items())


def test_random_trials_are_asked_at_once_and_tpe_trials_in_rounds():
    assert len(search().ask()) == 6
    learning = search(Effort(trials=6, steps=10, batch_size=4, sampler="tpe"))
    sizes = []
    while learning.open:
        trials = learning.ask()
        sizes.append(len(trials))
        for trial in trials:
            trial.value, trial.nll, trial.state = 0.5, 1.0, "complete"
        learning.tell(trials)
    assert sizes == [4, 2]


def test_without_folds_only_the_default_is_asked_for_and_wins():
    lone = search(compared=False)
    assert len(lone.ask()) == 1
    assert not lone.open
    assert lone.winner().number == 0
    assert lone.finalists() == [lone.winner()]


def test_ties_go_to_likelihood_then_cost_then_number():
    trials = [
        Trial(0, {}, value=0.5, nll=2.0, cost=1),
        Trial(1, {}, value=0.5, nll=1.0, cost=9),
        Trial(2, {}, value=0.5, nll=1.0, cost=3),
        Trial(3, {}, value=0.5, nll=1.0, cost=3),
        Trial(4, {}, value=0.4, nll=0.1, cost=1),
    ]
    assert [t.number for t in sorted(trials, key=lambda t: t.rank)] == [2, 3, 1, 0, 4]


def test_one_trial_in_eta_survives_and_a_failed_one_never_before_a_sound_one():
    trials = [Trial(i, {}, value=v, nll=1.0) for i, v in enumerate([0.1, -math.inf, 0.9, 0.4, 0.3])]
    assert [t.number for t in survivors(trials, 2)] == [2, 3, 4]
    assert [t.number for t in survivors(trials, 5)] == [2]


def test_at_a_rung_ties_go_to_the_margin_and_not_to_the_likelihood_of_the_timid():
    timid, bold = Trial(0, {}, value=0.5, nll=1.0, margin=0.1), Trial(1, {}, value=0.5, nll=3.0, margin=0.4)
    assert survivors([timid, bold], 2) == [bold]
    assert sorted([timid, bold], key=lambda trial: trial.rank) == [timid, bold]


@pytest.mark.parametrize(("shares", "steps"), [((), [100]), ((0.25, 0.5), [25, 50, 100]), ((0.001, 0.999), [1, 100])])
def test_rungs_are_whole_steps(shares, steps):
    assert rungs(Effort(trials=4, steps=999, batch_size=8, rungs=shares), 100) == steps


def test_the_course_of_a_search_is_known_before_it_starts():
    nine = Effort(trials=9, steps=999, batch_size=8, eta=3)
    assert course(nine, 18) == (9 * 18, 9)
    assert course(replace(nine, rungs=(1 / 9, 1 / 3)), 18) == (9 * 2 + 3 * 4, 1)
    assert course(replace(nine, rungs=(1 / 9,)), 18) == (9 * 2 + 3 * 16, 3)
    assert course(replace(nine, trials=4, rungs=(0.25,), eta=4), 128) == (4 * 32, 1)


def test_the_winner_is_sought_among_trials_compared_to_the_end():
    asked = search()
    trials = asked.ask()
    states = ["pruned", "pruned", "complete"] * 2
    for trial, value, state in zip(trials, [0.2, 0.9, 0.5, 0.4, 0.1, 0.1], states, strict=True):
        trial.value, trial.nll, trial.state, trial.curve = value, 1.0, state, {10: value}
    asked.tell(trials)
    assert asked.winner().number == 2
    assert [t.number for t in asked.finalists()] == [0, 2, 5]


def test_trials_open_in_optuna_as_they_were(tmp_path):
    asked = search()
    trials = asked.ask()
    for trial in trials:
        trial.value, trial.nll, trial.state = 0.1 * trial.number, 1.0, "complete"
        trial.curve = {100: trial.value}
    trials[3].state, trials[4].state, trials[4].value = "pruned", "failed", -math.inf
    trials[4].curve = {}
    asked.tell(trials)
    cell = Cell("digits", "glyph_vit", "lora", 5, 0)
    found = Measurement(Status.DONE, trials=tuple(asked.selection()["trials"]))
    storage = f"sqlite:///{tmp_path}/trials.db"
    for _ in range(2):
        assert export([Record(cell, found, Provenance())], lambda _record: SPACE, storage) == 1
    study = optuna.load_study(study_name=cell.name, storage=storage)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3 + ["PRUNED", "FAIL", "COMPLETE"]
    assert study.best_trial.number == 5
    assert study.trials[2].params == trials[2].params
    assert study.trials[3].intermediate_values == {100: pytest.approx(0.3)}
