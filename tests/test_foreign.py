"""Does anybody's table become the same leaderboard, and is everything wrong with it said at once?"""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import tlbench
from tlbench.cli import app
from tlbench.report.foreign import Foreign, understood
from tlbench.report.foreign_read import as_text, read
from tlbench.report.meta import Meta
from tlbench.report.ranking import ranking
from tlbench.report.restrictions import hints
from tlbench.report.scores import STATUSES, grid
from tlbench.report.tables import leaderboard, statements
from tlbench.types import TlbenchError

HEAD = "strategy,dataset,budget,seed,score\n"


def table(rows: int = 3, datasets: int = 7, seeds: int = 3) -> pd.DataFrame:
    """A whole table of accuracies; a strategy's numbers do not depend on how many others there are."""
    made = []
    for s in range(rows):
        rng = np.random.Generator(np.random.PCG64(s))
        for d, budget, seed in itertools.product(range(datasets), (2, 8, 32), range(seeds)):
            score = 0.3 + 0.05 * s + 0.05 * np.log2(budget) + rng.normal(0, 0.02)
            made.append((f"way_{s}", f"data_{d}", budget, seed, round(score, 6)))
    return pd.DataFrame(made, columns=HEAD.strip().split(","))


def told(text: str, **options: bool) -> Foreign:
    lines = [line.split(",") for line in text.strip().splitlines()]
    index = pd.Index(range(2, len(lines) + 1), name="line")
    return understood(pd.DataFrame(lines[1:], columns=lines[0], index=index, dtype=object), **options)


def said(text: str, **options: bool) -> str:
    with pytest.raises(TlbenchError) as error:
        told(text, **options)
    return str(error.value)


def reading(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(TlbenchError) as error:
        read(path)
    return str(error.value)


def board(frame: pd.DataFrame) -> pd.DataFrame:
    return leaderboard(ranking(grid(understood(as_text(frame)).cells))).set_index("strategy")


def test_csv_tsv_gzip_parquet_and_a_frame_say_the_same(tmp_path: Path) -> None:
    frame = table()
    text = frame.to_csv(index=False)
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "a.tsv").write_text(text.replace(",", "\t"))
    frame.to_parquet(tmp_path / "a.parquet")
    first, *others = [understood(read(file)).cells for file in sorted(tmp_path.iterdir())]
    for other in (*others, understood(as_text(frame)).cells):
        pd.testing.assert_frame_equal(first, other)


def test_columns_that_lack_are_named_with_their_nearest_match() -> None:
    message = said("stratgy,dataset,budget,sed,acc\na,b,1,0,0.5")
    assert "'strategy' (did you mean 'stratgy'?), 'seed' (did you mean 'sed'?), 'score'; it has" in message
    assert "separate columns by commas" in said("strategy;dataset;budget;seed;score\na;b;1;0;0.5")


def test_every_problem_is_said_with_its_line() -> None:
    message = said(
        HEAD
        + "a,d,2,0,0.5\n"
        + "a,d,2,0,0.6\n"  # twice
        + "a,d,two,1,0.5\n"
        + "a,d,-2,1,0.5\n"
        + "a,d,0,1,0.5\n"
        + "a,d,2,1.5,0.5\n"
        + "a,d,2,2,good\n"
        + "a,d,2,3,inf\n"
        + ",d,2,4,0.5\n"
        + "a,,2,,0.5\n"
    )
    for problem in (
        "line 2, 3: the cell a/d/2/0 is there 2 times",
        "line 4: budget 'two' is no finite number",
        "line 5, 6: budget '-2', '0' is not a whole number of 1 or more",
        "line 7: seed '1.5' is not a whole number of 0 or more",
        "line 8, 9: score 'good', 'inf' is no finite number",
        "line 10: strategy is empty",
        "line 11: dataset is empty",
        "line 11: seed is empty",
    ):
        assert problem in message


def test_many_problems_are_counted() -> None:
    message = said(HEAD + "".join(f"a,d,{k},0,bad\n" for k in range(1, 50)))
    assert "line 2, 3, 4, 5, 6 and 44 more: score 'bad' is no finite number" in message


def test_scores_up_to_a_hundred_are_not_guessed_at() -> None:
    percent = HEAD + "a,d,2,0,61.5\n"
    assert "score '61.5' is not at most 1; are these percent? then add --percent" in said(percent)
    assert told(percent, percent=True).cells.score.tolist() == [0.615]
    assert "leave out --percent" in said(HEAD + "a,d,2,0,0.6\n", percent=True)
    assert "is not at most 100" in said(HEAD + "a,d,2,0,61.5\na,d,2,1,161.5\n", percent=True)


def test_a_floor_makes_points_above_the_majority_class() -> None:
    head = HEAD.strip() + ",floor\n"
    found = told(head + "a,d,2,0,0.6,0.2\na,d,2,1,0.1,0.2\n")
    assert found.cells.score.tolist() == pytest.approx([0.5, -0.125]) and found.measure == ""
    assert "floor '1' is not below 1" in said(head + "a,d,2,0,0.6,1\n")
    assert "line 3: the floor is empty" in said(head + "a,d,2,0,0.6,0.2\na,d,2,1,0.6,\n")


