"""What may stand in a suite file? The keys, their types, and a sentence for each thing that is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tlbench.types import PROTOCOL, Effort

Preset = Literal["smoke", "lite", "standard", "precision"]  # PROTOCOL 8


def _unique(values: list[str]) -> list[str]:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"named more than once: {', '.join(twice)}; name each once")
    return values


def _increasing(values: list[Any]) -> list[Any]:
    if any(a >= b for a, b in pairwise(values)):
        raise ValueError("must increase from one to the next")
    return values


def _protocol(value: str) -> str:
    if value != PROTOCOL:
        raise ValueError(f"this tlbench follows {PROTOCOL!r}")
    return value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(_unique)]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class EffortTable(_Strict):
    """`[presets.NAME.effort]`: see `types.Effort`."""

    trials: Positive
    steps: Positive
    batch_size: Positive
    folds: Literal["standard", "lite"] = "standard"
    sampler: Literal["random", "tpe"] = "random"
    rungs: Annotated[list[Fraction], AfterValidator(_increasing)] = []
    eta: Annotated[int, Field(ge=2)] = 2

    def as_effort(self) -> Effort:
        return Effort(**{**self.model_dump(), "rungs": tuple(self.rungs)})


class PresetTable(_Strict):
    """`[presets.NAME]`: how much of a suite to run, and how hard to try."""

    budgets: Annotated[list[Positive], Field(min_length=1), AfterValidator(_increasing)]  # labels a class
    seeds: Positive  # how many split seeds, counted from 0
    backbones: Names | None = None  # instead of the suite's
    effort: EffortTable


class Document(_Strict):
    """A suite file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    description: str
    protocol: Annotated[str, AfterValidator(_protocol)]
    strategies: Names
    backbones: Names
    datasets: Names
    plugins: Annotated[list[Name], AfterValidator(_unique)] = []
    default_preset: Preset
    presets: Annotated[dict[Preset, PresetTable], Field(min_length=1)]


def problems_of(raw: dict[str, Any]) -> list[str]:
    """`key = value: what is wrong` for everything in which a file departs from `Document`."""
    try:
        document = Document.model_validate(raw)
    except ValidationError as error:
        return [_sentence(problem) for problem in error.errors()]
    if document.default_preset not in document.presets:
        has = ", ".join(document.presets)
        return [f"default_preset = {document.default_preset!r}: the file has no such preset, only {has}"]
    return []


def _sentence(problem: Any) -> str:
    *above, last = problem["loc"]
    if problem["type"] == "missing":
        return f"{_key(problem['loc'])}: this key is missing"
    if problem["type"] == "extra_forbidden":
        return f"{_key(problem['loc'])} = {problem['input']!r}: unknown key{_nearest(last, _keys_at(above))}"
    if last == "[key]":
        return f"{_key(above)}: {_message(problem)}{_nearest(problem['input'], Preset.__args__)}"  # type: ignore[attr-defined]
    return f"{_key(problem['loc'])} = {problem['input']!r}: {_message(problem)}"


def _message(problem: Any) -> str:
    return str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "should be")


def _key(parts: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def _keys_at(above: list[str | int]) -> list[str]:
    table: type[BaseModel] = (Document, Document, PresetTable, EffortTable)[min(len(above), 3)]
    return list(table.model_fields)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(known)}"
