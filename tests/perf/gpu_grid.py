"""A grid of small networks on one device, two ways: lanes of tlbench, and one model, optimiser and loop a fit."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench import replay, rng, space
from tlbench.backbones.base import Backbone
from tlbench.engine import Lane, Network, Pack
from tlbench.registry import STRATEGIES
from tlbench.strategies.gradient import EPSILON, GradientStrategy, minibatch, schedule
from tlbench.task import Clock
from tlbench.width import MachinePlan, width

CLASSES, BATCH, FIRST_STEPS = 10, 16, 10


class Grid(NamedTuple):
    """How much is trained."""

    lanes: int = 256  # of a strategy on a network
    sample: int = 4  # of them that `plain` trains; its time is scaled
    rows: int = 100
    test_rows: int = 1000
    steps: int = 64
    repeats: int = 3


class Work(NamedTuple):
    """Fits of one strategy on one network."""

    grid: Grid
    strategy: GradientStrategy
    prefix: nn.Module
    network: Network
    raw: Tensor  # uint8 [N, H, W, 3], on the device
    lanes: list[Lane]

    def pack(self, count: int | None = None) -> Pack:
        return Pack(self.strategy, self.network, self.lanes[:count], steps=self.grid.steps, batch_size=BATCH)


def row(name: str, backbone: Backbone, device: torch.device, grid: Grid) -> dict[str, Any]:
    """What one strategy takes; contestants take turns, after a turn to warm up."""
    given = work(name, backbone, device, grid)
    at_once = width(given.strategy, given.pack(), MachinePlan())
    contestants: dict[str, Callable[[], object]] = {
        "tlbench": lambda: fused(given, at_once),
        "without replay": lambda: unreplayed(lambda: fused(given, at_once)),
        "plain": lambda: [plain(given, lane) for lane in given.lanes[: grid.sample]],
    }
    spent: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for turn in range(1 + grid.repeats):
        for contestant, contest in contestants.items():
            once = seconds(contest, device)
            if turn:
                spent[contestant].append(once * (grid.lanes / grid.sample if contestant == "plain" else 1))
    counted = given.pack(2)
    counted.start()
    counted.advance(1)
    return {
        "backbone": backbone.name,
        "strategy": name,
        "width": at_once,
        "seconds": spent,
        "flops": counted.step_flops * grid.steps * grid.lanes,
        "agreement": agreement(given),
        "host_waits_a_step": host_waits(given),
    }


def work(name: str, backbone: Backbone, device: torch.device, grid: Grid) -> Work:
    """Lanes that differ in rows, key and learning rate, on random pictures."""
    strategy, total = STRATEGIES[name](), 4 * grid.rows
    assert isinstance(strategy, GradientStrategy)
    raw = (256 * rng.uniform(rng.key(0), (total, 32, 32, 3))).to(torch.uint8).to(device)
    hp, y = space.defaults(space.on(backbone.parameters, strategy.space)), torch.arange(total) % CLASSES
    tap = backbone.resolve(strategy.tap_for(hp))
    prefix = backbone.prefix(tap).to(device)
    tail, scratch = (each.tail(tap).to(device) for each in (backbone, backbone.scratch()))
    with torch.no_grad():
        bank = torch.cat([prefix(piece) for piece in raw.split(256)])
    lanes = []
    for i in range(grid.lanes):
        rows = torch.argsort(rng.bits(rng.key(100 + i), (total,)))[: grid.rows]
        lanes.append(Lane({**hp, "lr": hp["lr"] * 2 ** (i / grid.lanes - 1)}, rows, y[rows], seed=i))
    return Work(grid, strategy, prefix, Network(bank, tail, scratch, CLASSES), raw, lanes)


def fused(given: Work, at_once: int) -> None:
    made = given.pack()
    made.width = at_once
    made.start()
    made.advance(given.grid.steps)
    made.predict(given.network.bank[: given.grid.test_rows])


def unreplayed(contest: Callable[[], None]) -> None:
    kept = dict(replay.GRAPHS)
    replay.GRAPHS.clear()
    contest()
    replay.GRAPHS.update(kept)


def plain(given: Work, lane: Lane, until: int | None = None) -> Tensor:
    """Trains one lane on the whole network, predicts with it, and returns its trained numbers [P]."""
    device, steps, strategy = given.raw.device, given.grid.steps, given.strategy
    few = given.network._replace(bank=given.network.bank[:1])
    begun = Pack(strategy, few, [lane._replace(rows=lane.rows[:1] * 0, y=lane.y[:1])], steps=steps, batch_size=BATCH)
    begun.start()
    task, state, model = begun.task(0), begun.states[0], _module(begun)
    free = [p for p in model.parameters() if p.requires_grad]
    clocks = [Clock(torch.tensor(i), steps, BATCH) for i in range(steps + 1)]
    drawn = [minibatch(torch.ones(len(lane.y)), state["key"].cpu(), clock)[0] for clock in clocks]
    batches, x, y = torch.stack(drawn).to(device), given.raw[lane.rows.to(device)], lane.y.to(device)
    step_keys = rng.fold_in(state["key"], torch.arange(steps + 1, device=device))
    optimizer = torch.optim.AdamW(free, lr=lane.hp["lr"], weight_decay=lane.hp["weight_decay"], eps=EPSILON)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: float(schedule(clocks[i])))
    for rows, key in zip(batches[: until or steps], step_keys, strict=False):
        with torch.no_grad():
            h = given.prefix(x[rows])
        loss = F.cross_entropy(model(strategy.augment(task, lane.hp, h, rng.fold_in(key, rows))), y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
    if until is None:
        with torch.no_grad():
            model.eval()(given.prefix(given.raw[: given.grid.test_rows])).cpu()
    return nn.utils.parameters_to_vector(free).detach()


def agreement(given: Work) -> float:
    """Largest difference of trained numbers to plain's after ten steps of one lane, relative to the largest number."""
    made = given.pack(2)
    made.width = 2
    made.start()
    made.advance(FIRST_STEPS)
    ours, theirs = made.states[0]["theta"], plain(given, given.lanes[0], until=FIRST_STEPS)
    return float((ours - theirs).abs().max() / theirs.abs().max())


def host_waits(given: Work) -> float | None:
    """How often a step waits for the host, as torch's own watch sees it; a CPU has none."""
    if given.raw.device.type != "cuda":
        return None
    counts = []
    for steps in (2, 6):
        made = given.pack(2)
        made.width = 2
        made.start()
        made.advance(1)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            made.advance(steps)
            torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchroniz" in str(each.message) for each in seen))
    return (counts[1] - counts[0]) / 4


def seconds(contest: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    before = time.perf_counter()
    contest()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - before


def _module(begun: Pack) -> nn.Module:
    """The strategy's module with the first values of the only lane, as it is while training."""
    strategy = begun.strategy
    assert isinstance(strategy, GradientStrategy)
    with rng.ambient(0):
        model = strategy.module(begun.task(0), begun.static).eval()
    model = model.to(begun.network.bank.device)
    with torch.no_grad():
        nn.utils.vector_to_parameters(begun.states[0]["theta"], [p for p in model.parameters() if p.requires_grad])
    if strategy.statistics == "batch":
        for norm in (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)):
            norm.train()
    return model
