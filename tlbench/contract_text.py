"""On which texts is a strategy checked that reads texts only? A separable task and a tiny network, made in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tlbench import rng
from tlbench.backbones.text_network import TextNetwork, described, fresh_model
from tlbench.backbones.text_pooling import Pooling
from tlbench.backbones.text_tokens import END

LENGTH, LEAST = 12, 4  # words of a text, at most and at least
COMMON = tuple(f"word{i}" for i in range(24))
TELLING = ("red", "green", "blue", "white")  # one for each class


class Words:
    """A tokenizer that knows the words of the toy task only; 0 begins each text, 1 is any other word."""

    numbers = {word: number for number, word in enumerate(COMMON + TELLING, 2)}

    def __call__(self, texts: Sequence[str] | np.ndarray) -> np.ndarray:
        """int32 [m, LENGTH + 1]."""
        out = np.full((len(texts), LENGTH + 1), END, dtype=np.int32)
        for row, text in enumerate(texts):
            ids = [0, *(self.numbers.get(word, 1) for word in text.split())][: LENGTH + 1]
            out[row, : len(ids)] = ids
        return out

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.numbers).encode()).hexdigest()


def network() -> TextNetwork:
    """A BERT of 3 layers and width 32 with random weights."""
    config = described(
        "bert",
        vocab_size=2 + len(Words.numbers),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LENGTH + 1,
        initializer_range=0.1,
    )
    return TextNetwork("tiny_text", fresh_model(config, 0), Words(), Pooling(normalized=True))


def texts(y: Tensor) -> np.ndarray:
    """Texts [n] of common words, among which stands twice the one that tells the class."""
    found = []
    for row, label in enumerate(y.tolist()):
        key = rng.fold_in(rng.key(1), row)
        length = LEAST + int(rng.bits(rng.fold_in(key, 0), ())) % (LENGTH - LEAST + 1)
        words = [COMMON[i] for i in (rng.bits(rng.fold_in(key, 1), (length,)) % len(COMMON)).tolist()]
        for place in torch.argsort(rng.bits(rng.fold_in(key, 2), (length,)))[:2].tolist():
            words[place] = TELLING[label]
        found.append(" ".join(words))
    return np.array(found, dtype=object)
