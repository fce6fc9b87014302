"""Laws of suites: the shipped ones are valid, a bad one is told everything at once, filters know their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbench.suite import Filter, available_suites, describe, load_suite, parse_only, typed
from tlbench.types import TlbenchError

GOOD = """
name = "mine"
description = "for a test"
protocol = "TLB-1"
strategies = ["linear_probe", "lora"]
backbones = ["glyph_vit"]
datasets = ["digits"]
default_preset = "lite"
[presets.lite]
budgets = [2, 5]
seeds = 3
effort = { trials = 4, steps = 10, batch_size = 8, rungs = [0.25, 0.5] }
[presets.standard]
budgets = [1]
seeds = 1
backbones = ["glyph_vit", "timm:resnet18"]
effort = { trials = 16, steps = 100, batch_size = 8 }
"""

BAD = """
name = "mine"
protocol = "TLB-0"
strategies = ["linaer_probe", "lora", "lora"]
backbones = ["glyph_vti"]
datasets = "digits"
default_preset = "lite"
colour = 3
plugins = ["nowhere.py"]
[presets.light]
budgets = [5, 2]
[presets.standard]
budgets = [0]
seeds = 1.5
backbones = ["glyph_cn"]
effort = { trials = 0, steps = 10, batch_sise = 3, folds = "lit", eta = 1 }
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    return path


