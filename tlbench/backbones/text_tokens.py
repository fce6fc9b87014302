"""How does a text become numbers? By the network's own tokenizer, each text on its own, cut at a length."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

END = -1  # behind the last token of a text: seen by any strategy, whatever the network's padding token is
ROWS = 1024  # texts tokenised at once


class Tokenizer(Protocol):
    """What a text network reads texts with."""

    def __call__(self, texts: Sequence[str] | np.ndarray) -> np.ndarray:
        """int32 [m, t]: token ids, then END; each row depends on its own text alone."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 of all that decides which ids a text becomes."""
        ...


class Tokens:
    """A tokenizer of transformers, and how many tokens it may give."""

    def __init__(self, tokenizer: Any, length: int, *, lower: bool = False) -> None:
        self.tokenizer, self.length, self.lower = tokenizer, length, lower

    def __call__(self, texts: Sequence[str] | np.ndarray) -> np.ndarray:
        """int32 [m, length]: token ids with the special ones, then END; longer texts are cut, "" is those alone."""
        out = np.full((len(texts), self.length), END, dtype=np.int32)
        for start in range(0, len(texts), ROWS):
            part = [str(text).lower() if self.lower else str(text) for text in texts[start : start + ROWS]]
            for row, ids in enumerate(self._ids(part), start):
                out[row, : len(ids)] = ids
        return out

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(
            texts,
            truncation=True,
            max_length=self.length,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]

    @property
    def largest(self) -> int:
        """The largest id it gives."""
        return max(self.tokenizer.get_vocab().values())

    @property
    def fingerprint(self) -> str:
        """sha256 of all that decides which ids a text becomes."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            rules: Any = [type(self.tokenizer).__name__, self.tokenizer.get_vocab()]
        else:
            rules = json.loads(backend.to_str())
            rules = {key: value for key, value in rules.items() if key not in ("truncation", "padding")}  # set by calls
        said = json.dumps([rules, self.length, self.lower], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()


class Ids(nn.Module):
    """int32 tokens [m, t] -> int64; it tells a network's fingerprint how texts are read."""

    def __init__(self, reading: str) -> None:
        super().__init__()
        self.reading = reading

    def extra_repr(self) -> str:
        return self.reading

    def forward(self, x: Tensor) -> Tensor:
        return x.long()
