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
    headings: Mapping[str, str] = field(default_factory=dict)  # of datasets that have no card
    foreign: bool = False  # the cells come from somebody's table: no command runs them again
    measure: str = ""  # the metric whose plain value a score is; "" where scores are points above the majority class
    baseline: str = "from_scratch"  # what a pretrained network is compared with
    sampler: str = "random"  # how trials were drawn: what fewer would have found is known of independent ones alone
    reference: str = "linear_probe"  # whose labels the others are counted in
    raw_floors: tuple[str, ...] = ("pixels_logistic", "tfidf_logistic")  # learn from the labels and raw inputs alone
    without_pretraining: tuple[str, ...] = ("from_scratch", "majority", "pixels_logistic", "tfidf_logistic")
    provisional: tuple[str, ...] = ("smoke", "lite")  # presets too small for a ranking to stand
    contaminated: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (backbone, dataset) to what it has seen

    @property
    def title(self) -> str:
        return f"{self.name}, preset {self.preset}" if self.preset else self.name

    @property
    def groups(self) -> dict[str, str]:
        """Dataset's name to the heading that it stands under."""
        return {**{name: card.group for name, card in self.cards.items()}, **self.headings}

    @property
    def scale(self) -> str:
        """What 0 and 100 points are, in words."""
        if self.measure:
            return f"100 times {self.measure}; what guessing would give is not known and not taken off"
        return "0 is what always guessing the majority class gives, 100 is perfect, below 0 is worse than guessing"
