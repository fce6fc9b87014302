"""Does a published cell come out the same when it is run again? From its record alone, in a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlbench import runner
from tlbench.executors import Means
from tlbench.registry import BACKBONES, DATASETS, STRATEGIES, Registry, load_plugin
from tlbench.scorer import seal
from tlbench.store import Store
from tlbench.suite import Filter, Suite, fill_registries
from tlbench.types import Cell, Record, Status, TlbenchError

TOLERANCE = 0.005  # of the score, half a point: more is not rounding
DECIDES = {  # what the identity of a cell says of the world around it
    "data_fingerprint": "data of the dataset",
    "metric": "primary metric of the dataset",
    "weights_fingerprint": "weights of the backbone",
    "strategy_version": "version of the strategy",
    "strategy_source": "source of the plug-in",
}
SURROUNDS = {  # what the provenance of a cell says of it
    "commit": "commit",
    "dirty": "uncommitted changes",
    "device": "device",
    "width": "lanes side by side",
    "pieces": "pieces of a minibatch",
}


class Verdict(StrEnum):
    """What can be said, and the meaning that is printed beside it."""

    IDENTICAL = "identical"
    SAME = "same"
    DIFFERENT = "different"


class Change(NamedTuple):
    """Something that is not as it was."""

    what: str
    then: str
    now: str


class Predictions(NamedTuple):
    """How far the test logits are from those that were published."""

    bitwise: bool  # is every logit of every refitted trial the same?
    largest: float  # absolute difference of two logits, of any refitted trial
    flipped: float  # share of test examples that the chosen trial gives another class


class Verification(NamedTuple):
    published: Record
    again: Record | None  # None where the cell was not run: what it depends on changed
    changed: tuple[Change, ...]  # what determines the result and is not as it was
    elsewhere: tuple[Change, ...]  # code, packages and device that differ, and need not matter
    predictions: Predictions | None  # None where either has none that can be compared
    company: int  # cells that trained side by side, this one included

    @property
    def verdict(self) -> Verdict:
        if self.again is None or self.changed:
            return Verdict.DIFFERENT
        then, now = self.published.measurement, self.again.measurement
        if then.status != now.status or chosen_trial(self.published) != chosen_trial(self.again):
            return Verdict.DIFFERENT
        if then.score is None or now.score is None:
            return Verdict.IDENTICAL if then.reason == now.reason else Verdict.SAME
        bitwise = self.predictions is not None and self.predictions.bitwise
        if bitwise and then.selection_seal == now.selection_seal and then.score == now.score:
            return Verdict.IDENTICAL
        return Verdict.SAME if abs(then.score - now.score) <= TOLERANCE else Verdict.DIFFERENT

    @property
    def held(self) -> bool:
        """Did it come out the same, but for rounding?"""
        return self.verdict is not Verdict.DIFFERENT


def chosen_trial(record: Record) -> int | None:
    """The number of the trial whose choice was sealed; None where nothing was, or the record is not what was sealed."""
    found = record.measurement
    selection = {"params": found.hyperparameters, "at_edge": found.at_edge, "trials": found.trials}
    numbers = [trial["number"] for trial in found.trials]
    return next((n for n in numbers if seal({"chosen": n, **selection}) == found.selection_seal), None)


def verify(
    folder: Path, key: str, *, plugins: Sequence[str] = (), dataset: str = "", backbone: str = ""
) -> Verification:
    """Runs the cell with this key again, beside the cells that it was trained with, and compares.

    The store of `folder` is only read. `plugins` and the references `dataset` and `backbone` open what the names in the
    record do not. Data and activations that the cache holds are used.
    Raises TlbenchError when the store has no such cell, and when its strategy, data or backbone cannot be opened.
    """
    then = _published(folder, key)
    record, cell = then.record, then.record.cell
    _open(cell, plugins)
    _named(DATASETS, cell.dataset, dataset)
    _named(BACKBONES, cell.backbone, backbone)
    suite = _suite(folder, cell, then.kin, plugins)
    company = [each.cell for each in then.kin if _trained_together(each, record)]
    only = Filter(budget=tuple({each.budget for each in company}), seed=tuple({each.seed for each in company}))
    now = runner.identified(suite, runner.prepared(suite), Filter(budget=(cell.budget,), seed=(cell.seed,)))[0]
    changed = (*_unsealed(record, then.sealed), *_changes(cell, now, DECIDES))
    if changed:
        return Verification(record, None, changed, (), None, len(company))
    again, logits = _run(suite, only, cell, then)
    compared = _compared(record, then.logits, logits)
    return Verification(record, again, (), _surroundings(record, again), compared, len(company))


class _Published(NamedTuple):
    """What the store has that bears on the cell."""

    record: Record
    kin: list[Record]  # cells that differ from it in budget and seed alone, itself included
    widths: dict[str, int] | None
    sealed: str
    logits: dict[str, np.ndarray]


def _published(folder: Path, key: str) -> _Published:
    with Store.open(folder, create=False) as store:
        record = store.get(key)
        if record is None:
            raise TlbenchError(f"{str(folder)!r} has no cell {key[:12]}; see: tlbench show {key[:12]}")
        cell, found = record.cell, record.measurement
        row = store.find(f"{cell.strategy}/{cell.backbone}/{cell.dataset}/")
        kin = [each for each in row if replace(each.cell, budget=cell.budget, seed=cell.seed) == cell]
        logits = store.logits(found.logits) if found.logits else {}
        return _Published(record, kin, store.plan_get("width"), store.seal(key) or "", logits)


def _trained_together(other: Record, record: Record) -> bool:
    """A pack of lanes begins and ends as one; which lanes it holds decides how sums are rounded."""
    ours, theirs = record.provenance, other.provenance
    together = (ours.started, ours.finished) == (theirs.started, theirs.finished)
    return other.cell == record.cell or together


def _open(cell: Cell, plugins: Sequence[str]) -> None:
    """Makes the strategy known under the name in the record."""
    fill_registries()
    for plugin in plugins:
        load_plugin(plugin)
    if cell.strategy not in STRATEGIES:
        raise TlbenchError(
            f"strategy {cell.strategy!r} is not known; it came from a plug-in: name the file with --plugin FILE.py"
        )


def _named(registry: Registry, name: str, reference: str) -> None:
    """Makes data or a network known under the name in the record."""
    if reference and registry.name(reference) != name:
        raise TlbenchError(
            f"{reference!r} is called {registry.name(reference)!r}, but the cell was run on {name!r}; name that one"
        )
    try:
        registry.name(name)
    except TlbenchError as error:
        raise TlbenchError(
            f"{registry.noun} {name!r} cannot be opened by its name alone ({error}); "
            f"say where it is: --{registry.noun} REF, as it was given to tlbench run"
        ) from error


def _suite(folder: Path, cell: Cell, kin: Sequence[Record], plugins: Sequence[str]) -> Suite:
    """The part of the suite that the cell's block was made of, as far as the store knows it."""
    return Suite(
        name=folder.name,
        preset="",
        description="",
        strategies=(cell.strategy,),
        backbones=(cell.backbone,),
        datasets=(cell.dataset,),
        budgets=tuple(sorted({each.cell.budget for each in kin})),
        seeds=tuple(sorted({each.cell.seed for each in kin})),
        effort=cell.effort,
        plugins=tuple(plugins),
        protocol=cell.protocol,
        path=Path(),
    )


