"""How is a small convolution a matrix product? What each window sees is copied into a row; rows times weights.

A lane at a time, so that its rows stay in the cache between the copy and the product. With a bias a row ends in a one,
so that the product adds it and its gradient comes with the weights'.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.kernels import products, tape

Pair = tuple[int, int]  # down, across
CHANNELS = 16  # fewer are copied too slowly
FEW = 16  # pixels of a map, below which torch's convolution takes longer to begin than to do
BYTES = 2 * 2**20  # of the rows of a lane; more leave the cache, and torch's convolution has more to do than to begin


class Moves(NamedTuple):
    """How a kernel moves over images: what torch's convolutions take after the bias."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def suit(x: Tensor, weight: Tensor, moves: Moves, *, last: bool = True) -> bool:
    """Is this the fastest form of a convolution of x [K, m, c, h, w] with weight [K, o, c, kh, kw]?

    `last`: do the channels of x lie last? Then it is where windows hardly overlap (3 x 3 pixels two apart copy each
    pixel 2.25 times, one apart 9 times), or are so few that weights are most of what is read. And for maps of few
    pixels, however they lie. Never where torch multiplies faster than numpy: it convolves well, too.
    """
    if products.BY_TORCH or moves.groups > 1 or moves.dilation != (1, 1) or x.shape[2] < CHANNELS:
        return False
    grid = Grid.of(x, weight, moves)
    apart = all(k <= 2 * s for k, s in zip(grid.kernel, grid.stride, strict=True))
    few = grid.rows < FEW * grid.images
    return 4 * grid.rows * grid.length <= BYTES and (few or (last and (apart or grid.rows <= weight.shape[1])))


class Grid(NamedTuple):
    """Where the windows of one lane lie."""

    images: int
    channels: int  # that a window reads
    size: Pair  # of an image
    padding: Pair
    kernel: Pair
    stride: Pair
    out: Pair  # windows down and across

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, moves: Moves) -> Grid:
        kernel, size = (weight.shape[3], weight.shape[4]), (x.shape[3], x.shape[4])
        (down, across), (below, beside) = moves.stride, moves.padding
        out = (size[0] + 2 * below - kernel[0]) // down + 1, (size[1] + 2 * beside - kernel[1]) // across + 1
        return cls(x.shape[1], x.shape[2], size, moves.padding, kernel, moves.stride, out)

    @property
    def rows(self) -> int:
        return self.images * self.out[0] * self.out[1]

    @property
    def length(self) -> int:
        """Numbers that a window sees."""
        return self.kernel[0] * self.kernel[1] * self.channels

    @property
    def blocks(self) -> tuple[int, int, int, int]:
        """An image as blocks one stride long: how many down, how long, how many across, how wide."""
        (height, width), (down, across) = self.size, self.stride
        return -(-height // down), down, -(-width // across), across


class Windows(torch.autograd.Function):
    """x [K, m, c, h, w], weight [K, o, c, kh, kw], bias [K, o] or None -> [K, m, o, h', w'], channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
        grid, x = Grid.of(x, weight, moves), x.detach()
        flat = x.new_empty(*weight.shape[:2], grid.length + (bias is not None))
        tape.filled(partial(_flattened, grid), (weight.detach(),), (flat,))
        if bias is not None:
            flat[:, :, -1] = bias
        out = x.new_empty(len(x), grid.rows, weight.shape[1])
        tape.filled(partial(_convolved, grid), (x, flat), (out,))
        ctx.save_for_backward(x, flat)
        ctx.grid = grid
        return out.view(len(x), grid.images, *grid.out, -1).movedim(4, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, flat), grid, wanted = ctx.saved_tensors, ctx.grid, ctx.needs_input_grad
        given = gradient.detach().movedim(2, 4).reshape(len(flat), grid.rows, -1)
        of_x = of_weight = of_bias = None
        if wanted[0]:
            of_x = given.new_empty(len(flat), grid.images, *grid.size, grid.channels)
            tape.filled(partial(_of_images, grid), (given, flat), (of_x,))
            of_x = of_x.movedim(4, 2)
        if any(wanted[1:3]):
            of_weight = given.new_empty(*flat.shape[:2], grid.channels, *grid.kernel)
            biases = given.new_empty(*flat.shape[:2], flat.shape[2] - grid.length)
            tape.filled(partial(_of_weights, grid), (given, x), (of_weight, biases))
            of_bias = biases[:, :, 0] if wanted[2] else None
        return of_x, of_weight, of_bias, None


class Frozen(torch.autograd.Function):
    """torch's convolution of x [K, m, c, h, w] with one weight [o, c, kh, kw] of all lanes, in the order they lie in.

    Only the gradient of x goes through windows: where they hardly overlap, torch takes twice as long for it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
        beside = x.transpose(0, 1)
        ctx.save_for_backward(weight)
        ctx.grid, ctx.beside = Grid.of(x, weight[None], moves), beside.is_contiguous()
        lying = beside if ctx.beside else x
        out = F.conv2d(lying.flatten(0, 1), weight, bias, *moves).unflatten(0, lying.shape[:2])
        return out.transpose(0, 1) if ctx.beside else out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), grid, of_x, of_bias = ctx.saved_tensors, ctx.grid, None, None
        if ctx.needs_input_grad[0]:
            flat = weight.new_empty(1, len(weight), grid.length)
            tape.filled(partial(_flattened, grid), (weight.detach()[None],), (flat,))
            given = gradient.detach().movedim(2, 4).reshape(len(gradient), grid.rows, -1)
            images = given.new_empty(len(given), grid.images, *grid.size, grid.channels)
            tape.filled(partial(_of_images, grid), (given, flat.expand(len(given), -1, -1)), (images,))
            of_x = images.movedim(4, 2)
            of_x = of_x.transpose(0, 1).contiguous().transpose(0, 1) if ctx.beside else of_x
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 1, 3, 4))
        return of_x, None, of_bias, None


