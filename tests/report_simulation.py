"""A seeded frame of results with the holes that real runs have: what the report's tests and pictures are made of."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pandas as pd

from tlbench.report.meta import Meta
from tlbench.types import Card

DATASETS = {
    "digits": "real images", "photo_patches": "real images", "armenian": "scripts", "georgian": "scripts",
    "hebrew": "scripts", "cyrillic": "scripts", "typeface": "typography", "texture": "texture",
    "count": "structured", "orientation": "structured", "distance": "structured", "symmetry": "structured",
}  # fmt: skip
STRATEGIES = {  # quality at the smallest budget, gain of one doubling, training FLOPs
    "majority": (0.0, 0.0, 0.0), "nearest_mean": (0.36, 0.06, 2e6), "pixels_logistic": (0.18, 0.06, 5e7),
    "linear_probe": (0.42, 0.09, 3e8), "full_finetune": (0.38, 0.13, 9e10), "partial_freeze": (0.40, 0.11, 3e10),
    "lora": (0.43, 0.105, 6e10), "adapter": (0.42, 0.1, 7e10), "bitfit": (0.41, 0.1, 6e10),
    "from_scratch": (0.12, 0.12, 2e11),
}  # fmt: skip
METRICS = ("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "mcc", "nll", "brier")
PLACES = {
    "commit": "0123abc", "dirty": False, "device": "cpu", "width": 4, "determinism": "bitwise",
    "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00",
}  # fmt: skip
BLANK = (
    "score", "floor", "default_score", "peek_gap", *METRICS, "ece", "worst_class_recall", "trainable_parameters",
    "train_flops", "tune_flops", "tune_seconds", "fit_seconds", "predict_ms_1", "predict_ms_1_p95", "predict_ms_64",
    "predict_ms_64_p95", "peak_memory_mb", "total_parameters", "stored_parameters",
)  # fmt: skip


def simulate(
    *, strategies: int = 10, backbones: tuple[str, ...] = ("glyph_vit",), seeds: int = 3, holes: bool = True
) -> pd.DataFrame:
    """All cells of a suite; a strategy's numbers do not depend on how many others there are."""
    names = [*STRATEGIES, *(f"idea_{i:02d}" for i in range(strategies - len(STRATEGIES)))][:strategies]
    frames = [_row(name, backbone, seeds) for name, backbone in itertools.product(names, backbones)]
    frame = pd.concat(frames, ignore_index=True)
    return puncture(frame) if holes else frame


def cards() -> dict[str, Card]:
    return {
        name: Card(
            name=name, modality="image", classes=10, summary=f"What {name} asks.", kind="procedural", group=group,
            source="drawn for tests", licence="public domain",
        )
        for name, group in DATASETS.items()
    }  # fmt: skip


def meta(**changes: object) -> Meta:
    known: dict = {"name": "few_shot_vision", "preset": "lite", "command": "tlbench run few_shot_vision --preset lite"}
    return Meta(**{**known, "cards": cards(), **changes})


def mark(frame: pd.DataFrame, where: pd.Series, status: str, reason: str) -> None:
    """Turns cells into holes of one kind, in place."""
    frame.loc[where, "status"] = status
    frame.loc[where, "reason"] = reason
    frame.loc[where, list(BLANK)] = np.nan


