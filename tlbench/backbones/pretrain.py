"""How do the embedded backbones get their weights? By naming glyphs; the card beside the weights tells the rest."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tlbench import rng as keys
from tlbench.backbones.alphabet import STEPS, Glyphs, alphabet
from tlbench.backbones.base import Trunk
from tlbench.backbones.glyph import DIM, SIZE, TRUNKS, drawn, reader
from tlbench.backbones.quality import digits_table
from tlbench.backbones.scribble import scribble
from tlbench.datasets.glyphs import font_path, fonts
from tlbench.registry import BACKBONES, unknown
from tlbench.types import TlbenchError, sha256


@dataclass(frozen=True)
class Recipe:
    """Every setting of pretraining. Character and placing are read off the same features."""

    steps: int = 5_000
    batch_size: int = 256
    lr: float = 6e-3
    weight_decay: float = 0.05
    warmup: int = 500
    clip: float = 1.0
    smoothing: float = 0.05  # of the labels of characters
    placing_weight: float = 0.2  # of telling how the glyph was placed
    average: float = 0.998  # decay of the running average of the weights, which is what is kept
    fonts: tuple[str, ...] = ()  # names of fonts; () for all text fonts that matplotlib bundles
    least_fonts: int = 8  # fonts that must have a character
    characters: int | None = None  # the first so many only; None for all
    digits_splits: int = 10  # draws behind the card's table of accuracies on digits; 0 for no table
    seed: int = 0


class Progress(NamedTuple):
    step: int
    steps: int
    loss: float
    accuracy: float  # share of glyphs named rightly, a running mean over about 50 steps
    seconds: float  # of training, after the glyphs have been drawn


class Pupil(nn.Module):
    """A trunk, and what it is asked about the features: the character and its placing. Never the font: that is a
    task of the benchmark."""

    def __init__(self, trunk: Trunk, characters: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.character, self.placing = nn.Linear(DIM, characters), nn.Linear(DIM, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(x)
        return self.character(features), self.placing(features)


def pretrain(
    name: str,
    out: Path,
    *,
    recipe: Recipe | None = None,
    progress: Callable[[Progress], None] | None = None,
    snapshot: int = 2_000,
) -> dict[str, Any]:
    """Trains glyph_vit or glyph_cnn and writes `out`/NAME.safetensors and the card NAME.json; returns the card.

    Equal recipes give equal bytes on one machine with one number of threads. Every `snapshot` steps what has been
    learned so far is written, so that a run that is stopped is not lost.
    """
    if name not in TRUNKS:
        raise TlbenchError(
            unknown("embedded backbone", name, TRUNKS, f"the ones that can be made: {', '.join(TRUNKS)}")
        )
    recipe = recipe or Recipe()
    paths = [font_path(font) for font in recipe.fonts] or fonts()
    glyphs = alphabet(paths, least_fonts=recipe.least_fonts, limit=recipe.characters)
    pupil = _pupil(drawn(TRUNKS[name], recipe.seed), glyphs, recipe.seed)
    average, started = copy.deepcopy(pupil.trunk), time.perf_counter()
    card: dict[str, Any] = {}
    for done in _training(pupil, average, glyphs, recipe):
        now = done._replace(seconds=time.perf_counter() - started)
        if progress is not None:
            progress(now)
        if now.step % snapshot == 0 or now.step == recipe.steps:
            card = _card(name, average, glyphs, now) | {"recipe": asdict(recipe)}
            write(card, average, out)
    if recipe.digits_splits:
        card["digits"] = digits_table(BACKBONES[name](average), splits=recipe.digits_splits)
        write(card, average, out)
    return card


def write(card: dict[str, Any], trunk: Trunk, out: Path) -> None:
    """Writes the weights and then their card, with the weights' sha256 on it."""
    out.mkdir(parents=True, exist_ok=True)
    data = safetensors_bytes({name: value.detach().contiguous() for name, value in trunk.state_dict().items()})
    (out / f"{card['name']}.safetensors").write_bytes(data)
    text = json.dumps(card | {"sha256": sha256(data)}, indent=2, ensure_ascii=False)
    (out / f"{card['name']}.json").write_text(text + "\n", encoding="utf-8")


