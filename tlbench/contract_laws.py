"""Which laws must a strategy keep? Each is tried on toy lanes; a broken one says what to change."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tlbench import contract_compare as compare
from tlbench import contract_watch, rng, space
from tlbench.contract_toy import CLASSES, TRAIN_ROWS, Toy
from tlbench.contract_words import LABELS, Broken, Finding, Note, translated
from tlbench.engine import Lane, Pack
from tlbench.strategies.base import Strategy
from tlbench.strategies.gradient import GradientStrategy

UNUSUAL = 0x5EA1  # a state of torch's generator that no plug-in is likely to set it to
RESUME = "all that step and predict need belongs in the state, nothing in `self` or in global variables"
PADDING = OWN_ROW = 1e-4  # relative to the largest logit
DECADES = 2.5  # of learning rate (PROTOCOL 3)
LEARN_STEPS, LEARN_ROWS = 60, 40


def judged(law: str, toy: Toy) -> Finding:
    """What trying one law comes to; an error inside the strategy breaks it."""
    name = toy.make.name
    try:
        with rng.ambient(UNUSUAL):
            said = LAWS[law](toy)
    except Broken as broken:
        return Finding(name, law, "broken", str(broken))
    except Exception as error:
        return Finding(name, law, "broken", translated(error, toy.make.__module__))
    return Finding(name, law, "note" if isinstance(said, Note) else "kept", said)


def entry(toy: Toy) -> str:
    """It has a name, a docstring, a space that makes sense and taps that exist, and asks for `step` to be called."""
    cls = toy.make
    if not (cls.__dict__.get("__doc__") or "").strip():
        raise Broken("the class has no docstring: say what it does, from which paper, and where its defaults come from")
    space.validated(toy.space, owner=cls.name)
    lr = toy.space.get("lr")
    if isinstance(lr, space.Float) and not (lr.low > 0 and math.log10(lr.high / lr.low) >= DECADES - 1e-9):
        raise Broken(f"lr spans {lr.low} to {lr.high}; widen it to at least {DECADES} decades, on a log scale")
    strategy = cls()
    if cls.step is not Strategy.step and not cls.trains:
        raise Broken("`step` is written but never called: set `trains = True`")
    reason = strategy.skip(toy.shape)
    if reason is not None:
        raise Broken(f"it skips the task of the check ({toy.shape}), so nothing can be checked: {reason}")
    for hp in toy.corners():
        toy.network(hp)
    return ""


def shapes(toy: Toy) -> str:
    """States are trees of tensors that keep structure, shapes and types; logits are finite float32 [m, C]."""
    one = toy.single()
    state = one.init()
    compare.check_tree("init", state)
    for number in range(3 if one.strategy.trains else 0):
        after = one.step(state, number)
        compare.check_tree("step", after)
        compare.check_form(state, after)
        state = after
    compare.check_logits(one.predict(state, toy.x), len(toy.x), finite=True)
    trainable, total = one.strategy.parameters(one.task, one.hp)
    if not 0 <= trainable <= total:
        raise Broken(f"parameters() returned {trainable} trainable of {total} in all; trainable is at most total")
    return ""


def purity(toy: Toy) -> str:
    """Calls leave inputs and torch's generator alone, and the same call gives the same bits."""
    generator = torch.get_rng_state()
    one = toy.single()
    compare.check_generator("prepare", generator)
    task = one.task
    inputs: dict[str, Any] = {f"task.{name}": getattr(task, name) for name in ("x", "y", "weight")}
    inputs |= {"task.tail": task.tail.state_dict(), "task.scratch": task.scratch.state_dict()}
    inputs |= {"hp": one.hp, "key": one.key}
    state = compare.pure("init", one.init, inputs)
    for number in range(3 if one.strategy.trains else 0):
        state = compare.pure("step", partial(one.step, state, number), inputs | {"state": state})
    compare.pure("predict", partial(one.predict, state, toy.x), inputs | {"state": state, "x": toy.x})
    if any(p.requires_grad for p in (*task.tail.parameters(), *task.scratch.parameters())):
        raise Broken("the shared network was set to train: work on a copy, thawed(task.tail) or frozen(task.tail)")
    return ""


def company(toy: Toy) -> str:
    """A lane's result does not depend on its company: alone, fused, reordered, with lanes dropped and admitted."""
    of = toy.lanes(4)
    alone = _logits(toy, _run(toy.pack(of, width=1), 3))
    try:
        compare.check_company("fused with others", alone, _logits(toy, _run(toy.pack(of), 3)))
        compare.check_company("in another order", alone[::-1], _logits(toy, _run(toy.pack(of[::-1]), 3)))
        compare.check_company("with fewer others", alone[1:3], _logits(toy, _run(toy.pack(of[1:3]), 3)))
        whole, first, late = _run(toy.pack(of), 4), _run(toy.pack(of[:3]), 2), _run(toy.pack(of[3:]), 0)
        first.keep([0, 2])
        first.admit(late)
        first.advance(4)
        expected = _logits(toy, whole)
        compare.check_company("with lanes dropped and admitted", [expected[i] for i in (0, 2, 3)], _logits(toy, first))
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"lanes run alone, but not fused: {translated(error, toy.make.__module__)}") from error
    return "" if toy.make.fusible else Note("lanes run one by one, as it declares (fusible = False)")


