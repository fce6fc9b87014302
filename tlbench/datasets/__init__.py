"""Which datasets are there? Importing this package registers the embedded ones; it needs numpy only."""

from tlbench.datasets import docstrings, mini

__all__ = ["docstrings", "mini"]
