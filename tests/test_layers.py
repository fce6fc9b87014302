"""Does the code keep the architecture? Read from the syntax trees; nothing is imported."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tlbench"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

LAYERS = {
    1: {"types", "space", "registry", "rng", "task", "metrics", "caches"},
    2: {"strategies", "datasets", "backbones", "kernels"},
    3: {"engine", "descent", "slopes", "replay", "operations", "features", "footprint", "precision", "width"}
    | {"suite", "store"},
    4: {"block", "fits", "executors", "halving", "machine", "packs", "provenance", "scorer", "tune"},
    5: {"runner", "advise", "contract", "explain", "exported", "fetch", "report", "verify", "canaries"},
    6: {"api", "cli", "__main__", "__init__"},
}
LAYER_OF = {part: layer for layer, parts in LAYERS.items() for part in parts}
TORCHLESS = {"types", "space", "suite", "store", "report", "registry", "metrics"}
HEAVY = {"datasets", "transformers", "timm", "torchvision", "ray"}
# Drawn from a seed that the caller names: random, but not ambient.
EXPLICIT_NUMPY = {"Generator", "PCG64", "Philox", "SeedSequence", "BitGenerator"}


def part(module: Path) -> str:
    """The name under which a module appears in the architecture: `engine_admit.py` belongs to `engine`."""
    name = module.parts[0].removesuffix(".py")
    while name not in LAYER_OF and "_" in name:
        name = name.rpartition("_")[0]
    return name


@functools.cache
def tree(module: Path) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(), filename=str(module))


def imports(module: Path, *, top_level_only: bool = False) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything imported, relative imports made absolute, `if TYPE_CHECKING` left out."""
    body = tree(module)
    hidden = type_checking(body)
    nodes = top_level(body) if top_level_only else (node for node in ast.walk(body) if id(node) not in hidden)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["tlbench", *module.parts[:-1]][: -(node.level - 1) or None] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield base, node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def top_level(body: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: functions are not entered, type-checking blocks neither."""
    pending: list[ast.stmt] = list(body.body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node):
            continue
        pending.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def type_checking(body: ast.Module) -> set[int]:
    return {id(n) for block in ast.walk(body) if is_type_checking(block) for n in ast.walk(block)}


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a plain chain of names, "" for anything that a call or an index made."""
    text = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
    return text if text.replace(".", "").isidentifier() else ""


def each(*modules: Path) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("module", modules or MODULES, ids=str)


@each()
def test_every_module_has_its_place_in_the_architecture(module: Path) -> None:
    assert part(module) in LAYER_OF, f"{module} belongs to no layer; see LAYERS in this file"


@each()
def test_imports_go_down_only(module: Path) -> None:
    here = LAYER_OF.get(part(module), 6)
    for name, line in imports(module):
        head, _, rest = name.partition(".")
        if head == "tlbench" and rest:
            there = LAYER_OF.get(part(Path(rest.split(".")[0])))
            assert there is None or there <= here, f"{module}:{line} (layer {here}) imports {name} (layer {there})"


@each()
def test_only_tune_imports_optuna(module: Path) -> None:
    if part(module) != "tune":
        found = [line for name, line in imports(module) if name.split(".")[0] == "optuna"]
        assert not found, f"{module}:{found}: optuna belongs in tune.py"


@each()
def test_only_the_engine_uses_vmap(module: Path) -> None:
    if part(module) == "engine":
        return
    for node in ast.walk(tree(module)):
        named = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        named = node.name if isinstance(node, ast.alias) else named
        assert named.split(".")[-1] != "vmap", f"{module}:{node.lineno}: vmap belongs in engine.py"


@each()
def test_modules_that_need_no_torch_import_none(module: Path) -> None:
    if part(module) in TORCHLESS:
        found = [line for name, line in imports(module) if name.split(".")[0] == "torch"]
        assert not found, f"{module}:{found}: no torch here"


@each()
def test_heavy_packages_are_imported_where_they_are_needed(module: Path) -> None:
    if part(module) not in {"datasets", "backbones"}:
        found = [f"{line}: {name}" for name, line in imports(module) if name.split(".")[0] in HEAVY]
        assert not found, f"{module}:{found}: heavy, belongs into layer 2"
    found = [f"{line}: {name}" for name, line in imports(module, top_level_only=True) if name.split(".")[0] in HEAVY]
    assert not found, f"{module}:{found}: import it inside the function that needs it"


@each()
def test_randomness_is_never_ambient(module: Path) -> None:
    if part(module) == "rng":
        return
    for name, line in imports(module):
        assert name.split(".")[0] not in {"random", "secrets"}, f"{module}:{line}: draw from rng.py"
    explicit = {
        id(node.func)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and any(keyword.arg == "generator" for keyword in node.keywords)
    }
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and id(node) not in explicit:
            assert not ambient(dotted(node)), f"{module}:{node.lineno}: {dotted(node)} draws from hidden state"
        if isinstance(node, ast.Call):
            assert not unseeded(node), f"{module}:{node.lineno}: {ast.unparse(node)} names no seed"


def ambient(name: str) -> bool:
    package, _, rest = name.partition(".")
    function = rest.rpartition(".")[2]
    if package == "torch":
        return function.startswith("rand") or function in {"manual_seed", "bernoulli", "multinomial", "normal", "seed"}
    if package in {"np", "numpy"} and rest.startswith("random."):
        return function not in EXPLICIT_NUMPY | {"default_rng"}
    return False


def unseeded(call: ast.Call) -> bool:
    maker = dotted(call.func).rpartition(".")[2]
    return maker in {"default_rng", "PCG64", "Philox"} and not (call.args or call.keywords)


@each(*(m for m in MODULES if LAYER_OF.get(part(m)) == 2))
def test_layer_2_names_no_device(module: Path) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node.value.split(":")[0] not in {"cpu", "cuda", "mps"}, f"{module}:{node.lineno}: {node.value!r}"


@each()
def test_no_module_is_over_300_lines(module: Path) -> None:
    lines = len((PACKAGE / module).read_text().splitlines())
    assert lines <= 300, f"{module} has {lines} lines: which two questions does it answer?"


@each()
def test_no_function_is_over_50_lines(module: Path) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= 50, f"{module}:{node.lineno}: {node.name} has {lines} lines"


@each()
def test_every_module_says_which_question_it_answers(module: Path) -> None:
    assert ast.get_docstring(tree(module)), f"{module} has no docstring"


def test_the_command_line_starts_without_torch_pandas_or_optuna() -> None:
    program = (
        "import sys, tlbench.cli; "
        "print(sorted({'torch', 'pandas', 'optuna', 'sklearn', 'matplotlib', 'sqlalchemy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
