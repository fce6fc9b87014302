"""How does a CPU do the same step again without taking it apart? It is recorded once, as calls that write into memory.

Between two products of small matrices Python, autograd and vmap take longer than the arithmetic does. A tape notes
what torch is asked for beneath them, and plays only that: on memory laid out once, in the same order, with the same
bits. What a CUDA graph is to a GPU; see tape_memory.py for the layout.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from tlbench.kernels.tape_memory import Memory, Seen, place, tensors

Call = Callable[[], object]
Bind = Callable[..., Call]  # tensors that are read, then tensors that are written -> what writes them

REFUSED = (torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
MASKS = (torch.bool, torch.uint8)
EMPTY = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::new_empty_strided"}
_recording: list[Tape] = []


class Unrecordable(Exception):
    """Why work cannot be played from a tape."""


def filled(bind: Bind, given: Sequence[Tensor], into: Sequence[Tensor]) -> None:
    """Does work that torch does not see: `bind(*given, *into)` is called, and what it returns.

    That must write all of `into` from what `given` holds whenever it is called, by whatever library; room that it needs
    on the way is best taken when it is bound. A tape that records binds it again, to the memory that it plays on.
    """
    if not _recording:
        bind(*given, *into)()
    else:
        _recording[-1].fill(bind, given, into)


def recorded(work: Callable[[], Any], inputs: Any) -> tuple[Any, Recording]:
    """What the work gives, and how to do it again for what the tensors of a tree of inputs hold then.

    All that varies from one time to the next must be in them. Raises Unrecordable where a result depends on chance or
    on a number that is read, where memory of others is written to, and for what is no plain tensor on a CPU.
    """
    with Tape(tensors(inputs)) as tape:
        first = work()
    notes = tape.varying()
    memory = Memory(tape.sizes, [(n.reads, n.writes) for n in notes], kept=map(place, tensors(first)))
    calls = [n.bind(*memory.moved((n.args, n.kwargs, n.out))) for n in notes]
    return first, Recording(calls, memory.moved(tape.seen(first)))


class Recording:
    """Work as calls that write into memory."""

    def __init__(self, calls: Sequence[Call], out: Any) -> None:
        """`out`: the tree of tensors that they fill."""
        self._calls, self._out = calls, out

    def play(self) -> Any:
        """What the work gives now, in memory that the next play overwrites."""
        with torch.inference_mode():
            for call in self._calls:
                call()
        return self._out


class Note(NamedTuple):
    """A call, with what was seen in the place of tensors."""

    bind: Callable[[Sequence[Any], dict[str, Any], Any], Call]  # of its arguments and of what came out
    args: Sequence[Any]
    kwargs: dict[str, Any]
    out: Any
    reads: list[int]  # places of memory
    writes: list[int]


class Tape(TorchDispatchMode):
    """Notes what fills memory while it is entered."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}  # bytes of memory that was taken, by place
        self._places = {place(tensor) for tensor in inputs}  # what depends on inputs, as far as is known
        self._notes: list[Note] = []
        self._names: list[StorageWeakRef] = []  # no place is named twice, though its memory may be let go
        self._paused = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keeps torch from wrapping the next methods for its compiler, whose import takes seconds."""
        return False

    def __enter__(self) -> Tape:
        _recording.append(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _recording.remove(self)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self._paused:
            self._see(func, args, kwargs or {}, out)
        return out

    def fill(self, bind: Bind, given: Sequence[Tensor], into: Sequence[Tensor]) -> None:
        """Notes work that torch does not see, and does it."""
        self._paused = True
        try:
            bind(*given, *into)()
        finally:
            self._paused = False
        self._note(lambda args, *_: bind(*args), ((*given, *into), {}, None), reads=given, writes=into)

    def varying(self) -> list[Note]:
        """The notes whose outcome depends on inputs, and all that write into the same memory."""
        if any(not self.sizes.keys() >= set(note.writes) for note in self._notes):
            raise Unrecordable("it writes into memory that it did not take")
        before = -1
        while len(self._places) > before:
            before = len(self._places)
            for note in self._notes:
                if not self._places.isdisjoint((*note.reads, *note.writes)):
                    self._places.update(note.writes)
        return [note for note in self._notes if not self._places.isdisjoint(note.writes)]

    def seen(self, tree: Any) -> Any:
        """The same tree with what is known of its tensors in their place."""
        if isinstance(tree, Tensor):
            where = place(tree)
            held = None if where in self._places and where in self.sizes else tree
            return Seen(where, tree.dtype, tree.shape, tree.stride(), int(tree.storage_offset()), held)
        if isinstance(tree, dict):
            return {name: self.seen(part) for name, part in tree.items()}
        return type(tree)(map(self.seen, tree)) if type(tree) in (list, tuple) else tree

    def _see(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        given, made = tensors([args, kwargs]), tensors(out)
        if _varies(func, given) or not all(map(_plain, (*given, *made))):
            raise Unrecordable(f"it asks for {func}")
        before = set(_places(given))
        new = [tensor for tensor in made if place(tensor) not in before]
        self._names += [StorageWeakRef(tensor.untyped_storage()) for tensor in new]
        self.sizes |= {place(tensor): tensor.untyped_storage().nbytes() for tensor in new}
        written = _written(func, args, kwargs)
        if func._schema.name in EMPTY or not (new or written):
            return
        if new and len(new) < len(made):
            raise Unrecordable(f"{func} gives a view and more")
        call = args, kwargs, out if new else None
        self._note(functools.partial(_bound, func), call, reads=given, writes=(*new, *written))

    def _note(self, bind: Callable, call: tuple, *, reads: Sequence[Tensor], writes: Sequence[Tensor]) -> None:
        places = _places(reads), _places(writes)
        if not self._places.isdisjoint((*places[0], *places[1])):
            self._places.update(places[1])
        args, kwargs, out = map(self.seen, call)
        self._notes.append(Note(bind, args, kwargs, out, *places))


def _places(given: Sequence[Tensor]) -> list[int]:
    return [place(tensor) for tensor in given]


def _bound(func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> Call:
    """What does it again, into what came out of it."""
    into, variant = tensors(out), _out_variant(func)
    if not into:
        return functools.partial(func, *args, **kwargs)
    if variant is not None and len(variant.names) == len(into):
        return functools.partial(variant.func, *args, **kwargs, **dict(zip(variant.names, into, strict=True)))
    return functools.partial(_copied, functools.partial(func, *args, **kwargs), into)


def _copied(call: Call, into: Sequence[Tensor]) -> None:
    for buffer, tensor in zip(into, tensors(call()), strict=True):
        buffer.copy_(tensor)


class _Variant(NamedTuple):
    func: Any
    names: list[str]  # of the arguments that it writes to


@functools.cache
def _out_variant(func: Any) -> _Variant | None:
    """The same operation, writing into memory that it is given; None where torch has none."""
    if func._schema.is_mutable:
        return None
    asked = [(a.name, str(a.type)) for a in func._schema.arguments]
    for name in func._overloadpacket.overloads():
        variant = getattr(func._overloadpacket, name)
        taken = [(a.name, str(a.type)) for a in variant._schema.arguments if not a.is_out]
        names = [a.name for a in variant._schema.arguments if a.is_out]
        if names and taken == asked:
            return _Variant(variant, names)
    return None


def _written(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors among its arguments that it changes."""
    if func is torch.ops.aten.native_batch_norm.default:  # the running statistics; its schema does not say so
        return tensors(args[3:5])
    if not func._schema.is_mutable:
        return []
    given = {a.name: value for a, value in zip(func._schema.arguments, args, strict=False)} | kwargs
    changed = {a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write}
    return tensors([value for name, value in given.items() if name in changed])


def _varies(func: Any, given: Sequence[Tensor]) -> bool:
    """Does chance decide what it gives, or what it is given decide the shape of that?"""
    if func is torch.ops.aten.index.Tensor and not any(tensor.dtype in MASKS for tensor in given):
        return False
    return any(tag in func.tags for tag in REFUSED)


def _plain(tensor: Tensor) -> bool:
    kind = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.is_cpu and tensor.layout == torch.strided
    return kind and not tensor.is_conj() and not tensor.is_neg()
