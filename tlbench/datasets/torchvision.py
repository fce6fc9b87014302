"""How does a dataset of torchvision become one of tlbench? `torchvision:NAME`, official splits, counts verified.

torchvision reads CIFAR's own files with pickle, after comparing their md5 with the published ones; no other pickled
file is opened for any dataset of the table.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tlbench.datasets import options
from tlbench.datasets.holdout import held_out
from tlbench.datasets.pictures import Pictures
from tlbench.datasets.seals import refuse_when_sealed
from tlbench.datasets.torchvision_table import TABLE, Entry, Part
from tlbench.registry import Dataset, register, unknown
from tlbench.types import Arrays, Card, TlbenchError, sha256

PREFIX = "torchvision:"
# Where torchvision's classes keep their files and labels, and their arrays and labels.
FILES = (("_image_files", "_labels"), ("_images", "_labels"))
SAMPLES = ("samples", "_samples")
ARRAYS = (("data", "targets"), ("data", "labels"))

log = logging.getLogger("tlbench")


class Split(NamedTuple):
    x: Any  # uint8 [n, H, W, 3], or a list of paths
    y: np.ndarray  # [n] int64
    class_names: tuple[str, ...]  # () where torchvision knows none


@register.dataset_family("torchvision:NAME", f"A dataset of torchvision: {', '.join(TABLE)}.")
def opened(reference: str) -> tuple[str, Dataset]:
    """`torchvision:NAME`, with `?size=384` where the images are photographs. Raises TlbenchError for an unknown one."""
    name, given = options.split(reference, ("size",))
    if name not in TABLE:
        same = [each for each in TABLE if each.lower() == name.lower()]
        see = f"there are {', '.join(same or TABLE)}"
        raise TlbenchError(unknown("torchvision dataset", name, TABLE, see))
    entry, size = TABLE[name], options.side(reference, given)
    called = options.named(PREFIX + name, given)
    card = Card(
        name=called,
        modality="image",
        classes=entry.classes,
        summary=entry.summary,
        kind="real",
        group="real images",
        source=entry.source,
        licence=entry.licence,
        horizontal_flip=entry.flip,
    )

    def arrays(root: Path) -> Arrays:
        refuse_when_sealed(f"reading {called!r}")
        return _arrays(name, entry, root / "downloads" / name, size or entry.size)

    return called, Dataset(card, arrays, state=lambda: sha256([name, entry.pool, entry.test, size or entry.size]))


def _arrays(name: str, entry: Entry, place: Path, size: int | None) -> Arrays:
    """The official splits from `place`, downloaded there where they are not. Raises TlbenchError with the next step."""
    pool = _part(name, entry, place, entry.parts[0])
    _check_count(name, place, pool, "pool", entry.pool)
    groups = _drives(pool.x) if name == "GTSRB" else None
    names = pool.class_names or tuple(map(str, range(entry.classes)))
    if entry.test is None:
        x = _inputs(pool.x, size)
        test = held_out(x, pool.y)
        return Arrays(x[~test], pool.y[~test], x[test], pool.y[test], names)
    tested = _part(name, entry, place, entry.parts[1])
    _check_count(name, place, tested, "test", entry.test)
    return Arrays(_inputs(pool.x, size), pool.y, _inputs(tested.x, size), tested.y, names, groups)


def _part(name: str, entry: Entry, place: Path, calls: Part) -> Split:
    """Several splits of torchvision behind one another."""
    splits = [_split(name, _opened(name, entry, place, call)) for call in calls]
    y = np.concatenate([split.y for split in splits])
    if isinstance(splits[0].x, np.ndarray):
        return Split(np.concatenate([split.x for split in splits]), y, splits[0].class_names)
    return Split([path for split in splits for path in split.x], y, splits[0].class_names)


def _opened(name: str, entry: Entry, place: Path, call: Mapping[str, Any]) -> Any:
    """torchvision's dataset, from the files in `place` if they are whole, or else after downloading."""
    import torchvision

    make = getattr(torchvision.datasets, name)
    try:
        return make(str(place), download=False, **call)
    except (RuntimeError, OSError) as error:
        log.info("%s%s is not complete in %s (%s); downloading it", PREFIX, name, place, error)
    try:
        place.mkdir(parents=True, exist_ok=True)
        return make(str(place), download=True, **call)
    except (RuntimeError, OSError, ValueError) as error:  # no network is an OSError, a wrong md5 a RuntimeError
        said = " ".join(str(error).split())
        _refuse(
            name,
            f"it is not in {place} and cannot be downloaded ({type(error).__name__}: {said}); on a machine with a "
            f"network run: tlbench fetch SUITE, and take that folder along, or put there {entry.by_hand}",
        )


def _split(name: str, dataset: Any) -> Split:
    """What torchvision's object holds, images in files as their paths."""
    classes = tuple(str(each) for each in getattr(dataset, "classes", ()))
    for files, labels in FILES:
        if hasattr(dataset, files):
            return Split(_paths(getattr(dataset, files)), _numbers(getattr(dataset, labels)), classes)
    for samples in SAMPLES:
        if hasattr(dataset, samples):
            pairs = getattr(dataset, samples)
            return Split(_paths(path for path, _ in pairs), _numbers([label for _, label in pairs]), classes)
    for data, labels in ARRAYS:
        if hasattr(dataset, data) and hasattr(dataset, labels):
            return Split(_pixels(np.asarray(getattr(dataset, data))), _numbers(getattr(dataset, labels)), classes)
    _refuse(name, "this torchvision keeps its images where tlbench does not look; install torchvision 0.29")


def _paths(files: Any) -> list[Path]:
    return [Path(each) for each in files]


def _numbers(labels: Any) -> np.ndarray:
    return np.asarray(labels).astype(np.int64)


def _pixels(data: np.ndarray) -> np.ndarray:
    """[n, H, W], [n, 3, H, W] or [n, H, W, 3] -> [n, H, W, 3]."""
    if data.ndim == 3:
        return np.repeat(data[..., None], 3, axis=-1)
    return np.ascontiguousarray(data if data.shape[-1] == 3 else np.moveaxis(data, 1, -1))


def _inputs(x: Any, size: int | None) -> Any:
    if not isinstance(x, np.ndarray):
        return Pictures(x, size)
    if size in (None, x.shape[1]):
        return x
    from PIL import Image

    return Pictures([Image.fromarray(each) for each in x], size)


def _drives(paths: list[Path]) -> np.ndarray:
    """Of a file CLASS/TRACK_FRAME.ppm the class and the track: its frames differ little."""
    return np.array([f"{path.parent.name}/{path.stem.partition('_')[0]}" for path in paths])


def _check_count(name: str, place: Path, split: Split, part: str, published: int) -> None:
    there = len(split.x) if isinstance(split.x, np.ndarray) else sum(path.is_file() for path in split.x)
    if there != published or len(split.y) != published:
        _refuse(
            name,
            f"its {part} has {there} images and {len(split.y)} labels where {published} were published "
            f"({TABLE[name].source}); the mirror changed its counts or a download broke off: delete {place} and run "
            "again",
        )


def _refuse(name: str, problem: str) -> NoReturn:
    raise TlbenchError(f"dataset {PREFIX + name!r}: {problem}")
