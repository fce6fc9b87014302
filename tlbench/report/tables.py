"""What stands in the leaderboard? One row per strategy x backbone, as a frame, as text and as CSV.

No second, date, host, width or path enters these: they are the same bytes however the cells came about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlbench.report.meta import Meta
from tlbench.report.numbers import NO_INTERVAL, NONE, amount, half_width, percent, points, signed, with_interval
from tlbench.report.ranking import Group, Ranking, headline_of
from tlbench.report.restrictions import hints
from tlbench.report.scores import Grid
from tlbench.report.standings import Standing
from tlbench.report.stats import Interval
from tlbench.types import COSTS

EDGE_LIMIT = 0.20  # a row says so when a value sits on the edge of its range in a larger share of its cells
LEFT_OUT = (  # where no row has any of it
    "rank 95 %", "P(first)", "backbone", "labels used", "default", "tuning", "peek gap", "trains", "training FLOP",
)  # fmt: skip
REPEATABLE = ("trainable_parameters", "total_parameters", "stored_parameters", "train_flops", "tune_flops")


def leaderboard(ranking: Ranking, standings: Sequence[Standing] = ()) -> pd.DataFrame:
    """Numbers of every row in print order; `group` 0 is the main one, `rank` 0 means none and `why` says why.

    `standings` are those of each group; without them `rank_low`, `rank_high` and `first` are NaN.
    """
    grid = ranking.grid
    places = _places(ranking)
    edge = edge_share(grid)
    table = pd.DataFrame(places, columns=["group", "rank", "tier", "row", "why"])
    order = table.row.to_numpy()
    table["rank_low"], table["rank_high"], table["first"] = _standing(ranking, standings)[order].T
    table["strategy"], table["backbone"] = zip(*(grid.rows[row] for row in order), strict=True)
    _add(table, "score", (ranking.suite, ranking.tasks), order)
    for b, budget in enumerate(grid.budgets):
        sides = [Interval(*(bound[:, b] for bound in kind)) for kind in (ranking.budget_suite, ranking.budget_tasks)]
        _add(table, f"score_at_{budget}", sides, order)
    labels = labels_consumed(grid)
    for b, budget in enumerate(grid.budgets):
        table[f"labels_at_{budget}"] = labels[order, b]
    table["default_score"] = headline_of(grid, "default_score")[order]
    table["peek_gap"] = headline_of(grid, "peek_gap")[order]
    costs = cost_medians(grid)
    for name in REPEATABLE:
        table[name] = costs[name].to_numpy()[order] if name in costs else np.nan
    table["imputed"] = grid.imputed[order]
    table["at_edge"] = edge.share.to_numpy()[order]
    table["at_edge_of"] = edge.value.to_numpy()[order]
    return table


def _standing(ranking: Ranking, standings: Sequence[Standing]) -> np.ndarray:
    """[R, 3]: the two ends of the rank interval, and the probability to be the first."""
    found = np.full((len(ranking.grid.rows), 3), np.nan)
    for group, one in zip(ranking.groups, standings, strict=False):
        if len(group.ranked) > 1:
            found[list(group.ranked)] = np.stack([one.rank_low, one.rank_high, one.first], axis=1)
    return found


def labels_consumed(grid: Grid) -> np.ndarray:
    """[R, B]: labels a cell used, mean over the cells that are done."""
    if "labels" not in grid.frame:
        return np.full((len(grid.rows), len(grid.budgets)), np.nan)
    done = grid.frame[grid.frame.status.eq("done")]
    means = done.groupby(["strategy", "backbone", "budget"]).labels.mean().unstack("budget")
    return means.reindex(index=_index(grid), columns=list(grid.budgets)).to_numpy(float)


def cost_medians(grid: Grid) -> pd.DataFrame:
    """[R] rows x costs: medians over the cells that are done."""
    done = grid.frame[grid.frame.status.eq("done")]
    names = [name for name in COSTS if name in grid.frame]
    return done.groupby(["strategy", "backbone"])[names].median().reindex(_index(grid)).astype(float)


def edge_share(grid: Grid) -> pd.DataFrame:
    """[R] rows: the hyperparameter chosen most often on the edge of its range, and its share of the done cells."""
    blank = pd.DataFrame({"value": "", "share": np.nan}, index=_index(grid))
    done = grid.frame[grid.frame.status.eq("done")]
    if "at_edge" not in done or done.empty:
        return blank
    cells = done.groupby(["strategy", "backbone"]).size()
    edges = done[["strategy", "backbone", "at_edge"]].explode("at_edge").dropna()
    counts = edges.groupby(["strategy", "backbone", "at_edge"]).size().reset_index(name="share")
    worst = counts.sort_values(["share", "at_edge"], ascending=[False, True]).drop_duplicates(["strategy", "backbone"])
    worst = worst.set_index(["strategy", "backbone"]).reindex(cells.index)
    blank.loc[cells.index, "value"] = worst["at_edge"].astype(object).where(worst.share.notna(), "")
    blank.loc[cells.index, "share"] = (worst.share / cells).fillna(0.0)
    return blank


def to_csv(table: pd.DataFrame) -> str:
    return table.drop(columns="row").to_csv(index=False, float_format=_six_decimals, lineterminator="\n")


def costs_csv(grid: Grid) -> str:
    """Every cell with all its costs, wall-clock seconds among them."""
    names = ["key", "strategy", "backbone", "dataset", "budget", "seed", "status", *COSTS]
    return grid.frame.reindex(columns=names).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def printed(table: pd.DataFrame, budgets: tuple[int, ...]) -> pd.DataFrame:
    """The same rows as text; points are 100 z."""
    shown = pd.DataFrame({"rank": [str(rank) if rank else NONE for rank in table["rank"]]}, dtype=object)
    shown["tier"] = [str(tier) if tier else NONE for tier in table.tier]
    shown["rank 95 %"] = [between(*ends) for ends in zip(table.rank_low, table.rank_high, strict=True)]
    shown["P(first)"] = [percent(share) for share in table["first"]]
    shown["strategy"] = [f"{name}{_imputed(share)}" for name, share in zip(table.strategy, table.imputed, strict=True)]
    shown["backbone"] = table.backbone.to_list()
    suite, tasks = _interval(table, "score", "suite"), _interval(table, "score", "tasks")
    rows = range(len(table))
    shown["score"] = [points(mean) for mean in table.score]
    shown["± suite"] = [half_width(suite, i) for i in rows]
    shown["± tasks"] = [half_width(tasks, i) for i in rows]
    for budget in budgets:
        at = _interval(table, f"score_at_{budget}", "suite")
        shown[f"at {budget} labels"] = [with_interval(at, i) for i in rows]
    labels = table[[f"labels_at_{budget}" for budget in budgets]].to_numpy(float)
    shown["labels used"] = [" / ".join(NONE if np.isnan(n) else f"{n:.0f}" for n in row) for row in labels]
    shown["default"] = [points(z) for z in table.default_score]
    shown["tuning"] = [signed(z) for z in table.score - table.default_score]
    shown["peek gap"] = [signed(z) for z in table.peek_gap]
    shown["trains"] = [amount(n) for n in table.trainable_parameters]
    shown["training FLOP"] = [amount(n) for n in table.train_flops]
    shown["notes"] = [notes(row) for row in table.to_dict("records")]
    blank = [name for name in LEFT_OUT if not shown[name].str.strip(f" /{NONE}").any()]
    return shown.drop(columns=blank)


def notes(row: dict) -> str:
    said = [f"not ranked: {row['why']}"] if row["why"] else []
    if row["imputed"] > 0 and "failed" not in row["why"]:
        said.append(f"{percent(row['imputed'])} of its cells failed; they count as 0")
    if row["at_edge"] > EDGE_LIMIT:
        said.append(f"{row['at_edge_of']} on the edge of its range in {percent(row['at_edge'])} of cells")
    return "; ".join(said)


def cautions(ranking: Ranking, meta: Meta) -> list[str]:
    """What to know of a table that tlbench did not make, and what would rank more of it."""
    if not meta.foreign:
        return []
    metrics = sorted(set(ranking.grid.frame.metric)) if "metric" in ranking.grid.frame else []
    mixed = [f"the datasets have different metrics ({', '.join(metrics)}), and a mean over them mixes their scales"]
    return [*(mixed if meta.measure and len(metrics) > 1 else []), *hints(ranking)]


def statements(ranking: Ranking, meta: Meta) -> list[str]:
    """What the numbers are, and what cannot be said."""
    grid = ranking.grid
    said = [
        f"score: area under the label curve in points; {meta.scale}",
        "± suite: 95 % half-width for new splits of the same datasets; ± tasks: for new datasets like these; "
        "beside the score at one budget: suite",
        "tier: rows that the tier's best is not shown to be better than (signed-rank test over datasets, corrected for "
        "the number of pairs by Holm's method, and 95 % tasks interval of the paired difference)",
        "rank 95 %: the ranks that a row takes in 95 % of resamples of the datasets and their splits; P(first): how "
        "often it is the first",
    ]
    if not meta.foreign:
        said.append(
            "labels used: mean number of labels of a cell at each budget, validation included; tuning: score minus the "
            "score of the default hyperparameters; peek gap: what choosing on the test set would have added"
        )
    if meta.preset in meta.provisional:
        said.append(f"provisional: the {meta.preset} preset is too small for a ranking to stand")
    if len(grid.seeds) < 2:
        said.append(f"{NO_INTERVAL} for new splits: fewer than 2 split seeds")
    if len(grid.datasets) < 2:
        said.append(f"{NO_INTERVAL} for new datasets: fewer than 2 datasets")
    said += [without_tiers(group) for group in ranking.groups if len(group.ranked) > 1 and not group.headline.enough]
    said += cautions(ranking, meta)
    counts = grid.frame.status.value_counts()
    said.append("cells: " + ", ".join(f"{counts[s]} {s.replace('_', ' ')}" for s in sorted(counts.index)))
    return said


def without_tiers(group: Group) -> str:
    rows, pairs = len(group.ranked), group.headline
    return f"no tiers: to tell {rows} rows apart takes {pairs.needed} datasets, and there are {pairs.datasets}"


def _places(ranking: Ranking) -> list[tuple[int, int, int, int, str]]:
    places = []
    for number, group in enumerate(ranking.groups):
        for rank, (row, tier) in enumerate(zip(group.ranked, group.tiers, strict=True), 1):
            places.append((number, rank, tier, row, ""))
        places += [(number, 0, 0, row, why) for row, why in group.unranked]
    return places


def _add(table: pd.DataFrame, name: str, kinds: tuple[Interval, ...] | list[Interval], order: np.ndarray) -> None:
    table[name] = kinds[0].mean[order]
    for kind, interval in zip(("suite", "tasks"), kinds, strict=True):
        table[f"{name}_{kind}_low"], table[f"{name}_{kind}_high"] = interval.low[order], interval.high[order]


def _interval(table: pd.DataFrame, name: str, kind: str) -> Interval:
    columns = (name, f"{name}_{kind}_low", f"{name}_{kind}_high")
    return Interval(*(table[column].to_numpy(float) for column in columns))


def between(low: float, high: float) -> str:
    """The ends of a rank interval: `2 to 5`, or `2` where both are the same."""
    if np.isnan(low):
        return NONE
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _imputed(share: float) -> str:
    return f" ({percent(share)} imputed)" if share > 0 else ""


def _six_decimals(value: float) -> str:
    text = f"{value:.6f}" if abs(value) < 1e5 else f"{value:.6g}"
    return "0.000000" if float(text) == 0 else text


def _index(grid: Grid) -> pd.MultiIndex:
    return pd.MultiIndex.from_tuples(grid.rows, names=["strategy", "backbone"])
