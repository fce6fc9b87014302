"""Does a network get exactly the weights in a file, a folder or on a hub, and is everything else refused?"""

from __future__ import annotations

import json
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tlbench import rng
from tlbench.backbones import Backbone, weights_files
from tlbench.registry import BACKBONES
from tlbench.types import TlbenchError


def state_of(name: str, seed: int = 3, **options: Any) -> dict[str, torch.Tensor]:
    import timm

    with rng.ambient(seed):
        return {k: v.contiguous() for k, v in timm.create_model(name, **options).state_dict().items()}


def made(reference: str) -> Backbone:
    """Opened anew: the registry would refuse two files of one stem."""
    return BACKBONES.families[reference.partition(":")[0] + ":"].open(reference)[1]()


def same_weights(reference: str, state: dict[str, torch.Tensor]) -> bool:
    held = made(reference).trunk.state_dict()
    tensors = sorted(float(v.double().abs().sum()) for k, v in state.items() if not k.startswith("head."))
    return tensors == pytest.approx(sorted(float(v.double().abs().sum()) for v in held.values()))


@pytest.mark.parametrize(
    ("file", "wrapped"),
    {
        "w.safetensors": lambda state: state,
        "w.pth": lambda state: state,
        "w.pt": lambda state: {"state_dict": state, "epoch": 3},
        "w.bin": lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
        "w.ckpt": lambda state: {f"module._orig_mod.{k}": v for k, v in state.items()},
        "w.tar": lambda state: {"state_dict": {k: 0 * v for k, v in state.items()}, "state_dict_ema": state},
    }.items(),
)
def test_weights_are_found_in_what_training_scripts_save(tmp_path: Path, file: str, wrapped: Any) -> None:
    state = state_of("test_vit")
    (save_file if file.endswith("safetensors") else torch.save)(wrapped(state), tmp_path / file)
    assert same_weights(f"timm:test_vit@{tmp_path / file}", state)


def test_a_folder_is_searched_for_safetensors_first(tmp_path: Path) -> None:
    state = state_of("test_vit")
    save_file(state, tmp_path / "model.safetensors")
    torch.save({k: 0 * v for k, v in state.items()}, tmp_path / "pytorch_model.bin")
    assert same_weights(f"timm:test_vit@{tmp_path}", state)


