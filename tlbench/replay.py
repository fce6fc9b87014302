"""How do many small steps run without waiting for the host? One is captured as a CUDA graph, then replayed.

A GPU finishes a step of a small network sooner than Python can launch its kernels one by one. Not tried on a GPU yet:
the tests run the same buffers on a CPU, where a recorder of tensor operations stands in for the graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

log = logging.getLogger("tlbench")
WARM_UPS = 3  # real steps before the capture: libraries choose kernels and take workspace in the first ones
LEAST = 16  # steps left for which a capture pays (a guess, not measured)

Step = Callable[[Any], Any]  # state -> state, nested dicts of tensors on one device
Capture = Callable[[Callable[[], None]], Callable[[], None]]  # work, not done -> what does it


def replayed(step: Step, state: Any, times: int) -> Any:
    """The state after `times` steps. The given state is not written to, even by a step that works in place.

    All that changes from step to step must be in the state, the number of the step too; all else that the step reads
    must stay alive and where it is. Where a device can capture, a step may neither ask the host for anything nor change
    the shape or type of its state: then each step is launched by itself, and the reason logged. Memory that runs out
    before the capture is raised.
    """
    device = pytree.tree_leaves(state)[0].device
    if not captures(device) or times < WARM_UPS + LEAST:
        return _looped(step, pytree.tree_map(torch.clone, state), times)
    with GRAPHS[device.type](device) as capture:
        state = _looped(step, pytree.tree_map(torch.clone, state), WARM_UPS)
        state = pytree.tree_map(torch.clone, state)  # buffers of their own: leaves may be views of one another
        replay = _captured(capture, partial(_moved, step, state))
        if replay is None:
            return _looped(step, state, times - WARM_UPS)
        for _ in range(times - WARM_UPS):
            replay()
    return state


@contextmanager
def cuda_graphs(device: torch.device) -> Iterator[Capture]:
    """Inside, all runs on a stream of its own, as torch's notes on CUDA graphs ask; what was begun ends with it."""
    main, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            work()
        return graph.replay

    aside.wait_stream(main)
    try:
        with torch.cuda.device(device), torch.cuda.stream(aside):
            yield capture
    finally:
        aside.synchronize()  # the graph's memory and the data it reads may go from here on


GRAPHS: dict[str, Callable[[torch.device], AbstractContextManager[Capture]]] = {"cuda": cuda_graphs}  # by device type


def captures(device: torch.device) -> bool:
    """Can steps be replayed there?"""
    return device.type in GRAPHS


def _looped(step: Step, state: Any, times: int) -> Any:
    for _ in range(times):
        state = step(state)
    return state


def _captured(capture: Capture, work: Callable[[], None]) -> Callable[[], None] | None:
    """What does the work again and again; None, with the reason logged, where it cannot be captured."""
    try:
        return capture(work)
    except RuntimeError as error:  # memory that runs out is one of them
        reason = str(error).strip().partition("\n")[0]
        log.warning("a step could not be captured as a graph (%s); its kernels are launched one by one", reason)
    return None


@torch.no_grad()
def _written(buffers: list[Tensor], after: list[Tensor]) -> None:
    """Copies a step's outcome over its input; outcomes that look into the buffers are saved first."""
    for buffer, leaf in zip(buffers, after, strict=True):
        if (buffer.shape, buffer.dtype) != (leaf.shape, leaf.dtype):
            was, now = (f"{each.dtype} {tuple(each.shape)}" for each in (buffer, leaf))
            raise RuntimeError(f"the step makes {now} of {was}")
    places = {buffer.untyped_storage().data_ptr() for buffer in buffers}
    moved = [(buffer, leaf) for buffer, leaf in zip(buffers, after, strict=True) if leaf is not buffer]
    saved = [leaf.clone() if leaf.untyped_storage().data_ptr() in places else leaf for _, leaf in moved]
    for (buffer, _), leaf in zip(moved, saved, strict=True):
        buffer.copy_(leaf)


def _moved(step: Step, state: Any) -> None:
    """One step, written over the state that it is given."""
    after, structure = pytree.tree_flatten(step(state))
    buffers, expected = pytree.tree_flatten(state)
    if structure != expected:
        raise RuntimeError(f"the step makes {structure} of {expected}")
    _written(buffers, after)
