"""What do `tlbench advise` and `tlbench predict` take, and what do they print?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tlbench.cli_options import Device, Results, Workers


class Thoroughness(StrEnum):
    quick = "quick"
    thorough = "thorough"


Networks = Annotated[
    list[str] | None, typer.Option("--backbone", metavar="REF", help="Networks to compare; may be repeated.")
]
Tried = Annotated[list[str] | None, typer.Option("--strategy", help="Strategies to compare; may be repeated.")]


def advise(  # noqa: PLR0913 - the options of the command
    path: Annotated[str, typer.Argument(help="A folder of class folders, a CSV, or a dataset such as hf:REPO.")],
    backbone: Networks = None,
    strategy: Tried = None,
    effort: Annotated[Thoroughness, typer.Option(help="How much is tried.")] = Thoroughness.quick,
    workers: Workers = 0,
    device: Device = "auto",
    results: Results = Path("results"),
    export: Annotated[Path | None, typer.Option(help="Train the advised way on all labels and write it here.")] = None,
) -> None:
    """Say which strategy and network to use on your own data, how sure that is, and what more labels would buy.

    Stop it at any moment; the same command goes on where it stopped.

    Example: tlbench advise ./my_images --export ./my_model
    """
    from tlbench.advise import Wishes
    from tlbench.advise import advise as advised
    from tlbench.advise_runs import Ways
    from tlbench.cli_progress import watcher
    from tlbench.executors import Means

    wishes = Wishes(backbone or (), strategy or (), effort.value)
    advice = advised(path, wishes, Ways(results, Means(workers, device), watcher, typer.echo))
    typer.echo(f"\n{advice.text}\nwritten: {advice.folder / 'advice.md'}, {advice.folder / 'advice.json'}")
