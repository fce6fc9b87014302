"""What does a command do to a results folder? Run, estimate, forget, report, export."""

from __future__ import annotations

import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench import runner, space
from tlbench.cli_progress import watcher
from tlbench.cli_show import leaders
from tlbench.executors import Means
from tlbench.executors_cores import cores
from tlbench.provenance import devices
from tlbench.registry import BACKBONES, DATASETS, STRATEGIES
from tlbench.store import Store
from tlbench.suite import Suite, parse_only, typed
from tlbench.types import DataFacts, Record, Status

if TYPE_CHECKING:
    import pandas as pd


def run_suite(suite: Suite, results: Path, only: Sequence[str], means: Means) -> bool:
    """Runs what is missing, writes the report, and says whether all asked for is done or skipped for a reason."""
    chosen = parse_only(only, suite)
    progress = watcher()
    try:
        summary = runner.run(suite, results=results, only=chosen, progress=progress, means=means)
    finally:
        progress.finish()
    progress.say(", ".join(f"{count} {status}" for status, count in sorted(summary.counts.items())))
    if progress.tally.spared():
        progress.say(progress.tally.spared())
    files = write_report(suite, results)
    for line in leaders(results / suite.name / "leaderboard.csv"):
        progress.say(line)
    progress.say(f"{len(files)} files are written; open {results / suite.name / 'report.html'}")
    if not summary.ok:
        progress.say(f"some cells are not done; what went wrong: tlbench failures {typed(suite)}")
    return summary.ok


def plan_text(suite: Suite, results: Path, only: Sequence[str], means: Means) -> str:
    """Cells, fits and time of a run that does not happen."""
    chosen, found = parse_only(only, suite), devices(means.device)
    with reading(results / suite.name) as store:
        plan = runner.planned(suite, store, runner.prepared(suite, chosen), chosen)
        seconds, grounds = sum(map(plan.pace.seconds, plan.blocks)), plan.pace.grounds(plan.blocks)
    count = means.workers or (cores() if found == ["cpu"] else len(found))
    by_strategy = Counter(cell.strategy for cell in plan.missing)
    return "\n".join(
        [
            f"suite {suite.name}, preset {suite.preset}: {len(suite.strategies)} strategies x {len(suite.backbones)} "
            f"backbones x {len(suite.datasets)} datasets x {len(suite.budgets)} budgets x {len(suite.seeds)} seeds",
            f"{len(plan.cells)} cells, {len(plan.cells) - len(plan.missing)} of them stored already",
            f"{len(plan.missing)} cells to run in {len(plan.blocks)} blocks, {plan.fits} fits",
            *(f"  {strategy:<18}{by_strategy[strategy]:>6} cells" for strategy in sorted(by_strategy)),
            f"about {timedelta(seconds=round(seconds / count))} with {count} workers on {', '.join(found)} ({grounds})",
        ]
    )


def forget(suite: Suite, results: Path, only: Sequence[str], *, everything: bool) -> int:
    """Drops the records that went wrong (or all) among those the filter keeps, and every damaged one; says how many."""
    chosen = parse_only(only, suite)
    with Store.open(results / suite.name) as store:
        dropped = set(store.damaged())
        store.delete(dropped)
        frame = store.frame(suite.cells(chosen))
        fine = [Status.DONE, Status.SKIPPED, "not_run"] if not everything else ["not_run"]
        wrong = set(frame.loc[~frame.status.isin(list(map(str, fine))), "key"])
        store.delete(wrong)
    return len(dropped | wrong)


def write_report(suite: Suite, results: Path) -> list[Path]:
    """Writes leaderboard, page and figures beside the store."""
    from tlbench import report  # loads for a second: workers need not wait for it

    folder = results / suite.name
    with Store.open(folder, create=False) as store:
        frame = store.frame(suite.cells())
        facts = _facts(frame, store)
    meta = report.Meta(
        name=suite.name,
        preset=suite.preset,
        command=command_of(suite, results),
        cards={name: DATASETS[name].card for name in suite.datasets},
        facts=facts,
        contaminated=_contaminated(suite),
        description=suite.description,
        sampler=suite.effort.sampler,
    )
    return report.write(frame, meta, folder)


def _facts(frame: pd.DataFrame, store: Store) -> dict[str, DataFacts]:
    """What became of each dataset, as the run that made its cells found it."""
    known = frame.loc[frame.data_fingerprint.ne(""), ["dataset", "data_fingerprint"]].drop_duplicates("dataset")
    kept = {row.dataset: store.plan_get(f"data/{row.data_fingerprint}") for row in known.itertuples()}
    return {name: DataFacts(**values) for name, values in kept.items() if values is not None}


def _contaminated(suite: Suite) -> dict[tuple[str, str], str]:
    """What the networks declare to have seen of the suite's datasets."""
    seen = {backbone: BACKBONES[backbone].seen for backbone in suite.backbones}
    return {
        (backbone, name): seen[backbone][name] for backbone in seen for name in suite.datasets if name in seen[backbone]
    }


def command_of(suite: Suite, results: Path) -> str:
    """The command that makes this suite's results, whoever types it."""
    folder = [] if results == Path("results") else ["--results", str(results)]
    return shlex.join(["tlbench", "run", *shlex.split(typed(suite)), *folder])


def export_trials(suite: Suite, results: Path, url: str) -> int:
    """Writes the trials of every stored cell into an Optuna storage; says how many studies."""
    from tlbench import tune

    with Store.open(results / suite.name, create=False) as store:
        records = [record for record in store.records() if record.measurement.trials]
    return tune.export(records, _space, url)


def _space(record: Record) -> space.Space:
    """What the trials of a cell were drawn from."""
    parameters = int(record.measurement.cost.get("total_parameters", 0))
    return space.on(parameters, STRATEGIES[record.cell.strategy].space)


def pretrained(name: str, out: Path, *, steps: int | None, seed: int) -> str:
    """Trains an embedded backbone, tells how it goes once every hundred steps, and says what was written."""
    from tlbench.backbones import pretrain

    def say(now: pretrain.Progress) -> None:
        if now.step % 100 == 0 or now.step == now.steps:
            print(
                f"step {now.step} of {now.steps}: loss {now.loss:.3f}, {now.accuracy:.1%} named rightly, "
                f"{now.seconds:.0f} s",
                flush=True,
            )

    recipe = pretrain.Recipe(seed=seed) if steps is None else pretrain.Recipe(seed=seed, steps=steps)
    pretrain.pretrain(name, out, recipe=recipe, progress=say)
    return f"{out / name}.safetensors and {out / name}.json are written"


@contextmanager
def reading(folder: Path) -> Iterator[Store]:
    """The store of a folder for reading, or an empty one where nothing is stored yet."""
    if (folder / "results.db").exists():
        with Store.open(folder, create=False) as store:
            yield store
    else:
        with tempfile.TemporaryDirectory() as empty, Store.open(empty) as store:
            yield store
