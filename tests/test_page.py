"""Does the page do in a real browser what it promises, and compute what the report computes?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
from report_simulation import mark, meta, simulate

from tlbench.report import html, plots, tables
from tlbench.report.analysis import Analysis
from tlbench.report.ranking import Ranking

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page with")

EVIL = "</script><b id=evil>&'\""
DATASETS = ("digits", "count", "distance", "texture", "symmetry", "hebrew")
WATCH = "<script>onerror = message => { document.documentElement.dataset.error = message; };</script>"
PARTS = [  # a link, and the cells it chooses
    ({"budget": 5}, "budget == 5"),
    ({"budget": [2, 10], "backbone": "glyph_cnn"}, "budget in (2, 10) and backbone == 'glyph_cnn'"),
    ({"group": "structured"}, "dataset in ('count', 'distance', 'symmetry')"),
    ({"dataset": "digits"}, "dataset == 'digits'"),
    ({"group": "scripts", "dataset": "texture", "budget": 2}, "dataset in ('hebrew', 'texture') and budget == 2"),
]
NARROW = {"budget": 5, "backbone": "glyph_vit", "group": "scripts"}
MEANINGLESS = ("coverage", "budget=7", "nonsense=%ff&budget", "dataset=__proto__", "at=nowhere", "")
Open = Callable[..., "Dom"]


def cells(**changes: object) -> pd.DataFrame:
    asked: dict = {"strategies": 7, "backbones": ("glyph_vit", "glyph_cnn")}
    frame = simulate(**{**asked, **changes})
    return frame[frame.dataset.isin(DATASETS)]


def page_of(frame: pd.DataFrame, *, figures: bool = False, **changes: object) -> str:
    analysis = Analysis(frame, meta(**changes))
    drawn = plots.pictures(analysis) if figures else []
    return html.page(tables.leaderboard(analysis.ranking), analysis, drawn)


class Dom(HTMLParser):
    """What the browser made of a page: rows of tables by the id around them, and what is to be seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.error = ""
        self.title = ""
        self.ids: dict[str, dict[str, str | None]] = {}
        self.seen = ""  # the text that nothing hides
        self.rows: list[tuple[tuple[str, ...], list[tuple[str, float | None]]]] = []  # (ids around, fields) if seen
        self.headings: set[str] = set()  # of columns that are seen
        self._open: list[tuple[str, bool, str]] = []  # tag, hidden, id
        self._value: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.error = known.get("data-error") or self.error
        self.ids |= {known["id"] or "": known} if "id" in known else {}
        if tag in ("br", "input", "meta", "path", "use", "rect", "hr"):
            return
        self._open.append((tag, "hidden" in known or tag in ("script", "style"), known.get("id") or ""))
        if tag == "tr" and not self._hidden:
            self.rows.append((tuple(name for _, _, name in self._open if name), []))
        if tag in ("td", "th") and not self._hidden:
            value = known.get("data-v")
            self.rows[-1][1].append(("", None if value is None else float(value)))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _, _ in self._open]
        if "title" in tags:
            self.title += data
        if self._hidden:
            return
        self.seen += data
        if ("td" in tags or "th" in tags) and self.rows and self.rows[-1][1]:
            text, value = self.rows[-1][1][-1]
            self.rows[-1][1][-1] = (text + data, value)
            self.headings |= {text + data} if "th" in tags else set()

    def table(self, around: str) -> list[list[tuple[str, float | None]]]:
        return [fields for ids, fields in self.rows if around in ids]

    @property
    def _hidden(self) -> bool:
        return any(hidden for _, hidden, _ in self._open)


def opened(text: str, folder: Path, *, link: str = "", act: str = "") -> Dom:
    """The page after the browser followed `link` and did `act`. Fails on any error that a script raised."""
    file = folder / "page.html"
    acting = f"<script>setTimeout(async () => {{ {act} }}, 50);</script></body>"
    file.write_text(text.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", acting))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--virtual-time-budget=2000", f"--user-data-dir={folder / 'profile'}", "--dump-dom",
        file.as_uri() + (f"#{link}" if link else ""),
    ]  # fmt: skip
    dom = Dom(subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode())
    assert not dom.error
    return dom


@pytest.fixture
def browse(tmp_path: Path) -> Open:
    return partial(opened, folder=tmp_path)


