"""The registries: names to strategies, datasets and backbones, and how a plug-in file enters them."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from tlbench.types import Arrays, Card, TlbenchError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Names to things of one kind; an unknown name is answered with the nearest known ones."""

    def __init__(self, noun: str, plural: str) -> None:
        self.noun, self.plural = noun, plural
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> None:
        known = self._items.get(name)
        if known is not None and not _same_definition(known, item):
            raise TlbenchError(f"two {self.plural} are called {name!r}; rename one of them")
        self._items[name] = item

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            raise TlbenchError(unknown(self.noun, name, self._items, f"tlbench list {self.plural}"))
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)


class Dataset:
    """A registered dataset: its card, and the function that makes its arrays."""

    def __init__(self, card: Card, make: Callable[[Path], Arrays]) -> None:
        self.card, self.make = card, make
        self.__module__, self.__qualname__ = make.__module__, make.__qualname__


STRATEGIES: Registry[Any] = Registry("strategy", "strategies")
DATASETS: Registry[Dataset] = Registry("dataset", "datasets")
BACKBONES: Registry[Any] = Registry("backbone", "backbones")


class register:  # noqa: N801 - it reads as a verb at its uses
    """Decorators: `@register.strategy`, `@register.backbone`, `@register.dataset(NAME, ...)`."""

    @staticmethod
    def strategy(cls: type[T]) -> type[T]:
        STRATEGIES.add(cls.name, cls)  # type: ignore[attr-defined]
        return cls

    @staticmethod
    def backbone(cls: type[T]) -> type[T]:
        BACKBONES.add(cls.name, cls)  # type: ignore[attr-defined]
        return cls

    @staticmethod
    def dataset(name: str, **card: Any) -> Callable[[Callable[[Path], Arrays]], Callable[[Path], Arrays]]:
        """`card` holds the fields of `types.Card` except the name; `make(root)` may keep files under `root`."""

        def decorate(make: Callable[[Path], Arrays]) -> Callable[[Path], Arrays]:
            DATASETS.add(name, Dataset(Card(name=name, **card), make))
            return make

        return decorate


def unknown(noun: str, name: str, known: Any, see: str) -> str:
    """The sentence for a name that is not there: the value, the nearest match, the next step."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ";"
    return f"unknown {noun} {name!r}{hint} see: {see}"


def load_plugin(plugin: str) -> str:
    """Runs a plug-in (a path ending in .py, or a module's name) so that it registers itself.

    Returns the sha256 of its source. Raises TlbenchError when the file is missing or fails to import.
    """
    path = Path(plugin)
    try:
        if path.suffix != ".py":
            module = importlib.import_module(plugin)
            return hashlib.sha256(Path(module.__file__ or "").read_bytes()).hexdigest()
        if not path.is_file():
            raise TlbenchError(f"plug-in {plugin!r} is not a file; see: tlbench new strategy NAME")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name = f"tlbench_plugin_{path.stem}_{digest[:8]}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
        return digest
    except TlbenchError:
        raise
    except Exception as error:
        raise TlbenchError(f"plug-in {plugin!r} cannot be loaded: {type(error).__name__}: {error}") from error


def load_entry_points() -> None:
    """Registers the strategies of installed packages (entry-point group `tlbench.strategies`)."""
    for entry in entry_points(group="tlbench.strategies"):
        entry.load()


def raised_at(error: BaseException, module: str) -> str:
    """The last line of `module` (a plug-in's) on the way to an error, or else the very last: line, file and code."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [each for each in frames if each[0].f_globals.get("__name__") == module]
    for frame, line in (own or frames)[-1:]:
        file = frame.f_code.co_filename
        return f"line {line} of {Path(file).name}: `{linecache.getline(file, line).strip()}`"
    return "nowhere"


def _same_definition(a: Any, b: Any) -> bool:
    return (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__)
