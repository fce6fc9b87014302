"""Can a canary die? Each is alive in the harness as it is, and dead where the harness is broken on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tlbench import block, canaries, cli, contract, contract_watch, executors, runner, scorer
from tlbench.canaries import Cage
from tlbench.datasets import base
from tlbench.types import Measurement

Patch = pytest.MonkeyPatch


def test_every_canary_is_alive() -> None:
    result = CliRunner().invoke(cli.app, ["canaries", "--quick"])
    assert result.exit_code == 0 and result.output.endswith("all are alive\n"), result.output
    assert result.output.count("\nalive") == len(canaries.LOOKS) - 1


def test_a_dead_canary_is_an_exit_code(monkeypatch: Patch) -> None:
    dead = canaries.Canary("song", "nothing", "silence", alive=False)
    monkeypatch.setattr(canaries, "canaries", lambda *, quick: iter([dead]))
    result = CliRunner().invoke(cli.app, ["canaries"])
    assert result.exit_code == 1 and "DEAD   song" in result.output and "1 dead" in result.output


@pytest.fixture
def cage(monkeypatch: Patch) -> Iterator[Cage]:
    """Blocks run in this process, so that what is broken here is broken for them; it stays unsealed for other tests."""

    def here(blocks: Sequence[Any], **_: object) -> Iterator[list[block.Outcome]]:
        return map(block.work, blocks)

    monkeypatch.setattr(executors, "outcomes", here)
    monkeypatch.setattr(base, "seal", lambda: None)
    with canaries.cage(seeds=2) as made:
        yield made


def test_labels_that_leak_into_predictions_are_noticed(cage: Cage, monkeypatch: Patch) -> None:
    honest = scorer.Scorer.evaluate

    def leaky(self: scorer.Scorer, key: str, logits: dict[int, np.ndarray], **chosen: Any) -> Measurement:
        help = np.eye(self.num_classes)[self._labels()]
        return honest(self, key, {trial: each + 2 * help for trial, each in logits.items()}, **chosen)

    monkeypatch.setattr(canaries, "LEARNERS", ("linear_probe",))
    monkeypatch.setattr(canaries, "SHUFFLED", canaries.SHUFFLED[:2])
    monkeypatch.setattr(canaries, "TASKS", canaries.TASKS[:2])
    assert canaries.shuffled_labels(cage).alive
    monkeypatch.setattr(scorer.Scorer, "evaluate", leaky)
    with canaries.cage(seeds=2) as other:
        assert not canaries.shuffled_labels(other).alive


def test_learning_nothing_is_noticed_too(cage: Cage, monkeypatch: Patch) -> None:
    monkeypatch.setattr(canaries, "LEARNERS", ("majority",))
    monkeypatch.setattr(canaries, "SHUFFLED", canaries.SHUFFLED[:2])
    assert not canaries.shuffled_labels(cage).alive


def test_favour_for_one_name_is_noticed(cage: Cage, monkeypatch: Patch) -> None:
    honest = runner._measured

    def partial(outcome: block.Outcome, *rest: Any) -> Measurement:
        found = honest(outcome, *rest)
        return replace(found, score=found.score + 0.02) if outcome.cell.strategy == "canary_twice" else found

    monkeypatch.setattr(runner, "_measured", partial)
    found = canaries.registered_twice(cage)
    assert not found.alive and found.found.startswith("worse")


def test_copies_that_stay_are_noticed(cage: Cage, monkeypatch: Patch) -> None:
    assert canaries.planted_copies(cage).alive
    monkeypatch.setattr(base, "copies", lambda pool, test: np.zeros(len(pool), bool))
    assert not canaries.planted_copies(cage).alive
    monkeypatch.setattr(base, "copies", lambda pool, test: np.arange(len(pool)) >= 59)
    assert not canaries.planted_copies(cage).alive


def test_a_check_that_lets_a_reach_for_labels_pass_is_noticed(cage: Cage, monkeypatch: Patch) -> None:
    monkeypatch.setattr(contract, "LABELS", "words that no refusal has")
    found = canaries.reach_for_labels(cage)
    assert not found.alive and found.found == "by import: refused; under cover: not noticed"
    monkeypatch.setattr(contract_watch, "reaches", lambda plugin: [])
    assert canaries.reach_for_labels(cage).found.startswith("by import: not noticed")


def test_a_worker_that_is_not_sealed_is_noticed(cage: Cage) -> None:
    found = canaries.labels_in_a_worker(cage)
    assert not found.alive and not found.found.startswith("had in 0 of")


def test_a_floor_that_is_nearly_right_is_noticed(cage: Cage, monkeypatch: Patch) -> None:
    honest = scorer.floor
    monkeypatch.setattr(canaries, "TASKS", canaries.TASKS[:1])
    monkeypatch.setattr(scorer, "floor", lambda *of: honest(*of) - 1e-6)
    assert not canaries.majority_floor(cage).alive


def test_a_mark_that_is_never_set_is_noticed(cage: Cage, monkeypatch: Patch) -> None:
    monkeypatch.setattr(block, "_transductive", lambda *of: False)
    assert not canaries.other_company(cage).alive
