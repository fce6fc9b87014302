"""What do `tlbench verify` and `tlbench canaries` take, and what do they print?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlbench.cli_options import Plugins, Results

Reference = Annotated[
    str, typer.Option(metavar="REF", help="What opens it where its name alone does not: folder:PATH, timm:NAME@FILE.")
]


def verify(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="The start of a cell's key or name.")],
    results: Results = Path("results"),
    plugin: Plugins = None,
    dataset: Reference = "",
    backbone: Reference = "",
) -> None:
    """Run one published cell again and say whether it comes out the same; exit code 1 when it does not.

    It runs in a folder of its own: the published store is only read.

    Example: tlbench verify lora/glyph_vit/digits/5/0
    """
    from tlbench import verify_words
    from tlbench.cli_show import found, several
    from tlbench.types import TlbenchError
    from tlbench.verify import verify as verified

    cells = found(cell, results)
    if len(cells) > 1:
        raise TlbenchError(several(cell, cells))
    folder, record = cells[0]
    typer.echo(f"{record.cell.name} ({record.cell.key[:12]}) in {folder}")
    made = verified(folder, record.cell.key, plugins=plugin or (), dataset=dataset, backbone=backbone)
    for line in verify_words.lines(made):
        typer.echo(line)
    raise typer.Exit(0 if made.held else 1)


def canaries(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds: it notices less.")] = False,
) -> None:
    """Plant faults in the harness and say whether it notices each; exit code 1 when it misses one.

    Shuffled labels must score 0, a strategy must not beat itself, copies of test images must be found, and a plug-in
    that looks for labels must find none. It takes less than a minute.

    Example: tlbench canaries
    """
    from tlbench import canaries as cages

    dead = 0
    for canary in cages.canaries(quick=quick):
        dead += not canary.alive
        typer.echo(f"{'alive' if canary.alive else 'DEAD':<6} {canary.name:<19} {canary.done}")
        typer.echo(f"{'':<26} {canary.found}")
    typer.echo(f"{dead} dead: the numbers of this tlbench cannot be trusted" if dead else "all are alive")
    raise typer.Exit(1 if dead else 0)
