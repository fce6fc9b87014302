"""What do the words alone tell? Logistic regression on TF-IDF, the floor for texts."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tlbench.registry import register
from tlbench.space import Float, Hyperparameters, Space
from tlbench.strategies.base import State, Strategy
from tlbench.strategies.convex import logistic_regression
from tlbench.task import Task
from tlbench.types import TaskShape

PAIR = 1 << 32  # a pair of tokens (a, b) is the number (a + 1) * PAIR + b; a token alone is itself


@register.strategy
class TfidfLogistic(Strategy):
    """Logistic regression on TF-IDF of tokens and pairs of neighbours, as scikit-learn weighs them.

    Frequency 1 + ln(count), idf ln((1 + n) / (1 + df)) + 1 over the labelled texts, rows of length 1 (scikit-learn,
    TfidfVectorizer with ngram_range=(1, 2) and sublinear_tf). The terms are the network's tokens, which is all that a
    strategy sees: pieces of words, no network.
    """

    name = "tfidf_logistic"
    version = 2
    tap = "input"
    fusible = False  # lanes have vocabularies of their own size
    space: ClassVar[Space] = {"C": Float(1e-2, 1e4, log=True, default=10.0)}

    def skip(self, shape: TaskShape) -> str | None:
        return None if shape.modality == "text" else f"{shape.modality}s have no words to count"

    def init(self, task: Task, hp: Hyperparameters, key: Tensor) -> State:
        present = task.weight > 0
        found = _terms(task.x[present])
        vocabulary, df = torch.unique(torch.unique(_owned(found), dim=0)[:, 1], return_counts=True)
        idf = ((1 + present.sum()) / (1 + df)).log() + 1
        rows = _weighted(found, vocabulary, idf)
        head = logistic_regression(rows, task.y[present], task.weight[present], task.num_classes, hp["C"])
        return {"vocabulary": vocabulary, "idf": idf, **head._asdict()}

    def predict(self, task: Task, hp: Hyperparameters, state: State, x: Tensor) -> Tensor:
        return _weighted(_terms(x), state["vocabulary"], state["idf"]) @ state["weight"].T + state["bias"]

    def parameters(self, task: Task, hp: Hyperparameters) -> tuple[int, int]:
        terms = len(torch.unique(_terms(task.x).number))
        head = task.num_classes * (terms + 1)
        return head, head


class Terms(NamedTuple):
    """Tokens and pairs of neighbours in texts [m, t]."""

    number: Tensor  # [z] int64
    row: Tensor  # [z] the text it stands in
    rows: int  # m


def _terms(x: Tensor) -> Terms:
    """Of token ids [m, t], negative behind the end of a text."""
    row = torch.arange(len(x), device=x.device)[:, None].expand_as(x)
    seen, paired = x >= 0, (x[:, :-1] >= 0) & (x[:, 1:] >= 0)
    pairs = (x[:, :-1] + 1) * PAIR + x[:, 1:]
    number = torch.cat([x[seen], pairs[paired]])
    return Terms(number, torch.cat([row[seen], row[:, 1:][paired]]), len(x))


def _owned(terms: Terms) -> Tensor:
    """(text, term) [z, 2]."""
    return torch.stack([terms.row, terms.number], dim=1)


def _weighted(terms: Terms, vocabulary: Tensor, idf: Tensor) -> Tensor:
    """TF-IDF rows [m, V] of length 1, or zeros where no term is known."""
    place = torch.searchsorted(vocabulary, terms.number).clamp_max(len(vocabulary) - 1)
    known = vocabulary[place] == terms.number
    counts = torch.zeros(terms.rows, len(vocabulary), device=idf.device)
    counts.index_put_((terms.row[known], place[known]), torch.ones_like(idf[:1]), accumulate=True)
    rows = torch.where(counts > 0, (1 + counts.clamp_min(1).log()) * idf, 0.0)
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
