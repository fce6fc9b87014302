"""How fast are small grids and a large network on one GPU? Not run on a GPU yet; it needs no optuna and no datasets.

    python tests/perf/gpu.py                        # about ten minutes on an H100 (a guess)
    OPENBLAS_NUM_THREADS=1 python tests/perf/gpu.py --device cpu --tiny    # sizes that say nothing: does it run?

Prints, and writes to results/perf/gpu.md and gpu.json: small networks against `plain` (one model, one optimiser, one
loop a fit, the whole network every time, data on the GPU) with and without replayed steps; and the rate of full
fine-tuning of ViT-B/16 against that of bfloat16 matrix products.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import gpu_grid
import torch
from gpu_grid import Grid, seconds

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, rng, space
from tlbench.engine import Lane, Network, Pack
from tlbench.registry import STRATEGIES


class Sizes(NamedTuple):
    grid: Grid = Grid()
    backbones: tuple[str, ...] = ("glyph_vit", "glyph_cnn")
    matrix: int = 8192  # side of the matrices that are multiplied
    large: str = "timm:vit_base_patch16_224@random"
    batch: int = 128
    steps: int = 20


TINY = Sizes(
    Grid(lanes=4, sample=1, rows=20, test_rows=20, steps=24, repeats=1),
    ("glyph_vit",), matrix=256, large="timm:vit_tiny_patch16_224@random", batch=2, steps=2,
)  # fmt: skip


def main() -> None:
    asked = _parser().parse_args()
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no GPU here: run this on a machine with one, or see that it runs by --device cpu --tiny")
    device, sizes = torch.device(asked.device), TINY if asked.tiny else Sizes()
    torch.set_num_threads(1)
    rates = {str(dtype): matrix_rate(device, dtype, sizes.matrix) for dtype in (torch.float32, torch.bfloat16)}
    found: dict[str, Any] = {"made": _made(device), "matrix_flops_a_second": rates, "grid": []}
    found["sizes"] = {**sizes._asdict(), "grid": sizes.grid._asdict()}
    for backbone in sizes.backbones:
        for name in (name for name, strategy in STRATEGIES.items() if strategy.trains):
            found["grid"].append(gpu_grid.row(name, backbones.get(backbone), device, sizes.grid))
            print(_line(found["grid"][-1], rates["torch.float32"]), flush=True)
    found["large"] = large(device, sizes, rates["torch.bfloat16"])
    text = _markdown(found)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "gpu.md").write_text(text)
    (asked.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    print(text)


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Floating-point operations a second of products of square matrices."""
    a, b = torch.rand(2, side, side, device=device).to(dtype)
    return 2 * side**3 / min(seconds(lambda: a @ b, device) for _ in range(10))


def large(device: torch.device, sizes: Sizes, rate: float) -> dict[str, Any]:
    """Full fine-tuning of one large network: pictures a second, and its share of the rate of bfloat16 products."""
    backbone, strategy = backbones.get(sizes.large), STRATEGIES["full_finetune"]()
    raw = (256 * rng.uniform(rng.key(0), (sizes.batch, 224, 224, 3))).to(torch.uint8).to(device)
    tail, y = backbone.tail("input").to(device), torch.arange(sizes.batch) % gpu_grid.CLASSES
    bank = backbone.prefix("input").to(device)(raw)
    lane = Lane(space.defaults(space.on(backbone.parameters, strategy.space)), torch.arange(len(y)), y, seed=0)
    turns, network = 1 + sizes.grid.repeats, Network(bank, tail, tail, gpu_grid.CLASSES)
    made = Pack(strategy, network, [lane], steps=1 + turns * sizes.steps, batch_size=sizes.batch)
    made.start()
    made.advance(1)
    spent = []
    for turn in range(turns):
        spent.append(seconds(lambda: made.advance(made.done[0] + sizes.steps), device) / sizes.steps)
        print(f"{sizes.large}: {spent[turn] * 1e3:.1f} ms a step", flush=True)
    step = statistics.median(spent[1:])
    return {
        "network": sizes.large,
        "batch": sizes.batch,
        "pieces": made.pieces,
        "seconds_a_step": spent[1:],
        "flops_a_step": made.step_flops,
        "pictures_a_second": sizes.batch / step,
        "share_of_matrix_rate": made.step_flops / step / rate,
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }


def _made(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    return {"command": " ".join(["python", *sys.argv]), "device": name, "torch": torch.__version__}


def _markdown(found: dict[str, Any]) -> str:
    made, rates, one = found["made"], found["matrix_flops_a_second"], found["large"]
    said = ", ".join(f"{rate / 1e12:.1f} TFLOP/s in {name.removeprefix('torch.')}" for name, rate in rates.items())
    medians = [{name: statistics.median(each) for name, each in row["seconds"].items()} for row in found["grid"]]
    ours, theirs = (sum(each[name] for each in medians) for name in ("tlbench", "plain"))
    lines = [
        f"`{made['command']}` on {made['device']}, torch {made['torch']}; matrix products: {said}",
        "",
        "| network | strategy | lanes at once | tlbench, s | plain / tlbench | without replay / with "
        "| states after 10 steps | waits a step | share of the float32 rate |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(row, rates["torch.float32"]) for row in found["grid"]),
        f"| all | | | {ours:.2f} | {theirs / ours:.1f} | | | | |",
        "",
        f"full_finetune of {one['network']}, batches of {one['batch']} in {one['pieces']} pieces: "
        f"{one['pictures_a_second']:.0f} pictures/s, {one['share_of_matrix_rate']:.0%} of the bfloat16 rate",
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any], rate: float) -> str:
    ours = statistics.median(row["seconds"]["tlbench"])
    return (
        f"| {row['backbone']} | {row['strategy']} | {row['width']} | {ours:.2f} | {_ratio(row, 'plain')} | "
        f"{_ratio(row, 'without replay')} | {row['agreement']:.0e} | {row['host_waits_a_step']} | "
        f"{row['flops'] / ours / rate:.1%} |"
    )


def _ratio(row: dict[str, Any], to: str) -> str:
    ours, theirs = row["seconds"]["tlbench"], row["seconds"][to]
    turns = [b / a for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.median(theirs) / statistics.median(ours):.1f} ({min(turns):.1f} to {max(turns):.1f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that say nothing about speed")
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