@pytest.fixture(scope="module")
def whole() -> str:
    return page_of(cells())


@pytest.fixture(scope="module")
def views(whole: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dom]:
    """What one browser shows of the page for each link."""
    links = [urlencode(link, doseq=True) for link in (*(link for link, _ in PARTS), NARROW)] + list(MEANINGLESS)
    act = """
    const pause = () => new Promise(done => setTimeout(done, 20)), seen = [];
    for (const link of LINKS) {
      document.querySelector("#filters button[type=reset]").click();
      await pause();
      location.hash = link;
      await pause();
      seen.push(document.body.outerHTML.replace(/<script.*?<\\/script>/gs, ""));
    }
    document.title = JSON.stringify(seen);""".replace("LINKS", json.dumps(links))
    seen = opened(whole, tmp_path_factory.mktemp("views"), act=act).title
    return {link: Dom(text) for link, text in zip(links, json.loads(seen), strict=True)}


def expected(ranking: Ranking) -> dict[tuple[str, ...], list[float]]:
    """(rank, strategy, backbone) to the numbers of a row, as Python has them."""
    made = {}
    for group in ranking.groups:
        places = [
            *((row, str(rank)) for rank, row in enumerate(group.ranked, 1)),
            *((r, "–") for r, _ in group.unranked),
        ]
        for row, rank in places:
            numbers = [ranking.suite.mean[row], ranking.suite.half[row], ranking.tasks.half[row]]
            made[rank, *ranking.grid.rows[row]] = [*numbers, *ranking.budget_suite.mean[row]]
    return made


@pytest.mark.parametrize(("link", "query"), PARTS)
def test_a_selection_has_the_numbers_of_a_report_on_it(views: dict[str, Dom], link: dict, query: str) -> None:
    dom = views[urlencode(link, doseq=True)]
    wanted = expected(Analysis(cells().query(query), meta()).ranking)
    found = {}
    for fields in dom.table("chosen"):
        if fields[0][0] != "rank":
            name = fields[1][0].partition(" (")[0]
            found[fields[0][0], name, fields[2][0]] = [np.nan if v is None else v for _, v in fields[3:-1]]
    assert list(found) == list(wanted)
    for key, numbers in wanted.items():
        np.testing.assert_allclose(found[key], numbers, atol=1e-6, err_msg=str(key))


def test_a_table_with_holes_is_counted_alike(browse: Open) -> None:
    frame = cells(backbones=("glyph_vit",))
    mark(frame, frame.strategy.eq("lora") & frame.dataset.eq("digits") & frame.seed.eq(2), "not_run", "")
    ragged = frame[~(frame.dataset.eq("hebrew") & frame.seed.eq(0))]
    dom = browse(page_of(ragged), link="budget=5&budget=10")
    wanted = expected(Analysis(ragged.query("budget > 2"), meta()).ranking)
    scores = [fields[2][1] for fields in dom.table("chosen") if fields[0][0] != "rank"]
    np.testing.assert_allclose([np.nan if z is None else z for z in scores], [n[0] for n in wanted.values()], atol=1e-6)


def test_what_is_not_chosen_is_hidden_and_the_choice_is_said(views: dict[str, Dom]) -> None:
    dom = views[urlencode(NARROW)]
    assert "5 labels a class · glyph_vit · scripts" in dom.seen
    assert "Exploratory: computed here" in dom.seen
    assert {"hebrew", "at 5 labels"} <= dom.headings
    assert not {"digits", "at 2 labels"} & dom.headings
    assert all("glyph_cnn" not in text for fields in dom.table("leaderboard") for text, _ in fields)


@pytest.mark.parametrize("link", MEANINGLESS)
def test_a_link_that_means_nothing_hides_nothing(views: dict[str, Dom], link: str) -> None:
    dom = views[link]
    assert "Your selection" not in dom.seen and "In your selection" not in dom.seen
    assert {"digits", "hebrew", "at 2 labels", "at 5 labels", "at 10 labels"} <= dom.headings


