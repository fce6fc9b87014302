"""Networks of other libraries' classes, small enough to train in a test; they are cut as the named ones are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlbench import rng
from tlbench.backbones import timm_families, torchvision_families
from tlbench.backbones.base import Backbone
from tlbench.backbones.fusible import fusible
from tlbench.backbones.preprocessing import Preprocessing, Recipe


class Tiny(Backbone):
    """A network made by `make`, for pictures of 32 pixels."""

    name = "tiny"

    def __init__(self, make: Callable[[], Any], cut: Callable[[Any, str], Any], *, seed: int = 0) -> None:
        self.make, self.cut = make, cut
        with rng.ambient(seed):
            self.whole = make()
        super().__init__(Preprocessing(Recipe(32, 32)), cut(fusible(self.whole), "tiny"), dim=0)

    def scratch(self, seed: int = 0) -> Tiny:
        return Tiny(self.make, self.cut, seed=seed)


def of_timm(make: Callable[[], Any]) -> Tiny:
    return Tiny(make, timm_families.cut)


def of_torchvision(make: Callable[[], Any]) -> Tiny:
    return Tiny(make, torchvision_families.cut)


def timm_vit() -> Tiny:
    from timm.models import VisionTransformer

    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return of_timm(lambda: VisionTransformer(num_classes=0, **sizes))


def timm_distilled() -> Tiny:
    from timm.models import VisionTransformerDistilled

    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return of_timm(lambda: VisionTransformerDistilled(num_classes=0, **sizes))


def timm_eva() -> Tiny:
    from timm.models import Eva

    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return of_timm(lambda: Eva(num_classes=0, use_rot_pos_emb=True, swiglu_mlp=True, qkv_fused=True, **sizes))


def timm_swin() -> Tiny:
    from timm.models import SwinTransformer

    return of_timm(lambda: SwinTransformer(**_SWIN, num_classes=0))


def timm_swin_v2() -> Tiny:
    from timm.models import SwinTransformerV2

    return of_timm(lambda: SwinTransformerV2(**_SWIN, num_classes=0))


def timm_resnet() -> Tiny:
    from timm.models import ResNet
    from timm.models.resnet import BasicBlock

    return of_timm(lambda: ResNet(BasicBlock, [1, 1, 1, 1], channels=(8, 8, 16, 16), stem_width=8, num_classes=0))


def timm_convnext() -> Tiny:
    from timm.models import ConvNeXt

    return of_timm(lambda: ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 8, 16, 16), use_grn=True, num_classes=0))


def timm_efficientnet() -> Tiny:
    import timm

    return of_timm(lambda: timm.create_model("test_efficientnet", num_classes=0))


def torchvision_vit() -> Tiny:
    from torchvision.models import VisionTransformer

    sizes = {"num_layers": 2, "num_heads": 3, "hidden_dim": 24, "mlp_dim": 48}
    return of_torchvision(lambda: _headless(VisionTransformer(image_size=32, patch_size=8, **sizes), "heads.head"))


def torchvision_swin() -> Tiny:
    from torchvision.models import SwinTransformer

    sizes: dict[str, Any] = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 2], "window_size": [3, 3]}
    return of_torchvision(lambda: _headless(SwinTransformer(patch_size=[4, 4], mlp_ratio=2, **sizes), "head"))


def torchvision_resnet() -> Tiny:
    from torchvision.models.resnet import BasicBlock, ResNet

    return of_torchvision(lambda: _headless(ResNet(BasicBlock, [1, 1, 1, 1], width_per_group=64), "fc"))


_SWIN: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 2,
    "embed_dim": 12,
    "depths": (2, 2),
    "num_heads": (2, 2),
    "window_size": 4,
}


def _headless(model: Any, classifier: str) -> Any:
    from torch import nn

    parent, _, child = classifier.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model
