"""What is a text network? A model of transformers with its tokenizer, cut at its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from tlbench import rng
from tlbench.backbones import text_families
from tlbench.backbones.base import Backbone
from tlbench.backbones.text_pooling import Pooling
from tlbench.backbones.text_tokens import Ids, Tokenizer

RELEASE = 1  # raised where the same files would give other features than before


class TextBackbone(Backbone):
    """Texts become int32 tokens [m, t] (see `text_tokens.Tokenizer`); at the tap "input" they stand as int64.

    Blocks take and give h [m, s, d]; activations at a block's tap hold the mask as one more channel: [m, t, d + 1].
    """

    modality = "text"

    def __init__(self, model: Any, tokens: Tokenizer, pooling: Pooling) -> None:
        self.config, self.tokens, self.pooling = model.config, tokens, pooling
        reading = f"release={RELEASE} tokens={tokens.fingerprint} {pooling}"
        dim = self.config.hidden_size * len(pooling.modes)
        super().__init__(Ids(reading), text_families.cut(model, pooling), dim=dim)

    def encoded(self, raw: Sequence[str] | np.ndarray) -> np.ndarray:
        return self.tokens(raw)

    def scratch(self, seed: int = 0) -> TextNetwork:
        return TextNetwork(self.name, fresh_model(self.config, seed), self.tokens, self.pooling)

    def opening(self) -> nn.Module:
        return text_families.opened(self.trunk)

    def closing(self) -> nn.Module:
        return text_families.closed(self.trunk)


class TextNetwork(TextBackbone):
    """A text network from a model in memory."""

    def __init__(self, name: str, model: Any, tokens: Tokenizer, pooling: Pooling) -> None:
        super().__init__(model, tokens, pooling)
        self.name = name


def described(model_type: str, **values: Any) -> Any:
    """A config of transformers' architecture of that type, with the values that differ from its defaults."""
    from transformers import AutoConfig

    return AutoConfig.for_model(model_type, **values)


def fresh_model(config: Any, seed: int) -> Any:
    """The architecture that the config describes, freshly initialised as transformers does it."""
    from transformers import AutoModel

    with rng.ambient(seed):
        return AutoModel.from_config(config, attn_implementation="eager")
