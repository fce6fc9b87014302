"""What can numbers alone tell? Arrays in, arrays out; nothing here knows of frames, names or pages."""

from tlbench.report.stats.intervals import LEVEL, Interval, cell, suite, tasks

__all__ = ["LEVEL", "Interval", "cell", "suite", "tasks"]