def padding(toy: Toy) -> str:
    """Rows of weight 0 change nothing."""
    one = toy.single()
    more = one.padded(5)
    plain, padded = (each.predict(each.trained(4), toy.x) for each in (one, more))
    change = compare.distance(plain, padded)
    if change > PADDING:
        raise Broken(
            f"5 more rows of weight 0 change logits by {change:.2g}: multiply losses, sums and counts by task.weight, "
            "and draw rows of weight > 0 only (tlbench.strategies.gradient.minibatch does)"
        )
    return ""


def own_row(toy: Toy) -> str:
    """A row's logits do not depend on the other rows that are predicted with it."""
    one = toy.single()
    state = one.trained(3)
    together, apart = one.predict(state, toy.x), one.predict(state, toy.x[:3])
    if compare.distance(together[:3], apart) > OWN_ROW:
        return Note("a row's logits depend on the other test rows: it will be marked transductive and ranked apart")
    return ""


def resume(toy: Toy) -> str:
    """Training on from a saved state, in a new object, gives the same bits as training in one go."""
    of = toy.lanes(1)
    whole, half, second = _run(toy.pack(of), 6), _run(toy.pack(of), 3), toy.pack(of)
    second.states, second.done = [compare.saved_and_loaded(half.states[0])], [3]
    try:
        second.advance(6)
        continued = _logits(toy, second)[0]
    except Exception as error:
        raise Broken(f"{RESUME}, and a new object fails: {translated(error, toy.make.__module__)}") from error
    if not compare.same(_logits(toy, whole)[0], continued):
        raise Broken(f"{RESUME}, and 6 steps in one go differ from 3 + 3 through a saved state and a new object")
    return ""


def corners(toy: Toy) -> str:
    """Every end of the search space can be started, stepped and predicted from."""
    for hp in toy.corners():
        try:
            one = toy.single(hp)
            x = toy.network(hp).bank[:4]
            compare.check_logits(one.predict(one.trained(2), x), 4, finite=False)
        except Exception as error:
            said = str(error) if isinstance(error, Broken) else translated(error, toy.make.__module__)
            raise Broken(f"at {hp}: {said}; mend it or narrow the space") from error
    return ""


def learning(toy: Toy) -> str:
    """On a separable task the default is well above chance on rows it has not seen."""
    rows = torch.arange(LEARN_ROWS)
    lane = Lane(toy.defaults, rows, toy.y[:LEARN_ROWS], seed=0)
    pack = _run(toy.pack([lane], steps=LEARN_STEPS, batch=TRAIN_ROWS), LEARN_STEPS)
    logits = pack.predict(toy.network(toy.defaults).bank[LEARN_ROWS:])[0]
    right = float((logits.argmax(1) == toy.y[LEARN_ROWS:]).float().mean())
    if right > 2 / CLASSES:
        return f"{right:.0%} of unseen rows right after {LEARN_STEPS} steps, chance is {1 / CLASSES:.0%}"
    if not toy.make.trains and compare.distance(logits, logits[:1].expand_as(logits)) < 1e-6:
        return Note("logits do not depend on x: it learns nothing and can only be a floor")
    raise Broken(
        f"it learns nothing: {right:.0%} of unseen rows of a separable task right after {LEARN_STEPS} steps, chance is "
        f"{1 / CLASSES:.0%}; look at the default learning rate, the sign of the loss and what requires_grad"
    )


def seeds(toy: Toy) -> str:
    """Says whether the key matters."""
    one, other = (toy.single(seed=seed) for seed in (1, 2))
    same = compare.same(*(each.predict(each.trained(3), toy.x) for each in (one, other)))
    return "deterministic: the seed changes which rows are drawn, nothing else" if same else "results vary with the key"


def frozen(toy: Toy) -> str:
    """What a module does not declare as trained stays as it is, and the state holds just what trains."""
    strategy, one = toy.make(), toy.single()
    if not isinstance(strategy, GradientStrategy):
        return ""
    static = space.static(toy.space, toy.defaults)
    module = compare.check_module(lambda: strategy.module(one.task, static), one.task.tail)
    vars(strategy)["module"] = lambda task, hp: module
    before = compare.copied(dict(module.named_parameters()))
    one = one._replace(strategy=strategy)
    state = one.trained(3)
    one.predict(state, toy.x)
    changed = [name for name, p in module.named_parameters() if not compare.same(before[name], p.detach())]
    if changed:
        raise Broken(f"training writes into the module itself ({changed[0]}): `forward` must not change parameters")
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    if state["theta"].numel() != trained:
        raise Broken(f"the state trains {state['theta'].numel()} numbers, the module declares {trained}")
    return f"{trained} numbers train"


def labels(toy: Toy) -> str:
    """Nothing reached for labels, scores or the network while the other laws were tried."""
    if contract_watch.tripped():
        raise Broken(f"{', '.join(contract_watch.tripped())}: {LABELS}; remove it")
    return "no reach for labels was seen (a tripwire, not a wall)"


LAWS: dict[str, Callable[[Toy], str]] = {
    "entry": entry,
    "shapes": shapes,
    "purity": purity,
    "company": company,
    "padding": padding,
    "own row": own_row,
    "resume": resume,
    "corners": corners,
    "learning": learning,
    "seeds": seeds,
    "frozen": frozen,
    "labels": labels,
}


def _run(pack: Pack, steps: int) -> Pack:
    pack.start()
    pack.advance(steps)
    return pack


def _logits(toy: Toy, pack: Pack) -> list[Tensor]:
    return pack.predict(toy.x)
