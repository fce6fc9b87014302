"""Does `write` give the same bytes for the same cells, hide nothing, and let no name speak as markup?"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_simulation import mark, meta, simulate

from tlbench import report
from tlbench.report import page_cells
from tlbench.report.scores import grid
from tlbench.store_frame import frame as frame_of
from tlbench.types import Cell, DataFacts, Measurement, Provenance, Record, Status

EVIL = "<script>alert(1)</script>$x$|&\"'"


def small(**changes: object) -> pd.DataFrame:
    frame = simulate(**changes)  # type: ignore[arg-type]
    return frame[frame.dataset.isin(["digits", "count", "distance", "texture", "symmetry", "hebrew"])]


def digests(files: list[Path]) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    report.write(small(), meta(), folder)
    return folder


class Words(HTMLParser):
    """Tags that open, and the text that a reader sees between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.text += data


def test_the_order_of_the_cells_changes_no_byte_of_any_file(out: Path, tmp_path: Path) -> None:
    shuffled = small().sample(frac=1, random_state=np.random.Generator(np.random.PCG64(5)))
    again = digests(report.write(shuffled, meta(), tmp_path))
    assert again == digests([file for file in out.rglob("*.*") if file.is_file()])
    assert {"leaderboard.md", "leaderboard.csv", "costs.csv", "report.html", "scores.svg", "scores.png"} <= set(again)


def test_the_page_asks_nobody_for_anything(out: Path) -> None:
    page = (out / "report.html").read_text()
    for _, attributes in Words(page).tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), attributes
    assert not re.search(r"@import|url\((?!#)", page)


def test_every_hole_is_on_the_page_with_its_reason_and_a_command(out: Path) -> None:
    text = Words((out / "report.html").read_text()).text
    for said in (
        "no answer within 60 s",
        "RuntimeError: shapes <3> & <4>",
        "needs three classes",
        "loss was not finite",
    ):
        assert said in text
    assert "tlbench retry few_shot_vision --preset lite --only strategy=adapter" in text
    assert "tlbench run few_shot_vision --preset lite --only strategy=partial_freeze" in text


def test_a_loss_that_comes_from_failures_says_so(out: Path) -> None:
    text = Words((out / "report.html").read_text()).text
    assert re.search(r"adapter on .*count \(-[\d.]+, cells failed\)", text)
    assert re.search(r"linear_probe on symmetry \(-[\d.]+\)", text)


def test_holes_are_in_the_coverage_map(out: Path) -> None:
    tags = Words((out / "report.html").read_text()).tags
    marks = {attributes.get("class") for tag, attributes in tags if tag == "td"}
    assert {"done", "failed", "skipped", "not_run"} <= marks