def test_a_tick_makes_the_link_that_opens_the_same_view(whole: str, browse: Open) -> None:
    tick = """
    const box = document.querySelector("input[name=group][value=structured]");
    box.click();
    document.querySelector("#bar a[href='#coverage']").click();
    document.title = location.hash;"""
    ticked = browse(whole, act=tick)
    assert ticked.title == "#group=structured&at=coverage"
    linked = browse(whole, link="group=structured&at=coverage")
    assert linked.table("chosen") == ticked.table("chosen") and ticked.table("chosen")


def test_figures_follow_a_choice_as_far_as_they_say(browse: Open) -> None:
    text = page_of(cells(strategies=3), figures=True)
    count = """document.title = [...document.querySelectorAll(".panels > div")].filter(panel => !panel.hidden).length
      + " panels, " + document.querySelectorAll(".faded").length + " faded, "
      + [...document.querySelectorAll("#figure-scores .veil.faded path")].map(path => getComputedStyle(path))
        .filter(style => style.fill !== "none" && Number(style.opacity) > 0.5).length + " veils";"""
    panels, faded, veils = re.findall(r"\d+", browse(text, link="group=scripts&backbone=glyph_vit", act=count).title)
    assert int(panels) == 1 and int(faded) > 10
    assert int(veils) == 5 + 3  # datasets and rows of the score map


def test_names_stay_text_in_filters_tables_and_links(browse: Open) -> None:
    frame = cells(backbones=(EVIL, "glyph_cnn")).replace({"dataset": {"digits": EVIL}, "strategy": {"lora": EVIL}})
    text = page_of(frame, headings={EVIL: EVIL, "count": "x"}, cards={})
    dom = browse(text, link=urlencode({"dataset": EVIL, "backbone": EVIL, "group": EVIL}))
    assert "evil" not in dom.ids
    assert EVIL in [text for fields in dom.table("chosen") for text, _ in fields]
    assert text.count("<script") == 2


@pytest.mark.parametrize(
    "keep", ["budget == 5", "dataset == 'digits'", "seed == 0", "budget == 2 and dataset == 'digits' and seed == 0"]
)
def test_any_part_of_a_suite_opens_without_an_error(browse: Open, keep: str) -> None:
    dom = browse(page_of(cells(strategies=4).query(keep), cards={}), link="backbone=glyph_cnn")
    assert "Your selection: glyph_cnn" in dom.seen and dom.table("chosen")


def test_a_page_on_which_nothing_can_be_chosen_offers_no_filter(browse: Open) -> None:
    one = cells(backbones=("glyph_vit",)).query("budget == 5 and dataset == 'digits'")
    dom = browse(page_of(one, cards={}), link="budget=5")
    assert "hidden" in dom.ids["choose"] and "Your selection" not in dom.seen


def test_every_link_of_the_bar_leads_somewhere(whole: str) -> None:
    targets = re.findall(r'<a href="#([^"]+)"', whole)
    assert len(targets) > 8 and all(f'id="{target}"' in whole for target in targets)


def test_a_tap_sorts_and_words_find_chosen_cells(whole: str, browse: Open) -> None:
    act = """
    const list = document.getElementById("cells"), table = document.querySelector("#chosen table");
    list.open = true;
    setTimeout(() => {
      const input = list.querySelector("input"), found = list.querySelector("tbody");
      const find = words => {
        input.value = words; input.dispatchEvent(new Event("input"));
        return [...found.rows].map(row => [...row.cells].map(cell => cell.textContent));
      };
      table.tHead.rows[0].cells[0].firstChild.click(); table.tHead.rows[0].cells[0].firstChild.click();
      const ranks = [...table.tBodies[0].rows].map(row => Number(row.cells[0].dataset.v));
      document.title = JSON.stringify([ranks, find("lora"), find("not_run")]);
    }, 100);"""
    ranks, done, holes = json.loads(browse(whole, link="dataset=hebrew&budget=5", act=act).title)
    frame = (
        cells().query("dataset == 'hebrew' and budget == 5 and strategy == 'lora'").sort_values(["backbone", "seed"])
    )
    assert ranks == sorted(ranks, reverse=True)
    assert [line[6] for line in done] == [f"{score:.4f}" for score in frame.score]
    assert [line[7] for line in done] == [f"{score:.4f}" for score in frame.default_score]
    assert {line[11] for line in done} == {"lr=0.01, weight_decay=0.0001"}
    assert len(holes) == 2 and all(line[13].startswith("tlbench run ") and line[6:9] == [""] * 3 for line in holes)