def test_without_a_floor_the_score_is_the_metric_and_every_text_says_so(tmp_path: Path) -> None:
    tlbench.leaderboard(table().assign(metric="accuracy"), tmp_path)
    for name in ("report.html", "leaderboard.md", "leaderboard.json"):
        text = (tmp_path / name).read_text()
        assert "100 times accuracy" in text and "majority class" not in text, name


def test_metrics_that_differ_are_said_and_two_on_one_dataset_are_refused() -> None:
    head = HEAD.strip() + ",metric\n"
    assert told(head + "a,d,2,0,0.6,mcc\na,e,2,0,0.6,accuracy\n").measure == "each dataset's own metric (accuracy, mcc)"
    assert "dataset 'd' has several metrics ('mcc', 'accuracy')" in said(head + "a,d,2,0,0.6,mcc\na,d,2,1,0.6,accuracy")
    assert "lower is better" in said(head + "a,d,2,0,0.6,nll\n")


def test_an_empty_score_is_a_cell_that_was_not_run() -> None:
    cells = told(HEAD + "a,d,2,0,\na,d,2,1,NaN\na,d,2,2,0.5\n").cells
    assert cells.status.tolist() == ["not_run", "not_run", "done"]


def test_a_status_is_one_that_is_known_and_fits_its_score() -> None:
    head = HEAD.strip() + ",status\n"
    found = told(head + "a,d,2,0,,Out of memory\na,d,2,1,,skipped\na,d,2,2,0.5,\n")
    assert found.cells.status.tolist() == ["out_of_memory", "skipped", "done"]
    message = said(head + "a,d,2,0,,crashed\na,d,2,1,0.4,failed\na,d,2,2,,done\n")
    assert "line 2: unknown status 'crashed'; use done, skipped" in message
    assert "line 3: there is a score, and the status is 'failed'" in message
    assert "line 4: the status is done and the score is empty" in message


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(TlbenchError, match="there is no file"):
        read(tmp_path / "none.csv")
    assert "is empty; its first line names the columns" in reading(tmp_path / "a.csv", b"")
    assert "is no text in UTF-8" in reading(tmp_path / "a.csv", b"\xff\xfe\x00\x01")
    assert "holds a zero byte" in reading(tmp_path / "a.csv", b"a,b\n\0,1\n")
    assert "is no gzip file" in reading(tmp_path / "a.csv.gz", b"junk")
    assert "is no Parquet file" in reading(tmp_path / "a.parquet", b"junk")
    assert "save it as one of" in reading(tmp_path / "a.xlsx", b"junk")
    assert "line 3, 5" in reading(tmp_path / "a.csv", b"a,b\n1,2\n1,2,3\n\n1\n")
    assert "line 2" in reading(tmp_path / "a.csv", b'a,b\n1,"2\n')
    assert "several columns called 'a'" in reading(tmp_path / "a.csv", b"a,a\n1,2\n")


def test_lines_are_counted_through_quoted_line_breaks_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEAD + '\n"a\nb",d,2,0,0.5\na,d,2,0,x\n')
    with pytest.raises(TlbenchError, match="line 5: score 'x'"):
        understood(read(tmp_path / "a.csv"))


def test_a_name_is_one_line_of_text() -> None:
    frame = pd.DataFrame([["two\nlines\t\x07", "d", 2, 0, 0.5]], columns=HEAD.strip().split(","))
    assert understood(as_text(frame)).cells.strategy.tolist() == ["two lines"]


def test_costs_metrics_and_headings_are_kept_and_the_rest_is_named() -> None:
    head = HEAD.strip() + ",cost_dollars,cost_train_flops,fit_seconds,group,backbone,note\n"
    found = told(head + "a,d,2,0,0.5,0.1,1e9,3,texts,bert,hm\n")
    row = found.cells.iloc[0]
    assert (row.cost_dollars, row.train_flops, row.fit_seconds, row.backbone) == (0.1, 1e9, 3.0, "bert")
    assert found.groups == {"d": "texts"} and found.ignored == ("note",)


def test_the_cells_of_a_store_come_back_as_they_are() -> None:
    frame = table().assign(key="k", data_fingerprint="f", peek_gap=0.01, floor=0.1)
    assert understood(as_text(frame)).cells.score.tolist() == frame.score.tolist()


def test_cells_that_another_row_has_are_not_run_and_nobodys_are_not_asked_for() -> None:
    whole = table()
    few = whole[~(whole.dataset.eq("data_6") & ~whole.seed.eq(0))]  # one dataset has one seed
    assert (board(few)["rank"] > 0).all()
    holed = whole[~(whole.strategy.eq("way_1") & whole.budget.eq(8) & whole.dataset.eq("data_0"))]
    row = board(holed).loc["way_1"]
    assert row["rank"] == 0 and np.isnan(row.score) and row.why == "incomplete: 3 of 63 cells not run"
    pd.testing.assert_series_equal(board(holed).score.drop("way_1"), board(whole).score.drop("way_1"))


