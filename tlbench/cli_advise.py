"""What do `tlbench advise` and `tlbench predict` take, and what do they print?"""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlbench.cli_options import Device, Results, Workers

if TYPE_CHECKING:
    from tlbench.advise import Advice


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

    if export is not None:
        from tlbench.exported import refuse_other

        refuse_other(export)
    wishes = Wishes(backbone or (), strategy or (), effort.value)
    advice = advised(path, wishes, Ways(results, Means(workers, device), watcher, typer.echo))
    typer.echo(f"\n{advice.text}\nwritten: {advice.folder / 'advice.md'}, {advice.folder / 'advice.json'}")
    if export is not None:
        typer.echo(exported(advice, export, device))


def exported(advice: Advice, folder: Path, device: str) -> str:
    """Trains on all labels, writes the folder, and says how to use it."""
    from tlbench import provenance
    from tlbench.exported import export

    typer.echo(f"training on all {len(advice.contest.data.y)} labels ...")
    made = export(advice, folder, device=provenance.devices(device)[0])
    what = {"image": "IMAGE...", "text": "'SOME TEXT'"}[advice.contest.data.card.modality]
    return f"{folder} is written ({_size(made)}); next: tlbench predict {shlex.quote(str(folder))} {what}"


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `tlbench advise --export DIR` wrote.")],
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Images or texts, or where they are.")],
    text: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of a CSV that holds texts.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to name for each input.")] = 1,
    out: Annotated[Path | None, typer.Option(help="A CSV to write, instead of printing.")] = None,
) -> None:
    """Name the classes of new images or texts; exit code 1 when some cannot be read.

    Example: tlbench predict ./my_model new_images/

    Example: tlbench predict ./my_model 'the parcel never came'
    """
    from tlbench.exported_model import load
    from tlbench.exported_predict import Wanted
    from tlbench.exported_predict import predict as predicted

    told = predicted(load(folder), inputs, Wanted(top, out, text), lambda line: typer.echo(line, err=True))
    if out is not None:
        typer.echo(f"{told.predicted} inputs, predictions in {out}")
    if told.unreadable:
        typer.echo(f"{told.unreadable} of {told.predicted + told.unreadable} inputs could not be read", err=True)
        raise typer.Exit(1)


def _size(folder: Path) -> str:
    from tlbench.report.numbers import amount

    return amount(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()), "B")
