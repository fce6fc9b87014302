"""What is to be measured? A suite file, checked whole, as the list of its cells."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from tlbench.registry import BACKBONES, DATASETS, STRATEGIES, Registry, load_entry_points, load_plugin, unknown
from tlbench.suite_file import Document, problems_of
from tlbench.types import Cell, Effort, TlbenchError


@dataclass(frozen=True)
class Filter:
    """A part of a suite: cells whose every coordinate is among the values named for it; () lets all pass."""

    strategy: tuple[str, ...] = ()
    backbone: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    budget: tuple[int, ...] = ()
    seed: tuple[int, ...] = ()

    def keeps(self, cell: Cell) -> bool:
        return all(not allowed or getattr(cell, name) in allowed for name, allowed in vars(self).items())


@dataclass(frozen=True)
class Suite:
    """One preset of a suite file, with nothing left to look up."""

    name: str
    preset: str
    description: str
    strategies: tuple[str, ...]
    backbones: tuple[str, ...]
    datasets: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    effort: Effort
    plugins: tuple[str, ...]
    protocol: str
    path: Path
    instead: tuple[tuple[str, str], ...] = ()  # ("dataset" or "backbone", reference) that took the place of its own

    def cells(self, only: Filter | None = None) -> list[Cell]:
        """The product of datasets, backbones, strategies, budgets and seeds, without fingerprints (see `runner`)."""
        axes = (self.datasets, self.backbones, self.strategies, self.budgets, self.seeds)
        cells = [self._cell(*point) for point in product(*axes)]
        return [cell for cell in cells if only is None or only.keeps(cell)]

    def _cell(self, dataset: str, backbone: str, strategy: str, *draw: int) -> Cell:
        budget, seed = draw
        return Cell(
            dataset,
            backbone,
            strategy,
            budget,
            seed,
            strategy_version=STRATEGIES[strategy].version,
            metric=DATASETS[dataset].card.metric,
            effort=self.effort,
            protocol=self.protocol,
        )


def load_suite(
    name_or_path: str | Path,
    preset: str | None = None,
    *,
    plugins: Sequence[str] = (),
    datasets: Sequence[str] = (),
    backbones: Sequence[str] = (),
) -> Suite:
    """The suite of this name (see `available_suites`) or file, in its default preset or the one named.

    Loads the suite's plug-ins and `plugins`; strategies that the latter register join the suite's own. `datasets` and
    `backbones`, where there are any, take the place of the suite's, and its name then tells which.
    Raises one TlbenchError that lists every problem of the file: key, value, and the nearest valid name.
    """
    path = _find(str(name_or_path))
    raw = _read(path)
    fill_registries()
    own, unloadable = _own_plugins(path, raw.get("plugins"))
    added = [name for plugin in plugins for name in _strategies_of(plugin)]
    problems = problems_of(raw) + unloadable + _unknown_names(raw)
    if problems:
        lines = "".join(f"\n  {path}: {problem}" for problem in problems)
        raise TlbenchError(f"{len(problems)} problem{'s' * (len(problems) > 1)} in a suite:{lines}")
    document = Document.model_validate(raw)
    chosen = preset or document.default_preset
    if chosen not in document.presets:
        raise TlbenchError(unknown("preset", chosen, document.presets, f"[presets] in {path}"))
    settings = document.presets[chosen]
    instead = [*(("dataset", each) for each in datasets), *(("backbone", each) for each in backbones)]
    suite = Suite(
        name=f"{document.name}-{_slug([each for _, each in instead])}" if instead else document.name,
        preset=chosen,
        description=document.description,
        strategies=tuple(dict.fromkeys([*document.strategies, *added])),
        backbones=_opened(BACKBONES, backbones or settings.backbones or document.backbones),
        datasets=_opened(DATASETS, datasets or document.datasets),
        budgets=tuple(settings.budgets),
        seeds=tuple(range(settings.seeds)),
        effort=settings.effort.as_effort(),
        plugins=tuple(dict.fromkeys([*own, *plugins])),
        protocol=document.protocol,
        path=path,
        instead=tuple(instead),
    )
    _check_modality(suite)
    return suite


def available_suites() -> dict[str, Path]:
    """Suite files by name: in ./suites first, then those that come with tlbench."""
    package = Path(__file__).parent
    folders = (package / "suites", package.parent / "suites", Path("suites"))
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def describe(path: Path) -> str:
    """The description that a suite file gives of itself, without checking the rest."""
    return str(_read(path).get("description", ""))


def typed(suite: Suite) -> str:
    """What to type behind `tlbench run` (or `report`, `retry`, ...) to mean this suite."""
    at_home = available_suites().get(suite.path.stem) == suite.path
    words = [suite.path.stem if at_home else str(suite.path), "--preset", suite.preset]
    for plugin in suite.plugins:
        words += ["--plugin", plugin]
    for axis, reference in suite.instead:
        words += [f"--{axis}", reference]
    return shlex.join(words)


def parse_only(texts: Sequence[str], suite: Suite) -> Filter:
    """The part of a suite that `strategy=lora,bitfit`, `budget=5`, ... keep; see `chosen`."""
    return chosen(texts, {name: getattr(suite, plural) for name, plural in _PLURALS.items()}, f"suite {suite.name}")


def chosen(texts: Sequence[str], axes: Mapping[str, Sequence[Any]], whole: str) -> Filter:
    """Reads `strategy=lora,bitfit`, `budget=5`, ...; one key given twice allows both.

    `axes` are the values there are of each key. Raises one TlbenchError listing every key or value that `whole` does
    not have.
    """
    kept: dict[str, list[Any]] = {}
    problems = []
    for text in texts:
        name, equals, values = text.partition("=")
        if name not in axes or not equals:
            problems.append(unknown("filter", name, axes, f"--only KEY=VALUE with KEY one of {', '.join(axes)}"))
            continue
        known = {str(value): value for value in axes[name]}
        for value in values.split(","):
            if value in known:
                kept.setdefault(name, []).append(known[value])
            else:
                problems.append(unknown(name, value, known, f"{whole} has {', '.join(known)}"))
    if problems:
        raise TlbenchError("--only: " + "\n        ".join(problems))
    return Filter(**{name: tuple(values) for name, values in kept.items()})


def fill_registries() -> None:
    """Imports everything that registers itself: built-in strategies, datasets, backbones, and installed plug-ins."""
    for package in ("strategies", "datasets", "backbones"):
        importlib.import_module(f"tlbench.{package}")
    load_entry_points()


_PLURALS = {
    "strategy": "strategies",
    "backbone": "backbones",
    "dataset": "datasets",
    "budget": "budgets",
    "seed": "seeds",
}


def _find(name: str) -> Path:
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise TlbenchError(f"there is no suite file {name!r}; see: tlbench list suites")
        return Path(name)
    suites = available_suites()
    if name not in suites:
        raise TlbenchError(unknown("suite", name, suites, "tlbench list suites"))
    return suites[name]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TlbenchError(f"{path} is not TOML: {error}") from error


def _own_plugins(path: Path, named: Any) -> tuple[tuple[str, ...], list[str]]:
    """Loads the plug-ins that a suite names, files from beside it first; returns them, and the problems there were."""
    found, problems = [], []
    for i, plugin in enumerate(named if isinstance(named, list) else ()):
        if isinstance(plugin, str):
            beside = path.parent / plugin
            found.append(str(beside) if plugin.endswith(".py") and beside.is_file() else plugin)
            try:
                load_plugin(found[-1])
            except TlbenchError as error:
                problems.append(f"plugins[{i}] = {plugin!r}: {error}")
    return tuple(found), problems


def _strategies_of(plugin: str) -> list[str]:
    """Loads a plug-in and returns the names of the strategies that its own module registered."""
    digest = load_plugin(plugin)
    module = f"tlbench_plugin_{Path(plugin).stem}_{digest[:8]}" if plugin.endswith(".py") else plugin
    return [name for name, strategy in STRATEGIES.items() if strategy.__module__ == module]


def _unknown_names(raw: dict[str, Any]) -> list[str]:
    """A sentence for each strategy, dataset and backbone that is not registered, wherever the file names one."""
    lists = [(axis, raw.get(axis), axis) for axis in ("strategies", "datasets", "backbones")]
    presets = raw.get("presets")
    for name, preset in (presets if isinstance(presets, dict) else {}).items():
        if isinstance(preset, dict):
            lists.append((f"presets.{name}.backbones", preset.get("backbones"), "backbones"))
    registries = {registry.plural: registry for registry in (STRATEGIES, DATASETS, BACKBONES)}
    return [
        f"{key}[{i}] = {name!r}: {unknown(registries[plural].noun, name, registries[plural], f'tlbench list {plural}')}"
        for key, names, plural in lists
        for i, name in enumerate(names if isinstance(names, list) else ())
        if isinstance(name, str) and name not in registries[plural]
    ]


def _slug(references: Sequence[str]) -> str:
    """Letters, digits and _ of what is referred to: a part of a folder's name."""
    return re.sub(r"[^a-z0-9]+", "_", "_".join(references).lower()).strip("_")


def _opened(registry: Registry, references: Sequence[str]) -> tuple[str, ...]:
    """The names of what is referred to, each opened so far that its card is known."""
    return tuple(dict.fromkeys(registry.name(reference) for reference in references))


def _check_modality(suite: Suite) -> None:
    """Raises TlbenchError where a network cannot read a dataset."""
    for dataset, backbone in product(suite.datasets, suite.backbones):
        card, network = DATASETS[dataset].card, BACKBONES[backbone]
        if card.modality != network.modality:
            raise TlbenchError(
                f"suite {suite.name}: backbone {backbone!r} reads {network.modality}s and dataset {dataset!r} holds "
                f"{card.modality}s; put them into suites of their own, or choose with --dataset and --backbone"
            )
