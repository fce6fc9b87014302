"""How is a small convolution a matrix product? What each window sees is copied into a row; rows times weights.

A lane at a time, so that its rows stay in the cache between the copy and the product. With a bias a row ends in a one,
so that the product adds it and its gradient comes with the weights'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlbench.kernels import products

Pair = tuple[int, int]  # down, across
CHANNELS = 16  # fewer are copied too slowly
BYTES = 2 * 2**20  # of the rows of a lane; more leave the cache, and torch's convolution has more to do than to begin


class Moves(NamedTuple):
    """How a kernel moves over images: what torch's convolutions take after the bias."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def suit(x: Tensor, weight: Tensor, moves: Moves) -> bool:
    """Is this the fastest form of a convolution of x [K, m, c, h, w] with weight [K, o, c, kh, kw]?

    It is where windows hardly overlap (3 x 3 pixels two apart copy each pixel 2.25 times, one apart 9 times), or are so
    few that weights are most of what is read. Never where torch multiplies faster than numpy: it convolves well, too.
    """
    if products.BY_TORCH or moves.groups > 1 or moves.dilation != (1, 1) or x.shape[2] < CHANNELS:
        return False
    grid = Grid.of(x, weight, moves)
    apart = all(k <= 2 * s for k, s in zip(grid.kernel, grid.stride, strict=True))
    return 4 * grid.rows * grid.length <= BYTES and (apart or grid.rows <= weight.shape[1])


class Grid(NamedTuple):
    """Where the windows of one lane lie."""

    images: int
    channels: int  # that a window reads
    padded: Pair  # size of an image
    kernel: Pair
    stride: Pair
    out: Pair  # windows down and across
    inner: tuple[slice, slice]  # the image in its padding

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, moves: Moves) -> Grid:
        kernel, size = (weight.shape[3], weight.shape[4]), (x.shape[3], x.shape[4])
        (down, across), (below, beside) = moves.stride, moves.padding
        padded = size[0] + 2 * below, size[1] + 2 * beside
        out = (padded[0] - kernel[0]) // down + 1, (padded[1] - kernel[1]) // across + 1
        inner = slice(below, below + size[0]), slice(beside, beside + size[1])
        return cls(x.shape[1], x.shape[2], padded, kernel, moves.stride, out, inner)

    @property
    def rows(self) -> int:
        return self.images * self.out[0] * self.out[1]

    @property
    def length(self) -> int:
        """Numbers that a window sees."""
        return self.kernel[0] * self.kernel[1] * self.channels


class Windows(torch.autograd.Function):
    """x [K, m, c, h, w], weight [K, o, c, kh, kw], bias [K, o] or None -> [K, m, o, h', w'], channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, moves: Moves) -> Tensor:
        grid, flat = Grid.of(x, weight, moves), _flat(weight, bias)
        out = x.new_empty(len(x), grid.rows, weight.shape[1])
        lanes = zip(_seen(x, grid, ones=bias is not None), flat.numpy(), out.numpy(), strict=True)
        for rows, weights, into in lanes:
            np.matmul(rows, weights.T, out=into)
        ctx.save_for_backward(x, flat)
        ctx.grid, ctx.biased = grid, bias is not None
        return out.view(len(x), grid.images, *grid.out, -1).movedim(4, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, flat), grid = ctx.saved_tensors, ctx.grid
        given = gradient.movedim(2, 4).reshape(len(x), grid.rows, -1).numpy()
        of_x = _of_images(given, flat, grid) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:3]):
            return of_x, None, None, None
        of_flat = torch.empty_like(flat)
        for rows, own, into in zip(_seen(x, grid, ones=ctx.biased), given, of_flat.numpy(), strict=True):
            np.matmul(own.T, rows, out=into)
        of_weight = of_flat[:, :, : grid.length].unflatten(2, (*grid.kernel, grid.channels)).movedim(4, 2)
        return of_x, of_weight, of_flat[:, :, -1] if ctx.biased else None, None


def _flat(weight: Tensor, bias: Tensor | None) -> Tensor:
    """[K, o, kh * kw * c] from [K, o, c, kh, kw], and a column more for a bias."""
    last = weight.detach().movedim(2, 4)
    flat = weight.new_empty(*last.shape[:2], last[0, 0].numel() + (bias is not None))
    # numpy copies such a transposed array in half of torch's time
    flat.numpy()[:, :, : last[0, 0].numel()].reshape(last.shape)[...] = last.numpy()
    if bias is not None:
        flat[:, :, -1] = bias
    return flat


def _seen(x: Tensor, grid: Grid, *, ones: bool) -> Iterator[np.ndarray]:
    """What the windows of each lane see, [rows, kh * kw * c], and a column of ones; the next lane overwrites it."""
    padded = np.zeros((grid.images, *grid.padded, grid.channels), np.float32)
    rows = np.ones((grid.rows, grid.length + ones), np.float32)
    every = np.lib.stride_tricks.sliding_window_view(padded, grid.kernel, axis=(1, 2))  # [m, h, w, c, kh, kw]
    seen = every[:, :: grid.stride[0], :: grid.stride[1]].transpose(0, 1, 2, 4, 5, 3)
    into = rows[:, : grid.length].reshape(seen.shape)
    for images in x.movedim(2, 4).numpy():
        padded[:, *grid.inner] = images
        into[...] = seen
        yield rows


def _of_images(given: np.ndarray, flat: Tensor, grid: Grid) -> Tensor:
    """The gradient of the images: what each window gives, added where it was read."""
    total = torch.empty(grid.images, *grid.padded, grid.channels)
    rows = torch.empty(grid.rows, grid.length)
    places, inner = list(_places(total, rows, grid)), total[:, *grid.inner]
    out = torch.empty(len(given), *inner.shape)
    for own, weights, into in zip(given, flat.numpy(), out.unbind(), strict=True):
        np.matmul(own, weights[:, : grid.length], out=rows.numpy())
        total.zero_()
        for place, gift in places:
            place.add_(gift)
        into.copy_(inner)
    return out.movedim(4, 2)


def _places(total: Tensor, rows: Tensor, grid: Grid) -> Iterator[tuple[Tensor, Tensor]]:
    """Views of pixels that lie `stride` apart, and of what windows give them; a row's neighbours at once."""
    gifts = rows.view(grid.images, *grid.out, *grid.kernel, grid.channels)
    image, down, across, _ = total.stride()
    strides = image, down * grid.stride[0], across * grid.stride[1], 1
    for y in range(grid.kernel[0]):
        for x in range(0, grid.kernel[1], grid.stride[1]):
            gift = gifts[:, :, :, y, x : x + grid.stride[1]].flatten(3)
            yield total.as_strided(gift.shape, strides, y * down + x * across), gift
