"""How fast is each kernel of stacked lanes? Forward and backward, against vmap, against a loop and for each form.

    python tests/perf/lane_kernels.py --lanes 4 24 --only glyph_vit

Prints, and writes to results/perf/lane_kernels.{md,json}: microseconds of processor time a lane, medians of forms that
take turns in one process with one thread, and the rate of small products by either library. Before each turn an
addition makes the input anew, so that it is as fresh as in training.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import born
import numpy as np
import torch
import written
from torch import Tensor
from torch.nn import functional as F

from tlbench.kernels import convolutions, norms, windows

IMAGES = 16
Form = Callable[..., Tensor]  # (x, weight, bias), stacked -> stacked
Order = tuple[int, int]  # which dimension of a stacked x lies where
PLAIN, LAST, BESIDE = (0, 0), (2, 4), (0, 1)  # lane by lane; the same with channels last; lanes side by side


class Case(NamedTuple):
    name: str
    shape: tuple[int, ...]  # of one lane's x
    parameters: tuple[tuple[int, ...], tuple[int, ...]]  # of its weight and bias
    forms: dict[str, tuple[Form, Order]]  # and how its x lies, as the layer below would leave it
    chosen: str  # the form that training takes
    learns: bool = True  # does x need a gradient?


class Row(NamedTuple):
    """Microseconds a lane, forward and backward, by form."""

    name: str
    lanes: int
    chosen: str
    forward: dict[str, float]
    backward: dict[str, float]


def main() -> None:
    asked = _parser().parse_args()
    born.again()
    torch.set_num_threads(1)
    rows = []
    for lanes in asked.lanes:
        for case in cases():
            if asked.only in case.name and (lanes <= 8 or np.prod(case.shape) < 2**20):
                rows.append(measured(case, lanes, asked.repeats))
                print(line(rows[-1]), flush=True)
    rates, how = list(products_a_second()), written.made()
    text = table(rows, rates, asked.repeats, written.sentence(how))
    written.write(asked.out, "lane_kernels", text=text, data={"made": how, "lane_kernels": rows, "products": rates})
    print(text)


def cases() -> Iterator[Case]:
    for name, (channels, out, size, kernel, stride, padding) in {
        "glyph_vit stem 1": (3, 16, 32, 3, 2, 1),
        "glyph_vit stem 2": (16, 32, 16, 3, 2, 1),
        "glyph_vit stem 3": (32, 64, 8, 3, 2, 1),
        "glyph_cnn 16 px": (16, 16, 16, 3, 1, 1),
        "glyph_cnn 8 px": (32, 32, 8, 3, 1, 1),
        "glyph_cnn 4 px": (64, 64, 4, 3, 1, 1),
        "glyph_cnn to 2 px": (64, 128, 4, 3, 2, 1),
        "glyph_cnn 2 px": (128, 128, 2, 3, 1, 1),
        "glyph_cnn shortcut": (16, 32, 8, 1, 1, 0),
        "ResNet-18 28 px": (128, 128, 28, 3, 1, 1),
        "ResNet-18 to 28 px": (64, 128, 56, 3, 2, 1),
        "ResNet-18 shortcut": (64, 128, 56, 1, 2, 0),
    }.items():
        yield _convolution(name, (channels, out, size, kernel), stride, padding)
    for name, shape in {
        "LayerNorm of glyph_vit": (IMAGES, 16, 64),
        "LayerNorm of ViT-Ti": (IMAGES, 197, 192),
    }.items():
        yield _norm(name, shape, partial(_last, F.layer_norm), partial(_last, norms.layer_norm))
    for size, channels in ((16, 16), (4, 64)):
        native, ours = partial(_grouped, F.group_norm), partial(_grouped, norms.group_norm)
        yield _norm(f"GroupNorm of glyph_cnn {size} px", (IMAGES, channels, size, size), native, ours)


def _convolution(name: str, sizes: tuple[int, ...], stride: int, padding: int) -> Case:
    channels, out, size, kernel = sizes
    native = partial(F.conv2d, stride=stride, padding=padding)
    moves = windows.Moves((stride, stride), (padding, padding), (1, 1), 1)
    shape, weight = (IMAGES, channels, size, size), (out, channels, kernel, kernel)
    taken = partial(convolutions.conv2d, stride=stride, padding=padding)
    forms: dict[str, tuple[Form, Order]] = {"vmap": (torch.vmap(native), BESIDE), "loop": (looped(native), PLAIN)}
    beside = "glyph_cnn" in name  # as its GroupNorms leave them
    suits = windows.suit(torch.empty(1, *shape), torch.empty(1, *weight), moves, last=not beside)
    if "glyph" in name and channels > 3:
        forms["side by side"] = partial(_beside, moves), BESIDE
    if kernel == 1:
        forms["linear"] = taken, LAST
        forms["maps"] = taken, BESIDE
        return Case(name, shape, (weight, (out,)), forms, "maps" if beside else "linear")
    order = LAST if channels > 3 else PLAIN
    forms["lanes"] = partial(_applied, convolutions.Lanes, moves), order
    forms["windows"] = partial(_applied, windows.Windows, moves), BESIDE if beside and suits else order
    chosen = "windows" if suits else "side by side" if beside else "lanes"
    return Case(name, shape, (weight, (out,)), forms, chosen, learns=channels > 3)


def _beside(moves: windows.Moves, *given: Tensor) -> Tensor:
    return convolutions._side_by_side(*given, moves)


def _applied(function: type[torch.autograd.Function], moves: windows.Moves, *given: Tensor) -> Tensor:
    return function.apply(*given, moves)


def _norm(name: str, shape: tuple[int, ...], native: Form, kernel: Form) -> Case:
    images = len(shape) == 4
    size = shape[1] if images else shape[-1]
    orders = (BESIDE, PLAIN, BESIDE) if images else (PLAIN, PLAIN, PLAIN)
    forms = {"vmap": torch.vmap(native), "loop": looped(native), "kernel": kernel}
    placed = {form: (call, order) for (form, call), order in zip(forms.items(), orders, strict=True)}
    return Case(name, shape, ((size,), (size,)), placed, "kernel")


def _last(norm: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return norm(x, x.shape[-1:], weight, bias)


def _grouped(norm: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return norm(x, 4, weight, bias)


def looped(native: Form) -> Form:
    def each(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.stack([native(*lane) for lane in zip(x.unbind(), weight.unbind(), bias.unbind(), strict=True)])

    return each


def measured(case: Case, lanes: int, repeats: int) -> Row:
    draw = torch.Generator().manual_seed(3)
    x, *parameters = (torch.randn(lanes, *each, generator=draw) for each in (case.shape, *case.parameters))
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in case.forms}
    for turn in range(repeats + 1):
        for name, (form, order) in case.forms.items():
            once = _turn(form, placed(x, order), parameters, case.learns)
            if turn:  # the first warms up
                spent[name].append(once)
    forward, backward = (
        {name: 1e6 / lanes * statistics.median(turn[part] for turn in turns) for name, turns in spent.items()}
        for part in (0, 1)
    )
    return Row(case.name, lanes, case.chosen, forward, backward)


def _turn(form: Form, x: Tensor, parameters: list[Tensor], learns: bool) -> tuple[float, float]:
    """Seconds forward and backward; the gradient lies as the result does."""
    fresh = (x + 0).requires_grad_(learns)
    learnt = [each.detach().requires_grad_() for each in parameters]
    start = time.thread_time()
    out = form(fresh, *learnt)
    middle = time.thread_time()
    slope = out.detach() + 1
    again = time.thread_time()
    torch.autograd.grad(out, [*([fresh] if learns else []), *learnt], slope)
    return middle - start, time.thread_time() - again


def placed(x: Tensor, order: Order) -> Tensor:
    return x.movedim(*order).contiguous().movedim(*reversed(order))


def products_a_second() -> Iterator[dict[str, Any]]:
    """GFLOP/s of both libraries at the sizes of small networks."""
    for rows, inner, columns in ((256, 64, 64), (256, 64, 192), (256, 128, 64), (1024, 144, 32), (256, 768, 768)):
        a, b, into = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
        flops = 2 * rows * inner * columns
        numpy = _seconds(partial(np.matmul, a.numpy(), b.numpy(), out=into.numpy()))
        torchs = _seconds(partial(torch.matmul, a, b, out=into))
        yield {"size": f"{rows} x {inner} x {columns}", "numpy": flops / numpy / 1e9, "torch": flops / torchs / 1e9}


def _seconds(work: Callable[[], Any]) -> float:
    """The median of 30 calls, each of which finds its input in the cache."""
    spent = []
    for _ in range(30):
        start = time.thread_time()
        work()
        spent.append(time.thread_time() - start)
    return statistics.median(spent)


def line(row: Row) -> str:
    cells = (f"{name} {row.forward[name]:.0f} + {row.backward[name]:.0f}" for name in row.forward)
    return f"| {row.name} | {row.lanes} | {', '.join(cells)} | {row.chosen} | {gain(row):.2f} |"


def gain(row: Row) -> float:
    """Time of vmap over time of the form that training takes, forward and backward together."""
    vmap, ours = (row.forward[name] + row.backward[name] for name in ("vmap", row.chosen))
    return vmap / ours


def table(rows: list[Row], rates: list[dict[str, Any]], repeats: int, made: str) -> str:
    products = [f"| {each['size']} | {each['numpy']:.0f} | {each['torch']:.0f} |" for each in rates]
    return "\n".join(
        [
            "# Kernels of stacked lanes\n",
            f"Microseconds of processor a lane of {IMAGES} examples, forward + backward: medians of {repeats} turns.",
            f"Gain: vmap's time over that of the form taken. Made by {made}.\n",
            "| what | lanes | forms | taken | gain |",
            "|---|---|---|---|---|",
            *map(line, rows),
            "\nGFLOP/s of one product, rows x inner x columns:\n",
            "| size | numpy | torch |",
            "|---|---|---|",
            *products,
            "",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, nargs="+", default=[8, 24])
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("results/perf"))
    return parser


if __name__ == "__main__":
    main()
