"""Which arguments and options do commands share? Each with the help that it has everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A name of `tlbench list suites`, or a .toml file.")]
Preset = Annotated[str | None, typer.Option(help="How much to run: smoke, lite, standard, precision.")]
Plugins = Annotated[list[str] | None, typer.Option("--plugin", help="A .py file or module to load; may be repeated.")]
Only = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE[,VALUE]", help="strategy, backbone, dataset, budget or seed.")
]
Datasets = Annotated[
    list[str] | None,
    typer.Option("--dataset", metavar="REF", help="Instead of the suite's datasets: a name, folder:PATH, hf:REPO, ..."),
]
Backbones = Annotated[
    list[str] | None,
    typer.Option("--backbone", metavar="REF", help="Instead of the suite's networks: a name, timm:NAME, hf:NAME, ..."),
]
Results = Annotated[Path, typer.Option(help="The folder of results folders.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, mps.")]
Workers = Annotated[int, typer.Option(min=0, help="Worker processes; 0 takes one for each core or device.")]
Timeout = Annotated[float | None, typer.Option(min=0.001, help="Seconds that a cell may take.")]
