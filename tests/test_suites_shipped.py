"""Laws of the suites for machines with a network: they open offline, say what they cost, and fail in a sentence."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from test_fetch import guarded

from tlbench.registry import BACKBONES, DATASETS
from tlbench.suite import available_suites, describe, load_suite

PROTOCOL_BUDGETS = {"lite": (2, 5, 10), "standard": (1, 2, 5, 10, 20, 50), "precision": (1, 2, 5, 10, 20, 50, 100)}
NAMES = ("vtab1k_like", "few_shot_vision_timm", "few_shot_text_hub")
each = pytest.mark.parametrize("name", NAMES)


@each
def test_every_preset_opens_without_a_network_and_has_the_protocols_budgets(name: str) -> None:
    for preset, budgets in PROTOCOL_BUDGETS.items():
        suite = load_suite(name, preset)
        assert set(budgets) <= set(suite.budgets)
        assert {DATASETS[dataset].card.modality for dataset in suite.datasets} == {
            BACKBONES[suite.backbones[0]].modality
        }
    assert load_suite(name).preset == "lite" and describe(available_suites()[name])


@each
def test_the_head_of_a_suite_gives_commands_cost_and_published_numbers(name: str) -> None:
    head = available_suites()[name].read_text().partition("\nname = ")[0]
    assert head.startswith(f"# tlbench fetch {name}; tlbench run {name} ") and f"# make bench SUITE={name} " in head
    assert "Nothing here has been run, on a GPU or elsewhere." in head and "TFLOP/s" in head
    assert re.search(r"et al\. 20\d\d", head) and all(line.startswith("#") for line in head.splitlines())


@each
def test_without_data_and_network_a_plan_fails_in_a_sentence_within_seconds(name: str, tmp_path: Path) -> None:
    began = time.monotonic()
    code = f"from test_fetch import commands; commands(['run', '{name}', '--dry-run', '--results', '{tmp_path}'])"
    plan = guarded(tmp_path, code, offline=False)
    assert plan.returncode == 2 and "Traceback" not in plan.stdout + plan.stderr, plan.stderr
    assert plan.stderr.splitlines()[-1].startswith("error: ") and "tlbench fetch" in plan.stderr
    assert time.monotonic() - began < 60