def told(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(TlbenchError) as problem:
        load_suite(path)
    return str(problem.value)


@pytest.mark.parametrize("name", ["smoke", "few_shot_vision", "dev"])
def test_the_shipped_suites_are_valid_and_start_with_their_command(name: str) -> None:
    path = available_suites()[name]
    assert load_suite(name).name == name and describe(path)
    assert path.read_text().startswith(f"# make bench SUITE={name}\n") or f"SUITE={name} " in path.read_text()


def test_the_development_suite_shares_no_dataset_with_the_ranked_one() -> None:
    assert not set(load_suite("dev").datasets) & set(load_suite("few_shot_vision").datasets)


def test_few_shot_vision_lite_is_what_was_promised() -> None:
    suite = load_suite("few_shot_vision")
    assert (suite.preset, suite.budgets, len(suite.seeds), suite.effort.trials) == ("lite", (2, 5, 10), 3, 4)
    assert len(suite.cells()) == len(set(suite.cells())) == 12 * 10 * 3 * 3
    assert load_suite("few_shot_vision", "standard").backbones == ("glyph_vit", "glyph_cnn")


def test_cells_are_the_whole_product(suite_file: Path) -> None:
    suite = load_suite(suite_file, "standard")
    assert [cell.name for cell in suite.cells()] == [
        f"{strategy}/{backbone}/digits/1/0"
        for backbone in ("glyph_vit", "timm:resnet18")
        for strategy in ("linear_probe", "lora")
    ]
    assert load_suite(suite_file).cells()[0].effort.rungs == (0.25, 0.5)


def test_every_problem_is_told_at_once(suite_file: Path) -> None:
    message = told(suite_file, BAD)
    for part in (
        "description: this key is missing",
        "protocol = 'TLB-0': this tlbench follows 'TLB-1'",
        "strategies[0] = 'linaer_probe': unknown strategy 'linaer_probe'; did you mean 'linear_probe'",
        "named more than once: lora",
        "backbones[0] = 'glyph_vti': unknown backbone 'glyph_vti'; did you mean 'glyph_vit'",
        "datasets = 'digits': should be a valid list",
        "colour = 3: unknown key",
        "plugins[0] = 'nowhere.py'",
        "presets.light: should be 'smoke', 'lite', 'standard' or 'precision'; did you mean 'lite'?",
        "presets.light.budgets = [5, 2]: must increase",
        "presets.light.seeds: this key is missing",
        "presets.standard.budgets[0] = 0: should be greater than or equal to 1",
        "presets.standard.seeds = 1.5: should be a valid integer",
        "presets.standard.backbones[0] = 'glyph_cn'",
        "presets.standard.effort.trials = 0",
        "presets.standard.effort.batch_sise = 3: unknown key; did you mean 'batch_size'?",
        "presets.standard.effort.folds = 'lit': should be 'standard' or 'lite'",
        "presets.standard.effort.eta = 1",
    ):
        assert part in message, part
    assert message.count(str(suite_file)) == message.count("\n")


def test_a_default_preset_that_is_not_there_is_told(suite_file: Path) -> None:
    assert "no such preset" in told(suite_file, GOOD.replace('default_preset = "lite"', 'default_preset = "smoke"'))


def test_a_file_that_is_not_toml_is_told_with_its_line(suite_file: Path) -> None:
    assert "line 2" in told(suite_file, "name = 'x'\nthis is not toml")


def test_unknown_suites_and_presets_are_answered_with_the_nearest(suite_file: Path) -> None:
    with pytest.raises(TlbenchError, match="did you mean 'few_shot_vision'"):
        load_suite("few_shot_visoin")
    with pytest.raises(TlbenchError, match="did you mean 'standard'"):
        load_suite(suite_file, "standart")
    with pytest.raises(TlbenchError, match="no suite file"):
        load_suite("nowhere.toml")


def test_a_filter_keeps_what_it_names(suite_file: Path) -> None:
    suite = load_suite(suite_file)
    only = parse_only(["strategy=lora", "budget=2,5", "seed=1", "seed=2"], suite)
    assert only == Filter(strategy=("lora",), budget=(2, 5), seed=(1, 2))
    assert [(cell.budget, cell.seed) for cell in suite.cells(only)] == [(2, 1), (2, 2), (5, 1), (5, 2)]
    assert suite.cells(Filter()) == suite.cells()


def test_a_filter_is_told_every_name_that_the_suite_does_not_have(suite_file: Path) -> None:
    with pytest.raises(TlbenchError) as problem:
        parse_only(["stratgy=lora", "strategy=lroa", "budget=3", "seed"], load_suite(suite_file))
    for part in ("did you mean 'strategy'", "did you mean 'lora'", "suite mine has 2, 5", "'seed'"):
        assert part in str(problem.value)


PLUGIN = """
from tlbench.registry import register
from tlbench.strategies.probes import LinearProbe

@register.strategy
class Mine(LinearProbe):
    name = "a_strategy_from_a_file"
"""


def test_a_plug_in_given_beside_the_suite_joins_it(suite_file: Path) -> None:
    plugin = suite_file.with_name("my_idea.py")
    plugin.write_text(PLUGIN)
    suite = load_suite(suite_file, plugins=[str(plugin)])
    assert suite.strategies == ("linear_probe", "lora", "a_strategy_from_a_file")
    assert suite.plugins == (str(plugin),)


def test_a_plug_in_named_in_the_suite_lies_beside_it(suite_file: Path) -> None:
    suite_file.with_name("my_idea.py").write_text(PLUGIN.replace("a_file", "a_suite"))
    text = GOOD.replace('"lora"]', '"a_strategy_from_a_suite"]\nplugins = ["my_idea.py"]')
    suite_file.write_text(text)
    assert load_suite(suite_file).strategies == ("linear_probe", "a_strategy_from_a_suite")


def test_datasets_and_backbones_named_at_a_run_take_the_place_of_the_suites() -> None:
    suite = load_suite("smoke", datasets=["armenian"], backbones=["glyph_cnn"])
    assert (suite.datasets, suite.backbones) == (("armenian",), ("glyph_cnn",))
    assert suite.name == "smoke-armenian_glyph_cnn"  # its results have a folder of their own
    assert typed(suite) == "smoke --preset smoke --dataset armenian --backbone glyph_cnn"
    with pytest.raises(TlbenchError, match="unknown dataset 'armenan'; did you mean 'armenian'"):
        load_suite("smoke", datasets=["armenan"])
