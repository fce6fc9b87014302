"""How does a machine do its work, and how many lanes run fused? By a plan that is kept with the results.

The same plan on the same machine gives the same bytes, so that a resumed run rounds alike.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import nn

from tlbench.engine import Pack
from tlbench.engine_rows import named
from tlbench.footprint import footprint
from tlbench.strategies.base import Strategy
from tlbench.width_gpu import CudaMemory, fitting

# What a step takes at its peak, fitted to what was seen: 10.3 MiB a lane of full_finetune, 5 of partial_freeze and 4.2
# of lora on glyph_vit with 16 examples.
ACTIVATION_COPIES = 2.5  # of every layer's output: itself, what autograd keeps beside it, and their gradients
PARAMETER_COPIES = 5  # values, gradients, two moments, and a copy on the way
SOLVED = 1024  # lanes of a strategy that takes no steps, at most
GPU_FACTOR = 32  # how much more a GPU may hold than the plan says for one CPU worker (a guess, not measured)
Library = Literal["numpy", "torch"]


class MachinePlan(NamedTuple):
    """How one machine does its work; the defaults, from which machine.py departs where a measurement says so.

    With recorded steps (slopes.py) the number of lanes decides little: on one thread of an AMD processor a step of lora
    on glyph_vit took 1.35, 1.38, 1.42 and 1.39 ms a lane with 4, 8, 12 and 24 lanes, of partial_freeze 0.87, 0.84, 0.91
    and 0.99. Whole blocks of lora, partial_freeze and adapter took 5.2 to 6.0, 3.6 to 3.9 and 3.6 to 3.9 s with 16, 24
    and 36: fewer are recorded sooner, more are recorded less often.
    """

    most: int = 24  # lanes that train together
    step_bytes: int = 192 * 2**20  # of one step of all lanes
    wide: int = 256  # channels in and out of a layer from which a CPU loops: there oneDNN does a lane's products alone
    products: Library = "numpy"  # that does the products of stacked lanes on a CPU
    openblas: str = ""  # processor that numpy's OpenBLAS is told to work for; "" for what it was told, or finds out


class Lanes(NamedTuple):
    """How many run together, and what keeps them from being more."""

    together: int
    limit: Literal["the plan", "memory", "a wide layer", "cannot be fused"]


def width(strategy: Strategy, pack: Pack, plan: MachinePlan) -> int:
    """Lanes of a pack to run fused; 1 where the strategy cannot be traced."""
    return limited(strategy, pack, plan).together


def limited(strategy: Strategy, pack: Pack, plan: MachinePlan) -> Lanes:
    """`width`, and why."""
    network = pack.network
    on_cpu = network.bank.device.type == "cpu"
    if not strategy.fusible:
        return Lanes(1, "cannot be fused")
    if strategy.trains and on_cpu and _widest_layer(network.tail) >= plan.wide:
        return Lanes(1, "a wide layer")
    if network.bank.device.type == "cuda":
        most = GPU_FACTOR * plan.most
        return _least(most, fitting(pack, CudaMemory(network.bank.device), most=most))
    rows = len(pack.lanes[0].rows)
    example = network.bank[:1]
    if not strategy.trains:  # lanes share what they share
        groups = len({named(lane.rows, lane.y) for lane in pack.lanes})
        seen = rows * (example.nbytes + footprint(network.tail, example).total) * groups // len(pack.lanes)
        return _least(SOLVED, plan.step_bytes // max(1, seen))
    examples, trained = min(rows, pack.batch_size), 4 * strategy.parameters(pack.task(0), pack.static)[0]
    activations = examples * (example.nbytes + ACTIVATION_COPIES * footprint(network.tail, example).total)
    lane_bytes = activations + PARAMETER_COPIES * trained
    factor = 1 if on_cpu else GPU_FACTOR
    return _least(plan.most * factor, int(plan.step_bytes * factor // lane_bytes))


def _least(most: int, fit: int) -> Lanes:
    return Lanes(most, "the plan") if most <= fit else Lanes(max(1, fit), "memory")


def _widest_layer(tail: nn.Module) -> int:
    convolutions = (m.out_channels for m in tail.modules() if isinstance(m, nn.modules.conv._ConvNd))
    linear = (min(m.in_features, m.out_features) for m in tail.modules() if isinstance(m, nn.Linear))
    return max((*convolutions, *linear), default=0)
