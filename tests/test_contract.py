"""Does `tlbench check` pass what keeps the contract, and name what breaks it with what to change?"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tlbench import contract
from tlbench.contract_words import KEYS, LABELS
from tlbench.types import TlbenchError

BAD = Path(__file__).parent / "bad_strategies.py"
BROKEN = {  # strategy: (the law that it breaks, what the message says)
    "drops_out": ("frozen", KEYS),
    "drops_out_in_init": ("purity", KEYS),
    "seeds_torch": ("purity", KEYS),
    "draws_a_layer": ("frozen", "modules.fresh(...)"),
    "branches": ("company", "replace Python `if`, `while` or `and` on a tensor by torch.where; where that cannot"),
    "takes_items": ("company", "a number must stay a 0-d tensor"),
    "writes_into_its_input": ("purity", "init writes into its input `task.x`"),
    "writes_in_place": ("company", "build a new tensor"),
    "uses_gru": ("company", "say `fusible = False`"),
    "has_two_columns": ("shapes", "predict returned shape [16, 2]; logits are float32 [m, num_classes], here [16, 4]"),
    "gives_nan": ("shapes", "NaN or infinity at the default"),
    "ignores_weight": ("padding", "multiply losses, sums and counts by task.weight"),
    "raises": ("shapes", "KeyError: 'mean' (line "),
    "remembers": ("resume", "nothing in `self`"),
    "counts_calls": ("purity", "two equal calls of predict differ"),
    "grows": ("shapes", "['means']: torch.float32 [4, 128] became torch.float32 [8, 128]"),
    "never_steps": ("entry", "set `trains = True`"),
    "keeps_gradients": ("shapes", "detach it"),
    "has_a_narrow_space": ("entry", "widen it to at least 2.5 decades"),
    "has_a_wrong_space": ("entry", "lr: 0.1 is not a Float, Int or Choice"),
    "has_no_such_tap": ("entry", "unknown tap 'blocks.99'"),
    "fails_in_a_corner": ("corners", "at {'k': 2}: ValueError: two is too many (line "),
    "does_not_learn": ("learning", "it learns nothing"),
    "thaws_the_shared_network": ("purity", "work on a copy, thawed(task.tail)"),
    "has_no_docstring": ("entry", "the class has no docstring"),
    "swallows_a_refusal": ("labels", LABELS),
}
GOOD = BAD.read_text().partition("\n\n@register.strategy")[0]  # imports, and two classes that keep every law


def written(folder: Path, text: str) -> Path:
    file = folder / "plugin.py"
    file.write_text(text)
    return file


def strategy(name: str, *body: str) -> str:
    lines = [f"name = {name!r}", *body]
    return "\n".join(
        ["", "@register.strategy", "class Mine(Means):", '    "For the test."', *(f"    {x}" for x in lines)]
    )


def test_each_broken_law_is_found_and_the_message_says_what_to_change() -> None:
    found = {(each.strategy, each.law): each.message for each in contract.check(BAD) if not each.ok}
    assert {name for name, _ in found} == set(BROKEN)
    for name, (law, message) in BROKEN.items():
        assert message in found.get((name, law), ""), (
            f"{name}: {[each for each in found.items() if each[0][0] == name]}"
        )


def test_what_only_deserves_a_note_is_no_failure(tmp_path: Path) -> None:
    text = GOOD + strategy(
        "looks_around",
        "def predict(self, task, hp, state, x):",
        "    return super().predict(task, hp, state, x - x.mean(0))",
    )
    text += strategy(
        "runs_alone",
        "fusible = False",
        "def init(self, task, hp, key):",
        "    return {'means': torch.from_numpy(super().init(task, hp, key)['means'].numpy())}",
    ).replace("Mine", "Other")
    findings = contract.check(written(tmp_path, text))
    assert contract.ok(findings), contract.report(findings)
    said = {(each.strategy, each.law): each.message for each in findings if each.verdict == "note"}
    assert "transductive" in said["looks_around", "own row"]
    assert "fusible = False" in said["runs_alone", "company"]


@pytest.mark.parametrize("name", ["linear_probe", "lora", "full_finetune", "majority"])
def test_built_in_strategies_keep_the_contract(name: str) -> None:
    findings = contract.check(name)
    assert contract.ok(findings), contract.report(findings)
    assert len(findings) == 12


@pytest.mark.parametrize(
    "line",
    [
        "from tlbench.datasets.base import load",
        "from tlbench import scorer",
        "from sklearn.datasets import load_digits",
        "import importlib; importlib.import_module('tlbench.store')",
        "from tlbench.registry import DATASETS",
    ],
)
def test_an_import_that_leads_to_labels_is_refused_without_running_it(line: str, tmp_path: Path) -> None:
    (finding,) = contract.check(written(tmp_path, f"import os\n{line}\nos._exit(9)\n"))
    assert (finding.law, finding.ok) == ("labels", False)
    assert finding.message.startswith("line 2 reaches for") and LABELS in finding.message


@pytest.mark.parametrize(
    ("text", "law", "message"),
    [
        ("def f(:\n", "loading", "SyntaxError"),
        ("x = 1\n", "loading", "it registers no strategy; put @register.strategy"),
        ("import os\nos._exit(3)\n", "loading", "ends the whole process"),
        ("open('/nowhere/' + 'test_y.npy')\n", "labels", LABELS),
        (GOOD + strategy("lora"), "loading", "two strategies are called 'lora'"),
    ],
    ids=["syntax", "nothing registered", "process ends", "labels", "name taken"],
)
def test_a_file_that_cannot_be_loaded_is_a_finding(text: str, law: str, message: str, tmp_path: Path) -> None:
    (finding,) = contract.check(written(tmp_path, text))
    assert (finding.law, finding.ok) == (law, False)
    assert message in finding.message


@pytest.mark.parametrize(
    ("plugin", "said"), [("lorra", "did you mean 'lora'?"), ("no.py", "tlbench new strategy NAME")]
)
def test_a_plugin_that_is_not_there_is_a_finding(plugin: str, said: str) -> None:
    (finding,) = contract.check(plugin)
    assert (finding.law, finding.ok) == ("loading", False) and said in finding.message


def test_a_loop_that_never_ends_is_stopped_and_named(tmp_path: Path) -> None:
    text = GOOD + strategy("hangs", "def predict(self, task, hp, state, x):", "    while True:", "        pass")
    findings = contract.check(written(tmp_path, text), seconds=3)
    assert [(each.law, each.ok) for each in findings] == [("entry", True), ("shapes", False)]
    assert "never ends" in findings[-1].message


def test_a_report_has_a_line_for_each_law_and_says_how_many_are_broken() -> None:
    findings = [contract.Finding("mine", "shapes", "kept"), contract.Finding("mine", "padding", "broken", "weigh them")]
    text = contract.report(findings)
    assert text.splitlines() == ["mine", "  kept    shapes", "  BROKEN  padding       weigh them", "1 kept, 1 broken"]
    assert not contract.ok(findings) and not contract.ok([]) and contract.ok(findings[:1])


def test_a_new_strategy_is_short_keeps_the_contract_and_is_never_overwritten(tmp_path: Path) -> None:
    file = contract.new_strategy("my_idea", tmp_path)
    text = file.read_text()
    assert file == tmp_path / "my_idea.py" and len(text.splitlines()) <= 25 and ast.parse(text)
    findings = contract.check(file)
    assert contract.ok(findings), contract.report(findings)
    assert {each.strategy for each in findings} == {"my_idea"}
    with pytest.raises(TlbenchError, match="exists already"):
        contract.new_strategy("my_idea", tmp_path)
    assert file.read_text() == text


@pytest.mark.parametrize(("name", "said"), [("my idea", "my_idea"), ("class", "letters"), ("lora", "exists already")])
def test_a_name_that_cannot_be_used_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(TlbenchError, match=said):
        contract.new_strategy(name, tmp_path)
    assert not list(tmp_path.iterdir())
