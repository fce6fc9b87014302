"""Do networks of torchvision keep the law of taps, equal the library's own, and get exactly the weights named?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_networks as tiny
import torch
from safetensors.torch import save_file
from torch import nn

from tlbench import backbones, rng
from tlbench.backbones import torchvision as ours
from tlbench.registry import BACKBONES
from tlbench.types import TlbenchError

NAMED = (
    "resnet18",
    "regnet_x_400mf",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "swin_t",
)
TINY = {"ViT": tiny.torchvision_vit, "Swin": tiny.torchvision_swin, "ResNet": tiny.torchvision_resnet}


def pictures(m: int, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(m).integers(0, 256, (m, side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", NAMED)
def test_the_pieces_of_a_network_are_the_network(name: str) -> None:
    import torchvision.models

    backbone, x = backbones.get(f"torchvision:{name}@random?size=64"), pictures(2)
    with rng.ambient(0):
        whole: Any = torchvision.models.get_model(name, weights=None).eval()
    classifier = [m for m in whole.modules() if isinstance(m, nn.Linear)][-1]
    features = backbone.prefix("features")(x)
    assert features.shape == (2, backbone.dim)
    with torch.no_grad():
        torch.testing.assert_close(classifier(features), whole(backbone.prefix("input")(x)), rtol=1e-4, atol=1e-5)
    for tap in (*backbone.taps[:3], *backbone.taps[-3:]):
        torch.testing.assert_close(backbone.tail(tap)(backbone.prefix(tap)(x)), features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", TINY.values(), ids=TINY)
def test_attention_written_out_gives_what_the_library_gives(make: Any) -> None:
    backbone, x = make(), pictures(2)
    with rng.ambient(0):
        whole = backbone.make().eval()
    features = backbone.prefix("features")(x)
    with torch.no_grad():
        torch.testing.assert_close(features, whole(backbone.prefix("input")(x)), rtol=1e-4, atol=1e-5)
    for tap in backbone.taps:
        torch.testing.assert_close(backbone.tail(tap)(backbone.prefix(tap)(x)), features, rtol=1e-4, atol=1e-5)


def test_a_network_from_scratch_has_the_same_shapes_and_draws_its_own_weights() -> None:
    backbone = backbones.get("torchvision:resnet18@random?size=64")
    fresh, other = backbone.scratch(), backbone.scratch(1)
    shapes = [{k: v.shape for k, v in b.tail("input").state_dict().items()} for b in (backbone, fresh)]
    assert shapes[0] == shapes[1] and fresh.taps == backbone.taps
    assert fresh.fingerprint != other.fingerprint


def test_a_local_file_gives_a_network_its_weights_but_not_its_classifier(tmp_path: Path) -> None:
    import torchvision.models

    with rng.ambient(3):
        whole = torchvision.models.get_model("mobilenet_v3_small", weights=None, num_classes=7)
    state = whole.state_dict()
    save_file(state, tmp_path / "mine.safetensors")
    backbone = backbones.get(f"torchvision:mobilenet_v3_small@{tmp_path / 'mine.safetensors'}")
    assert backbone.name == "torchvision:mobilenet_v3_small@mine"
    held = backbone.trunk.state_dict()
    assert sum(v.numel() for v in held.values()) == sum(v.numel() for k, v in state.items() if "classifier.3" not in k)
    assert torch.equal(held["stem.0.weight"], state["features.0.0.weight"])
    del state["features.1.block.0.0.weight"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(
        TlbenchError, match=r"1 tensors differ: 'features.1.block.0.0.weight' \[16, 1, 3, 3\] is not there"
    ):
        backbones.get(f"torchvision:mobilenet_v3_small@{tmp_path / 'less.safetensors'}")


def test_its_own_weights_are_downloaded_with_their_hash_and_read_as_tensors_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.models

    with rng.ambient(3):
        torch.save(torchvision.models.get_model("mobilenet_v3_small").state_dict(), tmp_path / "own.pth")
    asked: list[str] = []

    def from_url(reference: str, url: str) -> Path:
        asked.append(url)
        return tmp_path / "own.pth"

    monkeypatch.setattr(ours, "from_url", from_url)
    best, named = (backbones.get(f"torchvision:mobilenet_v3_small{weights}") for weights in ("", "@IMAGENET1K_V1"))
    assert best.fingerprint == named.fingerprint != backbones.get("torchvision:mobilenet_v3_small@random").fingerprint
    assert named.name == "torchvision:mobilenet_v3_small@IMAGENET1K_V1"
    assert all("mobilenet_v3_small-" in url and url.startswith("https://") for url in asked) and len(asked) == 2


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("torchvision:resnet81", "did you mean .*resnet18.* list backbones --torchvision 'res"),
        ("torchvision:resnet18@", "nothing after the @; write @random"),
        ("torchvision:resnet18@IMAGENET1K_V9", "did you mean 'IMAGENET1K_V1'.* see: a path, or IMAGENET1K_V1, random"),
        ("torchvision:resnet18?sise=64", "did you mean 'size'"),
        ("torchvision:squeezenet1_0@random", "SqueezeNet cannot be cut into blocks; .*EfficientNet.*--timm"),
    ],
)
def test_what_cannot_be_meant_is_answered(reference: str, said: str) -> None:
    with pytest.raises(TlbenchError, match=said):
        backbones.get(reference)


def test_a_name_tells_weights_and_size_but_no_path() -> None:
    assert BACKBONES.name("torchvision:resnet50") == "torchvision:resnet50"
    assert BACKBONES.name("torchvision:resnet50@/some/where/r.pth?size=64") == "torchvision:resnet50@r?size=64"
