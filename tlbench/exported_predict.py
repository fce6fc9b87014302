"""What is printed of new inputs: lines of input, class and probability, and what could not be read."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlbench import exported_inputs
from tlbench.exported_inputs import Input
from tlbench.exported_model import Model
from tlbench.types import TlbenchError

AT_ONCE = 64  # inputs held in memory


class Wanted(NamedTuple):
    """How predictions are given."""

    top: int = 1  # classes an input
    out: Path | None = None  # a CSV; None prints
    text: str | None = None  # the column of a table


class Told(NamedTuple):
    """How it went."""

    predicted: int
    unreadable: int


def predict(model: Model, typed: Sequence[str], wanted: Wanted, complain: Callable[[str], None]) -> Told:
    """Writes `input,class,probability`, one line for each of the `top` classes of each input.

    Raises TlbenchError where an input is not there at all, or the file cannot be written.
    """
    inputs = exported_inputs.texts(typed, wanted.text)
    if model.modality == "image":
        inputs = exported_inputs.images(typed, model.side or 0)
    chunks = _chunks(inputs, AT_ONCE)
    first, predicted, unreadable = next(chunks, []), 0, 0  # what is not there is told before anything is written
    with _rows(wanted.out) as write:
        write(("input", "class", "probability"))
        for chunk in chain([first], chunks):
            good = [each for each in chunk if each.raw is not None]
            for each in (each for each in chunk if each.raw is None):
                complain(f"{each.name or '(nothing)'}: {each.problem}")
            if good:
                for each, guesses in zip(good, model.guesses(_stacked(model, good), top=wanted.top), strict=True):
                    for guess in guesses:
                        write((each.name, guess.name, f"{guess.probability:.4f}"))
            predicted, unreadable = predicted + len(good), unreadable + len(chunk) - len(good)
    return Told(predicted, unreadable)


def _stacked(model: Model, inputs: Sequence[Input]) -> np.ndarray:
    raw: list[Any] = [each.raw for each in inputs]
    return np.stack(raw) if model.modality == "image" else np.array(raw, object)


def _chunks(inputs: Iterable[Input], size: int) -> Iterator[list[Input]]:
    rest = iter(inputs)
    while chunk := list(islice(rest, size)):
        yield chunk


@contextmanager
def _rows(out: Path | None) -> Iterator[Callable[[Sequence[str]], Any]]:
    if out is None:
        yield csv.writer(sys.stdout, lineterminator="\n").writerow
        return
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            yield csv.writer(file, lineterminator="\n").writerow
    except OSError as error:
        raise TlbenchError(f"cannot write {str(out)!r}: {error.strerror}") from error
