"""How does a text network of transformers become a trunk? Its layers are wrapped so that each takes h and gives h.

What a layer needs besides (the attention mask, positions) is made once a forward and held where all parts of one trunk
look for it, so that strategies may wrap or replace a block without knowing of masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, is_batchedtensor, is_gradtrackingtensor
from torch.nn import functional as F

from tlbench.backbones.base import Trunk
from tlbench.backbones.text_pooling import Pooling, pooled

Given = dict[str, dict[str, Any]]  # what layers of each kind are called with, besides h
FULL, SLIDING = "full_attention", "sliding_attention"  # kinds of layers, as transformers names them
STEP = 8  # tokens; a batch is cut to the next multiple, so that few shapes occur
SMALL = 32  # texts; a larger batch goes through in groups of about equal length


class Running:
    """The batch that is going through a trunk now; its parts share one, in each copy of a trunk another.

    Empty between forwards: under `grad` and the like it holds wrapped tensors, which must not outlive them.
    """

    def __init__(self) -> None:
        self.mask = torch.ones(0, 0, dtype=torch.bool)  # [m, t], False at padding
        self.given: Given = {}
        self.length = 0  # t before padding was cut off

    def begin(self, mask: Tensor, given: Given, length: int) -> None:
        self.mask, self.given, self.length = mask, given, length

    def end(self) -> Tensor:
        """The mask; nothing is held afterwards."""
        mask = self.mask
        self.mask, self.given = torch.ones(0, 0, dtype=torch.bool), {}
        return mask


class Stem(nn.Module):
    """Token ids [m, t], -1 behind the end of a text -> h [m, s, d], s <= t: columns of padding are cut."""

    def __init__(self, embeddings: nn.Module, context: nn.Module, running: Running, *, pad: int) -> None:
        super().__init__()
        self.embeddings, self.context, self.running, self.pad = embeddings, context, running, pad

    def forward(self, ids: Tensor) -> Tensor:
        mask = ids >= 0
        longest = _longest(mask)
        mask = mask[:, :longest]
        h = self.embeddings(torch.where(mask, ids[:, :longest], self.pad))
        self.running.begin(mask, self.context(mask), ids.shape[1])
        return h


class Opened(nn.Module):
    """Activations at a block's tap [m, t, d + 1], the mask as last channel -> h [m, s, d]."""

    def __init__(self, context: nn.Module, running: Running) -> None:
        super().__init__()
        self.context, self.running = context, running

    def forward(self, x: Tensor) -> Tensor:
        mask = x[..., -1] > 0.5
        longest = _longest(mask)
        self.running.begin(mask[:, :longest], self.context(mask[:, :longest]), x.shape[1])
        return x[:, :longest, :-1]


class Closed(nn.Module):
    """h [m, s, d] -> activations at a block's tap [m, t, d + 1]: zeros at padding, the mask as last channel."""

    def __init__(self, running: Running) -> None:
        super().__init__()
        self.running = running

    def forward(self, h: Tensor) -> Tensor:
        length, mask = self.running.length, self.running.end()[..., None].to(h.dtype)
        return F.pad(torch.cat([h * mask, mask], dim=-1), (0, 0, 0, length - h.shape[1]))


class Layer(nn.Module):
    """One layer of transformers: h [m, s, d] -> h."""

    def __init__(self, layer: nn.Module, running: Running) -> None:
        super().__init__()
        self.layer, self.running = layer, running
        self.kind = getattr(layer, "attention_type", FULL)

    def forward(self, h: Tensor) -> Tensor:
        out = self.layer(h, **self.running.given[self.kind])
        return out[0] if isinstance(out, tuple) else out


class Head(nn.Module):
    """h [m, s, d] -> features [m, d]: the last norm where there is one, then pooling over tokens."""

    def __init__(self, norm: nn.Module, pooling: Pooling, running: Running) -> None:
        super().__init__()
        self.norm, self.pooling, self.running = norm, pooling, running

    def forward(self, h: Tensor) -> Tensor:
        return pooled(self.norm(h), self.running.end(), self.pooling)


class Masked(nn.Module):
    """Mask [m, s] -> what BERT's layers need: 0 at tokens, the lowest number at padding; [m, 1, 1, s]."""

    def forward(self, mask: Tensor) -> Given:
        return {FULL: {"attention_mask": _bias(mask)}}


