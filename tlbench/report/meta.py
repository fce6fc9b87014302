"""What does the report know about a suite beside its cells?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tlbench.types import Card, DataFacts


@dataclass(frozen=True)
class Meta:
    """The suite's own words. `command` may hold a path: it is printed on the page and nowhere else."""

    name: str
    preset: str
    command: str
    cards: Mapping[str, Card] = field(default_factory=dict)  # dataset's name to its card
    facts: Mapping[str, DataFacts] = field(default_factory=dict)  # dataset's name to what became of it
    description: str = ""
    baseline: str = "from_scratch"  # what a pretrained network is compared with
    raw_floors: tuple[str, ...] = ("pixels_logistic", "tfidf_logistic")  # learn from the labels and raw inputs alone
    without_pretraining: tuple[str, ...] = ("from_scratch", "majority", "pixels_logistic", "tfidf_logistic")
    provisional: tuple[str, ...] = ("smoke", "lite")  # presets too small for a ranking to stand