def test_no_dataset_is_dropped_for_all_because_one_row_lacks_it() -> None:
    whole = table()
    less = whole[~(whole.strategy.eq("way_1") & whole.dataset.eq("data_0"))]
    groups = ranking(grid(understood(as_text(less)).cells)).groups
    assert [len(group.ranked) for group in groups] == [2, 1]
    assert board(less).score["way_0"] == board(whole).score["way_0"]


def test_a_table_with_holes_says_which_part_ranks_more_rows(tmp_path: Path) -> None:
    whole = table(rows=4)
    holed = whole[~(whole.strategy.isin(["way_1", "way_2"]) & whole.budget.ne(8))]
    found = hints(ranking(grid(understood(as_text(holed)).cells)))
    assert found == ["with --only budget=8, 4 of 4 rows can be ranked together, on 7 datasets, 1 budget, 3 seeds"]
    assert hints(ranking(grid(understood(as_text(whole)).cells))) == []
    meta = Meta("holed", "", "", foreign=True)
    assert found[0] in statements(ranking(grid(understood(as_text(holed)).cells)), meta)
    assert (tlbench.leaderboard(holed, tmp_path, only=["budget=8"])["rank"] > 0).all()


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(63 * 3)))
def test_the_order_of_the_lines_changes_nothing(order: list[int]) -> None:
    frame = table()
    pd.testing.assert_frame_equal(board(frame), board(frame.iloc[order]), check_exact=True)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_another_row_changes_no_others_numbers(data: st.DataObject) -> None:
    """Whatever cells it has of those that the table asks for, and of datasets of its own, however it ended."""
    frame = table()
    extra = table(rows=1, datasets=9).assign(strategy="extra")
    kept = data.draw(st.sets(st.integers(0, len(extra) - 1), min_size=1))
    extra = extra.iloc[sorted(kept)]
    status = data.draw(st.sampled_from(["done", "failed", "skipped"]))
    extra = extra.assign(status=status, score=extra.score if status == "done" else np.nan)
    before, after = board(frame), board(pd.concat([frame, extra]))
    own = [name for name in before if name not in ("rank", "tier", "group", "row", "rank_low", "rank_high", "first")]
    pd.testing.assert_frame_equal(before[own], after.loc[before.index, own], rtol=1e-12)


def test_the_command_writes_the_report_of_a_table(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "mine.csv", index=False)
    out = tmp_path / "new" / "board"
    done = CliRunner().invoke(app, ["report", "--from", str(tmp_path / "mine.csv"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert {"report.html", "leaderboard.csv", "leaderboard.json", "leaderboard.md"} <= {f.name for f in out.iterdir()}
    assert json.loads((out / "leaderboard.json").read_text())["suite"] == "mine"
    assert str(tmp_path) not in "".join((out / f"leaderboard.{kind}").read_text() for kind in ("csv", "json", "md"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["smoke", "--from", "x.csv", "--out", "y"], "SUITE and --from exclude each other"),
        (["smoke", "--percent"], "--percent goes with --from FILE"),
        (["--from", "x.csv"], "--from needs a folder for the report: tlbench report --from x.csv --out board"),
        ([], "tlbench report SUITE, or tlbench report --from FILE --out DIR"),
    ],
)
def test_a_suite_and_a_table_are_not_mixed(words: list[str], expected: str) -> None:
    done = CliRunner().invoke(app, ["report", *words])
    assert done.exit_code == 2 and expected in done.output


def test_a_filter_that_the_table_does_not_have_is_said(tmp_path: Path) -> None:
    with pytest.raises(TlbenchError, match="unknown budget '9'.*the table has 2, 8, 32"):
        tlbench.leaderboard(table(), tmp_path, only=["budget=9"])


EVIL = [
    "<script>alert(1)</script>",
    "a|b `c` [d](e)",
    "$x$ \\alpha_1 {%} # & ~ ^",
    "n" * 300,
    "&lt;b&gt;",
    "\u4e2d\u6587",
    "\u202egnp.exe",
]


@pytest.mark.filterwarnings("error")
def test_no_name_breaks_page_tables_or_figures(tmp_path: Path) -> None:
    frame = table(rows=len(EVIL), datasets=len(EVIL), seeds=2)
    for i, name in enumerate(EVIL):
        frame = frame.replace({f"way_{i}": name, f"data_{i}": name})
    tlbench.leaderboard(frame.assign(group=EVIL[0], backbone=EVIL[1], metric=EVIL[2]), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    lines = [line for line in (tmp_path / "leaderboard.md").read_text().splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert all(code in range(len(STATUSES)) for code in grid(understood(as_text(frame)).cells).status.ravel())
