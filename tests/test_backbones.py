"""Do the embedded backbones keep their law at every tap, alone and fused, and refuse damaged weights?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from tlbench import backbones
from tlbench.backbones import glyph
from tlbench.types import TlbenchError

EMBEDDED = ("glyph_vit", "glyph_cnn")


def pictures(m: int, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(m).integers(0, 256, (m, side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_tail_on_its_prefix_gives_the_features_at_every_tap(name: str) -> None:
    backbone, x = backbones.get(name), pictures(3)
    features = backbone.prefix("features")(x)
    assert features.shape == (3, backbone.dim) and features.dtype == torch.float32
    assert backbone.taps == ("input", *(f"blocks.{i}" for i in range(backbone.blocks)), "features")
    for number, tap in enumerate(backbone.taps):
        tail = backbone.tail(tap)
        torch.testing.assert_close(tail(backbone.prefix(tap)(x)), features, rtol=1e-5, atol=1e-5)
        assert len(tail.blocks) == min(backbone.blocks, backbone.blocks - number + 1)


@pytest.mark.parametrize("name", EMBEDDED)
def test_prefix_and_tail_are_frozen_copies_in_eval_mode(name: str) -> None:
    backbone = backbones.get(name)
    before = backbone.fingerprint
    for part in (backbone.prefix("blocks.1"), backbone.tail("blocks.1")):
        assert not any(p.requires_grad for p in part.parameters()) and not any(m.training for m in part.modules())
        for parameter in part.parameters():
            parameter.zero_()
    assert backbone.fingerprint == before


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_network_from_scratch_has_the_same_shape_and_other_weights(name: str) -> None:
    backbone = backbones.get(name)
    fresh, again, other = backbone.scratch(), backbone.scratch(), backbone.scratch(1)
    shapes = [{k: v.shape for k, v in b.tail("input").state_dict().items()} for b in (backbone, fresh)]
    assert shapes[0] == shapes[1] and fresh.taps == backbone.taps
    assert fresh.fingerprint == again.fingerprint != other.fingerprint
    assert fresh.fingerprint != backbone.fingerprint


@pytest.mark.parametrize("name", EMBEDDED)
def test_gradients_of_fused_networks_equal_those_of_a_loop(name: str) -> None:
    backbone = backbones.get(name)
    tail, lanes = backbone.tail("input"), [backbone.scratch(seed).tail("input") for seed in range(3)]
    x = torch.stack([backbone.prefix("input")(pictures(4 + 0 * lane)) * (1 + lane) for lane in range(3)])
    y = torch.tensor([[0, 1, 2, 3]] * 3)

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(tail, parameters, (x,)), y)

    each = [{k: v.detach() for k, v in lane.named_parameters()} for lane in lanes]
    fused = vmap(grad(loss))({k: torch.stack([p[k] for p in each]) for k in each[0]}, x, y)
    for lane, parameters in enumerate(each):
        for key, value in grad(loss)(parameters, x[lane], y[lane]).items():
            torch.testing.assert_close(fused[key][lane], value, rtol=1e-5, atol=1e-5)


def test_taps_count_from_above_with_negative_numbers() -> None:
    backbone = backbones.get("glyph_cnn")
    assert backbone.resolve("blocks.-2") == f"blocks.{backbone.blocks - 2}"
    assert len(backbone.tail("blocks.-2").blocks) == 2
    for tap in ("blocks.9", "blocks.-9", "featurs", "blocks.x"):
        with pytest.raises(TlbenchError, match="unknown tap .* of glyph_cnn: input, blocks.0"):
            backbone.prefix(tap)


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_networks_are_small_and_their_cards_true(name: str) -> None:
    trunk = backbones.get(name).trunk
    card = json.loads((glyph.WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    assert card["parameters"] == sum(p.numel() for p in trunk.parameters()) <= 500_000
    assert (glyph.WEIGHTS / f"{name}.safetensors").stat().st_size < 2_000_000
    assert card["megaflops"] < 9
    assert set(card) >= {"recipe", "seconds", "glyphs_sha256", "classes", "fonts", "sha256", "digits"}


def test_damaged_or_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TlbenchError, match="tlbench pretrain glyph_vit"):
        glyph.checked("glyph_vit", tmp_path)
    data = glyph.checked("glyph_vit", glyph.WEIGHTS)
    (tmp_path / "glyph_vit.json").write_text((glyph.WEIGHTS / "glyph_vit.json").read_text(encoding="utf-8"))
    (tmp_path / "glyph_vit.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(TlbenchError, match="damaged: its sha256 is"):
        glyph.checked("glyph_vit", tmp_path)


def test_unknown_backbones_are_answered_with_the_nearest() -> None:
    with pytest.raises(TlbenchError, match="did you mean 'glyph_vit'"):
        backbones.get("glyf_vit")


def test_pictures_of_another_size_are_resized_and_normalised() -> None:
    read = backbones.Pixels(16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert read(pictures(2, side=40)).shape == (2, 3, 16, 16)
    white = read(torch.full((1, 40, 40, 3), 255, dtype=torch.uint8))
    torch.testing.assert_close(white, torch.full((1, 3, 16, 16), 2.0))
