"""Is what a dataset function returned what its card promises?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from tlbench.datasets.pictures import Pictures
from tlbench.types import Arrays, Card, TlbenchError


def checked(arrays: Arrays, card: Card) -> Arrays:
    """The arrays with int64 labels. Raises TlbenchError that names the dataset and the place."""
    names = tuple(str(name) for name in arrays.class_names)
    _check_classes(names, card)
    pool_x, test_x = _inputs(arrays.pool_x, "pool_x", card), _inputs(arrays.test_x, "test_x", card)
    if isinstance(pool_x, Pictures) != isinstance(test_x, Pictures):
        refuse(card, "one of pool_x and test_x is Pictures and the other is an array; make both the same")
    if isinstance(pool_x, np.ndarray) and card.modality == "image" and pool_x.shape[1:] != test_x.shape[1:]:
        refuse(card, f"pool images are {pool_x.shape[1:]} and test images {test_x.shape[1:]}; resize them")
    pool_y = _labels(arrays.pool_y, pool_x, "pool", card, classes=len(names))
    test_y = _labels(arrays.test_y, test_x, "test", card, classes=len(names))
    check_every_class(pool_y, names, card)
    groups = None if arrays.groups is None else np.asarray(arrays.groups)
    if groups is not None and groups.shape != pool_y.shape:
        refuse(card, f"groups has shape {groups.shape}; it needs one entry for each of {len(pool_y)} pool examples")
    return Arrays(pool_x, pool_y, test_x, test_y, names, groups, arrays.excluded, arrays.origin)


def check_every_class(
    pool_y: np.ndarray, names: tuple[str, ...], card: Card, lost: Mapping[str, int] | None = None
) -> None:
    """Raises TlbenchError that names the classes without a pool example, and what was left out, by reason."""
    missing = [names[label] for label in np.flatnonzero(np.bincount(pool_y, minlength=len(names)) == 0)]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (" ..." if len(missing) > 5 else "")
        left_out = ", ".join(f"{reason}: {count}" for reason, count in (lost or {}).items() if count)
        why = f" (left out: {left_out})" if left_out else ""
        refuse(card, f"no pool example of class {shown}{why}; remove the class or add examples")


def refuse(card: Card, problem: str) -> NoReturn:
    raise TlbenchError(f"dataset {card.name!r}: {problem}")


def _check_classes(names: tuple[str, ...], card: Card) -> None:
    if len(names) < 2:
        refuse(card, f"it has one class only ({', '.join(names) or 'none'}); classification needs two or more")
    if card.classes is not None and len(names) != card.classes:
        refuse(card, f"its card says {card.classes} classes and its function named {len(names)}; make them equal")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        refuse(card, f"two classes are called {twice[0]!r}; rename one of them")


def _inputs(x: Any, part: str, card: Card) -> Any:
    if isinstance(x, Pictures):
        if card.modality != "image" or len(x) == 0:
            refuse(card, f"{part} has {len(x)} pictures and its modality is {card.modality}")
        return x
    x = np.asarray(x)
    (_check_images if card.modality == "image" else _check_strings)(x, part, card)
    return x


def _check_images(x: np.ndarray, part: str, card: Card) -> None:
    if x.dtype == object:
        first = next((i for i, image in enumerate(x) if getattr(image, "ndim", 0) != 3), 0)
        refuse(
            card, f"{part}[{first}] is unreadable or has a size of its own; give uint8 images of one size [N, H, W, 3]"
        )
    if x.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
        if len(bad):
            refuse(card, f"{part}[{bad[0]}] holds NaN or infinity ({len(bad)} such examples); repair or remove them")
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] != 3:
        refuse(card, f"{part} is {x.dtype} {list(x.shape)}; give raw uint8 pixels [N, H, W, 3]")
    if 0 in x.shape:
        refuse(card, f"{part} has shape {list(x.shape)}: there is nothing in it")


def _check_strings(x: np.ndarray, part: str, card: Card) -> None:
    if x.ndim != 1 or len(x) == 0:
        refuse(card, f"{part} has shape {list(x.shape)}; give strings [N], at least one")
    bad = [i for i, text in enumerate(x) if not isinstance(text, str) or not text.strip()]
    if bad:
        refuse(card, f"{part}[{bad[0]}] is {x[bad[0]]!r}, not a text ({len(bad)} such examples); repair or remove them")


def _labels(y: np.ndarray, x: Any, part: str, card: Card, *, classes: int) -> np.ndarray:
    y = np.asarray(y)
    if y.shape != (len(x),):
        refuse(card, f"{part}_y has shape {list(y.shape)} for {len(x)} examples; give one label for each")
    if y.dtype.kind == "f" and np.isnan(y).any():
        refuse(card, f"{part}_y[{int(np.argmax(np.isnan(y)))}] is NaN; every example needs a label")
    if y.dtype.kind not in "iu":
        refuse(card, f"{part}_y is {y.dtype}; give whole numbers from 0 to {classes - 1}")
    wrong = np.flatnonzero((y < 0) | (y >= classes))
    if len(wrong):
        refuse(card, f"{part}_y[{wrong[0]}] is {y[wrong[0]]}; labels run from 0 to {classes - 1}")
    return y.astype(np.int64)
