"""How do lanes that run side by side share one call? vmap's stacked tensors, given to kernels made for them.

torch's own batching rules take some functions apart or send them to slow forms. `Kernels` catches those functions by
name and hands their stacked arguments to functions of this package, which return what torch would, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch as stacks
from torch._functorch.pyfunctorch import VmapInterpreter, retrieve_current_functorch_interpreter
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from tlbench.kernels import attention, convolutions, embeddings, norms, pooling, products

# Stacked arguments -> what torch returns [K, ...]; None where torch may do it.
Kernel = Callable[..., Tensor | None]

KERNELS: dict[Any, Kernel] = {
    attention.attend: attention.attention,
    F.avg_pool2d: pooling.avg_pool2d,
    F.conv2d: convolutions.conv2d,
    F.embedding: embeddings.embedding,
    F.group_norm: norms.group_norm,
    F.layer_norm: norms.layer_norm,
    F.linear: products.linear,
    torch.matmul: products.matmul,
    Tensor.matmul: products.matmul,
    Tensor.__matmul__: products.matmul,
}


class Kernels(TorchFunctionMode):
    """Within it, under one level of vmap, functions that have a kernel run by it."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kernel = KERNELS.get(func)
        out = None if kernel is None else _stacked(kernel, args, kwargs or {})
        return func(*args, **(kwargs or {})) if out is None else out


def _stacked(kernel: Kernel, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """The kernel's answer to unwrapped arguments; None where they are not the lanes of one vmap, or it has none."""
    given = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)]
    levels = {stacks.maybe_get_level(arg) for arg in given if stacks.is_functorch_wrapped_tensor(arg)}
    interpreter = retrieve_current_functorch_interpreter() if len(levels) == 1 else None
    if not isinstance(interpreter, VmapInterpreter) or levels != {interpreter.level()}:
        return None
    first, *others = (_unwrapped(arg) for arg in args)
    if not stacks.is_batchedtensor(args[0]):
        first = first.expand(interpreter.batch_size(), *first.shape)
    named = {name: _unwrapped(arg) for name, arg in kwargs.items()}
    if any(isinstance(arg, Tensor) and stacks.is_functorch_wrapped_tensor(arg) for arg in (first, *others)):
        return None
    with interpreter.lower():
        out = kernel(first, *others, **named)
    return None if out is None else stacks._add_batch_dim(out, 0, interpreter.level())


def _unwrapped(value: Any) -> Any:
    """A stacked tensor [K, ...] for one of vmap's; anything else as it is."""
    if not (isinstance(value, Tensor) and stacks.is_batchedtensor(value)):
        return value
    return stacks.get_unwrapped(value).movedim(stacks.maybe_get_bdim(value), 0)
