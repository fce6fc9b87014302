"""Which network does `hf:NAME` mean? One of transformers, by its name on the hub or its folder, read with care."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from tlbench.backbones import text_pooling
from tlbench.backbones.base import Named
from tlbench.backbones.text_network import TextNetwork
from tlbench.registry import register, unknown
from tlbench.types import TlbenchError

PREFIX = "hf:"
FORM = "hf:NAME_OR_FOLDER[@REVISION][?max_length=128&pooling=mean]"
RANDOM = "random"  # in the place of a revision: the architecture and tokenizer with fresh weights


class Reference(NamedTuple):
    """What stands in `hf:NAME_OR_FOLDER[@REVISION][?OPTIONS]`."""

    place: str  # a repository of the hub, or a folder
    revision: str = ""
    max_length: int | None = None
    pooling: str = ""

    @property
    def local(self) -> bool:
        return self.place.startswith((".", "/", "~")) or Path(self.place).is_dir()

    @property
    def name(self) -> str:
        """What it is called in a cell: of a folder its last part, never a path."""
        place = Path(self.place).expanduser().resolve().name if self.local else self.place
        options = {"max_length": self.max_length, "pooling": self.pooling}
        query = "&".join(f"{key}={value}" for key, value in options.items() if value)
        return f"{PREFIX}{place}{'@' if self.revision else ''}{self.revision}{'?' if query else ''}{query}"


@register.backbone_family("hf:NAME[@REVISION]", "A text network of transformers: BERT, RoBERTa, MPNet, ModernBERT ...")
def opened(reference: str) -> tuple[str, Named]:
    """The name of the network, and how to make it. Raises TlbenchError for options that make no sense."""
    meant = parsed(reference)
    return meant.name, Named("text", lambda: _made(meant))


def parsed(reference: str) -> Reference:
    """The parts of a reference. Raises TlbenchError for an unknown option or a value that cannot be."""
    rest, _, query = reference.removeprefix(PREFIX).partition("?")
    place, _, revision = (rest, "", "") if Path(rest).is_dir() else rest.partition("@")
    if not place:
        raise TlbenchError(f"{reference!r} names no network; write {FORM}")
    values: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in OPTIONS:
            raise TlbenchError(unknown("option", key, OPTIONS, FORM))
        values[key] = OPTIONS[key](value)
    return Reference(place, revision, **values)


def _length(value: str) -> int:
    if not value.isdecimal() or int(value) < 4:
        raise TlbenchError(f"max_length={value!r} is not a number of tokens; write ?max_length=128, 4 at least")
    return int(value)


def _pooling(value: str) -> str:
    text_pooling.named(value)
    return value


OPTIONS: dict[str, Callable[[str], Any]] = {"max_length": _length, "pooling": _pooling}


def _made(meant: Reference) -> TextNetwork:
    from tlbench.backbones.text_files import Files

    place = str(Path(meant.place).expanduser()) if meant.local else meant.place
    random = meant.revision == RANDOM
    files = Files(place, revision=None if random else meant.revision or None, local=meant.local)
    pooling = text_pooling.named(meant.pooling) if meant.pooling else text_pooling.found(files.find, where=files.said)
    model = files.model(random=random)
    return TextNetwork(meant.name, model, files.tokens(meant.max_length), pooling)
