"""Strategies that each break one law of the contract; a plug-in that `test_contract.py` has checked."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from tlbench.registry import register
from tlbench.space import Choice, Float
from tlbench.strategies.base import Strategy
from tlbench.strategies.gradient import GradientStrategy
from tlbench.strategies.modules import Classifier, features_dim

GRU = nn.GRU(128, 4, batch_first=True).requires_grad_(False)


class Means(Strategy):
    """Keeps every law."""

    def init(self, task, hp, key):
        member = F.one_hot(task.y, task.num_classes).float() * task.weight[:, None]
        return {"means": member.T @ task.x / member.sum(0)[:, None].clamp_min(1)}

    def predict(self, task, hp, state, x):
        return -(x[:, None] - state["means"]).pow(2).sum(-1)


class Head(GradientStrategy):
    """Keeps every law."""

    space = {"lr": Float(1e-4, 1e-1, log=True, default=1e-2)}

    def module(self, task, hp):
        return Classifier(task.tail, features_dim(task.tail, task.x[:1]), task.num_classes)


@register.strategy
class DropsOut(Head):
    """nn.Dropout in a module."""

    name = "drops_out"

    def module(self, task, hp):
        return nn.Sequential(nn.Dropout(0.5), super().module(task, hp))


@register.strategy
class DropsOutInInit(Means):
    """Dropout from torch's global generator."""

    name = "drops_out_in_init"

    def init(self, task, hp, key):
        return super().init(task._replace(x=F.dropout(task.x)), hp, key)


@register.strategy
class SeedsTorch(Means):
    """The global generator, seeded: the same bits each time, and yet it changes what others draw."""

    name = "seeds_torch"

    def init(self, task, hp, key):
        torch.manual_seed(0)
        return super().init(task, hp, key)


@register.strategy
class DrawsALayer(Head):
    """A layer whose first values no key decides."""

    name = "draws_a_layer"

    def module(self, task, hp):
        return nn.Linear(task.x.shape[1], task.num_classes)


@register.strategy
class Branches(Means):
    """A Python `if` on a tensor."""

    name = "branches"

    def predict(self, task, hp, state, x):
        if state["means"].sum() > 0:
            x = x + 0
        return super().predict(task, hp, state, x)


@register.strategy
class TakesItems(Means):
    """A tensor made into a number."""

    name = "takes_items"

    def predict(self, task, hp, state, x):
        return super().predict(task, hp, state, x) * float(state["means"].abs().sum())


@register.strategy
class WritesIntoItsInput(Means):
    """In-place arithmetic on the task."""

    name = "writes_into_its_input"

    def init(self, task, hp, key):
        task.x.mul_(2)
        return super().init(task, hp, key)


@register.strategy
class WritesInPlace(Means):
    """In-place arithmetic on a tensor of its own, which no lane owns."""

    name = "writes_in_place"

    def predict(self, task, hp, state, x):
        means = torch.zeros(task.num_classes, x.shape[1])
        means += state["means"]
        return super().predict(task, hp, {"means": means}, x)


@register.strategy
class UsesGru(Means):
    """A layer that torch cannot fuse."""

    name = "uses_gru"

    def predict(self, task, hp, state, x):
        return super().predict(task, hp, state, x) + 0 * GRU(state["means"][None])[0].sum()


@register.strategy
class HasTwoColumns(Means):
    """Logits of too few classes."""

    name = "has_two_columns"

    def predict(self, task, hp, state, x):
        return super().predict(task, hp, state, x)[:, :2]


@register.strategy
class GivesNan(Means):
    """The logarithm of what is below zero."""

    name = "gives_nan"

    def predict(self, task, hp, state, x):
        return super().predict(task, hp, state, x).log()


@register.strategy
class IgnoresWeight(Means):
    """Padding counts as data."""

    name = "ignores_weight"

    def init(self, task, hp, key):
        return super().init(task._replace(weight=torch.ones_like(task.weight)), hp, key)


@register.strategy
class Raises(Means):
    """A name misspelt."""

    name = "raises"

    def predict(self, task, hp, state, x):
        return state["mean"]


@register.strategy
class Remembers(Means):
    """A state in the object."""

    name = "remembers"

    def init(self, task, hp, key):
        self.kept = super().init(task, hp, key)
        return self.kept

    def predict(self, task, hp, state, x):
        return super().predict(task, hp, self.kept, x)


@register.strategy
class CountsCalls(Means):
    """Another answer at every call."""

    name = "counts_calls"
    calls = 0

    def predict(self, task, hp, state, x):
        self.calls += 1
        return super().predict(task, hp, state, x) * self.calls


@register.strategy
class Grows(Means):
    """A state of changing shape."""

    name = "grows"
    trains = True

    def step(self, task, hp, state, clock):
        return {"means": torch.cat([state["means"], state["means"]])}


@register.strategy
class NeverSteps(Means):
    """A step that the engine is not told of."""

    name = "never_steps"

    def step(self, task, hp, state, clock):
        return {"means": 2 * state["means"]}


@register.strategy
class KeepsGradients(Means):
    """A state that drags a graph along."""

    name = "keeps_gradients"

    def init(self, task, hp, key):
        return {"means": nn.Parameter(super().init(task, hp, key)["means"])}


@register.strategy
class HasANarrowSpace(Head):
    """One decade of learning rate."""

    name = "has_a_narrow_space"
    space = {"lr": Float(1e-3, 1e-2, log=True, default=1e-3)}


@register.strategy
class HasAWrongSpace(Head):
    """A value where a range belongs."""

    name = "has_a_wrong_space"
    space = {"lr": 0.1}


@register.strategy
class HasNoSuchTap(Head):
    """A tap that no network has."""

    name = "has_no_such_tap"
    tap = "blocks.99"


@register.strategy
class FailsInACorner(Means):
    """One end of the space does not work."""

    name = "fails_in_a_corner"
    space = {"k": Choice(1, 2, default=1)}

    def init(self, task, hp, key):
        if hp["k"] == 2:
            raise ValueError("two is too many")
        return super().init(task, hp, key)


@register.strategy
class DoesNotLearn(Head):
    """A loss with the wrong sign."""

    name = "does_not_learn"

    def loss(self, task, hp, logits, y):
        return -F.cross_entropy(logits, y, reduction="none")


@register.strategy
class ThawsTheSharedNetwork(Head):
    """Flags set on what all lanes share."""

    name = "thaws_the_shared_network"
    tap = "blocks.-1"

    def module(self, task, hp):
        task.tail.requires_grad_(True)
        return super().module(task, hp)


@register.strategy
class HasNoDocstring(Means):
    name = "has_no_docstring"


@register.strategy
class SwallowsARefusal(Means):
    """Tries a file of labels, and says nothing."""

    name = "swallows_a_refusal"

    def predict(self, task, hp, state, x):
        try:
            Path("/nowhere/test_y.npy").read_bytes()
        except Exception:
            x = x + 0
        return super().predict(task, hp, state, x)
