"""A stand-in for CUDA graphs on a CPU: tensor operations are recorded once and done again on the same memory.

As with a graph, only tensor operations come back: a number that Python counted stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tlbench.replay import overwrite


@contextmanager
def recordings(device: torch.device) -> Iterator[Callable]:
    assert device.type == "cpu"
    yield recorded


def recorded(step: Callable[[Any], Any], state: Any) -> Callable[[], None]:
    """What does the step's tensor operations again; the step itself is undone, since a capture does nothing."""
    with Recorder() as recorder:
        overwrite(step, state)
    for tensor, before in recorder.before.values():
        tensor.copy_(before)
    return recorder.replay


class Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # what work writes over, and its values before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in written(func, args, kwargs):
            self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        out = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, out))
        return out

    def replay(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():  # gradients were recorded as operations
            for func, args, kwargs, out in self.operations:
                given = {each.untyped_storage().data_ptr() for each in tensors((args, kwargs))}
                for old, new in zip(tensors(out), tensors(func(*args, **kwargs)), strict=True):
                    if old.untyped_storage().data_ptr() not in given:  # not a view, not written in place
                        old.copy_(new)


def written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that an operation writes over."""
    arguments = enumerate(func._schema.arguments)
    over = [(i, each.name) for i, each in arguments if each.alias_info and each.alias_info.is_write]
    chosen = [args[i] if i < len(args) else kwargs.get(name) for i, name in over]
    return tensors(chosen)


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