def _flattened(grid: Grid, weight: Tensor, flat: Tensor) -> tape.Call:
    """[K, o, kh * kw * c] from [K, o, c, kh, kw]; numpy copies such a transposed array in half of torch's time."""
    last = weight.movedim(2, 4).numpy()
    return partial(np.copyto, flat.numpy()[:, :, : grid.length].reshape(last.shape), last)


def _convolved(grid: Grid, x: Tensor, flat: Tensor, out: Tensor) -> tape.Call:
    seen = _Seen(grid, ones=flat.shape[2] - grid.length)
    lanes = list(zip(x.movedim(2, 4).numpy(), flat.mT.numpy(), out.numpy(), strict=True))

    def call() -> None:
        for images, weights, into in lanes:
            np.matmul(seen.of(images), weights, out=into)

    return call


def _of_weights(grid: Grid, given: Tensor, x: Tensor, of_weight: Tensor, of_bias: Tensor) -> tape.Call:
    """The gradients of weights and biases: what windows are given, times what they saw.

    That is copied again: to keep it took no less time, and 0.6 MiB a lane for 1024 windows of 3 x 3 x 16.
    """
    seen = _Seen(grid, ones=of_bias.shape[2])
    product = np.empty((given.shape[2], seen.rows.shape[1]), np.float32)  # its transpose is no faster, and slow to turn
    last = product[:, : grid.length].reshape(-1, *grid.kernel, grid.channels).transpose(0, 3, 1, 2)
    lanes = list(zip(given.mT.numpy(), x.movedim(2, 4).numpy(), of_weight.numpy(), of_bias.numpy(), strict=True))

    def call() -> None:
        for own, images, weights, biases in lanes:
            np.matmul(own, seen.of(images), out=product)
            np.copyto(weights, last)
            np.copyto(biases, product[:, grid.length :])

    return call


class _Seen:
    """Room for what the windows of one lane see, [rows, kh * kw * c], and for a column of ones."""

    def __init__(self, grid: Grid, *, ones: int) -> None:
        (height, width), (below, beside) = grid.size, grid.padding
        padded = np.zeros((grid.images, height + 2 * below, width + 2 * beside, grid.channels), np.float32)
        every = np.lib.stride_tricks.sliding_window_view(padded, grid.kernel, axis=(1, 2))  # [m, h, w, c, kh, kw]
        self._windows = every[:, :: grid.stride[0], :: grid.stride[1]].transpose(0, 1, 2, 4, 5, 3)
        self._inner = padded[:, below : below + height, beside : beside + width]
        self.rows = np.ones((grid.rows, grid.length + ones), np.float32)
        self._places = self.rows[:, : grid.length].reshape(self._windows.shape)

    def of(self, images: np.ndarray) -> np.ndarray:
        """The rows of images [m, h, w, c]; the next call overwrites them."""
        np.copyto(self._inner, images)
        np.copyto(self._places, self._windows)
        return self.rows


def _of_images(grid: Grid, given: Tensor, flat: Tensor, of_x: Tensor) -> tape.Call:
    """The gradients of images: what each window gives, added where it was read."""
    rows, canvas = torch.empty(grid.rows, grid.length), torch.empty(grid.images, *grid.blocks, grid.channels)
    gifts = rows.view(grid.images, *grid.out, *grid.kernel, grid.channels).transpose(2, 3)  # [m, h', kh, w', kw, c]
    spans = list(itertools.product(_spans(grid, 0), _spans(grid, 1)))
    given_by = [gifts[:, y.windows, y.taps, x.windows, x.taps] for y, x in spans]
    covered, whole = bool(spans) and given_by[0].numel() == canvas.numel(), canvas.numel() == of_x[0].numel()
    ways = [Tensor.copy_ if covered and i == 0 else Tensor.add_ for i in range(len(spans))]
    inner = canvas.flatten(3, 4).flatten(1, 2)[:, : grid.size[0], : grid.size[1]]
    lanes = []
    for own, weights, images in zip(given.numpy(), flat.numpy(), of_x.unbind(), strict=True):
        total = images.view(canvas.shape) if whole else canvas
        places = [total[:, y.blocks, y.pixels, x.blocks, x.pixels] for y, x in spans]
        lanes.append((own, weights[:, : grid.length], images, total, list(zip(ways, places, given_by, strict=True))))

    def call() -> None:
        for own, weights, images, total, gains in lanes:
            np.matmul(own, weights, out=rows.numpy())
            if not covered:
                total.zero_()
            for way, place, gift in gains:
                way(place, gift)
            if not whole:
                images.copy_(inner)

    return call


class _Span(NamedTuple):
    """Taps of a kernel that read the block of pixels so many blocks further than their window, along one axis."""

    taps: slice
    pixels: slice  # of a block
    windows: slice
    blocks: slice


def _spans(grid: Grid, axis: int) -> list[_Span]:
    """All taps, those first that windows read in the block of their own number."""
    apart, padding, kernel, out = grid.stride[axis], grid.padding[axis], grid.kernel[axis], grid.out[axis]
    count, spans = grid.blocks[2 * axis], []
    for far in sorted(range(-padding // apart, (kernel - 1 - padding) // apart + 1), key=abs):
        start = padding + far * apart
        taps = slice(max(0, start), min(kernel, start + apart))
        windows = slice(max(0, -far), max(0, min(out, count - far)))
        blocks = slice(windows.start + far, windows.stop + far)
        if windows.start < windows.stop:
            spans.append(_Span(taps, slice(taps.start - start, taps.stop - start), windows, blocks))
    return spans
