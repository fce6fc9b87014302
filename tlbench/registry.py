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
from typing import Any, Generic, NamedTuple, TypeVar

from tlbench.types import Arrays, Card, TlbenchError

T = TypeVar("T")


class Family(NamedTuple, Generic[T]):
    """Things that another library or a file names: `timm:NAME`, `folder:PATH`."""

    form: str  # how a reference is written, for listings
    summary: str
    open: Callable[[str], tuple[str, T]]  # a reference -> the name that enters a cell's key (never a path), the thing


class Registry(Mapping[str, T], Generic[T]):
    """Names to things of one kind; an unknown name is answered with the nearest known ones.

    A name that begins with a family's prefix is a *reference*: it is opened when first asked for, and the thing is then
    known by its reference and by its name.
    """

    def __init__(self, noun: str, plural: str) -> None:
        self.noun, self.plural = noun, plural
        self.families: dict[str, Family[T]] = {}  # by prefix, colon included
        self._items: dict[str, T] = {}
        self._names: dict[str, str] = {}  # of references

    def add(self, name: str, item: T) -> None:
        known = self._items.get(name)
        if known is not None and not _same_definition(known, item):
            raise TlbenchError(f"two {self.plural} are called {name!r}; rename one of them")
        self._items[name] = item

    def name(self, reference: str) -> str:
        """The name in a cell of what a reference or plain name means. Raises TlbenchError where there is none."""
        family = self._family(reference)
        if reference in self._items:
            return reference
        if family is None:
            raise TlbenchError(unknown(self.noun, reference, self._items, f"tlbench list {self.plural}"))
        if reference not in self._names:
            name, item = family.open(reference)
            other = next((ref for ref, known in self._names.items() if known == name), None)
            if other is not None:
                raise TlbenchError(f"{other!r} and {reference!r} would both be called {name!r}; rename one of them")
            self._items[name], self._names[reference] = item, name
        return self._names[reference]

    def reference(self, name: str) -> str:
        """What opens the thing of this name in another process."""
        return next((reference for reference, known in self._names.items() if known == name), name)

    def __getitem__(self, name: str) -> T:
        return self._items[self.name(name)]

    def __contains__(self, name: object) -> bool:
        return name in self._items or (isinstance(name, str) and self._family(name) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def _family(self, reference: str) -> Family[T] | None:
        prefix, colon, rest = reference.partition(":")
        return self.families.get(prefix + colon) if rest else None


class Dataset:
    """A registered dataset: its card, the function that makes its arrays, and what these depend on besides the code.

    `state` tells in what state the outside files are that the arrays come from; "" where there are none.
    """

    def __init__(self, card: Card, make: Callable[[Path], Arrays], *, state: Callable[[], str] = str) -> None:
        self.card, self.make, self.state = card, make, state
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

    @staticmethod
    def dataset_family(form: str, summary: str) -> Callable[[Callable], Callable]:
        """`form` is how a reference is written, such as "folder:PATH"; see `Family.open` for the function."""
        return _family_of(DATASETS, form, summary)

    @staticmethod
    def backbone_family(form: str, summary: str) -> Callable[[Callable], Callable]:
        """`form` is how a reference is written, such as "timm:NAME[@WEIGHTS]"; see `Family.open` for the function."""
        return _family_of(BACKBONES, form, summary)


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


def _family_of(registry: Registry, form: str, summary: str) -> Callable[[Callable], Callable]:
    def decorate(open_reference: Callable[[str], tuple[str, Any]]) -> Callable[[str], tuple[str, Any]]:
        prefix, colon, _ = form.partition(":")
        registry.families[prefix + colon] = Family(form, summary, open_reference)
        return open_reference

    return decorate


def _same_definition(a: Any, b: Any) -> bool:
    return (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__)
