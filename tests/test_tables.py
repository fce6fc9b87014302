"""Can a paper take the leaderboard as it is, and does Markdown hold what the data allow to say?"""

from __future__ import annotations

import re

import pandas as pd
import pytest
from report_simulation import meta, simulate

from tlbench.report.analysis import Analysis
from tlbench.report.meta import Meta
from tlbench.report.tables import between, leaderboard, printed
from tlbench.report.tables_latex import escaped, to_latex
from tlbench.report.tables_markdown import to_markdown

EVIL = "a_b & {c} \\input{x} $1$ #2 50% ~^ <s> | \nnext"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    frame = simulate(seeds=2)
    frame = frame[frame.dataset.isin(["digits", "count", "distance", "texture", "symmetry", "hebrew", "georgian"])]
    return Analysis(frame.replace({"strategy": {"lora": EVIL}}), meta())


@pytest.fixture(scope="module")
def table(analysis: Analysis) -> pd.DataFrame:
    return leaderboard(analysis.ranking, analysis.standings)


@pytest.fixture(scope="module")
def latex(analysis: Analysis, table: pd.DataFrame) -> str:
    return to_latex(table, analysis.ranking, analysis.meta)


def columns_of(line: str) -> int:
    """How many columns of a tabular the line fills."""
    wide = sum(int(number) - 1 for number in re.findall(r"\\multicolumn\{(\d+)\}", line))
    return len(re.findall(r"(?<!\\)&", line)) + 1 + wide


def test_every_line_of_the_tabular_fills_its_columns(latex: str) -> None:
    spec = re.search(r"\\begin\{tabular\}\{(.*)\}", latex)
    assert spec
    columns = len(re.sub(r"@\{[^}]*\}", "", spec[1]))
    lines = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(lines) > 10 and {columns_of(line) for line in lines} == {columns}


def test_the_tabular_is_balanced_and_has_the_rules_of_booktabs(latex: str) -> None:
    bare = re.sub(r"\\[{}]", "", latex)
    assert bare.count("{") == bare.count("}") and latex.count("$") % 2 == 0
    assert [latex.count(rule) for rule in (r"\toprule", r"\bottomrule", r"\hline")] == [1, 1, 0]
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1


def test_a_name_is_text_for_latex(latex: str) -> None:
    said = escaped(EVIL)
    assert said in latex and "\n" not in said
    left = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#_%]", "", said)
    assert not re.search(r"[\\{}$&#_%~^<>|]", left)


def test_one_number_of_each_column_is_the_best_of_a_block(analysis: Analysis, latex: str) -> None:
    block = latex.split(r"\midrule")[1]
    assert block.count(r"\textbf") == 1 + len(analysis.grid.budgets)
    best = analysis.grid.rows[analysis.ranking.groups[0].ranked[0]][0]
    line = next(line for line in block.splitlines() if r"\textbf" in line)
    assert f"& {escaped(best)} &" in line


def test_ranks_come_with_their_interval_and_probability(analysis: Analysis, table: pd.DataFrame) -> None:
    main = table[table.group.eq(0) & table["rank"].gt(0)]
    assert main["first"].sum() == pytest.approx(1) and (main.rank_low <= main.rank_high).all()
    shown = printed(main, analysis.grid.budgets)
    assert shown["rank 95 %"].iloc[0] == between(main.rank_low.iloc[0], main.rank_high.iloc[0])


def test_columns_that_nobody_has_are_left_out(analysis: Analysis, table: pd.DataFrame) -> None:
    poor = table.assign(peek_gap=float("nan"), train_flops=float("nan"), backbone="")
    gone = set(printed(table, analysis.grid.budgets)) - set(printed(poor, analysis.grid.budgets))
    assert gone == {"peek gap", "training FLOP", "backbone"}


def test_sentences_stand_below_the_table_of_their_group(analysis: Analysis, table: pd.DataFrame) -> None:
    sentences = [[f"of group {number}"] for number, _ in enumerate(analysis.ranking.groups)]
    text = to_markdown(table, analysis.ranking, analysis.meta, sentences)
    parts = text.split("\n## ")[1:]
    assert len(parts) > 1 and all(f"- of group {number}" in part for number, part in enumerate(parts))


def test_a_scale_without_a_floor_never_speaks_of_the_majority_class(analysis: Analysis, table: pd.DataFrame) -> None:
    foreign = Meta("mine", "", "", foreign=True, measure="accuracy")
    texts = to_markdown(table, analysis.ranking, foreign), to_latex(table, analysis.ranking, foreign)
    assert all("100 times accuracy" in text and "majority class" not in text for text in texts)
