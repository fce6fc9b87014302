"""What does the leaderboard say in Markdown? Its tables, what the numbers are, and the best row against the others."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tlbench.report.meta import Meta
from tlbench.report.ranking import Ranking
from tlbench.report.tables import printed, statements


def to_markdown(table: pd.DataFrame, ranking: Ranking, meta: Meta, sentences: Sequence[Sequence[str]] = ()) -> str:
    """One table a group, and under it the sentences of that group."""
    lines = [f"# {plain(meta.title)}", ""]
    lines += [f"- {plain(line)}" for line in statements(ranking, meta)]
    for number, group in enumerate(ranking.groups):
        lines += ["", f"## {plain(group.title)}", ""]
        shown = printed(table[table.group.eq(number)], ranking.grid.budgets)
        lines.append("| " + " | ".join(shown.columns) + " |")
        lines.append("|" + " --- |" * len(shown.columns))
        lines += ["| " + " | ".join(map(plain, row)) + " |" for row in shown.itertuples(index=False)]
        said = sentences[number] if sentences else ()
        lines += ["", *(f"- {plain(one)}" for one in said)] if said else []
    return "\n".join(lines) + "\n"


def plain(text: object) -> str:
    """Text in which Markdown and HTML find nothing to interpret; one line."""
    escaped = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*|[]":
        escaped = escaped.replace(sign, f"\\{sign}")
    return " ".join(escaped.split())
