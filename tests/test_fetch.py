"""Laws of fetching: afterwards a run needs no network; what is here is not made again; every problem is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
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
import pathlib, socket, traceback
def refuse(*args, **kwargs):
    pathlib.Path(__file__).with_name("asked").write_text("".join(traceback.format_stack()))
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


@pytest.mark.parametrize("part", ["pool_x", "test_y"])
def test_a_damaged_byte_is_found_even_where_a_run_does_not_look(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr("tlbench.datasets.cache.WHOLE_UP_TO", 100)  # of larger files a run reads only some pieces
    monkeypatch.setattr("tlbench.datasets.cache.BLOCK", 1)
    typed("fetch", suite(tmp_path))
    (file,) = (tmp_path / "cache" / "datasets").glob(f"remote-*/{part}.npy")
    damaged = bytearray(file.read_bytes())
    damaged[-2] ^= 1
    file.write_bytes(damaged)
    again = typed("fetch", suite(tmp_path))
    assert again.exit_code == 0 and f"was damaged ({file}" in again.output
    assert remote.downloads == 2 and "was here" in typed("fetch", suite(tmp_path)).output


def test_every_problem_is_told_at_the_end_and_the_rest_is_fetched(remote: Remote, tmp_path: Path) -> None:
    remote.failure = TlbenchError("its server is down")
    result = typed("fetch", suite(tmp_path, 'remote", "count', "glyph_cnn"), "--backbone", "timm:resnet10t@gone.pth")
    assert result.exit_code == 1
    told = result.output.partition("2 of 3 cannot be used:")[2]
    assert "  remote: its server is down" in told and "'timm:resnet10t@gone.pth'" in told
    assert "dataset count" in result.output and "count" not in told
    assert f"tlbench fetch {tmp_path}/afar.toml --preset smoke --backbone timm:resnet10t@gone.pth" in told
    assert "HF_HUB_OFFLINE is set" in told  # as it is in tests


def test_an_error_that_nobody_foresaw_is_told_too(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_name: str) -> None:
        raise ConnectionResetError("peer")

    monkeypatch.setattr("tlbench.backbones.get", broken)
    result = typed("fetch", suite(tmp_path))
    assert result.exit_code == 1 and "  glyph_cnn: ConnectionResetError: peer" in result.output


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
    weights, data = tmp_path / "w.pth", tmp_path / "pictures"
    torch.save(timm.create_model("resnet10t", pretrained=False).state_dict(), weights)
    for split, x, y in (("train", arrays().pool_x, arrays().pool_y), ("test", arrays().test_x, arrays().test_y)):
        pictures(data / split, x, y)
    in_hub(tmp_path, "timm/test_resnet.r160_in1k", image_network)
    file = suite(tmp_path, f"folder:{data}", f'timm:resnet10t@{weights}", "timm:test_resnet.r160_in1k')
    done = without_network(tmp_path, file, offline=False)
    assert done.returncode == 0 and "4 done" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "asked").exists()


def test_offline_a_run_reads_a_text_network_from_the_hubs_cache(tmp_path: Path) -> None:
    rows = [f"{word} number {i},{word}" for word in ("cold", "warm") for i in range(40)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    in_hub(tmp_path, "someone/tiny", text_network)
    done = without_network(tmp_path, suite(tmp_path, f"folder:{tmp_path}/texts.csv", "hf:someone/tiny"), offline=True)
    assert done.returncode == 0 and "2 done" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "asked").exists()


def test_the_guard_of_these_tests_sees_who_asks(tmp_path: Path) -> None:
    asked = guarded(tmp_path, "import socket; socket.create_connection(('localhost', 9))", offline=False)
    assert "has no network" in asked.stderr and (tmp_path / "asked").exists()


def without_network(folder: Path, file: str, *, offline: bool) -> subprocess.CompletedProcess[str]:
    """Fetches and runs a suite in a process, and workers, that are refused any word to the network."""
    run = ["run", file, "--workers", "1", "--results", str(folder / "results")]
    return guarded(folder, f"from test_fetch import commands; commands({['fetch', file]}, {run})", offline=offline)


def commands(*lines: list[str]) -> None:
    for words in lines:
        try:
            cli.app(words)
        except SystemExit as end:
            if end.code:
                raise


def guarded(folder: Path, code: str, *, offline: bool) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parent)]),
        "TLBENCH_CACHE": str(folder / "cache"),
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": str(int(offline)),
    }
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def in_hub(folder: Path, repository: str, write: Callable[[Path], None]) -> None:
    """Puts files where the Hugging Face hub keeps what it has downloaded."""
    home = folder / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    (home / ".no_exist" / ("0" * 40)).mkdir(parents=True)
    for absent in ("modules.json", "sentence_bert_config.json"):
        (home / ".no_exist" / ("0" * 40) / absent).touch()
    write(snapshot)


def image_network(folder: Path) -> None:
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), folder / "model.safetensors")


def text_network(folder: Path) -> None:
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cold", "warm", "number", *map(str, range(40))]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **small)).save_pretrained(folder)


def pictures(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
