"""How do many small steps run without waiting for the host? One is captured as a CUDA graph, then replayed.

A GPU finishes a step of a small network sooner than Python can launch its kernels one by one. Not tried on a GPU yet:
the tests run the same buffers on a CPU, where a recorder of tensor operations stands in for the graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

log = logging.getLogger("tlbench")
WARM_UPS = 2  # real steps before the capture: libraries choose kernels and take workspace in the first ones
LEAST = 16  # steps left for which a capture pays (a guess, not measured)

Step = Callable[[Any], Any]  # state -> state, nested dicts of tensors on one device; writes into nothing
Capture = Callable[[Step, Any], Callable[[], None]]  # step, state -> what does a step and writes it over the state


def replayed(step: Step, state: Any, times: int) -> Any:
    """The state after `times` steps; the given one stays as it is.

    All that changes from step to step must be in the state, the number of the step too; all else that the step reads
    must stay alive and where it is. A step that asks the host for something, or changes the shape or type of its
    state, cannot be captured: then each is launched by itself, and the reason logged.
    """
    device = pytree.tree_leaves(state)[0].device
    if not captures(device) or times < WARM_UPS + LEAST:
        return _looped(step, state, times)
    with GRAPHS[device.type](device) as capture:
        begun = _looped(step, state, WARM_UPS)
        buffers = pytree.tree_map(torch.clone, begun)  # leaves may be views of one another, or of what was given
        del begun  # memory for the graph
        replay = _captured(capture, step, buffers)
        if replay is None:
            return _looped(step, buffers, times - WARM_UPS)
        for _ in range(times - WARM_UPS):
            replay()
    return buffers


@contextmanager
def cuda_graphs(device: torch.device) -> Iterator[Capture]:
    """Inside, all runs on a stream of its own, as torch's notes on CUDA graphs ask; what was begun ends with it."""
    main, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)

    def capture(step: Step, state: Any) -> Callable[[], None]:
        with _waiting_refused():
            step(state)  # a capture that breaks off would leave torch's allocator unable to free what it holds
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            overwrite(step, state)
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


def overwrite(step: Step, state: Any) -> None:
    """One step, written over the state that it is given. Raises RuntimeError where that has another form."""
    after, structure = pytree.tree_flatten(step(state))
    buffers, expected = pytree.tree_flatten(state)
    forms = [[(leaf.shape, leaf.dtype) for leaf in leaves] for leaves in (buffers, after)]
    if (structure, forms[1]) != (expected, forms[0]):
        raise RuntimeError(f"the state changes its form from {expected} {forms[0]} to {structure} {forms[1]}")
    _copy(after, buffers)


@torch.no_grad()
def _copy(leaves: list[Tensor], buffers: list[Tensor]) -> None:
    """Writes leaves over buffers; what looks into a buffer is saved first."""
    places = {buffer.untyped_storage().data_ptr() for buffer in buffers}
    moved = [(buffer, leaf) for buffer, leaf in zip(buffers, leaves, strict=True) if leaf is not buffer]
    saved = [leaf.clone() if leaf.untyped_storage().data_ptr() in places else leaf for _, leaf in moved]
    for (buffer, _), leaf in zip(moved, saved, strict=True):
        buffer.copy_(leaf)


def _looped(step: Step, state: Any, times: int) -> Any:
    for _ in range(times):
        state = step(state)
    return state


def _captured(capture: Capture, step: Step, state: Any) -> Callable[[], None] | None:
    """What does a step again and again; None, with the reason logged, where it cannot be captured."""
    try:
        return capture(step, state)
    except RuntimeError as error:  # memory that runs out is one of them
        reason = str(error).strip().partition("\n")[0]
        log.warning("a step could not be captured as a graph (%s); its kernels are launched one by one", reason)
    return None


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Raises RuntimeError where an operation would make the host wait for the GPU, as far as torch can tell."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
