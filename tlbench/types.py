"""The values that travel between modules: data arrays, cards, cells and records. No torch."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np

PROTOCOL = "TLB-1"

Modality = Literal["image", "text"]


class TlbenchError(Exception):
    """A mistake that the user can mend; the message says how. The CLI prints it without a traceback."""


class Arrays(NamedTuple):
    """What a dataset function returns: raw uint8 pixels [N, H, W, 3] or strings [N], and int64 labels [N].

    Instead of pixels `Pictures` may stand there, which are still to be decoded.
    """

    pool_x: Any
    pool_y: np.ndarray
    test_x: Any
    test_y: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray | None = None  # [pool]; rows of one group never stand on both sides of a fold
    excluded: dict[str, int] | None = None  # examples that could not be used: how many, by reason
    origin: str = ""  # the exact state of what was read, such as a repository's commit


@dataclass(frozen=True)
class Card:
    """What a reader must know of a dataset before trusting a number on it."""

    name: str
    modality: Modality
    classes: int | None  # None: as many as the data turns out to have
    summary: str
    kind: Literal["real", "procedural"]
    group: str  # the heading it stands under in a report: "real images", "scripts", ...
    source: str
    licence: str
    metric: str = "balanced_accuracy"
    horizontal_flip: bool = False  # may augmentation mirror an image without changing its class?


@dataclass(frozen=True)
class DataFacts:
    """What became of a dataset before anyone trained on it."""

    pool: int  # examples
    test: int
    classes: int
    small_test: bool  # fewer than 500 examples (PROTOCOL 1.2)
    duplicates_removed: int  # pool examples that were copies of test examples
    excluded: dict[str, int]  # examples that could not be used: how many, by reason
    origin: str = ""  # the exact state of what was read
    class_names: tuple[str, ...] = ()


class TaskShape(NamedTuple):
    """All that a strategy may know of a task before it starts; never a dataset's name."""

    n: int
    num_classes: int
    modality: Modality


class Status(StrEnum):
    DONE = "done"
    SKIPPED = "skipped"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


@dataclass(frozen=True)
class Effort:
    """How hard a strategy may try: the same for every strategy of a suite."""

    trials: int
    steps: int  # optimiser steps of one fit, at most
    batch_size: int  # examples a step, at most; steps x batch_size caps the examples seen
    folds: Literal["standard", "lite"] = "standard"
    sampler: Literal["random", "tpe"] = "random"
    rungs: tuple[float, ...] = ()  # fractions of `steps` after which trials are cut; () compares all at the end
    eta: int = 2  # one trial in `eta` survives a rung


@dataclass(frozen=True, order=True)
class Cell:
    """One entry of the result array, and everything that determines its result."""

    dataset: str
    backbone: str
    strategy: str
    budget: int  # labelled examples a class
    seed: int
    strategy_version: int = 1
    strategy_source: str = ""  # sha256 of a third-party plug-in's file; "" for built-in strategies
    data_fingerprint: str = ""
    weights_fingerprint: str = ""
    metric: str = "balanced_accuracy"
    effort: Effort = field(default_factory=lambda: Effort(trials=1, steps=1, batch_size=1))
    protocol: str = PROTOCOL

    @functools.cached_property
    def key(self) -> str:
        """sha256 of the identity alone: never a path, a host or a width."""
        return sha256({**vars(self), "effort": vars(self.effort)})  # as `asdict` has it, in a tenth of the time

    @property
    def name(self) -> str:
        return f"{self.strategy}/{self.backbone}/{self.dataset}/{self.budget}/{self.seed}"


@dataclass(frozen=True)
class Measurement:
    """What was found in one cell. Numbers are None where the status left nothing to measure."""

    status: Status
    reason: str = ""
    score: float | None = None  # z = (value - floor) / (1 - floor); 0 is the majority class, 1 is perfect
    floor: float | None = None  # the majority class's value of the primary metric
    metrics: dict[str, float] = field(default_factory=dict)  # metrics.METRICS, on the whole test set
    classes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # metrics.Classes, on the whole test set
    reliability: dict[str, tuple[float, ...]] = field(default_factory=dict)  # metrics.Reliability, on the same
    default_score: float | None = None  # z of trial 0
    peek_gap: float | None = None  # z of the best refitted trial on test, minus `score`
    trial_scores: dict[str, float] = field(default_factory=dict)  # z on test of every refitted trial, by its number
    labels: int = 0  # labels consumed
    short_classes: int = 0  # classes that had fewer labels than the budget
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    at_edge: tuple[str, ...] = ()  # hyperparameters chosen within 5 % of an end of their range
    trials: tuple[dict[str, Any], ...] = ()  # number, params, value, nll, steps, state
    transductive: bool = False
    selection_seal: str = ""  # sha256 of the selection, taken before test labels were looked at
    logits: str = ""  # name of the stored logits file
    cost: dict[str, float] = field(default_factory=dict)  # see COSTS


COSTS = {
    "trainable_parameters": "parameters that training changes",
    "total_parameters": "parameters of the network with its head",
    "stored_parameters": "parameters to keep for each task beside the shared backbone",
    "train_flops": "floating-point operations of the final fit",
    "tune_flops": "floating-point operations of choosing hyperparameters",
    "tune_seconds": "seconds of choosing hyperparameters",
    "tune_steps": "optimiser steps of choosing hyperparameters, over trials and folds",
    "tune_steps_whole": "the same if no trial had been stopped early",
    "fit_seconds": "seconds of the final fit",
    "peek_seconds": "seconds of fitting the other trials that were compared to the end, for the peek gap",
    "predict_ms_1": "median milliseconds to predict 1 example",
    "predict_ms_1_p95": "95th percentile of the same",
    "predict_ms_64": "median milliseconds to predict 64 examples",
    "predict_ms_64_p95": "95th percentile of the same",
    "peak_memory_mb": "peak resident memory of the worker, MiB",
}


@dataclass(frozen=True)
class Provenance:
    """Where and how a record came about; it never takes part in a cell's key."""

    commit: str = ""
    dirty: bool = False
    packages: dict[str, str] = field(default_factory=dict)
    device: str = ""
    width: int = 1  # lanes trained side by side
    pieces: int = 1  # of a minibatch, where memory ran out
    determinism: Literal["bitwise", "seeded"] = "bitwise"
    started: str = ""  # ISO 8601, UTC
    finished: str = ""


@dataclass(frozen=True)
class Record:
    cell: Cell
    measurement: Measurement
    provenance: Provenance


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def sha256(value: Any) -> str:
    """Hex sha256 of bytes as they are, of anything else as canonical JSON."""
    return hashlib.sha256(value if isinstance(value, bytes) else canonical(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r}")
