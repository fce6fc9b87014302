"""What can be typed? The commands of tlbench; each asks the rest of the package and prints the answer."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlbench import __version__, cli_advise, cli_cache, cli_report, cli_verify
from tlbench.cli_options import Backbones, Datasets, Device, Only, Plugins, Preset, Results, SuiteName, Timeout, Workers
from tlbench.executors_server import begin_as_before
from tlbench.types import TlbenchError

if TYPE_CHECKING:
    from tlbench.suite import Suite

TROUBLE, USAGE, STOPPED = 1, 2, 130  # exit codes: some cell went wrong; the command is wrong; Ctrl-C


class _Group(typer.core.TyperGroup):
    """Prints a TlbenchError as the sentence that it is."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TlbenchError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(USAGE) from error
        except KeyboardInterrupt as stop:
            typer.echo("\nstopped; all that was finished is kept; run the same command to go on", err=True)
            raise typer.Exit(STOPPED) from stop


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which way of transferring a pretrained network works when labels are few?\n\n"
    "Start with: tlbench run smoke (a minute), then: tlbench run few_shot_vision",
)
new = typer.Typer(no_args_is_help=True, help="Write a file to start from. Example: tlbench new strategy my_idea")
app.add_typer(new, name="new")


class Kind(StrEnum):
    STRATEGIES = "strategies"
    DATASETS = "datasets"
    BACKBONES = "backbones"
    SUITES = "suites"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tlbench {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    pass


@app.command()
def run(
    suite: SuiteName,
    preset: Preset = None,
    plugin: Plugins = None,
    dataset: Datasets = None,
    backbone: Backbones = None,
    only: Only = None,
    device: Device = "auto",
    workers: Workers = 0,
    timeout: Timeout = None,
    results: Results = Path("results"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say also how and why so, and do nothing.")] = False,
) -> None:
    """Run what is missing of a suite and write its report.

    Stop it at any moment; the same command goes on where it stopped.

    Example: tlbench run few_shot_vision --only strategy=lora,linear_probe --only budget=5

    Example: tlbench run few_shot_vision --dataset folder:./my_images

    Example: tlbench run few_shot_vision --explain
    """
    if not (dry_run or explain):
        begin_as_before()
    from tlbench.cli_run import Means, plan_text, run_suite

    loaded = _suite(suite, preset, plugin, dataset, backbone)
    if dry_run or explain:
        typer.echo(plan_text(loaded, results, only or [], Means(workers, device)))
        if explain:
            from tlbench.cli_explain import explanation

            typer.echo("\n" + explanation(loaded, results, only or [], Means(workers, device)))
        return
    ok = run_suite(loaded, results, only or [], Means(workers, device, timeout))
    raise typer.Exit(0 if ok else TROUBLE)


@app.command()
def fetch(
    suite: SuiteName,
    preset: Preset = None,
    plugin: Plugins = None,
    dataset: Datasets = None,
    backbone: Backbones = None,
) -> None:
    """Download, prepare and verify all that a suite needs, for a machine without a network; exit code 1 on a problem.

    Stop it at any moment; the same command goes on where it stopped. What is here is verified, not fetched again.

    Example: tlbench fetch few_shot_vision_timm
    """
    from tlbench.fetch import fetched, summary

    loaded = _suite(suite, preset, plugin, dataset, backbone)
    items = fetched(loaded, say=typer.echo)
    typer.echo(summary(loaded, items))
    raise typer.Exit(TROUBLE if any(item.problem for item in items) else 0)


@app.command()
def retry(
    suite: SuiteName,
    preset: Preset = None,
    plugin: Plugins = None,
    dataset: Datasets = None,
    backbone: Backbones = None,
    only: Only = None,
    device: Device = "auto",
    workers: Workers = 0,
    timeout: Timeout = None,
    results: Results = Path("results"),
    everything: Annotated[bool, typer.Option("--all", help="Also cells that are done.")] = False,
) -> None:
    """Run again the cells that failed, diverged, ran out of memory or time, or whose record is damaged.

    Example: tlbench retry few_shot_vision --only strategy=lora --timeout 600
    """
    from tlbench.cli_run import Means, forget, run_suite

    loaded = _suite(suite, preset, plugin, dataset, backbone)
    typer.echo(f"{forget(loaded, results, only or [], everything=everything)} records dropped, to be made again")
    ok = run_suite(loaded, results, only or [], Means(workers, device, timeout))
    raise typer.Exit(0 if ok else TROUBLE)


app.command()(cli_cache.cache)
app.command()(cli_report.report)
app.command()(cli_advise.advise)
app.command()(cli_advise.predict)
app.command()(cli_verify.verify)
app.command()(cli_verify.canaries)


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    plugin: Plugins = None,
    timm: Annotated[str | None, typer.Option(metavar="PATTERN", help="Networks of timm instead.")] = None,
    torchvision: Annotated[str | None, typer.Option(metavar="PATTERN", help="Networks of torchvision instead.")] = None,
) -> None:
    """List what can be named.

    Example: tlbench list backbones --timm 'vit*'
    """
    from tlbench.cli_show import library_listing, listing

    patterns = {"timm": timm, "torchvision": torchvision}
    found = [line for name, fits in patterns.items() if fits is not None for line in library_listing(kind, name, fits)]
    for line in found or listing(kind, plugin or []):
        typer.echo(line)


@app.command()
def show(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="The start of a cell's key or name.")],
    results: Results = Path("results"),
) -> None:
    """Show all that is known of a cell: scores, choice, trials, cost, provenance.

    Example: tlbench show lora/glyph_vit/digits/5/0
    """
    from tlbench.cli_show import shown

    typer.echo(shown(cell, results))


