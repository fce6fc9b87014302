"""How good are a backbone's features where labels are few? Logistic regression on digits, a table for the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlbench.backbones.base import Backbone
from tlbench.datasets.mini.photographs import digits

Labelled = tuple[np.ndarray, np.ndarray]  # features [n, d] and labels [n]

BUDGETS = (1, 2, 5, 10, 20, 50)
HOW = (
    "balanced accuracy in percent on the 500 test images of the dataset `digits`, mean over {splits} draws of k labels"
    " a class from its pool; scikit-learn's LogisticRegression with C=1 on frozen features, nothing tuned"
)


def digits_table(backbone: Backbone, *, splits: int = 10) -> dict[str, Any]:
    """Accuracy in percent for 1, 2, 5, 10, 20 and 50 labels a class, and how it was measured."""
    data, prefix = digits(Path()), backbone.prefix("features")
    with torch.no_grad():
        pool, test = (prefix(torch.from_numpy(x)).numpy() for x in (data.pool_x, data.test_x))
    scores = {
        k: [_accuracy((pool, data.pool_y), (test, data.test_y), k, split) for split in range(splits)] for k in BUDGETS
    }
    return {
        "how": HOW.format(splits=splits),
        "accuracy": {str(k): round(100 * float(np.mean(values)), 1) for k, values in scores.items()},
    }


def _accuracy(pool: Labelled, test: Labelled, budget: int, split: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    order = np.random.Generator(np.random.PCG64(split)).permutation(len(pool[1]))
    train = np.concatenate([order[pool[1][order] == c][:budget] for c in range(10)])
    model = LogisticRegression(max_iter=1_000).fit(pool[0][train], pool[1][train])
    return float(balanced_accuracy_score(test[1], model.predict(test[0])))
