"""Does a network see pictures as its own library would show them?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tlbench import backbones
from tlbench.backbones.preprocessing import Preprocessing, Recipe
from tlbench.types import TlbenchError

LEVEL = 1 / 255 / 0.224  # one shade of 256, after division by the smallest deviation


def photographs(height: int, width: int) -> torch.Tensor:
    """Smooth shades with edges and a little noise [2, h, w, 3]."""
    rng = np.random.default_rng(height)
    y, x = np.mgrid[:height, :width] / max(height, width)
    shade = 127 + 120 * np.sin(9 * x + 4 * y)[..., None] * np.array([1, 0.5, -1])
    shade[height // 3 : height // 2, width // 4 : width // 2] = (250, 10, 90)
    noise = rng.normal(0, 8, (2, height, width, 3))
    return torch.from_numpy((shade + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("side", [(256, 256), (32, 32), (200, 300)])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(64, 71, "bicubic"),  # crop_pct 0.9
        Recipe(64, 64, "bilinear"),
        Recipe(60, 67, "bicubic", "squash"),
        Recipe(64, 64, "bicubic", "border", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
    ids=lambda recipe: f"{recipe.interpolation} {recipe.crop} {recipe.resized}",
)
def test_pictures_are_prepared_as_timm_prepares_them(recipe: Recipe, side: tuple[int, int]) -> None:
    from timm.data import create_transform

    of_timm: Any = create_transform(
        (3, recipe.size, recipe.size),
        interpolation=recipe.interpolation,
        crop_pct=recipe.size / (recipe.resized + 0.5) if recipe.resized > recipe.size else 1.0,
        crop_mode=recipe.crop,
        mean=recipe.mean,
        std=recipe.std,
    )
    pictures = photographs(*side)
    expected = torch.stack([of_timm(Image.fromarray(each.numpy())) for each in pictures])
    found = Preprocessing(recipe)(pictures)
    assert found.shape == expected.shape == (2, 3, recipe.size, recipe.size) and found.dtype == torch.float32
    assert (found - expected).abs().max() < 2.01 * LEVEL  # where two roundings meet
    assert (found - expected).abs().mean() < 0.3 * LEVEL


@pytest.mark.parametrize("name", ["test_vit", "resnet18.a1_in1k", "vit_base_patch16_siglip_224", "test_convnext"])
def test_a_recipe_is_read_from_the_networks_own_config(name: str) -> None:
    import timm
    from timm.data import create_transform, resolve_data_config

    config = timm.get_pretrained_cfg(name)
    assert config is not None
    of_timm: Any = create_transform(**resolve_data_config(pretrained_cfg=config.to_dict()))
    pictures = photographs(256, 256)
    expected = torch.stack([of_timm(Image.fromarray(each.numpy())) for each in pictures])
    found = backbones.get(f"timm:{name}@random").prefix("input")(pictures)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 2.01 * LEVEL  # where two roundings meet


def test_a_recipe_of_torchvision_is_that_of_its_weights() -> None:
    from torchvision.models import ResNet18_Weights

    of_torchvision = ResNet18_Weights.IMAGENET1K_V1.transforms()
    pictures = photographs(300, 260)
    expected = torch.stack([of_torchvision(Image.fromarray(each.numpy())) for each in pictures])
    found = backbones.get("torchvision:resnet18@random").prefix("input")(pictures)
    assert (found - expected).abs().max() < 2.01 * LEVEL  # where two roundings meet


def test_another_preprocessing_makes_another_fingerprint() -> None:
    names = ("timm:resnet10t@random", "timm:resnet10t@random?size=64", "timm:resnet10t@random?size=96")
    assert len({backbones.get(name).fingerprint for name in names}) == 3


def test_a_picture_of_the_right_size_is_only_normalised() -> None:
    white = Preprocessing(Recipe(16, 16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))(
        torch.full((1, 16, 16, 3), 255, dtype=torch.uint8)
    )
    torch.testing.assert_close(white, torch.full((1, 3, 16, 16), 2.0))


def test_a_picture_too_small_for_its_crop_gets_a_border_of_the_mean_shade() -> None:
    recipe = Recipe(16, 8, "bilinear", "border", (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
    found = Preprocessing(recipe)(torch.full((1, 32, 32, 3), 255, dtype=torch.uint8))
    assert found.shape == (1, 3, 16, 16)
    assert float(found[0, 0, 0, 0]) == pytest.approx(0, abs=0.02)  # of 255 shades
    assert float(found[0, 0, 8, 8]) == pytest.approx(3)


def test_an_interpolation_that_torch_does_not_have_is_refused() -> None:
    with pytest.raises(TlbenchError, match="'lanczos'.*bilinear, bicubic"):
        Preprocessing(Recipe(16, 16, "lanczos"))