@app.command()
def failures(
    suite: SuiteName,
    preset: Preset = None,
    plugin: Plugins = None,
    dataset: Datasets = None,
    backbone: Backbones = None,
    results: Results = Path("results"),
) -> None:
    """List the cells that went wrong or are missing, by reason; exit code 1 when there are any.

    Example: tlbench failures few_shot_vision
    """
    from tlbench.cli_show import failing

    lines = failing(_suite(suite, preset, plugin, dataset, backbone), results)
    typer.echo("\n".join(lines) or "no failures")
    raise typer.Exit(TROUBLE if lines else 0)


@app.command()
def trials(
    suite: SuiteName,
    optuna: Annotated[str, typer.Option(metavar="URL", help="An Optuna storage, such as sqlite:///trials.db")],
    plugin: Plugins = None,
    results: Results = Path("results"),
) -> None:
    """Export every trial as Optuna studies, one a cell, for Optuna's dashboard.

    Example: tlbench trials smoke --optuna sqlite:///trials.db && optuna-dashboard sqlite:///trials.db
    """
    from tlbench.cli_run import export_trials

    typer.echo(f"{export_trials(_suite(suite, None, plugin), results, optuna)} studies written to {optuna}")


@app.command()
def check(plugin: Annotated[str, typer.Argument(help="A plug-in file or module, or a strategy's name.")]) -> None:
    """Check that a strategy keeps the contract, and say what to change.

    Example: tlbench check my_idea.py
    """
    from tlbench import contract

    findings = contract.check(plugin)
    typer.echo(contract.report(findings))
    raise typer.Exit(0 if contract.ok(findings) else TROUBLE)


@new.command("strategy")
def new_strategy(name: Annotated[str, typer.Argument(help="Its name, in snake_case.")]) -> None:
    """Write NAME.py: a strategy that passes `tlbench check` and runs with `--plugin NAME.py`.

    Example: tlbench new strategy my_idea
    """
    from tlbench import contract

    file = contract.new_strategy(name, Path())
    typer.echo(f"{file} is written; next: tlbench check {file}; tlbench run smoke --plugin {file}")


@app.command()
def pretrain(
    name: Annotated[str, typer.Argument(help="An embedded backbone: glyph_vit or glyph_cnn.")],
    out: Annotated[Path, typer.Option(help="The folder that gets the weights and their card.")] = Path("weights"),
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of training, instead of the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, glyphs and their distortions.")] = 0,
) -> None:
    """Make the weights of an embedded backbone anew, by the recipe on its card.

    Example: tlbench pretrain glyph_vit --out weights
    """
    from tlbench.cli_run import pretrained

    typer.echo(pretrained(name, out, steps=steps, seed=seed))


def main() -> None:
    """The entry point `tlbench`."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tlbench").setLevel(logging.INFO)  # long work says how far it is
    app(prog_name="tlbench" if sys.argv[0].endswith("__main__.py") else None)


def _suite(
    name: str,
    preset: str | None,
    plugins: list[str] | None,
    datasets: list[str] | None = None,
    backbones: list[str] | None = None,
) -> Suite:
    from tlbench.suite import load_suite

    return load_suite(name, preset, plugins=plugins or [], datasets=datasets or [], backbones=backbones or [])
