"""How much does fusing lanes gain? Milliseconds of one lane's training step, by width; run by `make perf`.

    python tests/perf/lanes.py glyph_vit --examples 16 --widths 1 8 24
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy import lanes, network, pack  # noqa: E402

import tlbench.strategies  # noqa: E402, F401 - registers
from tlbench import backbones, space  # noqa: E402
from tlbench.registry import STRATEGIES  # noqa: E402

STEPS, REPEATS = 4, 3


def step_ms(name: str, backbone: str, *, examples: int, width: int, count: int) -> float:
    """Milliseconds of one lane's step: the median over repeats of `count` lanes trained `width` at a time."""
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get(backbone), space.defaults(strategy.space), rows=4 * examples)
    made = pack(strategy, net, lanes(strategy, y, count=count, rows=examples), width=width, steps=100, batch=examples)
    made.start()
    made.advance(1)
    times = []
    for repeat in range(REPEATS):
        before = time.process_time()
        made.advance(1 + STEPS * (repeat + 1))
        times.append((time.process_time() - before) / STEPS / count * 1e3)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone", nargs="?", default="glyph_vit")
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 8, 24])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{asked.backbone}, {asked.examples} examples a step, one thread: CPU milliseconds of a lane's step")
    print("strategy".ljust(18) + "".join(f"width {width}".rjust(11) for width in asked.widths) + "   gain")
    for name in (name for name, strategy in STRATEGIES.items() if strategy.trains):
        row = [
            step_ms(name, asked.backbone, examples=asked.examples, width=width, count=max(asked.widths))
            for width in asked.widths
        ]
        print(name.ljust(18) + "".join(f"{ms:11.2f}" for ms in row) + f"   {row[0] / min(row):.2f}", flush=True)


if __name__ == "__main__":
    main()
