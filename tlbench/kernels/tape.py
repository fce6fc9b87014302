"""How does a CPU do the same step again without taking it apart? It is recorded once, as calls that write into memory.

Between two products of small matrices Python, autograd and vmap take longer than the arithmetic does. A tape notes
what torch is asked for beneath them, and plays only that: on the same memory, in the same order, with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

Call = Callable[[], object]
Bind = Callable[..., Call]  # tensors that are read, then tensors that are written -> what writes them


def filled(bind: Bind, given: Sequence[Tensor], into: Sequence[Tensor]) -> None:
    """Does work that torch does not see: `bind(*given, *into)` is called, and what it returns.

    That must write all of `into` from what `given` holds whenever it is called, by whatever library; room that it needs
    on the way is best taken when it is bound. A tape that records binds it again, to the memory that it plays on.
    """
    bind(*given, *into)()
