"""What a transfer-learning tutorial writes: image files, a Dataset that decodes them, a DataLoader, a short loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import plain
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms

from tlbench import rng
from tlbench.datasets import base
from tlbench.fits import Block, Fit
from tlbench.strategies import augment
from tlbench.strategies.gradient import EPSILON, GradientStrategy, schedule
from tlbench.strategies.modules import frozen
from tlbench.task import Clock


class Files(Dataset):
    """Images of a folder, decoded each time they are asked for, with their labels (0 where unknown)."""

    def __init__(self, folder: Path, y: np.ndarray | None = None, change: Callable | None = None) -> None:
        self.files = sorted(folder.glob("*.png"))
        self.y = np.zeros(len(self.files), np.int64) if y is None else y
        self.transform = transforms.Compose([*([change] if change else []), np.array, torch.from_numpy])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(self.files[i]) as image:
            return self.transform(image.convert("RGB")), int(self.y[i])


def write_files(block: Block, folder: Path) -> None:
    """The block's pool and test images as PNG files."""
    for part in ("pool", "test"):
        raw = np.asarray(base.read_inputs(block.data, part))
        place = folder / part
        place.mkdir(parents=True)
        for i, pixels in enumerate(raw[block.pool_rows] if part == "pool" else raw):
            Image.fromarray(pixels).save(place / f"{i:06d}.png")


def work(block: Block, trials: plain.Trials, folder: Path) -> plain.Logits:
    """The fits of `plain.work`, trained for as many steps on shuffled batches from files."""
    given, found = plain.setting(block), {}
    for job in block.jobs:
        y = np.zeros(len(given.pool), np.int64)
        y[job.rows] = job.y
        pool, test = Files(folder / "pool", y), Files(folder / "test")
        moving = Files(folder / "pool", y, _moved(given))
        for fit in plain.fits(job, trials[job.cell.key]):
            predict = _fitted(given, fit, moving)
            if len(fit.held_out):
                predict(Subset(pool, job.rows[fit.held_out].tolist()))
            else:
                found[job.cell.key, fit.trial.number] = predict(test)
    return found


def _fitted(given: plain.Setting, fit: Fit, data: Dataset) -> Callable[[Dataset], np.ndarray]:
    """What is trained is trained from files; scikit-learn is given the images of all files at once."""
    if isinstance(given.strategy, GradientStrategy):
        model = _trained(given, fit, Subset(data, fit.job.rows[fit.train].tolist()))
        return lambda inputs: _predicted(model, inputs)
    own = Subset(data, fit.job.rows[fit.train].tolist())
    images = torch.zeros_like(given.pool)
    images[fit.job.rows[fit.train]] = _images(own)
    predict = plain.fitted(given._replace(pool=images), fit)
    return lambda inputs: predict(_images(inputs))


def _trained(given: plain.Setting, fit: Fit, data: Dataset) -> nn.Module:
    hp, size, steps = fit.trial.params, fit.job.cell.effort.batch_size, given.steps(fit)
    prefix, task = plain._task(given, given.pool[:1], torch.zeros(1, dtype=torch.int64), hp)
    head, _ = plain._module(given.strategy, task, hp, rng.key(fit.seed))
    model = nn.Sequential(prefix, head)
    free = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=hp["lr"], weight_decay=hp.get("weight_decay", 0.0), eps=EPSILON)
    rates = schedule(Clock(torch.arange(steps), steps, size)).tolist()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: rates[min(i, steps - 1)])
    for x, y in _endless(DataLoader(data, batch_size=size, shuffle=True), steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
    return frozen(model).eval()


def _moved(given: plain.Setting) -> Callable[[Image.Image], Image.Image] | None:
    """What tlbench does to training images, as torchvision has it; None where the strategy leaves them as they are."""
    strategy = type(given.strategy)
    if not issubclass(strategy, GradientStrategy) or strategy.augment is GradientStrategy.augment:
        return None
    side = given.pool.shape[2]
    margin = side // 4  # so that what comes in at an edge looks like the edge
    shift = augment.SHIFT / 2 * side / (side + 2 * margin)
    steps = [
        transforms.Pad(margin, padding_mode="edge"),
        transforms.RandomAffine(
            float(np.rad2deg(augment.TURN)),
            translate=(shift, shift),
            scale=(1 - augment.STRETCH, 1 + augment.STRETCH),
            interpolation=transforms.InterpolationMode.BILINEAR,
        ),
        transforms.CenterCrop(side),
    ]
    return transforms.Compose([*steps, transforms.RandomHorizontalFlip()] if given.block.flips else steps)


def _endless(loader: DataLoader, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    done = 0
    while done < steps:
        for batch in loader:
            if done == steps:
                return
            yield batch
            done += 1


@torch.no_grad()
def _predicted(model: nn.Module, data: Dataset) -> np.ndarray:
    return torch.cat([model(x) for x, _ in DataLoader(data, batch_size=64)]).numpy()


def _images(data: Dataset) -> Tensor:
    return torch.cat([x for x, _ in DataLoader(data, batch_size=64)])
