"""Do networks of timm keep the law of taps, alone and fused, and get exactly the weights that were named?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from tlbench import backbones, cli, rng
from tlbench.backbones import Backbone
from tlbench.registry import BACKBONES
from tlbench.strategies.modules import block_dims
from tlbench.types import TlbenchError

FAMILIES = {
    "ViT": "timm:vit_tiny_patch16_224@random?size=32",
    "ViT, distilled": "timm:deit_tiny_distilled_patch16_224@random?size=32",
    "ViT, registers": "timm:vit_small_patch14_reg4_dinov2@random?size=28",
    "ViT, rotary": "timm:vit_small_patch16_dinov3@random?size=32",
    "ResNet": "timm:resnet10t@random?size=32",
    "ResNeXt": "timm:resnext26ts@random?size=32",
    "ResNetV2": "timm:resnetv2_18@random?size=32",
    "RegNet": "timm:regnetx_002@random?size=32",
    "ConvNeXt": "timm:convnext_atto@random?size=32",
    "ConvNeXt V2": "timm:convnextv2_atto@random?size=32",
    "EfficientNet": "timm:test_efficientnet@random?size=32",
    "MobileNetV3": "timm:mobilenetv3_small_050@random?size=32",
    "Swin": "timm:swin_tiny_patch4_window7_224@random?size=32",
    "Swin V2": "timm:swinv2_tiny_window8_256@random?size=32",
    "stages in a row": "timm:poolformer_s12@random?size=32",
    "stages in a row, channels last": "timm:mambaout_femto@random?size=32",
}


def pictures(m: int, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(m).integers(0, 256, (m, side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("reference", FAMILIES.values(), ids=FAMILIES)
def test_the_pieces_of_a_network_are_the_network(reference: str) -> None:
    backbone, x = backbones.get(reference), pictures(2)
    features = backbone.prefix("features")(x)
    assert features.shape == (2, backbone.dim)
    torch.testing.assert_close(features, of_timm(reference, backbone, x), rtol=1e-4, atol=1e-4)
    for tap in backbone.taps:
        at_tap = backbone.prefix(tap)(x)
        torch.testing.assert_close(backbone.tail(tap)(at_tap), features, rtol=1e-4, atol=1e-4)


def of_timm(reference: str, backbone: Backbone, x: torch.Tensor) -> torch.Tensor:
    """Features of the same random network as timm itself computes them."""
    import timm

    name = reference.removeprefix("timm:").partition("@")[0]
    with rng.ambient(0):
        model: Any = timm.create_model(name, num_classes=0)
    if hasattr(model, "set_input_size"):
        model.set_input_size(img_size=int(reference.partition("size=")[2]))
    model.eval()
    with torch.no_grad():
        return model.forward_head(model.forward_features(backbone.prefix("input")(x)), pre_logits=True)


@pytest.mark.parametrize("name", ["Swin", "Swin V2", "ConvNeXt", "stages in a row", "stages in a row, channels last"])
def test_channels_come_second_in_the_maps_between_blocks(name: str) -> None:
    backbone = backbones.get(FAMILIES[name])
    dims = block_dims(backbone.tail("input"), backbone.prefix("input")(pictures(1)))
    assert sorted(dims) == dims and backbone.dim >= dims[-1] > dims[0] >= 40


@pytest.mark.parametrize("reference", FAMILIES.values(), ids=FAMILIES)
def test_a_network_from_scratch_has_the_same_shapes_and_draws_its_own_weights(reference: str) -> None:
    backbone = backbones.get(reference)
    fresh, other = backbone.scratch(), backbone.scratch(1)
    shapes = [{k: v.shape for k, v in b.tail("input").state_dict().items()} for b in (backbone, fresh)]
    assert shapes[0] == shapes[1] and fresh.taps == backbone.taps
    assert fresh.fingerprint != other.fingerprint


def test_a_name_tells_weights_and_size_but_no_path(tmp_path: Path) -> None:
    assert BACKBONES.name("timm:resnet50.a1_in1k") == "timm:resnet50.a1_in1k"
    assert BACKBONES.name("timm:resnet50@random?size=64") == "timm:resnet50@random?size=64"
    assert BACKBONES.name(f"timm:resnet50@{tmp_path}/mine.safetensors") == "timm:resnet50@mine"
    assert BACKBONES.name(f"timm:resnet50@{tmp_path}/folder/?size=96") == "timm:resnet50@folder?size=96"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("timm:resnet81", "did you mean .*resnet18.* list backbones --timm 'res"),
        ("timm:resnet50.a1_in2k", "did you mean 'a1_in1k'"),
        ("timm:resnet50@", "nothing after the @"),
        ("timm:resnet50?sise=64", "did you mean 'size'"),
        ("timm:resnet50?size=tall", "give a side in pixels"),
        ("timm:vit_tiny_patch16_224@random?size=8", "pictures of 8 pixels do not fit it"),
        ("timm:visformer_tiny@random", "cannot be cut into blocks .it keeps no stages under .*VisionTransformer"),
        ("timm:levit_128s@random", "its pieces do not follow each other: ValueError: .*VisionTransformer"),
    ],
)
def test_what_cannot_be_meant_is_answered(reference: str, said: str) -> None:
    with pytest.raises(TlbenchError, match=said):
        backbones.get(reference)


def state_of_convnext(seed: int, **options: Any) -> dict[str, torch.Tensor]:
    import timm

    with rng.ambient(seed):
        return dict(timm.create_model("convnext_atto", **{"num_classes": 0, **options}).state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_local_file_gives_a_network_its_weights_but_not_its_classifier(tmp_path: Path, suffix: str) -> None:
    file, source = tmp_path / f"weights_{suffix[1:]}{suffix}", state_of_convnext(3, num_classes=7)
    (save_file if suffix == ".safetensors" else torch.save)(source, file)
    loaded = backbones.get(f"timm:convnext_atto@{file}")
    held = loaded.trunk.state_dict()
    assert not any("head.fc" in name for name in held)
    assert sum(v.numel() for v in held.values()) == sum(v.numel() for k, v in source.items() if "head.fc" not in k)
    torch.testing.assert_close(held["stem.0.weight"], source["stem.0.weight"], rtol=0, atol=0)


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TlbenchError, match="neither a file nor a folder"):
        backbones.get(f"timm:convnext_atto@{tmp_path / 'none.safetensors'}")
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(TlbenchError, match="weights do not fit"):
        backbones.get(f"timm:convnext_atto@{tmp_path / 'other.safetensors'}")
    (tmp_path / "broken.pt").write_bytes(b"not weights")
    with pytest.raises(TlbenchError, match="cannot be read as weights"):
        backbones.get(f"timm:convnext_atto@{tmp_path / 'broken.pt'}")


def test_networks_of_a_library_are_listed_by_pattern() -> None:
    def typed(*words: str) -> Result:
        return CliRunner().invoke(cli.app, ["list", *words])

    lines = typed("backbones", "--timm", "resnet18*").output.splitlines()
    assert "timm:resnet18.a1_in1k" in lines and lines[-1].startswith("pretrained networks of timm that fit 'resnet18*'")
    assert f": {len(lines) - 1};" in lines[-1]
    assert "torchvision:swin_t" in typed("backbones", "--torchvision", "swin*").output.splitlines()
    for words, answer in (
        (("backbones", "--timm", "resnot*"), "did you mean 'resnet"),
        (("datasets", "--timm", "*"), "tlbench list backbones --timm"),
    ):
        answered = typed(*words)
        assert answered.exit_code == 2 and answer in answered.output