def _run(suite: Suite, only: Filter, cell: Cell, then: _Published) -> tuple[Record, dict[str, np.ndarray]]:
    """The cell's new record and the test logits of its refitted trials, from a store that is gone afterwards."""
    device = "cpu" if then.record.provenance.device == "cpu" else "auto"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / suite.name
        if then.widths is not None:
            with Store.open(folder) as store:
                store.plan_put("width", then.widths)
        runner.run(suite, results=Path(place), means=Means(workers=1, device=device), only=only)
        with Store.open(folder, create=False) as store:
            record = store.get(cell.key)
            assert record is not None, "a run leaves a record of each of its cells"
            return record, store.logits(record.measurement.logits) if record.measurement.logits else {}


def _compared(record: Record, then: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> Predictions | None:
    """None where the chosen trial has no logits of one shape, then and now."""
    chosen = str(chosen_trial(record))
    if chosen not in then or chosen not in now or then[chosen].shape != now[chosen].shape:
        return None
    both = then.keys() & now.keys()
    bitwise = then.keys() == now.keys() and all(np.array_equal(then[n], now[n], equal_nan=True) for n in both)
    with np.errstate(invalid="ignore"):  # a trial that diverged
        largest = max(float(np.nanmax(np.abs(then[n] - now[n]), initial=0.0)) for n in both)
    flipped = float((then[chosen].argmax(1) != now[chosen].argmax(1)).mean())
    return Predictions(bitwise, largest, flipped)


def _unsealed(record: Record, sealed: str) -> list[Change]:
    """A published selection that is not the one sealed before test labels were looked at."""
    if record.measurement.status is not Status.DONE:
        return []
    own = record.measurement.selection_seal
    if own != sealed:
        return [Change("seal of the selection", sealed, own)]
    return [] if chosen_trial(record) is not None else [Change("selection under its seal", own, "another selection")]


def _surroundings(then: Record, now: Record) -> tuple[Change, ...]:
    packages = [each.provenance.packages for each in (then, now)]
    names = sorted({*packages[0], *packages[1]})
    versions = [Change(name, *(each.get(name, "absent") for each in packages)) for name in names]
    return (
        *_changes(then.provenance, now.provenance, SURROUNDS),
        *(each for each in versions if each.then != each.now),
    )


def _changes(then: object, now: object, names: dict[str, str]) -> tuple[Change, ...]:
    pairs = ((words, getattr(then, name), getattr(now, name)) for name, words in names.items())
    return tuple(Change(words, str(old), str(new)) for words, old, new in pairs if old != new)
