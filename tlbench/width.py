"""How many lanes run fused? A rule that is kept with the results, so that a resumed run rounds alike."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from tlbench.engine import Pack
from tlbench.engine_rows import named
from tlbench.footprint import footprint
from tlbench.strategies.base import Strategy
from tlbench.width_gpu import CudaMemory, fitting

ACTIVATION_COPIES = 4  # of every layer's output: itself, what autograd keeps beside it, and their gradients
PARAMETER_COPIES = 8  # values, gradients, two moments, and what the optimiser makes on its way
SOLVED = 1024  # lanes of a strategy that takes no steps, at most
GPU_FACTOR = 32  # how much more a GPU may hold than the plan says for one CPU worker (a guess, not measured)


class WidthPlan(NamedTuple):
    """A rule and not a measurement, so that two folders made on one machine hold the same bytes.

    On one thread of an x86 CPU a loop took 1.7 to 2.0 times as long as 24 fused lanes of glyph_vit, strategy by
    strategy; most of it was gained at 8 lanes already (`make perf`).
    """

    most: int = 24  # lanes
    step_bytes: int = 160 * 2**20  # of one step of all lanes
    wide: int = 256  # channels in and out of a layer from which a CPU loops; fusing gained at 128


def width(strategy: Strategy, pack: Pack, plan: WidthPlan) -> int:
    """Lanes of a pack to run fused; 1 where the strategy cannot be traced."""
    network = pack.network
    on_cpu = network.bank.device.type == "cpu"
    if not strategy.fusible or (strategy.trains and on_cpu and _widest_layer(network.tail) >= plan.wide):
        return 1
    if network.bank.device.type == "cuda":
        return fitting(pack, CudaMemory(network.bank.device), most=GPU_FACTOR * plan.most)
    rows = len(pack.lanes[0].rows)
    example = network.bank[:1]
    if not strategy.trains:  # lanes share what they share
        groups = len({named(lane.rows, lane.y) for lane in pack.lanes})
        seen = rows * (example.nbytes + footprint(network.tail, example).total) * groups // len(pack.lanes)
        return max(1, min(SOLVED, plan.step_bytes // max(1, seen)))
    examples, trained = min(rows, pack.batch_size), 4 * strategy.parameters(pack.task(0), pack.static)[0]
    activations = examples * (example.nbytes + ACTIVATION_COPIES * footprint(network.tail, example).total)
    lane_bytes = activations + PARAMETER_COPIES * trained
    factor = 1 if on_cpu else GPU_FACTOR
    return max(1, min(plan.most * factor, plan.step_bytes * factor // lane_bytes))


def _widest_layer(tail: nn.Module) -> int:
    convolutions = (m.out_channels for m in tail.modules() if isinstance(m, nn.modules.conv._ConvNd))
    linear = (min(m.in_features, m.out_features) for m in tail.modules() if isinstance(m, nn.Linear))
    return max((*convolutions, *linear), default=0)
