"""Are two results of a strategy the same, and has a result the right form? The comparisons that laws are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tlbench import rng
from tlbench.contract_toy import CLASSES
from tlbench.contract_words import KEYS, Broken
from tlbench.strategies.base import State
from tlbench.strategies.modules import Drawn

COMPANY = 1e-3  # relative to the largest logit, after few steps; training amplifies rounding


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest |a| or 1; infinite where one has numbers and the other none."""
    if not torch.equal(torch.isfinite(a), torch.isfinite(b)):
        return float("inf")
    a, b = (torch.nan_to_num(each.detach().double(), 0.0, 0.0, 0.0) for each in (a, b))
    return float((a - b).abs().max() / max(1.0, float(a.abs().max())))


def same(a: Any, b: Any) -> bool:
    """The same tree with the same bits."""
    (ours, form), (theirs, other) = pytree.tree_flatten(a), pytree.tree_flatten(b)
    return form == other and all(_bits(x, y) for x, y in zip(ours, theirs, strict=True))


def check_tree(where: str, state: State) -> None:
    """Raises Broken unless it is a nested dict of detached tensors."""
    leaves = pytree.tree_leaves(state)
    if not isinstance(state, dict) or not leaves:
        raise Broken(f"{where} returned {type(state).__name__} without a tensor; a state is a nested dict of tensors")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise Broken(f"{where} put {leaf!r} of type {type(leaf).__name__} into the state; make it a tensor")
        if leaf.requires_grad:
            raise Broken(f"{where} returned a tensor that requires grad; detach it, gradients end with their step")


def check_form(before: State, after: State) -> None:
    """Raises Broken unless keys, shapes and types are the same."""
    old, new = _form(before), _form(after)
    if old != new:
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        said = "; ".join(f"{key}: {old.get(key, 'absent')} became {new.get(key, 'absent')}" for key in sorted(changed))
        raise Broken(f"step changed the form of the state ({said}); keep its keys, shapes and types")


def check_logits(logits: Any, rows: int, *, finite: bool) -> None:
    """Raises Broken unless they are detached float32 [m, C], and finite where that is asked."""
    expected = f"logits are float32 [m, num_classes], here {[rows, CLASSES]}"
    if not isinstance(logits, Tensor):
        raise Broken(f"predict returned {type(logits).__name__}; {expected}")
    if tuple(logits.shape) != (rows, CLASSES):
        raise Broken(f"predict returned shape {list(logits.shape)}; {expected}")
    if logits.dtype != torch.float32:
        raise Broken(f"predict returned {logits.dtype}; {expected}: end with .float()")
    if logits.requires_grad:
        raise Broken("predict returned logits that require grad; detach them")
    if finite and not torch.isfinite(logits).all():
        raise Broken("predict returned NaN or infinity at the default: look for log(0), 0/0 or too large a default lr")


def check_company(how: str, alone: Sequence[Tensor], company: Sequence[Tensor]) -> None:
    """Raises Broken where a lane's logits are not those that it has alone."""
    worst = max(distance(a, b) for a, b in zip(alone, company, strict=True))
    if worst > COMPANY:
        raise Broken(
            f"{how}, a lane's logits differ from those alone by {worst:.2g}: between calls keep nothing in `self`, in "
            "a module's buffers or in global variables; put it into the state"
        )


def pure(name: str, call: Callable[[], Any], inputs: Mapping[str, Any]) -> Any:
    """What the call returns. Raises Broken where it changes an input, draws from torch's generator, or varies."""
    before, generator = copied(inputs), torch.get_rng_state()
    first = call()
    check_generator(name, generator)
    second = call()
    for key, value in inputs.items():
        if not same(before[key], value):
            raise Broken(f"{name} writes into its input `{key}`: never write in place; build a new tensor (x + ...)")
    if not same(first, second):
        raise Broken(f"two equal calls of {name} differ: keep nothing in `self`, and {KEYS}")
    return first


def check_generator(name: str, before: Tensor) -> None:
    """Raises Broken where torch's own generator is not as it was."""
    if not torch.equal(before, torch.get_rng_state()):
        raise Broken(f"{name} uses torch's global random numbers (torch.rand, nn.Dropout, torch.manual_seed); {KEYS}")


def check_module(make: Callable[[], nn.Module], tail: nn.Module) -> nn.Module:
    """The module. Raises Broken where it, or its first values, depend on torch's global random numbers."""
    with rng.ambient(1):
        module = make()
    with rng.ambient(2):
        again = make()
    if _dropouts(module) > _dropouts(tail):
        raise Broken(f"nn.Dropout does nothing here, since modules run in eval mode; {KEYS}")
    for (name, a), b in zip(module.named_parameters(), again.parameters(), strict=True):
        if not isinstance(a, Drawn) and not torch.equal(a, b):
            raise Broken(
                f"`{name}` starts from torch's global random numbers, alike for every seed: wrap the new layer in "
                "tlbench.strategies.modules.fresh(...), so that each lane draws by its key"
            )
    if not any(p.requires_grad for p in module.parameters()):
        raise Broken("nothing in the module requires grad, so nothing trains; see thawed and Classifier in modules.py")
    return module


def copied(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, tree)


def saved_and_loaded(state: State) -> State:
    """The state after a way through bytes."""
    leaves, form = pytree.tree_flatten(state)
    data = save({str(i): leaf.clone(memory_format=torch.contiguous_format) for i, leaf in enumerate(leaves)})
    kept = load(data)
    return pytree.tree_unflatten([kept[str(i)] for i in range(len(leaves))], form)


def _bits(x: Any, y: Any) -> bool:
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        return x is y or x == y
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    return bool(torch.equal(torch.nan_to_num(x), torch.nan_to_num(y)) and torch.equal(x.isnan(), y.isnan()))


def _form(state: State) -> dict[str, str]:
    leaves, _ = pytree.tree_flatten_with_path(state)
    return {pytree.keystr(path): f"{leaf.dtype} {list(leaf.shape)}" for path, leaf in leaves}


def _dropouts(module: nn.Module) -> int:
    return sum(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in module.modules())
