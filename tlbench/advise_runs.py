"""Which networks and strategies are compared on a user's data, and in what order are they run?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from tlbench import backbones, runner
from tlbench.advise_data import Fold, Labelled, budgets
from tlbench.executors import Means
from tlbench.registry import BACKBONES, STRATEGIES
from tlbench.runner import Progress
from tlbench.store import Store
from tlbench.suite import Suite
from tlbench.types import PROTOCOL, Cell, Effort, Modality, TlbenchError

Thoroughness = Literal["quick", "thorough"]

EFFORTS: dict[Thoroughness, Effort] = {
    "quick": Effort(trials=4, steps=128, batch_size=16, folds="lite", rungs=(0.25,), eta=4),
    "thorough": Effort(trials=16, steps=256, batch_size=32, rungs=(0.11, 0.33), eta=3),
}
NETWORKS: dict[tuple[Modality, Thoroughness], tuple[str, ...]] = {
    ("image", "quick"): ("glyph_vit", "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", "timm:resnet18.a1_in1k"),
    ("image", "thorough"): ("timm:vit_small_patch14_dinov2.lvd142m?size=224", "timm:convnext_tiny.in12k_ft_in1k"),
    ("text", "quick"): ("all_minilm_l6_v2",),
    ("text", "thorough"): ("hf:sentence-transformers/all-mpnet-base-v2",),
}
INSTEAD = {"all_minilm_l6_v2": "hf:sentence-transformers/all-MiniLM-L6-v2"}  # where the package is not installed
FLOORS: dict[Modality, tuple[str, str]] = {
    "image": ("majority", "pixels_logistic"),
    "text": ("majority", "tfidf_logistic"),
}
STRATEGIES_TRIED = ("nearest_mean", "linear_probe", "partial_freeze", "lora", "full_finetune")
PROMISING = 2  # networks on which a quick comparison trains weights


@dataclass
class Contest:
    """What is compared, and where its results are kept."""

    data: Labelled
    folds: list[Fold]
    thoroughness: Thoroughness
    networks: list[str]  # names
    strategies: list[str]
    left_out: dict[str, str] = field(default_factory=dict)  # networks that are not compared, and why

    @property
    def budgets(self) -> tuple[int, ...]:
        return budgets(self.folds)

    @property
    def floors(self) -> tuple[str, str]:
        return FLOORS[self.data.card.modality]

    @property
    def effort(self) -> Effort:
        return EFFORTS[self.thoroughness]

    @property
    def name(self) -> str:
        """Of the results folder."""
        return "advise-" + re.sub(r"[^a-z0-9]+", "_", self.data.card.name.lower()).strip("_")

    def suite(self, strategies: Sequence[str], networks: Sequence[str], labels: Sequence[int]) -> Suite:
        """A part of the comparison as a suite in memory."""
        return Suite(
            name=self.name,
            preset=self.thoroughness,
            description=f"What to use on {self.data.card.name}",
            strategies=tuple(strategies),
            backbones=tuple(networks),
            datasets=tuple(fold.dataset for fold in self.folds),
            budgets=tuple(labels),
            seeds=(0,),
            effort=self.effort,
            plugins=(),
            protocol=PROTOCOL,
            path=Path(f"{self.name}.toml"),
        )


class Ways(NamedTuple):
    """How runs are done and watched."""

    results: Path
    means: Means
    watch: Callable[[], Progress | None]
    say: Callable[[str], None]


def contest(
    data: Labelled, folds: list[Fold], *, networks: Sequence[str], strategies: Sequence[str], effort: Thoroughness
) -> Contest:
    """The comparison asked for, or the usual one; every network has been opened.

    Raises TlbenchError for a network asked for that cannot be opened, and where none can.
    """
    opened, left_out = (
        ([_opened(each, data.card.modality) for each in networks], {})
        if networks
        else usual_networks(data.card.modality, effort)
    )
    chosen = [STRATEGIES.name(each) for each in strategies or STRATEGIES_TRIED]
    ordered = dict.fromkeys([*FLOORS[data.card.modality], *chosen])
    return Contest(data, folds, effort, opened, list(ordered), left_out)


def usual_networks(modality: Modality, effort: Thoroughness) -> tuple[list[str], dict[str, str]]:
    """The networks of the short list that can be opened here, and why the others cannot."""
    wanted = NETWORKS[modality, "quick"] + (NETWORKS[modality, "thorough"] if effort == "thorough" else ())
    found, left_out = list[str](), dict[str, str]()
    for reference in wanted:
        for each in (reference, INSTEAD.get(reference)):
            if each is None:
                continue
            try:
                found.append(_opened(each, modality))
                break
            except TlbenchError as error:
                left_out[each] = str(error)
    if not found:
        reasons = "; ".join(left_out.values())
        problem = f"no pretrained network for {modality}s can be opened here"
        raise TlbenchError(f"{problem}; name one: --backbone REF ({reasons})")
    return found, left_out


def run(contest: Contest, ways: Ways, advised: Callable[[pd.DataFrame], tuple[str, str] | None]) -> pd.DataFrame:
    """One row a cell, after everything that is worth running has been run.

    Ways that do not train the network come first, on all networks and budgets. A quick comparison then trains weights
    on the networks that did best so far, on all labels, and learns the curve only of what `advised` names.
    """
    frozen, trained, blind = _sorted(contest.strategies)
    thorough, every = contest.thoroughness == "thorough", contest.budgets
    cells = _ran(contest, ways, (blind, contest.networks[:1], every))
    cells += _ran(contest, ways, (frozen, contest.networks, every))
    frame = _frame(contest, ways, cells)
    networks = contest.networks if thorough else promising(frame, contest.networks)
    if trained and len(networks) < len(contest.networks):
        ways.say(f"training weights on {' and '.join(networks)}: nothing was better there so far")
    cells += _ran(contest, ways, (trained, networks, every if thorough else every[-1:]))
    frame = _frame(contest, ways, cells)
    chosen = advised(frame)
    if chosen is not None:
        cells += _ran(contest, ways, ([chosen[0]], [chosen[1]], every))
        frame = _frame(contest, ways, cells)
    return frame


def promising(frame: pd.DataFrame, networks: Sequence[str]) -> list[str]:
    """The networks on which ways without training weights did best, at most two; all where nothing is known."""
    known = frame[(frame.status == "done") & (frame.budget == frame.budget.max())] if len(frame) else frame
    known = known[[not _blind(name) for name in known.strategy]] if len(known) else known
    if known.empty:
        return list(networks)
    best = known.groupby(["backbone", "strategy"]).score.mean().groupby("backbone").max()
    return sorted(best.index, key=lambda name: (-best[name], networks.index(name)))[:PROMISING]


def _ran(contest: Contest, ways: Ways, part: tuple[Sequence[str], Sequence[str], Sequence[int]]) -> list[Cell]:
    strategies, networks, labels = part
    if not strategies or not networks:
        return []
    progress = ways.watch()
    try:
        suite = contest.suite(strategies, networks, labels)
        return runner.run(suite, results=ways.results, means=ways.means, progress=progress).cells
    finally:
        if progress is not None:
            progress.finish()


def _frame(contest: Contest, ways: Ways, cells: Sequence[Cell]) -> pd.DataFrame:
    with Store.open(ways.results / contest.name, create=False) as store:
        return store.frame(cells)


def _sorted(strategies: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Those on frozen features, those that train weights, and those that do not look through the network."""
    blind = [name for name in strategies if _blind(name)]
    trained = [name for name in strategies if STRATEGIES[name].trains]
    return [name for name in strategies if name not in blind + trained], trained, blind


def _blind(strategy: str) -> bool:
    return STRATEGIES[strategy].tap == "input" and not STRATEGIES[strategy].trains


def _opened(reference: str, modality: Modality) -> str:
    """The name of a network that was opened once. Raises TlbenchError where that fails."""
    name = BACKBONES.name(reference)
    if BACKBONES[name].modality != modality:
        raise TlbenchError(
            f"network {reference!r} reads {BACKBONES[name].modality}s, and your data holds {modality}s; name another: "
            "tlbench list backbones"
        )
    backbones.get(name)
    return name
