"""How do the tables of a Hugging Face dataset come here: from the hub, from its cache, or from local files?"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlbench.types import TlbenchError

if TYPE_CHECKING:
    from datasets import Dataset

FORMATS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json"}
SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves
SECONDS_FOR_HUB = 5.0  # to answer which commit a revision is, before only the cache is asked
COMMIT = re.compile(r"[0-9a-f]{7,40}")

log = logging.getLogger("tlbench")


class Repository(NamedTuple):
    """A dataset of the hub."""

    name: str  # "SetFit/sst2"
    config: str | None
    revision: str | None  # None: the newest, or offline whichever is in the cache


class Tables(NamedTuple):
    """The splits of a dataset, and the commit of the repository that they come from; "" where there is none."""

    splits: Mapping[str, Dataset]
    commit: str


def from_hub(repository: Repository) -> Tables:
    """Downloads, or takes what the library's cache has when the hub cannot be reached.

    No code of the repository is ever run. Raises TlbenchError when there is no such repository, configuration or
    revision, and when neither hub nor cache has it.
    """
    import datasets

    commit, problem = _commit(repository)
    with _offline(datasets) if problem else _as_it_is():
        splits = _opened(
            lambda: datasets.load_dataset(repository.name, repository.config, revision=commit or repository.revision),
            f"hf:{repository.name}",
            problem,
        )
    found = _cached_commit(splits)
    wanted = commit or repository.revision or ""
    if COMMIT.fullmatch(wanted) and found and not found.startswith(wanted):
        raise TlbenchError(
            f"hf:{repository.name}: the cache has commit {found} and not {wanted}; {_next_step(problem)}"
        )
    if problem:
        log.warning("hf:%s comes from the cache (commit %s): %s", repository.name, found or "unknown", problem)
    return Tables(splits, found or commit)


def from_files(path: Path, cache: Path) -> Tables:
    """A directory of `save_to_disk`, a table, or a directory of tables; the library's own copy goes into `cache`."""
    import datasets

    if path.is_dir() and any((path / name).is_file() for name in SAVED):
        return Tables(_opened(lambda: datasets.load_from_disk(str(path)), str(path), ""), "")
    ending = path.suffix.lower()
    builder, where = (FORMATS[ending], {"data_files": {"train": str(path)}}) if path.is_file() else (str(path), {})
    endings = {ending} if path.is_file() else {each.suffix.lower() for each in path.rglob("*")}
    options: dict[str, Any] = {"sep": "\t"} if ending == ".tsv" else {}
    if endings & {".csv", ".tsv"} and not endings & {".parquet", ".json", ".jsonl"}:
        options["keep_default_na"] = False  # a text "NA" is a text
    load = lambda: datasets.load_dataset(builder, cache_dir=str(cache), **where, **options)  # noqa: E731
    return Tables(_opened(load, str(path), ""), "")


def _commit(repository: Repository) -> tuple[str, str]:
    """The commit that the hub has for a revision, or why it could not be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    name = repository.name
    try:
        found = HfApi().dataset_info(name, revision=repository.revision, timeout=SECONDS_FOR_HUB)
    except GatedRepoError as error:
        raise TlbenchError(
            f"hf:{name} is gated; accept its terms at hf.co/datasets/{name}, run: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise TlbenchError(f"hf:{name} has no revision {repository.revision!r}; see its commits on the hub") from error
    except RepositoryNotFoundError as error:
        raise TlbenchError(
            f"the hub has no dataset {name!r}, or it is private; check the name, or run: hf auth login"
        ) from error
    except Exception as error:  # the ways in which a network can be absent belong to several libraries
        return "", f"the hub cannot be reached ({type(error).__name__}: {str(error)[:120]})"
    return found.sha or "", ""


def _opened(load: Callable[[], Any], name: str, problem: str) -> Mapping[str, Dataset]:
    from datasets import Dataset

    try:
        found = load()
    except (ConnectionError, FileNotFoundError) as error:
        raise TlbenchError(f"{name}: {problem or error}; {_next_step(problem)}") from error
    except RuntimeError as error:
        if "scripts are no longer supported" in str(error):
            raise TlbenchError(
                f"{name} is made by a program in its repository, which is not run; use a copy of it in parquet files "
                "(hub: refs/convert/parquet), or save_to_disk and hf:DIRECTORY"
            ) from error
        raise TlbenchError(f"{name} cannot be read: {error}") from error
    except Exception as error:  # each builder has its own way of stumbling over a damaged file
        cause = error.__cause__ or error
        raise TlbenchError(f"{name} cannot be read: {type(cause).__name__}: {str(cause)[:500]}") from error
    return {"train": found} if isinstance(found, Dataset) else found


def _next_step(problem: str) -> str:
    if not problem:
        return "check its name and path, or try again"
    return (
        "on a machine with a network run: tlbench fetch SUITE, and bring its HF_HOME here; or download the dataset's "
        "files and write hf:DIRECTORY"
    )


def _cached_commit(splits: Mapping[str, Dataset]) -> str:
    """The library keeps each commit's tables in a folder of its name."""
    files = [Path(file["filename"]) for table in splits.values() for file in table.cache_files]
    names = {file.parent.name for file in files}
    return names.pop() if len(names) == 1 and COMMIT.fullmatch(min(names)) else ""


@contextmanager
def _offline(datasets: Any) -> Iterator[None]:
    """Without this the library tries the hub six times for half a minute before it looks into its cache."""
    before, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
