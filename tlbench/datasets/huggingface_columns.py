"""Which columns of a Hugging Face dataset are the input, the label and the group, and what do its labels mean?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tlbench.datasets.folder_table import NAMES
from tlbench.registry import unknown
from tlbench.types import TlbenchError

if TYPE_CHECKING:
    from datasets import Dataset

Label = int | str  # as the column has it: a number, or a class's name

# Names under which a column is found, in lower case, when the reference does not give its name. The first is usual
# enough to win over the others; where several of these could be meant the user must say which.
TEXTS = (*NAMES["text"], "utterance", "question", "query", "tweet", "title", "abstract", "description", "email", "post")
LABELS = (
    *NAMES["label"], "intent", "emotion", "sentiment", "topic", "answer", "stars", "rating", "language", "gold_label",
    "label-coarse", "label-fine", "label_coarse", "label_fine", "coarse_label", "fine_label",
)  # fmt: skip
HIDDEN = -1  # the label of examples whose label the makers keep to themselves
NOT_A_NUMBER = "nan"


class Columns(NamedTuple):
    """What the columns are called."""

    input: str
    label: str
    group: str | None


def columns(table: Dataset, options: Mapping[str, str], reference: str) -> Columns:
    """The columns by their names; `options` (text, image, label, group) name those that are not to be guessed.

    Raises TlbenchError that lists the columns when one is missing, several could be meant, or its type is another.
    """
    names = list(table.column_names)
    for role in ("text", "image", "label", "group"):
        if role in options and options[role] not in names:
            raise TlbenchError(f"{reference}: {unknown('column', options[role], names, f'it has {_listed(names)}')}")
    if "image" in options:
        source = options["image"]
        if not _is_image(table, source):
            kind = table.features[source]
            raise TlbenchError(
                f"{reference}: column {source!r} holds {_kind(kind)}, not images; write ?text=... for text"
            )
    else:
        source = options.get("text") or _text(table, reference)
        if not _is_text(table, source):
            kind = table.features[source]
            raise TlbenchError(
                f"{reference}: column {source!r} holds {_kind(kind)}, not texts; write ?text=NAME of another"
            )
    label = options.get("label") or _guessed(names, LABELS, role="label", reference=reference)
    return Columns(source, label, options.get("group"))


def labels_of(table: Dataset, column: str, reference: str) -> list[Label | None]:
    """The label of each example [n], None where there is none (missing, NaN, or hidden as -1), as in a whole column.

    A plain -1 counts as hidden only where a split has no other label: {-1, 1} are two honest classes.
    Raises TlbenchError where an example has several labels, or a fraction for one.
    """
    from datasets import ClassLabel

    if column not in table.column_names:
        return [None] * len(table)
    values = table.with_format(None)[column][:]
    if isinstance(table.features[column], ClassLabel) or all(value in (None, HIDDEN) for value in values):
        return [None if value in (None, HIDDEN) else value for value in values]
    return [_label(value, column, reference) for value in values]


def class_names(labels: set[Label], tables: Sequence[Dataset], column: str) -> dict[Label, str]:
    """The names of the labels that occur, in the order of classes.

    Numbers are called as the column's type or a column `label_text` beside it says, or else by themselves.
    """
    from datasets import ClassLabel

    ordered = sorted(labels, key=lambda label: (isinstance(label, str), label))
    kind = tables[0].features[column]
    if isinstance(kind, ClassLabel):
        return {label: kind.names[int(label)] for label in ordered}
    texts = _texts_of_labels(tables, column)
    if set(ordered) <= set(texts) and len(set(texts.values())) == len(texts):
        return {label: texts[label] for label in ordered}
    return {label: str(label) for label in ordered}


def _texts_of_labels(tables: Sequence[Dataset], column: str) -> dict[Label, str]:
    """What the column `<label>_text` says for each number; nothing where it says two things of one."""
    beside, found = f"{column}_text", dict[Label, str]()
    for table in tables:
        if beside not in table.column_names:
            return {}
        plain = table.with_format(None)
        for label, text in zip(plain[column][:], plain[beside][:], strict=True):
            if not isinstance(label, int) or not isinstance(text, str) or found.setdefault(label, text) != text:
                return {}
    return found


def _label(value: Any, column: str, reference: str) -> Label | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return None if value.strip().lower() in ("", NOT_A_NUMBER) else value.strip()
    if isinstance(value, bool | int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    what = "a fraction" if isinstance(value, float) else f"a {type(value).__name__}"
    raise TlbenchError(
        f"{reference}: column {column!r} holds {what} ({value!r:.60}), not one class an example; write ?label=NAME"
    )


def _text(table: Dataset, reference: str) -> str:
    pictures = [name for name in table.column_names if _is_image(table, name)]
    if pictures and not any(name.lower() in TEXTS for name in table.column_names):
        raise TlbenchError(f"{reference}: column {pictures[0]!r} holds images; write ?image={pictures[0]}")
    return _guessed(table.column_names, TEXTS, role="text", reference=reference)


def _guessed(names: Sequence[str], usual: Sequence[str], *, role: str, reference: str) -> str:
    found = [name for name in names if name.strip().lower() in usual]
    best = [name for name in found if name.strip().lower() == usual[0]]
    if len(best or found) == 1:
        return (best or found)[0]
    problem = f"may be {_listed(found)}" if found else f"has none of the usual names ({', '.join(usual[:6])} ...)"
    raise TlbenchError(f"{reference}: the {role} column {problem}; it has {_listed(names)}; write ?{role}=NAME")


def _is_text(table: Dataset, name: str) -> bool:
    return getattr(table.features[name], "dtype", "") in ("string", "large_string", "string_view")


def _is_image(table: Dataset, name: str) -> bool:
    from datasets import Image

    return isinstance(table.features[name], Image)


def _kind(feature: Any) -> str:
    return str(getattr(feature, "dtype", None) or type(feature).__name__)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
