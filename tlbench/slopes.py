"""How does a step of stacked lanes get its gradient? Worked out by torch, until a tape has learnt to play the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from tlbench.kernels.tape import Recording, Unrecordable, recorded

log = logging.getLogger("tlbench")
LEAST = 12  # steps for which a recording pays: it takes as long as two or three more

Read = dict[str, Any]  # a tree of tensors: all that steps read and that is not the same for all packs
Slope = tuple[list[Tensor], dict[str, Tensor]]  # gradients [K, ...], and the buffers after a step
Work = Callable[[Read], Slope]


class Slopes:
    """The gradients of one step after the other."""

    def __init__(self, work: Work, read: Read, *, taped: bool = False) -> None:
        """`read`: as `work` is given it, with the buffers under ["state"]["buffers"], but without the minibatch.

        Where `taped`, steps go on in memory of their own and are recorded, if they can be.
        """
        self.read = pytree.tree_map(torch.clone, read) if taped else read
        self.taped, self.played = taped, False
        self._slope: Callable[[], Slope] = partial(self._recorded, work) if taped else partial(work, read)

    def begin(self, read: Read) -> None:
        """Goes on with other values of the same shapes."""
        _copy(read, {name: self.read[name] for name in read})

    def of(self, batches: Any) -> list[Tensor]:
        """The gradients for these minibatches, until the next ones are asked for; buffers are moved on."""
        if self.taped and "batches" in self.read:
            _copy(batches, self.read["batches"])
        else:
            self.read["batches"] = pytree.tree_map(torch.clone, batches) if self.taped else batches
        gradients, buffers = self._slope()
        _copy(buffers, self.read["state"]["buffers"])
        return gradients

    def _recorded(self, work: Work) -> Slope:
        try:
            slope, recording = recorded(partial(work, self.read), self.read)
        except Unrecordable as reason:
            log.info("each step is worked out by torch, because it cannot be recorded: %s", reason)
            self._slope = partial(work, self.read)
            return self._slope()
        self._slope = partial(self._checked, work, recording)
        return slope

    def _checked(self, work: Work, recording: Recording) -> Slope:
        """Worked out once more. The recording is played from now on if it gives the same, bit for bit."""
        slope = work(self.read)
        self.played = _same(slope, recording.play())
        self._slope = recording.play if self.played else partial(work, self.read)
        if not self.played:
            log.warning("each step is worked out by torch, because a recorded one gave something else")
        return slope


class Tapes:
    """The latest slopes of lanes that share a network; each holds the memory of a step."""

    def __init__(self) -> None:
        self._latest: tuple[Hashable, Slopes] | None = None

    def begun(self, name: Hashable, work: Work, read: Read) -> Slopes:
        """Slopes under this name: the latest ones, where the shapes of what they read were the same."""
        leaves, structure = pytree.tree_flatten(read)
        key = name, str(structure), *((leaf.shape, leaf.dtype) for leaf in leaves)
        if self._latest is not None and self._latest[0] == key:
            self._latest[1].begin(read)
        else:
            self._latest = None  # its memory is free for the next
            self._latest = key, Slopes(work, read, taped=True)
        return self._latest[1]


@torch.no_grad()
def _copy(tree: Any, into: Any) -> None:
    for leaf, buffer in zip(pytree.tree_leaves(tree), pytree.tree_leaves(into), strict=True):
        buffer.copy_(leaf)


def _same(tree: Any, other: Any) -> bool:
    pairs = zip(pytree.tree_leaves(tree), pytree.tree_leaves(other), strict=True)
    return all(torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8)) for a, b in pairs)
