"""What can be looked up? Listings, single cells and failures, as lines of text."""

from __future__ import annotations

import csv
import inspect
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tlbench.metrics import Classes, Reliability
from tlbench.registry import BACKBONES, DATASETS, STRATEGIES, load_plugin, unknown
from tlbench.store import Store
from tlbench.suite import Suite, available_suites, describe, fill_registries, typed
from tlbench.types import Record, TlbenchError

AXES = ("strategy", "backbone", "dataset", "budget", "seed")
MANY = 20  # cells named before the rest are counted


def listing(kind: str, plugins: Sequence[str]) -> Iterator[str]:
    """`name  what it is`, a line for each thing of a kind."""
    if kind == "suites":
        yield from (_line(name, describe(path)) for name, path in sorted(available_suites().items()))
        return
    fill_registries()
    for plugin in plugins:
        load_plugin(plugin)
    if kind == "datasets":
        cards = {name: dataset.card for name, dataset in DATASETS.items()}
        yield from (_line(name, f"{card.classes or '?':>3} classes  {card.summary}") for name, card in cards.items())
        yield from (_line(family.form, family.summary) for family in DATASETS.families.values())
    elif kind == "strategies":
        yield from (_line(name, _first_sentence(strategy)) for name, strategy in STRATEGIES.items())
    else:
        yield from (_line(name, _first_sentence(backbone)) for name, backbone in BACKBONES.items())
        yield from (_line(family.form, family.summary) for family in BACKBONES.families.values())


def library_listing(kind: str, library: str, pattern: str) -> list[str]:
    """A reference to each pretrained network of timm or torchvision that fits a pattern, and how many there are.

    Raises TlbenchError where none fits, or something else than backbones is to be listed.
    """
    if kind != "backbones":
        raise TlbenchError(f"{library} has no {kind} to list by pattern; write: tlbench list backbones --{library} '*'")
    from tlbench.backbones import timm, torchvision

    names_of = {"timm": timm.names, "torchvision": torchvision.names}[library]
    names = names_of(pattern)
    if not names:
        every, see = {name.partition(".")[0] for name in names_of("*")}, f"tlbench list {kind} --{library} '*'"
        raise TlbenchError(unknown(f"{library} model", pattern.strip("*"), every, see))
    count = f"pretrained networks of {library} that fit {pattern!r}: {len(names)}"
    return [*(f"{library}:{name}" for name in names), f"{count}; without their weights: {library}:NAME@random"]


def shown(prefix: str, results: Path) -> str:
    """All that is stored of the one cell whose key or name starts so; a list of them where there are several.

    Raises TlbenchError where there is none.
    """
    cells = found(prefix, results)
    return _whole(*cells[0]) if len(cells) == 1 else several(prefix, cells)


def found(prefix: str, results: Path) -> list[tuple[Path, Record]]:
    """The cells whose key or name starts so, with their folders; of one that is named in full, that one.

    Raises TlbenchError where there is none.
    """
    cells = [(folder, record) for folder in _folders(results) for record in _found(folder, prefix)]
    if not cells:
        raise TlbenchError(
            f"no cell in {str(results)!r} has a key or name that starts with {prefix!r}; a name is "
            "STRATEGY/BACKBONE/DATASET/BUDGET/SEED; see: tlbench failures SUITE, or the report"
        )
    exact = [pair for pair in cells if prefix in (pair[1].cell.name, pair[1].cell.key)]
    return exact if len(exact) == 1 else cells


def several(prefix: str, cells: Sequence[tuple[Path, Record]]) -> str:
    """Names the cells that a prefix may mean."""
    lines = [f"{each.cell.key[:12]}  {each.cell.name}  {_outcome(each)}  ({folder.name})" for folder, each in cells]
    more = [f"and {len(lines) - MANY} more"] if len(lines) > MANY else []
    return "\n".join([f"{len(cells)} cells start with {prefix!r}; name one of them, or its key:", *lines[:MANY], *more])


def failing(suite: Suite, results: Path) -> list[str]:
    """Lines that name every cell which is neither done nor skipped, grouped by reason, and how to run them again."""
    with Store.open(results / suite.name, create=False) as store:
        frame = store.frame(suite.cells())
    wrong = frame[~frame.status.isin(["done", "skipped"])]
    lines = []
    for (status, reason), cells in wrong.groupby(["status", "reason"]):
        lines.append(f"{len(cells)} {status}{f': {reason}' if reason else ''}")
        lines += [f"  {name}" for name in cells.name[:MANY]]
        lines += [f"  and {len(cells) - MANY} more"] if len(cells) > MANY else []
    if len(wrong):
        lines.append(f"run them again: tlbench retry {typed(suite)}")
    return lines