def test_names_of_plugins_are_text_and_nothing_else(tmp_path: Path) -> None:
    frame = small(strategies=8)
    frame["strategy"] = frame.strategy.replace("lora", EVIL)
    mark(frame, frame.strategy.eq(EVIL) & frame.dataset.eq("digits") & frame.seed.eq(0), "failed", f"{EVIL} in reason")
    files = report.write(frame, meta(description=EVIL, command=f"tlbench run {EVIL}"), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page and EVIL in Words(page).text
    assert sum(tag == "script" for tag, _ in Words(page).tags) == 2  # the data and the page's own
    assert not any("<script" in file.read_text() for file in files if file.suffix in {".svg", ".md"})
    row = next(line for line in (tmp_path / "leaderboard.md").read_text().splitlines() if "alert" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 20


def test_the_cells_of_the_page_are_the_cells_of_the_frame(out: Path) -> None:
    page = (out / "report.html").read_text()
    found = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    frame = small()
    assert {len(column) for column in data["cells"]["columns"].values() if column} == {len(frame)}
    counted = np.array([np.nan if z is None else z / data["grid"]["scale"] for z in data["grid"]["z"]])
    np.testing.assert_allclose(counted, grid(frame).z.ravel(), atol=1e-7)


def test_a_command_survives_the_shell() -> None:
    frame = small(strategies=4)
    frame["strategy"] = frame.strategy.replace("linear_probe", "it's $HOME; rm")
    mark(frame, frame.strategy.eq("it's $HOME; rm") & frame.dataset.eq("digits"), "failed", "no")
    found, _ = page_cells.holes(grid(frame), meta())
    command = next(hole.command for hole in found if hole.command)
    printed = subprocess.run(["bash", "-c", command.replace("tlbench", "printf '%s\\n'", 1)], capture_output=True)
    assert "strategy=it's $HOME; rm" in printed.stdout.decode().splitlines()


def test_a_command_keeps_plugins_and_folders() -> None:
    asked = meta(command="tlbench run few_shot_vision --preset lite --plugin 'my idea.py' --results elsewhere")
    found, _ = page_cells.holes(grid(small()), asked)
    retry = (
        "tlbench retry few_shot_vision --preset lite --plugin 'my idea.py' --results elsewhere --only strategy=adapter"
    )
    assert any(hole.command.startswith(retry) for hole in found)


def test_every_figure_is_there_twice_and_says_no_date(out: Path) -> None:
    drawn = [{file.stem for file in (out / "figures").glob(f"*.{suffix}")} for suffix in ("svg", "png")]
    assert drawn[0] == drawn[1] > {"label_curves", "label_curves_by_dataset", "scores", "coverage", "transfer_gain"}
    assert not any("<dc:date>" in file.read_text() for file in out.rglob("*.svg"))


def test_seconds_stay_out_of_the_leaderboards(out: Path, tmp_path: Path) -> None:
    slower = small().assign(tune_seconds=1e5, fit_seconds=1e5, peak_memory_mb=1e5, finished="2031", width=9)
    one, other = digests(list(out.glob("*.*"))), digests(report.write(slower, meta(), tmp_path))
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {"costs.csv", "report.html"}


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_report_of_few_seeds_says_what_it_cannot_say(tmp_path: Path, seeds: int) -> None:
    report.write(small(seeds=seeds, strategies=3, holes=False), meta(), tmp_path)
    text = Words((tmp_path / "report.html").read_text()).text
    assert ("no interval" in text) == (seeds == 1)
    assert ("One split seed" in text) == (seeds == 1)


def test_examples_that_were_left_out_are_on_the_page(tmp_path: Path) -> None:
    facts = DataFacts(1_500, 120, 10, True, 7, {"file cannot be decoded as an image": 3})
    report.write(simulate(), meta(facts={"digits": facts}), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in ("1,500 to draw labels from", "120 for testing (few", "7 taken out", "3: file cannot be decoded"):
        assert said in page


def test_a_suite_that_has_not_started_is_a_page_of_holes(tmp_path: Path) -> None:
    frame = small(strategies=3)
    mark(frame, frame.strategy.ne(""), "not_run", "")
    report.write(frame, meta(), tmp_path)
    text = Words((tmp_path / "report.html").read_text()).text
    assert "No strategy is complete yet" in text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "keep",
    [
        "budget == 5",
        "dataset == 'digits'",
        "strategy == 'adapter' and dataset == 'count'",  # every cell failed
        "strategy == 'nearest_mean' and dataset == 'symmetry'",  # every cell skipped
        "strategy == 'lora' and dataset == 'digits' and budget == 2 and seed == 0",
    ],
)
def test_any_part_of_a_suite_makes_a_report(tmp_path: Path, keep: str) -> None:
    files = report.write(small().query(keep), meta(cards={}), tmp_path)
    assert all(file.stat().st_size for file in files)


def test_the_stores_frame_is_a_reports_frame(tmp_path: Path) -> None:
    cells = [Cell(d, "glyph_vit", s, k, 0) for d in ("a", "b") for s in ("lora", "from_scratch") for k in (2, 5)]
    done = Measurement(Status.DONE, score=0.5, floor=0.1, labels=20, cost={"train_flops": 1e9})
    frame = frame_of([Record(cell, done, Provenance(packages={"torch": "2"})) for cell in cells[:-1]], cells)
    report.write(frame, meta(cards={}), tmp_path)
    assert "incomplete: 1 of 4 cells not run" in (tmp_path / "leaderboard.md").read_text()