def puncture(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.copy()
    at = frame.strategy.eq("bitfit") & frame.dataset.eq("texture") & frame.budget.eq(2)
    mark(frame, at & frame.seed.eq(0), "diverged", "loss was not finite at step 12")
    mark(frame, frame.strategy.eq("adapter") & frame.dataset.eq("count"), "timed_out", "no answer within 60 s")
    mark(frame, frame.strategy.eq("adapter") & frame.dataset.eq("distance"), "failed", "RuntimeError: shapes <3> & <4>")
    mark(frame, frame.strategy.eq("nearest_mean") & frame.dataset.eq("symmetry"), "skipped", "needs three classes")
    mark(frame, frame.strategy.eq("partial_freeze") & frame.dataset.eq("hebrew") & frame.seed.eq(1), "not_run", "")
    return frame


def _row(strategy: str, backbone: str, seeds: int) -> pd.DataFrame:
    digest = hashlib.sha256(f"{strategy}/{backbone}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))
    idea = rng.uniform(0.2, 0.4), rng.uniform(0.03, 0.1), 10 ** rng.uniform(8, 11)
    base, slope, flops = STRATEGIES.get(strategy, idea)
    taste = dict(zip(DATASETS, rng.normal(0, 0.08, len(DATASETS)), strict=True))
    index = pd.MultiIndex.from_product([DATASETS, (2, 5, 10), range(seeds)], names=["dataset", "budget", "seed"])
    frame = index.to_frame(index=False)
    learns = float(strategy != "majority")
    if strategy == "from_scratch":  # there is something that the pretrained weights do not help with
        taste |= {"symmetry": 0.32, "count": 0.22}
    hard = frame.dataset.map({name: 0.03 * i for i, name in enumerate(DATASETS)})
    noise = rng.normal(0, 0.02, len(frame))
    score = learns * (base + slope * np.log2(frame.budget / 2) + frame.dataset.map(taste) - hard + noise)
    frame = frame.assign(strategy=strategy, backbone=backbone, metric="balanced_accuracy", status="done", reason="")
    frame = frame.assign(
        score=score.clip(upper=0.99), floor=0.1, labels=frame.budget * 10, short_classes=0, transductive=False,
        default_score=(score - learns * 0.02).clip(upper=0.99), peek_gap=learns * rng.uniform(0, 0.03, len(frame)),
        **dict.fromkeys(METRICS, 0.1 + 0.9 * score), ece=0.1, worst_class_recall=0.2, **PLACES,
    )  # fmt: skip
    return _costs(frame, flops, rng)


def _costs(frame: pd.DataFrame, flops: float, rng: np.random.Generator) -> pd.DataFrame:
    edge = rng.uniform(size=len(frame)) < (0.3 if flops > 8e10 else 0.05)
    frame = frame.assign(
        trainable_parameters=flops**0.45, total_parameters=5e5, stored_parameters=flops**0.45,
        train_flops=flops * frame.budget, tune_flops=8 * flops * frame.budget,
        tune_seconds=rng.uniform(1, 9, len(frame)),
        fit_seconds=rng.uniform(0.1, 1, len(frame)), predict_ms_1=1.0, predict_ms_1_p95=1.5, predict_ms_64=9.0,
        predict_ms_64_p95=11.0, peak_memory_mb=400.0,
    )  # fmt: skip
    lists = {
        "at_edge": [("lr",) if e else () for e in edge],
        "hyperparameters": [{"lr": 0.01, "weight_decay": 1e-4}] * len(frame),
        "trials": [()] * len(frame),
        **_told(frame.score, noise=rng.uniform(-0.1, 0.1)),
        "packages": [{"torch": "2.15.0", "numpy": "2.4.6"}] * len(frame),
    }
    frame = frame.assign(**lists)
    parts = [frame[c].astype(str) for c in ("strategy", "backbone", "dataset", "budget", "seed")]
    names = parts[0].str.cat(parts[1:], sep="/")
    return frame.assign(name=names, key=[hashlib.sha256(name.encode()).hexdigest() for name in names])


def _told(scores: pd.Series, *, noise: float) -> dict[str, list]:
    """What each cell keeps of its probabilities and of four classes of 100 examples, in the spirit of its score."""
    reach, ease = np.linspace(-0.15, 0.15, 15), np.array([-0.2, 0.0, 0.05, 0.15])
    bins, counts = [], []
    for accuracy in 0.1 + 0.9 * scores.clip(0, 1):
        right = np.round(100 * (accuracy + reach).clip(0, 1)).astype(int)
        confidence = (accuracy + 1.2 * reach + noise).clip(0.1, 1)
        bins.append({"examples": (100,) * 15, "hits": tuple(right.tolist()), "confidence": tuple(confidence.tolist())})
        found = np.round(100 * (accuracy + ease).clip(0, 1)).astype(int)
        counts.append({"support": (100,) * 4, "predicted": (100,) * 4, "hits": tuple(found.tolist())})
    return {"reliability": bins, "classes": counts}