def leaders(leaderboard: Path) -> list[str]:
    """The first rows of a leaderboard.csv, for a terminal: rank, name, score and its suite interval."""
    with leaderboard.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [f"rank  {'strategy':<18} {'backbone':<12} score  95 % interval, new splits", *map(_leader, rows[:MANY])]


def _leader(row: dict[str, str]) -> str:
    name = f"{row['strategy']:<18} {row['backbone']:<12}"
    if not row["score"]:
        return f"   -  {name} {row['why']}"
    score, low, high = (
        f"{100 * float(row[column]):.1f}" if row[column] else "?"
        for column in ("score", "score_suite_low", "score_suite_high")
    )
    return f"{row['rank']:>4}  {name} {score:>5}  [{low}, {high}]"


def _whole(folder: Path, record: Record) -> str:
    cell, measured = record.cell, record.measurement
    apart = ("metrics", "trials", "cost", "classes", "reliability")
    sections = {
        "cell": {"name": cell.name, "key": cell.key, "folder": str(folder), **vars(cell), "effort": vars(cell.effort)},
        "found": {
            **{name: value for name, value in vars(measured).items() if name not in apart},
            "status": str(measured.status),
        },
        "metrics": measured.metrics,
        "classes, the hardest first": _classes(folder, record),
        "calibration, by confidence": _calibration(record),
        "trials": {str(trial.get("number", i)): trial for i, trial in enumerate(measured.trials)},
        "cost": measured.cost,
        "provenance": vars(record.provenance),
    }
    axes = " ".join(f"--only {axis}={getattr(cell, axis)}" for axis in AXES)
    again = f"run it again, with the --preset and --plugin it had: tlbench retry {folder.name} --all {axes}"
    lines = (line for name, table in sections.items() if table for line in _table(name, table))
    return "\n".join([*lines, again])


def _classes(folder: Path, record: Record) -> dict[str, str]:
    """Recall, precision and F1 of each class, for records that have counts."""
    if not record.measurement.classes:
        return {}
    counts = Classes(*(np.array(record.measurement.classes[name]) for name in Classes._fields))
    with Store.open(folder, create=False) as store:
        facts = store.plan_get(f"data/{record.cell.data_fingerprint}") or {}
    names = facts.get("class_names") or [str(label) for label in range(len(counts.support))]
    order = np.argsort(counts.recall, kind="stable")
    lines = {
        names[i]: f"recall {counts.recall[i]:6.1%} of {counts.support[i]}, precision {counts.precision[i]:6.1%} "
        f"of {counts.predicted[i]}, F1 {counts.f1[i]:.3f}"
        for i in order[:MANY]
    }
    more = {"...": f"and {len(order) - MANY} more"} if len(order) > MANY else {}
    return {**lines, **more}


def _calibration(record: Record) -> dict[str, str]:
    """What share of the predictions of some confidence is right, for records that have bins."""
    bins = record.measurement.reliability
    rows = zip(*(bins[name] for name in Reliability._fields), strict=True) if bins else ()
    return {f"{sure:.1%} sure": f"{hits / examples:6.1%} right of {examples}" for examples, hits, sure in rows}


def _table(name: str, table: dict[str, object]) -> list[str]:
    return [name, *(f"  {key:<22} {_plain(value)}" for key, value in table.items())]


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else str(value)


def _outcome(record: Record) -> str:
    score = record.measurement.score
    return f"{record.measurement.status}" + (f", score {score:.3f}" if score is not None else "")


def _found(folder: Path, prefix: str) -> list[Record]:
    with Store.open(folder, create=False) as store:
        return store.find(prefix)


def _folders(results: Path) -> list[Path]:
    folders = sorted(file.parent for file in results.glob("*/results.db"))
    if not folders:
        raise TlbenchError(f"nothing is stored in {str(results)!r}; run something first: tlbench run smoke")
    return folders


def _first_sentence(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _line(name: str, text: str) -> str:
    return f"{name:<18} {text}"
