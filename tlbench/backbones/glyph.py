"""Which networks come with tlbench? A small ViT and a small CNN for 32 x 32 images; pretrain.py made their weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench import rng
from tlbench.backbones.base import Backbone, Pixels, Trunk
from tlbench.kernels.attention import attend
from tlbench.registry import register
from tlbench.types import TlbenchError

SIZE, DIM = 32, 128
WEIGHTS = Path(__file__).parent / "weights"
SEEN = MappingProxyType(
    {
        "armenian": "6 of its 36 letters have the outline of a Latin, Greek or symbol glyph of the same font",
        "cyrillic": "17 of its 32 letters have the outline of a Latin, Greek or symbol glyph of the same font",
        "digits": "no picture, but the accuracy on it was in view while the learning rate was chosen",
        "typeface": "the same Latin letters in the same fonts, though never which font is which",
    }
)


@register.backbone
class GlyphViT(Backbone):
    """A ViT (LayerNorm) with a stem of three stride-2 convolutions: 16 tokens of width 64, 3 blocks."""

    name = "glyph_vit"
    seen = SEEN

    def __init__(self, trunk: Trunk | None = None) -> None:
        super().__init__(reader(), trunk or pretrained(self.name, vit), dim=DIM)

    def scratch(self, seed: int = 0) -> GlyphViT:
        return GlyphViT(drawn(vit, seed))


@register.backbone
class GlyphCNN(Backbone):
    """A residual network (GroupNorm): 16 x 16 x 16, 8 x 8 x 32, 4 x 4 x 64, 2 x 2 x 128."""

    name = "glyph_cnn"
    seen = SEEN

    def __init__(self, trunk: Trunk | None = None) -> None:
        super().__init__(reader(), trunk or pretrained(self.name, cnn), dim=DIM)

    def scratch(self, seed: int = 0) -> GlyphCNN:
        return GlyphCNN(drawn(cnn, seed))


def reader() -> Pixels:
    """uint8 [m, H, W, 3] -> float32 [m, 3, 32, 32], about zero mean and unit deviation."""
    return Pixels(SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def vit() -> Trunk:
    """[m, 3, 32, 32] -> [m, 128]; tokens are [m, 16, 64]."""
    return Trunk(TokenStem((16, 32), 64, tokens=16), [Block(64, heads=4, hidden=128) for _ in range(3)], TokenHead())


def cnn() -> Trunk:
    """[m, 3, 32, 32] -> [m, 128]."""
    widths = (16, 16, 32, 64, 128)
    blocks = [Residual(a, b, stride=1 if a == b else 2) for a, b in zip(widths, widths[1:], strict=False)]
    return Trunk(nn.Conv2d(3, widths[0], 3, stride=2, padding=1), list(blocks), MapHead(widths[-1]))


TRUNKS: dict[str, Callable[[], Trunk]] = {"glyph_vit": vit, "glyph_cnn": cnn}


class TokenStem(nn.Module):
    """[m, 3, 32, 32] -> [m, tokens, width]: stride-2 convolutions, then learned positions."""

    def __init__(self, channels: tuple[int, int], width: int, *, tokens: int) -> None:
        super().__init__()
        first, second = channels
        self.conv1 = nn.Conv2d(3, first, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(second, width, 3, stride=2, padding=1)
        self.position = nn.Parameter(torch.zeros(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return x.flatten(2).transpose(1, 2) + self.position


class Attention(nn.Module):
    """Self-attention, its parts named as in timm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(attend(self.qkv(x), self.heads))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """A pre-norm transformer block, its parts named as in timm."""

    def __init__(self, width: int, *, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TokenHead(nn.Module):
    """[m, 16, 64] -> [m, 128]: all tokens side by side (where a stroke lies matters), projected and normalised."""

    def __init__(self, tokens: int = 16, width: int = 64) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(tokens * width, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(self.proj(self.norm(x).flatten(1)), (DIM,))


class Residual(nn.Module):
    """A pre-activation residual block (He et al. 2016, arXiv 1603.05027) with GroupNorm of 4 groups."""

    def __init__(self, width: int, out: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.norm1 = nn.GroupNorm(4, width)
        self.conv1 = nn.Conv2d(width, out, 3, stride=stride, padding=1)
        self.norm2 = nn.GroupNorm(4, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.short = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return y + self.short(F.avg_pool2d(x, self.stride) if self.stride > 1 else x)


class MapHead(nn.Module):
    """[m, c, 2, 2] -> [m, 128]: all positions side by side, projected and normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(4, channels)
        self.proj = nn.Linear(4 * channels, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(self.proj(F.relu(self.norm(x)).flatten(1)), (DIM,))


def drawn(make: Callable[[], Trunk], seed: int) -> Trunk:
    """A trunk with fresh weights: N(0, 2 / fan_in) before ReLU or GELU in convolutions (He et al. 2015), N(0, 1 /
    fan_in) in linear layers, 0.02 for positions, ones and zeros elsewhere."""
    with rng.ambient(seed):
        trunk = make()
    with torch.no_grad():
        for number, (name, value) in enumerate(trunk.named_parameters()):
            value.copy_(_initial(name, value, rng.fold_in(rng.key(seed), number)))
    return trunk


def pretrained(name: str, make: Callable[[], Trunk]) -> Trunk:
    """The trunk with its shipped weights. Raises TlbenchError unless the file is what its card says."""
    with torch.device("meta"):
        trunk = make()
    trunk.load_state_dict(load_safetensors(checked(name, WEIGHTS)), assign=True)
    return trunk


def checked(name: str, folder: Path) -> bytes:
    """The bytes of `name`.safetensors, once their sha256 is found to be the one on the card beside them."""
    file, card = folder / f"{name}.safetensors", folder / f"{name}.json"
    again = f"install tlbench again, or make them: tlbench pretrain {name}"
    if not (file.is_file() and card.is_file()):
        raise TlbenchError(f"{name} has no weights: {file.name} or {card.name} is missing in {folder}; {again}")
    data, expected = file.read_bytes(), json.loads(card.read_text())["sha256"]
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise TlbenchError(f"{file} is damaged: its sha256 is {found}, its card says {expected}; {again}")
    return data


def _initial(name: str, value: Tensor, key: Tensor) -> Tensor:
    if value.ndim < 2:
        return torch.ones_like(value) if name.endswith("weight") else torch.zeros_like(value)
    gain = 2.0 if value.ndim == 4 else 1.0
    deviation = 0.02 if name.endswith("position") else (gain / value[0].numel()) ** 0.5
    return rng.normal(key, tuple(value.shape)) * deviation
