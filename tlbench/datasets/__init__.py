"""Which datasets are there? Importing this package registers the embedded ones; it needs numpy only."""

from tlbench.datasets import docstrings, folder, huggingface, mini, torchvision

__all__ = ["docstrings", "folder", "huggingface", "mini", "torchvision"]
