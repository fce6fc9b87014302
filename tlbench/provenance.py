"""Where does a number come from? The commit, the packages and the machine of a run."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tlbench.types import Provenance, TlbenchError

if TYPE_CHECKING:
    from tlbench.block import Outcome

PACKAGES = (
    "tlbench", "torch", "torchvision", "timm", "transformers", "datasets", "optuna", "numpy", "scipy", "scikit-learn",
)  # fmt: skip


class Machine(NamedTuple):
    """What all records of a run share."""

    commit: str
    dirty: bool
    packages: dict[str, str]
    device: str

    def provenance(self, outcome: Outcome) -> Provenance:
        return Provenance(
            **self._asdict(),
            width=outcome.width,
            pieces=outcome.pieces,
            determinism="bitwise" if self.device == "cpu" else "seeded",
            started=_utc(outcome.started),
            finished=_utc(outcome.finished),
        )


def here(device: str) -> Machine:
    """This checkout, this environment, this device."""
    commit = _git("rev-parse", "HEAD")
    return Machine(commit, bool(commit and _git("status", "--porcelain")), _versions(), _device_name(device))


def devices(asked: str) -> list[str]:
    """The devices that blocks are spread over; "auto" takes every GPU, or the CPU where there is none.

    Raises TlbenchError for a device that is not there.
    """
    import torch

    present = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        present.append("mps")
    if asked == "auto":
        return present or ["cpu"]
    if asked == "cuda" and present:
        return [name for name in present if name.startswith("cuda")]
    if asked not in ("cpu", *present):
        raise TlbenchError(f"device {asked!r} is not there; this machine has: {', '.join(['cpu', *present])}")
    return [asked]


def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return torch.cuda.get_device_name(device)


def _git(*words: str) -> str:
    """What git says of this checkout; "" where there is none."""
    folder = Path(__file__).parent
    try:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
