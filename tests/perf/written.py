"""Where is a measurement written, and what is said of how it was made? All but the time, so that runs compare."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import born
import numpy as np
import torch


def made() -> dict[str, Any]:
    """How a measurement was made: the command, the machine, the libraries and the variables of the process."""
    return {
        "command": shlex.join(["python", *(_relative(word) for word in sys.argv)]),
        "processor": processor(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "variables": born.variables(),
    }


def sentence(how: dict[str, Any]) -> str:
    """The same for a reader."""
    set_so = " ".join(f"{name}={value}" for name, value in how["variables"].items())
    return (
        f"`{how['command']}` on {how['processor']} ({how['cores']} cores, {how['instructions']}), "
        f"Python {how['python']}, torch {how['torch']}, numpy {how['numpy']}; every process born with `{set_so}`"
    )


def processor() -> str:
    """What the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def write(folder: Path, name: str, *, text: str, data: dict[str, Any]) -> None:
    """Writes name.md and name.json, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, content in (("md", text), ("json", json.dumps(_values(data), indent=1, allow_nan=False) + "\n")):
        part = folder / f".{name}.{suffix}.part"
        part.write_text(content, encoding="utf-8")
        part.replace(folder / f"{name}.{suffix}")


def _values(data: Any) -> Any:
    """The same with named tuples as tables, and None where there is no finite number."""
    if isinstance(data, tuple) and hasattr(data, "_asdict"):
        return _values(data._asdict())
    if isinstance(data, dict):
        return {name: _values(each) for name, each in data.items()}
    if isinstance(data, list | tuple):
        return [_values(each) for each in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _relative(word: str) -> str:
    """A path below the working folder without it."""
    path = Path(word)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else word
