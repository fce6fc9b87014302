"""How are a network's files read? From a folder or the hub's cache: safetensors only, no code, nothing made up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlbench.backbones.text_families import FAMILIES
from tlbench.backbones.text_network import fresh_model
from tlbench.backbones.text_tokens import Tokens
from tlbench.types import TlbenchError

SECONDS = 10.0  # for the hub to answer in; a download itself would try for longer
COMMIT = re.compile(r"[0-9a-f]{40}")
LENGTH = 128  # tokens, unless a reference says otherwise: what most texts of the usual tasks stay under


class Files:
    """The files of one network, in a folder or a repository of the hub."""

    def __init__(self, place: str, *, revision: str | None = None, local: bool = False) -> None:
        self.place, self.local = place, local
        if local and not (Path(place) / "config.json").is_file():
            raise TlbenchError(f"{place} holds no config.json; a network's folder is what `save_pretrained` writes")
        commit, self._problem = ("", "") if local else _commit(place, revision)
        self._options: dict[str, Any] = {
            "revision": commit or revision,
            "local_files_only": bool(self._problem),
            "trust_remote_code": False,
        }
        self.config = self._config()

    @property
    def said(self) -> str:
        """How messages call it."""
        return f"hf:{self.place}"

    def find(self, name: str) -> Path | None:
        """Where a file lies; None where the network has none of this name."""
        if self.local:
            file = Path(self.place) / name
            return file if file.is_file() else None
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        revision = self._options["revision"]
        cached = try_to_load_from_cache(self.place, name, revision=revision)
        if cached is not None:  # a path, or a note that the repository has no such file
            return Path(cached) if isinstance(cached, str) else None
        with self._explained(f"whether it has a {name}"):
            try:
                return Path(hf_hub_download(self.place, name, revision=revision, local_files_only=bool(self._problem)))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                return None

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
            first = self._problem or str(error).strip().partition("\n")[0]
            raise TlbenchError(f"{self.said}: {what} cannot be read: {first}; {self._advice()}") from error

    def _advice(self) -> str:
        if self.local:
            return "a folder must hold config.json, model.safetensors and tokenizer.json, as `save_pretrained` writes"
        return (
            "check the name, fetch it where there is a network (`tlbench fetch SUITE`), or name a folder: hf:./FOLDER"
        )


def _commit(place: str, revision: str | None) -> tuple[str, str]:
    """The commit that the hub has for a revision, so that all files are of one; or why it could not be asked.

    Raises TlbenchError where the hub says that there is no such network.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    if revision and COMMIT.fullmatch(revision) and try_to_load_from_cache(place, "config.json", revision=revision):
        return revision, ""
    try:
        return HfApi().model_info(place, revision=revision, timeout=SECONDS).sha or "", ""
    except GatedRepoError as error:
        raise TlbenchError(f"hf:{place} is gated; accept its terms at hf.co/{place}, run: hf auth login") from error
    except RevisionNotFoundError as error:
        raise TlbenchError(f"hf:{place} has no revision {revision!r}; see its commits on the hub") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise TlbenchError(
            f"the hub has no network {place!r}, or it is private; check the name (hf:NAME, or hf:./FOLDER for files of "
            "your own), or run: hf auth login"
        ) from error
    except Exception as error:  # the ways in which a network can be absent belong to several libraries
        return "", f"the hub cannot be reached ({type(error).__name__}: {str(error).strip()[:120]})"


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
