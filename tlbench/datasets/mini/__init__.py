"""Which datasets need no download? Importing this package registers them."""

from tlbench.datasets.mini import photographs, scenes, scripts, symmetries, textures

__all__ = ["photographs", "scenes", "scripts", "symmetries", "textures"]
