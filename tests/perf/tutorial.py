"""What a transfer-learning tutorial writes: image files, a Dataset that decodes them, a DataLoader, a short loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import plain
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset

from tlbench import rng
from tlbench.datasets import base
from tlbench.fits import Block, Fit
from tlbench.strategies.gradient import EPSILON, GradientStrategy


class Files(Dataset):
    """Images of a folder, decoded each time they are asked for, with their labels (0 where unknown)."""

    def __init__(self, folder: Path, y: np.ndarray | None = None) -> None:
        self.files = sorted(folder.glob("*.png"))
        self.y = np.zeros(len(self.files), np.int64) if y is None else y

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(self.files[i]) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))), int(self.y[i])


def write_files(block: Block, folder: Path) -> None:
    """The block's pool and test images as PNG files."""
    for part in ("pool", "test"):
        raw = np.asarray(base.read_inputs(block.data, part))
        place = folder / part
        place.mkdir(parents=True)
        for i, pixels in enumerate(raw[block.pool_rows] if part == "pool" else raw):
            Image.fromarray(pixels).save(place / f"{i:06d}.png")


def work(block: Block, trials: plain.Trials, folder: Path) -> None:
    """The fits of `plain.work`, trained for as many steps on shuffled batches from files."""
    given = plain.setting(block)
    for job in block.jobs:
        y = np.zeros(len(given.pool), np.int64)
        y[job.rows] = job.y
        pool, test = Files(folder / "pool", y), Files(folder / "test")
        for fit in plain.fits(job, trials[job.cell.key]):
            own = Subset(pool, job.rows[fit.train].tolist())
            other = Subset(pool, job.rows[fit.held_out].tolist()) if len(fit.held_out) else test
            _predicted(_trained(given, fit, own), DataLoader(other, batch_size=64))


def _trained(given: plain.Setting, fit: Fit, data: Dataset) -> nn.Module:
    if not isinstance(given.strategy, GradientStrategy):
        raise ValueError(f"{given.strategy.name} does not train by gradient")
    hp, size = fit.trial.params, fit.job.cell.effort.batch_size
    prefix, task = plain._task(given, given.pool[:1], torch.zeros(1, dtype=torch.int64), hp)
    head, _ = plain._module(given.strategy, task, hp, rng.key(fit.seed))
    model = nn.Sequential(prefix, head)
    free = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=hp["lr"], weight_decay=hp.get("weight_decay", 0.0), eps=EPSILON)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, given.steps(fit))
    for x, y in _endless(DataLoader(data, batch_size=size, shuffle=True), given.steps(fit)):
        keys = torch.randint(1 << 62, (len(x),))
        h = given.strategy.augment(task, hp, prefix(x), keys)
        optimizer.zero_grad()
        F.cross_entropy(head(h), y).backward()
        optimizer.step()
        scheduler.step()
    return model.eval()


def _endless(loader: DataLoader, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    done = 0
    while done < steps:
        for batch in loader:
            if done == steps:
                return
            yield batch
            done += 1


@torch.no_grad()
def _predicted(model: nn.Module, loader: DataLoader) -> Tensor:
    return torch.cat([model(x) for x, _ in loader])
