"""How are the options of a reference read, as in `folder:PATH?size=384&flip=yes`?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, quote

from tlbench.registry import unknown
from tlbench.types import TlbenchError

LARGEST_SIDE = 2048


def split(reference: str, allowed: Collection[str]) -> tuple[str, dict[str, str]]:
    """What stands between the prefix and the question mark, and the options behind it, percent-decoded.

    Raises TlbenchError for an option that is not allowed, comes twice or has no value.
    """
    rest, _, query = reference.partition(":")[2].partition("?")
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            see = f"{reference.partition('?')[0]} takes {', '.join(allowed) or 'no option'}"
            raise TlbenchError(f"{reference!r}: {unknown('option', name, allowed, see)}")
        if name in options:
            raise TlbenchError(f"{reference!r}: the option {name!r} is given twice; give it once")
        if not value:
            raise TlbenchError(f"{reference!r}: the option {name!r} has no value; write {name}=...")
        options[name] = value
    return rest, options


def named(name: str, options: Mapping[str, str]) -> str:
    """A dataset's name with the options that make it another: options in the order of their names."""
    return name + "".join(
        f"{'&' if at else '?'}{key}={quote(value, safe=' /:@')}"
        for at, (key, value) in enumerate(sorted(options.items()))
    )


def side(reference: str, options: Mapping[str, str]) -> int | None:
    """The option `size`: pixels. Raises TlbenchError unless it is a whole number from 8 to 2048."""
    text = options.get("size")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 8 <= int(text) <= LARGEST_SIDE:
        raise TlbenchError(f"{reference!r}: size={text}; give a side in pixels, 8 to {LARGEST_SIDE}, such as size=384")
    return int(text)


def yes(reference: str, options: Mapping[str, str], name: str) -> bool:
    """An option that is `yes` or `no`; no where it is not given. Raises TlbenchError for anything else."""
    value = options.get(name, "no")
    if value not in ("yes", "no"):
        raise TlbenchError(f"{reference!r}: {name}={value}; write {name}=yes or {name}=no")
    return value == "yes"
