r"""What does the leaderboard look like in a paper? One LaTeX tabular with the rules of booktabs, ready for \input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from tlbench.report.meta import Meta
from tlbench.report.numbers import NONE, points
from tlbench.report.plot_ink import LONGEST, short
from tlbench.report.ranking import Group, Ranking
from tlbench.report.stats import Interval
from tlbench.report.tables import between

ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "–": "--",
}  # fmt: skip
AS_GOOD = r"$^\ast$"
HEAD = """% {title}
% Needs \\usepackage{{booktabs}}. {score}
% Beside a score: half-width of its 95 % interval for new splits of the same datasets; +- tasks: for new datasets.
% Bold: the best of its block. Star: rows that the best is not shown to be better than (see leaderboard.md).
"""


def to_latex(table: pd.DataFrame, ranking: Ranking, meta: Meta) -> str:
    """One block of rows a group of the leaderboard; decimals stand under each other."""
    several = len({backbone for _, backbone in ranking.grid.rows}) > 1
    columns = ["rank", "strategy", *(["backbone"] if several else []), "score", r"$\pm$ tasks"]
    spec = "r" + "l" * (1 + several) + r"r@{\,}l" + "r" + r"r@{\,}l" * len(ranking.grid.budgets)
    pairs = [_wide(rf"at {budget}") for budget in ranking.grid.budgets]
    heads = [*columns[: 2 + several], _wide("score"), columns[-1], *pairs]
    width = 5 + several + 2 * len(pairs)
    lines = [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", _row(heads)]
    for number, group in enumerate(ranking.groups):
        lines.append(r"\midrule")
        if len(ranking.groups) > 1:
            lines.append(
                _row([rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escaped(group.title.partition(';')[0], 200)}}}}}"])
            )
        block = table[table.group.eq(number)]
        marks = list(_marks(ranking, group, number))
        lines += [_row(_fields(row, marks, ranking, several)) for row in block.to_dict("records")]
    head = HEAD.format(title=_comment(meta.title), score=_comment(f"Score: {meta.scale}."))
    return head + "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escaped(name: str, letters: int = LONGEST) -> str:
    """Text in which LaTeX finds nothing to interpret; one line."""
    return "".join(ESCAPED.get(sign, sign) for sign in " ".join(short(name, letters).split()))


Marks = tuple[int, frozenset[int]]  # the best row, and those that it is not shown to be better than


def _marks(ranking: Ranking, group: Group, number: int) -> Iterator[Marks]:
    """Of the headline, then of each budget."""
    first = [row for row, tier in zip(group.ranked, group.tiers, strict=True) if tier == 1]
    yield group.ranked[0] if len(group.ranked) > 1 else -1, frozenset(first)
    choices = {choice.budget: choice for choice in ranking.choices if number == 0}
    for budget in ranking.grid.budgets:
        choice = choices.get(budget)
        yield (choice.best, frozenset(choice.tied)) if choice else (-1, frozenset())


def _fields(row: dict, marks: Sequence[Marks], ranking: Ranking, several: bool) -> list[str]:
    names = [escaped(row["strategy"]), *([escaped(row["backbone"])] if several else [])]
    half = (row["score_tasks_high"] - row["score_tasks_low"]) / 2
    fields = [_rank(row), *names, *_score(row, "score", marks[0]), "" if np.isnan(half) else points(half)]
    for budget, mark in zip(ranking.grid.budgets, marks[1:], strict=True):
        fields += _score(row, f"score_at_{budget}", mark)
    return fields


def _rank(row: dict) -> str:
    if not row["rank"]:
        return "--"
    ends = between(row["rank_low"], row["rank_high"])
    return f"{row['rank']}" if ends == NONE else f"{row['rank']} ({ends.replace(' to ', '--')})"


def _score(row: dict, column: str, mark: Marks) -> tuple[str, str]:
    """The mean, and its half-width."""
    if np.isnan(row[column]):
        return "--", ""
    one = Interval(*(np.array(row[name]) for name in (column, f"{column}_suite_low", f"{column}_suite_high")))
    best, as_good = mark
    text = points(row[column]).replace("-", "$-$")
    text = rf"\textbf{{{text}}}" if row["row"] == best else (AS_GOOD if row["row"] in as_good else "") + text
    return text, "" if np.isnan(one.half) else rf"\scriptsize$\pm${points(float(one.half))}"


def _wide(text: str) -> str:
    return rf"\multicolumn{{2}}{{c}}{{{text}}}"


def _row(fields: Sequence[str]) -> str:
    return " & ".join(fields) + r" \\"


def _comment(text: str) -> str:
    """A comment ends with its line."""
    return " ".join(text.split())
