"""Where does recorded work keep what it computes? In one piece of memory, in which places are used again and again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

ALIGNED = 64  # bytes, as torch takes memory on a CPU

Use = tuple[Sequence[int], Sequence[int]]  # places that a call reads, and places that it writes


class Seen(NamedTuple):
    """A tensor that a call was given or made."""

    place: int
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int  # in numbers, from where its memory begins
    tensor: Tensor | None  # itself; None where its memory was let go, since each play fills it anew


def tensors(tree: Any) -> list[Tensor]:
    """Those in nested lists, tuples and dicts."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def place(tensor: Tensor) -> int:
    """A name for its memory: the same for a tensor and its views."""
    return tensor.untyped_storage()._cdata


class Memory:
    """Room for what a sequence of calls writes; memory that is read for the last time is free for what comes after."""

    def __init__(self, sizes: dict[int, int], uses: Sequence[Use], *, kept: Iterable[int]) -> None:
        """`sizes`: bytes of each place. `kept`: places that are read after the last call."""
        self._starts: dict[int, int] = {}
        last = _last(uses) | dict.fromkeys(kept, len(uses))
        gaps = _Gaps()
        for i, (_, writes) in enumerate(uses):
            for each in dict.fromkeys(writes):
                if each not in self._starts:
                    self._starts[each] = gaps.taken(sizes[each])
            for each in [each for each in self._starts if last[each] == i]:
                gaps.give_back(self._starts[each], sizes[each])
        self._room = torch.empty(gaps.end, dtype=torch.uint8).untyped_storage()
        self._moved: dict[tuple, Tensor] = {}

    def moved(self, tree: Any) -> Any:
        """The same tree with tensors in this room for what was seen; what no call writes stays where it is."""
        if isinstance(tree, Seen):
            return self._tensor(tree)
        if isinstance(tree, dict):
            return {name: self.moved(part) for name, part in tree.items()}
        return type(tree)(map(self.moved, tree)) if type(tree) in (list, tuple) else tree

    def _tensor(self, seen: Seen) -> Tensor:
        start = self._starts.get(seen.place)
        if start is None:
            assert seen.tensor is not None, "memory that no call writes is held"
            return seen.tensor.detach()
        where = start, *seen[1:5]
        if where not in self._moved:
            empty = torch.empty(0, dtype=seen.dtype)
            offset = start // empty.element_size() + seen.offset
            self._moved[where] = empty.set_(self._room, offset, seen.shape, seen.stride)
        return self._moved[where]


class _Gaps:
    """Free memory between what is in use, each piece from a start to an end."""

    def __init__(self) -> None:
        self.end = 0
        self._free: dict[int, int] = {}

    def taken(self, size: int) -> int:
        """Where so many bytes are free from now on not; in the smallest gap that holds them."""
        size = _rounded(size)
        fitting = [(end - start, start) for start, end in self._free.items() if end - start >= size]
        if not fitting:
            self.end += size
            return self.end - size
        length, start = min(fitting)
        del self._free[start]
        if length > size:
            self._free[start + size] = start + length
        return start

    def give_back(self, start: int, size: int) -> None:
        end = start + _rounded(size)
        end = self._free.pop(end, end)
        before = next((own for own, until in self._free.items() if until == start), start)
        self._free[before] = end


def _rounded(size: int) -> int:
    return max(ALIGNED, -(-size // ALIGNED) * ALIGNED)


def _last(uses: Sequence[Use]) -> dict[int, int]:
    """The number of the last call that touches each place."""
    return {each: i for i, (reads, writes) in enumerate(uses) for each in (*reads, *writes)}
