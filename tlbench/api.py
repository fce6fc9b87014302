"""The same as the commands, from Python: `tlbench.run`, `tlbench.results` and `tlbench.leaderboard`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.executors import Means
from tlbench.store import Store
from tlbench.suite import load_suite, parse_only

if TYPE_CHECKING:
    import pandas as pd


def run(  # noqa: PLR0913 - the options of the command
    suite: str | Path,
    *,
    preset: str | None = None,
    plugins: Sequence[str] = (),
    datasets: Sequence[str] = (),
    backbones: Sequence[str] = (),
    only: Sequence[str] = (),
    device: str = "auto",
    workers: int = 0,
    timeout: float | None = None,
    results: str | Path = "results",
) -> pd.DataFrame:
    """Runs what is missing of a suite, writes its report, and returns one row a cell.

    `datasets` and `backbones` take the place of the suite's, by name or reference ("folder:./my_images", "timm:NAME").
    `only` takes texts such as "strategy=lora,bitfit"; `workers` 0 is one for each core or device; `timeout` is seconds
    a cell. Raises TlbenchError for a suite, plug-in, dataset or store that cannot be used, before any training.

    >>> frame = tlbench.run("smoke", only=["dataset=digits"])
    """
    from tlbench.cli_run import run_suite

    loaded = load_suite(suite, preset, plugins=plugins, datasets=datasets, backbones=backbones)
    run_suite(loaded, Path(results), only, Means(workers, device, timeout))
    with Store.open(Path(results) / loaded.name, create=False) as store:
        return store.frame(loaded.cells(parse_only(only, loaded)))


def leaderboard(
    table: str | Path | pd.DataFrame, out: str | Path, *, only: Sequence[str] = (), percent: bool = False
) -> pd.DataFrame:
    """Writes the report of your own results into the folder `out` and returns the leaderboard, one row a strategy.

    `table` is a frame, or a .csv, .tsv or .parquet, with the columns strategy, dataset, budget (labels a class), seed
    and score (higher is better, at most 1, or at most 100 with `percent`), one run a row; `report.foreign` says what
    else it may have. `only` takes texts such as "budget=8,64". Raises TlbenchError that lists all that is wrong.

    >>> tlbench.leaderboard("results.csv", "board")
    """
    import pandas as pd

    from tlbench.report.own import write_own

    given = table if isinstance(table, pd.DataFrame) else Path(table)
    write_own(given, Path(out), only=only, percent=percent)
    return pd.read_csv(Path(out) / "leaderboard.csv", keep_default_na=False, na_values=[""])


def results(path: str | Path) -> pd.DataFrame:
    """Every stored cell of a results folder (such as "results/smoke"), one row each; see `store_frame.COLUMNS`.

    Raises TlbenchError where nothing is stored.
    """
    with Store.open(path, create=False) as store:
        return store.frame()
