"""How many lanes fit into a GPU's memory? Two are tried, and the most that they took is measured.

A measurement, unlike the rule for a CPU: what runs on a GPU is promised to come out alike up to rounding only. Not
tried on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch.utils import _pytree as pytree

from tlbench.engine import Pack

SHARE = 0.8  # of the free memory that lanes may fill; the rest is lost between blocks of unequal sizes (a guess)
STATE_COPIES = 2  # that a replayed step holds beside what a plain one does


class Memory(Protocol):
    """A device's memory, in bytes."""

    def free(self) -> int: ...

    def peak(self, work: Callable[[], None]) -> int:
        """The most that was taken while working, beside what was taken before."""


class CudaMemory:
    """As torch's allocator sees it: what it has set aside and does not use is free."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def free(self) -> int:
        idle = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + idle

    def peak(self, work: Callable[[], None]) -> int:
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        work()
        return torch.cuda.max_memory_allocated(self.device) - before


def fitting(pack: Pack, memory: Memory, *, most: int) -> int:
    """How many of a pack's lanes to run at once, at most `most`; two are begun in a pack of their own to find out."""
    if len(pack.lanes) == 1:
        return 1
    tried = Pack(pack.strategy, pack.network, pack.lanes[:2], steps=pack.steps, batch_size=pack.batch_size)
    tried.width, free = 2, memory.free()
    taken = memory.peak(lambda: _begun(tried))
    if tried.width < 2:
        return 1  # memory ran out on the way
    state = sum(leaf.nbytes for leaf in pytree.tree_leaves(tried.states[0]))
    return max(1, min(most, int(SHARE * free) // max(1, taken // 2 + STATE_COPIES * state)))


def _begun(pack: Pack) -> None:
    pack.start()
    pack.advance(1)