class Relative(nn.Module):
    """Mask [m, s] -> what MPNet's layers need: the bias of relative positions is added to the mask's."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.bias: nn.Embedding = encoder.relative_attention_bias
        self.bucket: Callable[[Tensor], Tensor] = type(encoder).relative_position_bucket

    def forward(self, mask: Tensor) -> Given:
        place = torch.arange(mask.shape[1], device=mask.device)
        by_distance = self.bias(self.bucket(place[None, :] - place[:, None]))  # [s, s, heads]
        return {FULL: {"attention_mask": by_distance.permute(2, 0, 1) + _bias(mask)}}


class Rotary(nn.Module):
    """Mask [m, s] -> what ModernBERT's layers need: rotations, and a mask for global and for local attention."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.rotary, self.kinds = model.rotary_emb, tuple(sorted(set(model.config.layer_types)))
        self.reach: int = model.config.sliding_window  # tokens on each side

    def forward(self, mask: Tensor) -> Given:
        place = torch.arange(mask.shape[1], device=mask.device)
        everywhere = _bias(mask)
        near = (place[None, :] - place[:, None]).abs() <= self.reach
        biases = {FULL: everywhere, SLIDING: _bias(mask[:, None, None, :] & near)}
        return {
            kind: {
                "attention_mask": biases[kind],
                "position_embeddings": self.rotary(everywhere, place[None], layer_type=kind),
            }
            for kind in self.kinds
        }


class Family(NamedTuple):
    """Where a kind of network keeps its parts."""

    layers: Callable[[Any], nn.ModuleList]
    context: Callable[[Any], nn.Module]
    norm: Callable[[Any], nn.Module]


def _plain(model: Any) -> nn.Module:
    return Masked()


def _none(model: Any) -> nn.Module:
    return nn.Identity()


FAMILIES: dict[str, Family] = {  # by transformers' `model_type`
    "bert": Family(lambda model: model.encoder.layer, _plain, _none),
    "roberta": Family(lambda model: model.encoder.layer, _plain, _none),
    "electra": Family(lambda model: model.encoder.layer, _plain, _none),
    "distilbert": Family(lambda model: model.transformer.layer, _plain, _none),
    "mpnet": Family(lambda model: model.encoder.layer, lambda model: Relative(model.encoder), _none),
    "modernbert": Family(lambda model: model.layers, Rotary, lambda model: model.final_norm),
}


def cut(model: Any, pooling: Pooling) -> Trunk:
    """The trunk of a model whose `model_type` is one of FAMILIES: ids [m, t] -> features [m, d]."""
    family, running = FAMILIES[model.config.model_type], Running()
    embeddings = model.embeddings
    if hasattr(model, "embeddings_project"):  # ELECTRA, where the two widths differ
        embeddings = nn.Sequential(embeddings, model.embeddings_project)
    stem = Stem(embeddings, family.context(model), running, pad=model.config.pad_token_id or 0)
    blocks: list[nn.Module] = [Layer(layer, running) for layer in family.layers(model)]
    return Trunk(stem, blocks, Head(family.norm(model), pooling, running), groups=by_length)


def opened(trunk: Trunk) -> nn.Module:
    """What begins a tail of this trunk at a block."""
    stem = trunk.stem
    assert isinstance(stem, Stem)
    return Opened(stem.context, stem.running)


def closed(trunk: Trunk) -> nn.Module:
    """What ends a prefix of this trunk at a block."""
    assert isinstance(trunk.stem, Stem)
    return Closed(trunk.stem.running)


def _bias(mask: Tensor) -> Tensor:
    """0 where the mask is true and the lowest float32 elsewhere; [m, 1, 1, s] of a mask [m, s]."""
    seen = mask[:, None, None, :] if mask.ndim == 2 else mask
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)


def by_length(x: Tensor) -> list[Tensor]:
    """Rows of ids [m, t] or of activations at a block's tap that have equal length, to the next multiple of STEP.

    None of them, which is all rows together, where the batch is small or shapes are fixed.
    """
    if len(x) <= SMALL or _fixed(x):
        return []
    mask = x >= 0 if x.ndim == 2 else x[..., -1] > 0.5
    steps = (mask.sum(1) + STEP - 1) // STEP
    return [torch.nonzero(steps == each)[:, 0] for each in torch.unique(steps)]


def _longest(mask: Tensor) -> int:
    """Tokens of the longest text, to the next multiple of STEP; all of them where shapes are fixed."""
    total = mask.shape[1]
    if mask.numel() == 0 or _fixed(mask):
        return total
    longest = int(mask.sum(1).max())
    return min(total, max(STEP, -(-longest // STEP) * STEP))


def _fixed(x: Tensor) -> bool:
    """May shapes not depend on what is in x? So it is where each of several lanes has an x of its own.

    And in training on a GPU, which would wait for the host at each step.
    """
    while is_gradtrackingtensor(x):
        x = get_unwrapped(x)
    return is_batchedtensor(x) or (torch.is_grad_enabled() and not x.is_cpu)
