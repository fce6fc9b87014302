"""How much memory do a process and all below it take? Pages that several share are counted once."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType


class Peak:
    """The most that a process and its descendants took at once while the context lasted, in MiB; 0 where not Linux."""

    def __init__(self, process: int, *, every: float = 0.5) -> None:
        """`every`: seconds between two looks."""
        self.process, self.every, self.mib = process, every, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.mib = max(self.mib, sum(map(pss, family(self.process))))


def family(process: int) -> list[int]:
    """A process and all below it that still run."""
    found, waiting = list[int](), [process]
    while waiting:
        found.append(waiting.pop())
        for listed in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            waiting += map(int, _text(listed).split())
    return found


def pss(process: int) -> float:
    """MiB of a process, of shared pages its share (proportional set size); 0 where it has ended."""
    found = re.search(r"^Pss:\s+(\d+) kB", _text(Path(f"/proc/{process}/smaps_rollup")), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _text(path: Path) -> str:
    """What stands in a file of a process; "" once it has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""