def test_a_folder_that_timm_saved_tells_how_its_pictures_are_prepared(tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf  # type: ignore[attr-defined]

    config = {"input_size": (3, 96, 96), "mean": (0.5, 0.5, 0.5), "interpolation": "bilinear", "crop_pct": 0.8}
    model = timm.create_model("test_resnet", pretrained_cfg_overlay=config)
    save_for_hf(model, tmp_path, safe_serialization=True)
    recipe = made(f"timm:test_resnet@{tmp_path}").reader.recipe  # type: ignore[union-attr]
    assert (recipe.size, recipe.resized, recipe.interpolation) == (96, 120, "bilinear")
    assert recipe.mean == (0.5, 0.5, 0.5)
    with pytest.raises(TlbenchError, match="holds weights of 'test_resnet'"):
        made(f"timm:test_vit@{tmp_path}")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(TlbenchError, match="not a config that timm saved"):
        made(f"timm:test_resnet@{tmp_path}?size=64")


def test_a_network_from_scratch_is_for_pictures_of_the_size_that_the_weights_are_for(tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf  # type: ignore[attr-defined]

    model = timm.create_model("test_vit", pretrained_cfg_overlay={"input_size": (3, 96, 96)})
    save_for_hf(model, tmp_path, safe_serialization=True)
    backbone = made(f"timm:test_vit@{tmp_path}")
    networks = [each.trunk.state_dict() for each in (backbone, backbone.scratch())]
    assert [v.shape for v in networks[0].values()] == [v.shape for v in networks[1].values()]
    assert networks[0]["stem.model.pos_embed"].shape == model.state_dict()["pos_embed"].shape


def test_positions_of_a_vit_are_resampled_for_another_size(tmp_path: Path) -> None:
    state = state_of("test_vit")
    save_file(state, tmp_path / "w.safetensors")
    whole, small = (made(f"timm:test_vit@{tmp_path / 'w.safetensors'}{size}") for size in ("", "?size=64"))
    name = "stem.model.pos_embed"
    assert small.trunk.state_dict()[name].shape[1] < whole.trunk.state_dict()[name].shape[1]
    kept = {k: v for k, v in small.trunk.state_dict().items() if k != name}
    assert all(torch.equal(v, whole.trunk.state_dict()[k]) for k, v in kept.items())


def test_weights_of_another_variant_are_refused_with_both_shapes(tmp_path: Path) -> None:
    save_file(state_of("test_vit"), tmp_path / "w.safetensors")
    with pytest.raises(TlbenchError, match=r"do not fit: size mismatch for .*\[.*64.*\].*\[.*192.*\]"):
        made(f"timm:vit_tiny_patch16_224@{tmp_path / 'w.safetensors'}")
    torch.save({"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(
        TlbenchError, match=r"'conv1.weight' is \[64, 3, 3, 3\] there and \[64, 3, 7, 7\] in the network"
    ):
        made(f"torchvision:resnet18@{tmp_path / 'w.pth'}")


@pytest.mark.parametrize("change", ["missing", "more"])
def test_no_tensor_is_skipped_in_silence(tmp_path: Path, change: str) -> None:
    state = state_of("test_resnet")
    if change == "missing":
        del state["layer2.0.conv1.weight"]
    else:
        state["layer9.0.conv1.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(TlbenchError, match=r"layer[29]\.0\.conv1\.weight"):
        made(f"timm:test_resnet@{tmp_path / 'w.safetensors'}")


class Trap:
    """Unpickling it would write a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("save", [torch.save, lambda held, file: file.write_bytes(pickle.dumps(held))])
@pytest.mark.parametrize("library", ["timm:test_vit", "torchvision:resnet18"])
def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path, save: Any, library: str) -> None:
    save({"state_dict": {"x": torch.zeros(1), "trap": Trap(tmp_path / "sprung")}}, tmp_path / "w.pth")
    with pytest.raises(TlbenchError, match="a file that needs code to be opened is refused.*convert it to safetensors"):
        made(f"{library}@{tmp_path / 'w.pth'}")
    assert not (tmp_path / "sprung").exists()


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a.pth", "b.pth"):
        torch.save({}, tmp_path / "two" / name)
    (tmp_path / "text.safetensors").write_text("not weights at all")
    torch.save({"epoch": 3, "note": "x"}, tmp_path / "notes.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for path, said in (
        ("nowhere.pth", "neither a file nor a folder; write NAME@FILE"),
        ("empty", "no weights in the folder"),
        ("two", "holds 2 files of weights .a.pth, b.pth.; name one"),
        ("text.safetensors", "cannot be read as weights"),
        ("notes.pt", "holds no weights: a dict of 'epoch', 'note'"),
        ("list.pt", "holds no weights: a list"),
    ):
        with pytest.raises(TlbenchError, match=said):
            made(f"timm:test_vit@{tmp_path / path}")


@contextmanager
def server(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """An address that serves files as the hub does, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            data = files.get(self.path.rpartition("/")[2])
            self.send_response(404 if data is None else 200)
            self.send_header("X-Error-Code", "EntryNotFound" if data is None else "")
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", f'"{sha256(data or b"").hexdigest()}"')
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(files.get(self.path.rpartition("/")[2], b""))

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Lets the hub's client ask the address that is given to it, and keep what it gets in a folder of this test."""
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils import _http

    def at(address: str) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        set_client_factory(_http.default_client_factory)

    return at


def test_weights_of_the_hub_are_fetched_once_and_kept(online: Any, tmp_path: Path) -> None:
    state = state_of("test_vit")
    save_file(state, tmp_path / "w.safetensors")
    with server({"model.safetensors": (tmp_path / "w.safetensors").read_bytes()}) as (address, asked):
        online(address)
        assert same_weights("timm:test_vit", state)
        assert any("test_vit" in path and path.endswith("model.safetensors") for path in asked)
        asked.clear()
        assert same_weights("timm:test_vit.r160_in1k", state)
        assert asked == []


def test_a_repository_of_pickles_alone_is_refused(online: Any) -> None:
    with server({"pytorch_model.bin": b"x"}) as (address, asked):
        online(address)
        with pytest.raises(TlbenchError, match="holds no safetensors .*; convert them to safetensors"):
            made("timm:test_vit")
    assert not any("bin" in path for path in asked)


def test_without_a_network_the_answer_comes_in_seconds(online: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_files, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call and never answers
        for address in (f"http://127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:9"):
            online(address)
            start = time.perf_counter()
            with pytest.raises(TlbenchError, match="tlbench fetch SUITE.*timm:test_vit@FILE.*timm:test_vit@random"):
                made("timm:test_vit")
            with pytest.raises(TlbenchError, match="tlbench fetch SUITE"):
                weights_files.from_url("torchvision:resnet18", f"{address}/resnet18-12345678.pth")
            assert time.perf_counter() - start < 5


def test_a_file_behind_an_address_is_checked_by_the_hash_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    data = b"some weights"
    good, bad = f"net-{sha256(data).hexdigest()[:8]}.pth", "net-00000000.pth"
    with server({good: data, bad: data}) as (address, asked):
        file = weights_files.from_url("torchvision:net", f"{address}/{good}")
        assert file.read_bytes() == data and file.parent == tmp_path / "hub" / "checkpoints"
        asked.clear()
        assert weights_files.from_url("torchvision:net", f"{address}/{good}") == file and asked == []
        with pytest.raises(TlbenchError, match="invalid hash value"):
            weights_files.from_url("torchvision:net", f"{address}/{bad}")
    assert not (file.parent / bad).exists()


def test_a_config_without_a_word_on_pictures_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_vit"}))
    save_file(state_of("test_vit"), tmp_path / "model.safetensors")
    assert made(f"timm:test_vit@{tmp_path}").blocks == 6
