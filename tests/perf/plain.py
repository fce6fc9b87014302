"""What a careful PyTorch user writes: one model, one optimiser and one loop a fit, and the whole network every time.

It trains the very fits that tlbench trains: the same modules with the same first values, rows, batches, augmentation,
optimiser and hyperparameters. It knows no lanes, no cached activations and no fused loops.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from tlbench import backbones, registry, rng, space
from tlbench.backbones.base import Backbone
from tlbench.backbones.linear import Linear
from tlbench.block import _folds, _refit, _search
from tlbench.datasets import base
from tlbench.fits import Bench, Block, Fit, Job
from tlbench.strategies.base import Strategy
from tlbench.strategies.floors import Majority, NearestMean
from tlbench.strategies.gradient import EPSILON, GradientStrategy, minibatch, schedule
from tlbench.strategies.modules import frozen
from tlbench.strategies.probes import LogisticStrategy
from tlbench.task import Clock, Task
from tlbench.tune import Trial

Logits = dict[tuple[str, int], np.ndarray]  # test logits [m, C] by cell key and trial number
Trials = dict[str, list[Trial]]  # by cell key
Predict = Callable[[Tensor], np.ndarray]  # raw inputs -> logits


class Setting(NamedTuple):
    """What the fits of a block share."""

    block: Block
    strategy: Strategy
    backbone: Backbone
    pool: Tensor  # raw inputs of the rows that any budget uses
    test: Tensor
    cached: bool = False  # are they the strategy's features already?

    @property
    def space(self) -> space.Space:
        return space.on(self.backbone.parameters, self.strategy.space)

    def steps(self, fit: Fit) -> int:
        return max(1, round(self.strategy.share * fit.job.cell.effort.steps))


def setting(block: Block) -> Setting:
    backbone = copy.deepcopy(backbones.get(block.backbone))
    for layer in backbone.trunk.modules():
        if type(layer) is Linear:  # tlbench's own; users have torch's
            layer.__class__ = nn.Linear
    pool = backbone.encoded(np.asarray(base.read_inputs(block.data, "pool"))[block.pool_rows])
    test = backbone.encoded(np.asarray(base.read_inputs(block.data, "test")))
    inputs = (torch.from_numpy(np.array(part)) for part in (pool, test))
    return Setting(block, registry.STRATEGIES[block.strategy](), backbone, *inputs)


def work(block: Block, trials: Trials, *, cached: bool = False) -> Logits:
    """Every fold of every trial is trained and predicted, then every trial on the whole budget.

    `cached`: what a strategy that trains nothing of the network computes of it, it computes once.
    """
    given, found = setting(block), {}
    if cached:
        prefix = _prefix(given)
        given = given._replace(pool=prefix(given.pool), test=prefix(given.test), cached=True)
    for job in block.jobs:
        for fit in fits(job, trials[job.cell.key]):
            predict = fitted(given, fit)
            if len(fit.held_out):
                predict(given.pool[fit.job.rows[fit.held_out]])
            else:
                found[job.cell.key, fit.trial.number] = predict(given.test)
    return found


def proposed(block: Block) -> Trials:
    """The trials that tlbench would ask for at once, as it does where its sampler does not learn."""
    bench = Bench(block, registry.STRATEGIES[block.strategy]())
    return {job.cell.key: _search(bench, job).ask() for job in block.jobs}


def fits(job: Job, trials: Sequence[Trial]) -> Iterator[Fit]:
    for trial in trials:
        yield from _folds(job, trial)
        yield _refit(job, trial)


def fitted(given: Setting, fit: Fit) -> Predict:
    if isinstance(given.strategy, GradientStrategy):
        model = frozen(trained(given, fit)).eval()
        return lambda inputs: _outputs(model, inputs).numpy()
    if isinstance(given.strategy, Majority):
        counts = np.bincount(fit.job.y[fit.train], minlength=given.block.shape.num_classes)
        return lambda inputs: np.tile(np.log(counts + 1.0), (len(inputs), 1))
    if isinstance(given.strategy, NearestMean):
        return _nearest_mean(given, fit)
    if isinstance(given.strategy, LogisticStrategy):
        own, prefix = head(given, fit).float(), _prefix(given)
        return lambda inputs: (prefix(inputs) @ own[:, :-1].T + own[:, -1]).numpy()
    raise ValueError(f"{given.strategy.name}: there is no plain form of it here")


def trained(given: Setting, fit: Fit, *, until: int | None = None, backwards: bool = False) -> nn.Module:
    """The fitted network, raw inputs -> logits, after all steps or the first `until`.

    `backwards` takes the rows of each batch in reverse: the same but for rounding.
    """
    hp, key = fit.trial.params, rng.key(fit.seed)
    x, y = given.pool[fit.job.rows[fit.train]], torch.from_numpy(fit.job.y[fit.train])
    prefix, task = _task(given, x, y, hp)
    model, data_key = _module(given.strategy, task, hp, key)
    free = [p for p in model.parameters() if p.requires_grad]
    steps, size = given.steps(fit), fit.job.cell.effort.batch_size
    clocks = [Clock(torch.tensor(i), steps, size) for i in range(steps)]
    numbers, whole = torch.arange(steps), torch.ones(len(y))
    drawn = vmap(lambda number: minibatch(whole, data_key, clocks[0]._replace(step=number)))(numbers)
    batches = zip(*(each.unbind() for each in drawn), strict=True)  # any shuffling loader draws some
    optimizer = torch.optim.AdamW(free, lr=hp["lr"], weight_decay=hp.get("weight_decay", 0.0), eps=EPSILON)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: float(schedule(clocks[min(i, steps - 1)])))
    for rows, _, keys in list(batches)[:until]:
        if backwards:
            rows, keys = rows.flip(0), keys.flip(0)
        with torch.no_grad():
            h = prefix(x[rows])
        loss = F.cross_entropy(model(given.strategy.augment(task, hp, h, keys)), y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
    return nn.Sequential(prefix, model)


def _task(given: Setting, x: Tensor, y: Tensor, hp: dict[str, Any]) -> tuple[nn.Module, Task]:
    tap = given.backbone.resolve(given.strategy.tap_for(space.static(given.space, hp)))
    prefix, block = given.backbone.prefix(tap), given.block
    with torch.no_grad():
        one = prefix(x[:1])
    scratch = given.backbone.scratch().tail(tap)
    tail, classes = given.backbone.tail(tap), block.shape.num_classes
    return prefix, Task(one, y[:1], torch.ones(1), classes, tail, scratch, block.flips)


def _module(strategy: GradientStrategy, task: Task, hp: dict[str, Any], key: Tensor) -> tuple[nn.Module, Tensor]:
    """The strategy's module with its first values, and the key of its batches."""
    state, static = strategy.init(task, hp, key), space.static(strategy.space, hp)
    with rng.ambient(0):
        model = strategy.module(task, static)
    free = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(state["theta"], free)
    model.eval()
    if strategy.statistics == "batch":
        for norm in (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)):
            norm.train()
    return model, state["key"]


