"""Which docstrings does an installed package have? Read from its source files; none of its code is run."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple

from tlbench.types import TlbenchError

Kind = Literal["function", "method", "property", "class", "module", "compiled"]  # compiled: of any of these kinds

ADDERS = {"_add_docstr", "add_newdoc", "add_docstr", "add_docstr_all"}

PROPERTIES = {"property", "cached_property", "cache_readonly", "lazyproperty", "memoized_property"}
NOT_DOCUMENTATION = {"tests", "test", "testing", "_testing", "conftest.py", "_vendor", "externals", "extern"}


class Package(NamedTuple):
    """An installed package that docstrings are read from."""

    name: str  # as it is imported
    distribution: str  # as it is installed
    licence: str
    left_out: tuple[str, ...] = ()  # sub-packages and files at its top: generated, foreign, or for its developers


class Docstring(NamedTuple):
    package: str
    module: str  # dotted, without the package: "stats._morestats"
    kind: Kind
    public: bool  # neither it nor the class that it is in has a name with an underscore in front
    text: str  # cleaned of its indentation


def installed(package: Package) -> str:
    """Its version. Raises TlbenchError when it is not there."""
    try:
        return version(package.distribution)
    except PackageNotFoundError as error:
        raise TlbenchError(
            f"the package {package.distribution!r}, whose docstrings are data here, is not installed; "
            f"run: pip install {package.distribution}"
        ) from error


def docstrings(package: Package) -> Iterator[Docstring]:
    """All docstrings of a package in the order of its files, compiled modules and tests left out."""
    installed(package)
    spec = importlib.util.find_spec(package.name)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
            inside = path.relative_to(folder)
            if inside.parts[0] not in package.left_out and not NOT_DOCUMENTATION.intersection(inside.parts):
                module = ".".join(inside.with_suffix("").parts).removesuffix("__init__").rstrip(".")
                yield from (Docstring(package.name, module, *found) for found in _documented(_tree(path)))


def _tree(path: Path) -> ast.Module:
    with warnings.catch_warnings():  # of escapes in other people's strings
        warnings.simplefilter("ignore")
        return ast.parse(path.read_bytes(), filename=str(path))


def _documented(tree: ast.Module) -> Iterator[tuple[Kind, bool, str]]:
    """(kind, public, docstring) of a module, of what it defines at its top and in its classes, and what it adds."""
    yield from _own("module", True, tree)
    pending: list[tuple[ast.stmt, bool, bool]] = [(node, False, True) for node in tree.body]
    for node, in_class, public in pending:
        public = public and not getattr(node, "name", "").startswith("_")
        if isinstance(node, ast.ClassDef):
            yield from _own("class", public, node)
            pending.extend((child, True, public) for child in node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _own(_kind(node, in_class), public, node)
        elif isinstance(node, ast.If | ast.Try):
            pending.extend((child, in_class, public) for child in node.body)
        elif isinstance(node, ast.Assign | ast.Expr):
            yield from (("compiled", True, text) for text in _added(node.value))


def _own(
    kind: Kind, public: bool, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[tuple[Kind, bool, str]]:
    text = ast.get_docstring(node)
    if text:
        yield kind, public, text


def _kind(node: ast.FunctionDef | ast.AsyncFunctionDef, in_class: bool) -> Kind:
    if not in_class:
        return "function"
    names = {ast.unparse(each).partition("(")[0].rpartition(".")[2] for each in node.decorator_list}
    return "property" if names & PROPERTIES else "method"


def _added(call: ast.expr) -> Iterator[str]:
    """What is given to compiled objects: `add_newdoc("numpy", "where", "...")`, `add_docstr(torch.abs, "...")`."""
    if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in ADDERS and call.args:
        last = call.args[-1]
        for part in last.elts if isinstance(last, ast.Tuple | ast.List) else [last]:
            for each in ast.walk(part):  # the string itself, or the string of a `"...".format(...)`
                if isinstance(each, ast.Constant) and isinstance(each.value, str) and "\n" in each.value:
                    yield inspect.cleandoc(each.value)
