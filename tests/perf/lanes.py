"""How much does fusing lanes gain, and how many are best? Milliseconds of one lane's training step; run by `make perf`.

    python tests/perf/lanes.py glyph_vit --examples 4 16 64 --widths 1 4 16 48

Prints, and writes to results/perf/lanes.{md,json}, medians of processor time over widths that take turns in one
process with one thread, born as a worker is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import born
import torch
import written

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy import lanes, network, pack  # noqa: E402

import tlbench.strategies  # noqa: E402, F401 - registers
from tlbench import backbones, slopes, space  # noqa: E402
from tlbench.engine import Pack  # noqa: E402
from tlbench.registry import STRATEGIES  # noqa: E402

STEPS, ROUNDS = 4, 3
RESULTS = Path("results/perf")


class Row(NamedTuple):
    """Milliseconds of a lane's step, by width."""

    strategy: str
    examples: int
    ms: dict[int, float]


def measured(name: str, backbone: str, examples: int, widths: list[int]) -> Row:
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get(backbone), space.defaults(strategy.space), rows=4 * examples)
    packs: dict[int, Pack] = {}
    slopes.LEAST = STEPS
    for width in widths:
        of = lanes(strategy, y, count=width, rows=examples)
        packs[width] = pack(strategy, net, of, width=width, steps=100, batch=examples)
        packs[width].start()
        packs[width].advance(STEPS)  # recorded here, and played from then on
    times: dict[int, list[float]] = {width: [] for width in widths}
    for _ in range(ROUNDS):
        for width, made in packs.items():
            before = time.process_time()
            made.advance(made.done[0] + STEPS)
            times[width].append((time.process_time() - before) / STEPS / width * 1e3)
    return Row(name, examples, {width: round(statistics.median(each), 3) for width, each in times.items()})


def table(rows: list[Row], widths: list[int]) -> str:
    head = ["strategy", "examples", *(f"{width} together" for width in widths), "best", "gain"]
    lines = [" | ".join(["", *head, ""]).strip(), "|---|" + "---:|" * (len(head) - 1)]
    for row in rows:
        best = min(row.ms, key=lambda width: row.ms[width])
        cells = [row.strategy, str(row.examples), *(f"{row.ms[width]:.2f}" for width in widths)]
        lines.append("| " + " | ".join([*cells, str(best), f"{row.ms[widths[0]] / row.ms[best]:.2f}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone", nargs="?", default="glyph_vit")
    parser.add_argument("--examples", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 4, 8, 16, 24, 48])
    parser.add_argument("--strategies", nargs="+")
    asked = parser.parse_args()
    plan, how = born.again(), written.made()
    torch.set_num_threads(1)
    named = asked.strategies or [name for name, strategy in STRATEGIES.items() if strategy.trains]
    rows = [measured(name, asked.backbone, examples, asked.widths) for examples in asked.examples for name in named]
    text = (
        f"Milliseconds of one lane's training step on {asked.backbone}, and how many times faster the best number of "
        f"lanes together is than {asked.widths[0]}; the plan of this machine takes {plan.most} at most.\n\n"
        f"{table(rows, asked.widths)}\n\n{written.sentence(how)}\n"
    )
    print(text)
    written.write(RESULTS, "lanes", text=text, data={"made": how, "plan": plan, "rows": rows})


if __name__ == "__main__":
    main()