@torch.no_grad()
def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([model(part) for part in x.split(256)])


def head(given: Setting, fit: Fit) -> Tensor:
    """What scikit-learn solves, [C, d + 1]; the bias stands last.

    Two classes have one vector w there and two of half its length here, so the same penalty is half as strong.
    """
    x, y = features(given, fit)
    two = given.block.shape.num_classes == 2
    found = LogisticRegression(C=fit.trial.params["C"] * (2 if two else 1), max_iter=1000).fit(x.numpy(), y.numpy())
    solved = torch.from_numpy(np.column_stack([found.coef_, found.intercept_]))
    return torch.cat([-solved, solved]) / 2 if two else solved


def features(given: Setting, fit: Fit) -> tuple[Tensor, Tensor]:
    """The training rows of a fit [n, d] at the strategy's tap, and their labels [n]."""
    return _prefix(given)(given.pool[fit.job.rows[fit.train]]), torch.from_numpy(fit.job.y[fit.train])


def _nearest_mean(given: Setting, fit: Fit) -> Predict:
    (x, y), prefix = features(given, fit), _prefix(given)
    means = torch.stack([x[y == label].mean(0) for label in range(given.block.shape.num_classes)])
    return lambda inputs: -(torch.cdist(prefix(inputs), means) ** 2).numpy()


def _prefix(given: Setting) -> Callable[[Tensor], Tensor]:
    """Inputs -> activations [m, d] at the tap of a strategy that trains nothing of the network."""
    if given.cached:
        return lambda inputs: inputs
    prefix = given.backbone.prefix(given.backbone.resolve(given.strategy.tap))
    return lambda inputs: _outputs(nn.Sequential(prefix, nn.Flatten()), inputs)
