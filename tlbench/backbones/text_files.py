"""How are a network's files read? From a folder or the hub's cache: safetensors only, no code, nothing made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlbench.backbones.text_families import FAMILIES
from tlbench.backbones.text_network import fresh_model
from tlbench.backbones.text_tokens import Tokens
from tlbench.types import TlbenchError

LENGTH = 128  # tokens, unless a reference says otherwise: what most texts of the usual tasks stay under


class Files:
    """The files of one network, in a folder or a repository of the hub."""

    def __init__(self, place: str, *, revision: str | None = None, local: bool = False) -> None:
        self.place, self.local = place, local
        self._options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        if local and not (Path(place) / "config.json").is_file():
            raise TlbenchError(f"{place} holds no config.json; a network's folder is what `save_pretrained` writes")
        self.config = self._config()

    @property
    def said(self) -> str:
        """How messages call it."""
        return f"hf:{self.place}"

    def find(self, name: str) -> Path | None:
        """Where a file lies; None where the network has none of this name."""
        from transformers.utils import cached_file

        with self._explained("its files"):
            path = cached_file(
                self.place,
                name,
                revision=self._options["revision"],
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
        return Path(path) if path else None

    def model(self, *, random: bool = False) -> Any:
        """The network, with every weight from its files, or all of them fresh.

        Raises TlbenchError where weights are missing, have other shapes or lie in pickles.
        """
        if random:
            return fresh_model(self.config, 0)
        model, info = self._loaded()
        missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
        other = [f"{key}: {tuple(file)} in the file, {tuple(own)} by config" for key, file, own in _mismatched(info)]
        wrong = other or missing
        if wrong:
            raise TlbenchError(
                f"{self.said}: its weights do not fit its config.json: {len(wrong)} tensors "
                f"{'have another shape' if other else 'are missing'}, first {wrong[0]}; are they of another network?"
            )
        return model

    def tokens(self, length: int | None) -> Tokens:
        """Its tokenizer, giving at most `length` tokens: 128 or what the network takes if unsaid.

        Raises TlbenchError where the network takes fewer, or knows fewer words than the tokenizer.
        """
        from transformers import AutoTokenizer

        with self._explained("its tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(self.place, **self._options)
        sentences = self._json("sentence_bert_config.json")
        positions, own = _positions(self.config), sentences.get("max_seq_length")
        if length is not None and length > positions:
            raise TlbenchError(f"{self.said} takes {positions} tokens at most; write ?max_length={positions} or less")
        usual = min(LENGTH, positions, own if isinstance(own, int) else LENGTH)
        tokens = Tokens(tokenizer, length or usual, lower=sentences.get("do_lower_case") is True)
        if tokens.largest >= self.config.vocab_size:
            raise TlbenchError(
                f"{self.said}: its tokenizer gives ids up to {tokens.largest} and its network knows "
                f"{self.config.vocab_size}; are the two of different networks?"
            )
        return tokens

    def _config(self) -> Any:
        from transformers import AutoConfig

        with self._explained("config.json"):
            config = AutoConfig.from_pretrained(self.place, **self._options)
        if config.model_type not in FAMILIES:
            raise TlbenchError(
                f"{self.said} is a {config.model_type}, which tlbench cannot cut into layers; "
                f"it can cut {', '.join(FAMILIES)}"
            )
        return config

    def _loaded(self) -> tuple[Any, dict[str, Any]]:
        import torch
        from transformers import AutoModel

        with self._explained("its weights"):
            return AutoModel.from_pretrained(
                self.place,
                config=self.config,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are told by name instead
                output_loading_info=True,
                attn_implementation="eager",
                dtype=torch.float32,
                **self._options,
            )

    def _json(self, name: str) -> dict[str, Any]:
        file = self.find(name)
        return json.loads(file.read_text()) if file else {}

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Quiet; errors of foreign code as a sentence that says what to do next."""
        try:
            with _quiet():
                yield
        except TlbenchError:
            raise
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            raise TlbenchError(f"{self.said}: {what} cannot be read: {first}; {self._advice()}") from error

    def _advice(self) -> str:
        if self.local:
            return "a folder must hold config.json, model.safetensors and tokenizer.json, as `save_pretrained` writes"
        return (
            "check the name; without a network, fetch it first where there is one (`tlbench fetch SUITE`) "
            "or name a folder: hf:./FOLDER"
        )


def _mismatched(info: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return sorted(info["mismatched_keys"], key=lambda entry: entry[0])


def _positions(config: Any) -> int:
    """The longest text that its positions allow; RoBERTa and MPNet count theirs from the padding's number on."""
    offset = 2 if config.model_type in ("roberta", "mpnet") else 0
    return int(config.max_position_embeddings) - offset


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no load reports of transformers."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
