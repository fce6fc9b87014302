"""How does a run look while it goes on? A live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from tlbench.types import Record, Status

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

GOOD = (Status.DONE, Status.SKIPPED)
ROWS = 12  # of the running leaderboard


class Tally:
    """What has happened so far: cells, time, steps of tuning, and the mean score of each strategy and backbone."""

    def __init__(self) -> None:
        self.total = self.already = self.done = 0
        self._steps = self._whole = 0
        self._spared = 0.0  # seconds
        self.running: Counter[str] = Counter()
        self.troubles: Counter[Status] = Counter()
        self._scores: dict[str, list[float]] = defaultdict(list)
        self._began = time.monotonic()

    def start(self, total: int, already: int) -> None:
        self.total, self.already = total, already
        self._began = time.monotonic()

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            self.done += 1
            if record.measurement.status not in GOOD:
                self.troubles[record.measurement.status] += 1
            if record.measurement.score is not None:
                self._scores[f"{record.cell.strategy}/{record.cell.backbone}"].append(record.measurement.score)
            self._count(record.measurement.cost)
        for block in {block_of(record) for record in records}:
            self.running = +(self.running - Counter([block]))

    def left(self) -> str:
        """Time left at the pace so far, as h:mm:ss; ? before anything is done."""
        if not self.done:
            return "?"
        pace = (time.monotonic() - self._began) / self.done
        return str(timedelta(seconds=round(pace * (self.total - self.already - self.done))))

    def spared(self) -> str:
        """What halving saved, in steps and by the time that each cell's steps took; "" where it saved nothing."""
        if self._steps >= self._whole:
            return ""
        share, saved = self._steps / self._whole, timedelta(seconds=round(self._spared))
        return (
            f"tuning took {share:.0%} of the {self._whole:,} steps of all trials to the end, "
            f"which spared one worker about {saved}"
        )

    def _count(self, cost: Mapping[str, float]) -> None:
        steps, whole = (int(cost.get(name, 0)) for name in ("tune_steps", "tune_steps_whole"))
        if steps:
            self._steps, self._whole = self._steps + steps, self._whole + whole
            self._spared += cost["tune_seconds"] * (whole - steps) / steps

    def leaders(self) -> list[tuple[str, float, int]]:
        """(name, mean score, cells), best first; of different cells, so an impression and no ranking."""
        means = [(name, sum(scores) / len(scores), len(scores)) for name, scores in self._scores.items()]
        return sorted(means, key=lambda row: (-row[1], row[0]))


class Lines:
    """One plain line for each block that ends."""

    def __init__(self) -> None:
        self.tally = Tally()

    def start(self, total_cells: int, done_already: int) -> None:
        self.tally.start(total_cells, done_already)
        self.say(f"{total_cells} cells, {done_already} of them stored already")

    def block_started(self, name: str) -> None:
        self.tally.running[name] += 1

    def block_done(self, records: Sequence[Record]) -> None:
        self.tally.add(records)
        tally, scores = self.tally, [r.measurement.score for r in records if r.measurement.score is not None]
        mean = f", mean score {sum(scores) / len(scores):.3f}" if scores else ""
        place = f"[{tally.already + tally.done}/{tally.total}]"
        self.say(f"{place} {block_of(records[0])}: {len(records)} cells{mean}; {tally.left()} left")
        for text in trouble(records):
            self.say(text)

    def say(self, text: str) -> None:
        print(text, flush=True)

    def finish(self) -> None:
        """Nothing is left on the screen to tidy."""


class Live:
    """A display that stays in place: bar, current blocks, time left, running leaderboard."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live as Display
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.tally = Tally()
        self._bar = Progress(
            BarColumn(), MofNCompleteColumn(), TextColumn("cells, {task.description} left"), console=console
        )
        self._task = self._bar.add_task("?", total=None)
        self._display = Display(get_renderable=self._picture, console=console, refresh_per_second=4, transient=True)

    def start(self, total_cells: int, done_already: int) -> None:
        self.tally.start(total_cells, done_already)
        self._bar.update(self._task, total=total_cells, completed=done_already)
        self._display.start()

    def block_started(self, name: str) -> None:
        self.tally.running[name] += 1

    def block_done(self, records: Sequence[Record]) -> None:
        self.tally.add(records)
        self._bar.update(self._task, completed=self.tally.already + self.tally.done, description=self.tally.left())
        for text in trouble(records):
            self.say(text)

    def say(self, text: str) -> None:
        self._display.console.print(text, markup=False, highlight=False)

    def finish(self) -> None:
        self._display.stop()

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        now = Text("now: " + (", ".join(sorted(self.tally.running)) or "getting ready"), style="dim")
        troubles = ", ".join(f"{count} {status}" for status, count in sorted(self.tally.troubles.items()))
        parts: list[RenderableType] = [self._bar, now]
        if troubles:
            parts.append(Text(troubles, style="red"))
        if self.tally.leaders():
            parts.append(self._table())
        return Group(*parts)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table("strategy / backbone", "mean score so far", "cells", box=None, header_style="bold")
        for name, mean, cells in self.tally.leaders()[:ROWS]:
            bar = "█" * max(0, round(20 * mean))
            table.add_row(Text(name), f"{mean:6.3f} {bar}", str(cells))
        return table


def watcher() -> Lines | Live:
    """The display that suits where the output goes."""
    from rich.console import Console

    console = Console()
    return Live(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


def block_of(record: Record) -> str:
    return f"{record.cell.strategy}/{record.cell.backbone}/{record.cell.dataset}"


def trouble(records: Sequence[Record]) -> list[str]:
    """A line for each reason, with the cells that met it."""
    cells: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if record.measurement.status not in GOOD:
            cells[f"{record.measurement.status}: {record.measurement.reason}"].append(record.cell.name)
    return [f"  {names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)} {why}" for why, names in cells.items()]
