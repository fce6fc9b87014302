"""The built-in strategies; importing this package registers them."""

from tlbench.strategies import adapters, finetune, floors, probes, tfidf

__all__ = ["adapters", "finetune", "floors", "probes", "tfidf"]