def megaflops(trunk: Trunk) -> float:
    """Floating-point operations of one forward pass of one image, in millions (two for a multiply-add)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        trunk(torch.zeros(1, 3, SIZE, SIZE))
    return counter.get_total_flops() / 1e6


def _training(pupil: Pupil, average: Trunk, glyphs: Glyphs, recipe: Recipe) -> Iterator[Progress]:
    """Trains in place, keeps `average` up to date and tells after each step how it went."""
    batches = _batches(glyphs, recipe)
    optimizer = torch.optim.AdamW(_groups(pupil, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.99))
    read, accuracy = reader(), 0.0
    for step in range(recipe.steps):
        pictures, placing, character = next(batches)
        said, placed = pupil(read(pictures))
        loss = F.cross_entropy(said, character, label_smoothing=recipe.smoothing)
        loss = loss + recipe.placing_weight * F.mse_loss(placed, placing)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(pupil.parameters(), recipe.clip)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * _schedule(step, recipe)
        optimizer.step()
        _follow(average, pupil.trunk, min(recipe.average, (step + 1) / (step + 10)))
        right = float((said.argmax(1) == character).float().mean())
        accuracy += (right - accuracy) / min(step + 1, 50)
        yield Progress(step + 1, recipe.steps, float(loss.detach()), accuracy, 0.0)


def _batches(glyphs: Glyphs, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Pictures, placings and characters for ever: first a character at random, then one of its glyphs."""
    rng = np.random.Generator(np.random.PCG64(recipe.seed))
    order = np.argsort(glyphs.character, kind="stable")
    counts = np.bincount(glyphs.character)
    first = np.cumsum(counts) - counts
    while True:
        character = rng.integers(0, len(counts), recipe.batch_size)
        rows = order[first[character] + rng.integers(0, counts[character])]
        distance = torch.from_numpy(glyphs.distance[rows]).to(torch.float32) / STEPS
        pictures, placing = scribble(distance, rng)
        yield pictures, placing, torch.from_numpy(character)


def _pupil(trunk: Trunk, glyphs: Glyphs, seed: int) -> Pupil:
    with keys.ambient(seed):
        return Pupil(trunk, len(glyphs.names))


def _groups(pupil: Pupil, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and filters decay; biases, norms and positions do not."""
    named = list(pupil.named_parameters())
    decays = [p for name, p in named if p.ndim > 1 and not name.endswith("position")]
    others = [p for name, p in named if p.ndim < 2 or name.endswith("position")]
    return [{"params": decays, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _schedule(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine down to 0."""
    warmup = min(recipe.warmup, recipe.steps // 5)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))


@torch.no_grad()
def _follow(average: Trunk, trunk: Trunk, decay: float) -> None:
    for slow, fast in zip(average.parameters(), trunk.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def _card(name: str, trunk: Trunk, glyphs: Glyphs, now: Progress) -> dict[str, Any]:
    return {
        "name": name,
        "task": "naming glyphs drawn by hand and telling how they are turned, scaled, sheared, moved and thickened:"
        " Latin and Greek letters and symbols; no digit, no other script, no names of fonts",
        "steps": now.step,
        "seconds": round(now.seconds),
        "training_accuracy": round(now.accuracy, 4),
        "classes": len(glyphs.names),
        "characters": sum(map(len, glyphs.names)),
        "fonts": list(glyphs.fonts),
        "glyphs": len(glyphs.distance),
        "glyphs_sha256": glyphs.fingerprint,
        "parameters": sum(p.numel() for p in trunk.parameters()),
        "megaflops": round(megaflops(trunk), 3),
        "torch": torch.__version__.split("+")[0],
    }
