"""Laws of fetching: afterwards a run needs no network; what is here is not made again; every problem is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tlbench import cli
from tlbench.registry import DATASETS, Dataset
from tlbench.types import Arrays, Card, TlbenchError

SUITE = """
name = "afar"
description = "Data and a network that come from elsewhere."
protocol = "TLB-1"
strategies = ["majority", "linear_probe"]
backbones = ["BACKBONE"]
datasets = ["DATASET"]
default_preset = "smoke"
[presets.smoke]
budgets = [2]
seeds = 1
effort = { trials = 1, steps = 2, batch_size = 4, folds = "lite" }
"""
CARD = Card("remote", "image", 3, "Coloured noise.", "procedural", "noise", "made here", "none")
# Loaded by every Python process started with its folder on PYTHONPATH: any word to the network is noted and refused.
NO_NETWORK = """
import pathlib, socket
def refuse(*args, **kwargs):
    pathlib.Path(__file__).with_name("asked").write_text(repr(args))
    raise OSError("this test has no network")
class Socket(socket.socket):
    def connect(self, address):
        if self.family != socket.AF_UNIX:
            refuse(address)
        super().connect(address)
    connect_ex = connect
socket.socket = Socket
socket.getaddrinfo = socket.create_connection = refuse
"""


def arrays() -> Arrays:
    """Three classes of 8 x 8 pictures, each of its own brightness, no two alike."""
    y = np.repeat(np.arange(3), 20)
    noise = np.arange(60 * 8 * 8 * 3).reshape(60, 8, 8, 3) * 7919 % 61
    x = (noise + 80 * y[:, None, None, None]).astype(np.uint8)
    return Arrays(x[::2], y[::2], x[1::2], y[1::2], ("dark", "grey", "light"))


class Remote:
    """A dataset that must be downloaded; it counts how often, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.downloads = 0
        self.failure: BaseException | None = None

    def __call__(self, root: Path) -> Arrays:
        self.downloads += 1
        if self.failure is not None:
            raise self.failure
        return arrays()


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Remote:
    remote = Remote()
    remote.__qualname__ = "Remote"  # type: ignore[attr-defined]
    monkeypatch.setitem(DATASETS._items, "remote", Dataset(CARD, remote))
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    return remote


def suite(folder: Path, dataset: str = "remote", backbone: str = "glyph_cnn") -> str:
    path = folder / "afar.toml"
    path.write_text(SUITE.replace("DATASET", dataset).replace("BACKBONE", backbone))
    return str(path)


def typed(*words: str) -> Result:
    return CliRunner().invoke(cli.app, list(words))


def test_what_is_here_is_verified_and_not_fetched_again(remote: Remote, tmp_path: Path) -> None:
    first, second = typed("fetch", suite(tmp_path)), typed("fetch", suite(tmp_path))
    assert first.exit_code == second.exit_code == 0, first.output
    assert remote.downloads == 1
    assert "made now, 30 + 30 examples of 3 classes" in first.output and "was here" in second.output
    assert "all 2 are here and verified" in second.output


def test_a_run_after_a_fetch_makes_nothing_again(remote: Remote, tmp_path: Path) -> None:
    typed("fetch", suite(tmp_path))
    plan = typed("run", suite(tmp_path), "--dry-run", "--results", str(tmp_path / "results"))
    assert plan.exit_code == 0 and "2 cells to run" in plan.output and remote.downloads == 1


def test_a_damaged_file_is_found_and_made_again(remote: Remote, tmp_path: Path) -> None:
    typed("fetch", suite(tmp_path))
    (file,) = (tmp_path / "cache" / "datasets").glob("remote-*/pool_y.npy")
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    assert typed("fetch", suite(tmp_path)).exit_code == 0 and remote.downloads == 2


def test_every_problem_is_told_at_the_end_and_the_rest_is_fetched(remote: Remote, tmp_path: Path) -> None:
    remote.failure = TlbenchError("its server is down")
    result = typed("fetch", suite(tmp_path, 'remote", "count', "glyph_cnn"), "--backbone", "timm:resnet10t@gone.pth")
    assert result.exit_code == 1
    told = result.output.partition("2 of 3 cannot be used:")[2]
    assert "dataset remote: its server is down" in told and "backbone timm:resnet10t@gone" in told
    assert "dataset count" in result.output and "dataset count" not in told
    assert f"tlbench fetch {tmp_path}/afar.toml --preset smoke --backbone timm:resnet10t@gone.pth" in told
    assert "HF_HUB_OFFLINE is set" in told  # as it is in tests


def test_an_error_that_nobody_foresaw_is_told_too(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_name: str) -> None:
        raise ConnectionResetError("peer")

    monkeypatch.setattr("tlbench.backbones.get", broken)
    result = typed("fetch", suite(tmp_path))
    assert result.exit_code == 1 and "backbone glyph_cnn: ConnectionResetError: peer" in result.output


def test_stopped_in_the_middle_it_goes_on_where_it_was(remote: Remote, tmp_path: Path) -> None:
    remote.failure = KeyboardInterrupt()
    stopped = typed("fetch", suite(tmp_path, 'count", "remote'))
    assert stopped.exit_code == 130 and "run the same command to go on" in stopped.output
    assert [path.name.split("-")[0] for path in (tmp_path / "cache" / "datasets").iterdir()] == ["count"]
    remote.failure = None
    again = typed("fetch", suite(tmp_path, 'count", "remote'))
    assert again.exit_code == 0 and again.output.index("was here") < again.output.index("made now")


def test_it_says_how_to_use_what_was_fetched_elsewhere(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    output = typed("fetch", suite(tmp_path)).output
    lines = [line.strip() for line in output.splitlines()]
    assert f"export TLBENCH_CACHE={tmp_path / 'cache'}" in lines and f"export HF_HOME={tmp_path}" in lines
    assert "export HF_HUB_OFFLINE=1" in lines and "TORCH_HOME" not in output
    assert lines[-1] == f"tlbench run {tmp_path}/afar.toml --preset smoke"


def test_a_run_after_a_fetch_asks_nothing_of_the_network(tmp_path: Path) -> None:
    import timm
    import torch

    weights = tmp_path / "w.pth"
    torch.save(timm.create_model("resnet10t", pretrained=False).state_dict(), weights)
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TLBENCH_CACHE": str(tmp_path / "cache")}
    file = suite(tmp_path, "count", f"timm:resnet10t@{weights}")

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)

    assert "has no network" in command("-c", "import socket; socket.create_connection(('localhost', 9))").stderr
    (tmp_path / "asked").unlink()
    fetch = command("-m", "tlbench", "fetch", file)
    assert fetch.returncode == 0, fetch.stdout + fetch.stderr
    run = command("-m", "tlbench", "run", file, "--workers", "1", "--results", str(tmp_path / "results"))
    assert run.returncode == 0 and "2 done" in run.stdout, run.stdout + run.stderr
    assert not (tmp_path / "asked").exists()
