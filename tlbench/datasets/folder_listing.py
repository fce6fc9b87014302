"""Which images stand in a folder of class folders, and which are for testing?"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from tlbench.types import TlbenchError

Part = Literal["pool", "test"]

PARTS: dict[str, Part] = {"train": "pool", "training": "pool", "val": "pool", "valid": "pool", "validation": "pool"}
PARTS |= {"test": "test", "testing": "test"}
PHOTOGRAPHS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
ENDINGS = (*PHOTOGRAPHS, ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".ico")
HIDDEN = (".", "__MACOSX")
NOT_BY_NAME = "not an image by its name"
OUTSIDE = "image outside the class folders"
UNUSED_FOLDER = "file in a folder beside train, val and test"

log = logging.getLogger("tlbench")


class Listed(NamedTuple):
    """Labelled examples before anything is opened, and how many could not be listed, by reason."""

    items: list[Path] | list[str]  # images or texts
    labels: list[str]
    parts: list[Part]  # all "pool" where nobody has said what is for testing
    groups: list[str] | None
    excluded: Counter[str]


def listed(folder: Path) -> Listed:
    """The images of a folder with one sub-folder for each class, or train, val and test folders of such.

    Hidden files are passed over, other files counted. Raises TlbenchError when there is no class folder with an image.
    """
    above = {each.name: PARTS[each.name.lower()] for each in _folders(folder) if each.name.lower() in PARTS}
    if not any(_folders(folder / name) for name in above):
        above = {}
    found = Listed([], [], [], None, Counter())
    for part in _folders(folder):
        if not above:
            _add(found, part, "pool")
        elif part.name in above:
            for name in _folders(part):
                _add(found, name, above[part.name])
            found.excluded.update(_stray(part))
        else:
            found.excluded[UNUSED_FOLDER] += sum(1 for _ in _files(part))
    found.excluded.update(_stray(folder))
    _check(folder, found)
    return found


def stamps(paths: list[Path], root: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and time of change in ns of each file; size -1 for one that is not there."""
    facts = []
    for path in paths:
        try:
            stat = path.stat()
            facts.append((os.path.relpath(path, root), stat.st_size, stat.st_mtime_ns))
        except OSError:
            facts.append((os.path.relpath(path, root), -1, 0))
    return facts


def _add(found: Listed, folder: Path, part: Part) -> None:
    """Adds the images of one class, sub-folders included."""
    before = len(found.labels)
    for path in _files(folder):
        if path.suffix.lower() not in ENDINGS:
            found.excluded[NOT_BY_NAME] += 1
            continue
        found.items.append(path)  # type: ignore[arg-type]  # of images, the list is one of paths
        found.labels.append(folder.name)
        found.parts.append(part)
    if len(found.labels) == before:
        log.warning("the folder %s has no image; it is no class", folder)


def _check(folder: Path, found: Listed) -> None:
    if not found.labels:
        tables = [each.name for each in sorted(folder.iterdir()) if each.suffix.lower() in (".csv", ".tsv")]
        other = f", or write folder:{folder / tables[0]} for its table" if tables else ""
        raise TlbenchError(
            f"no class folder with an image in {folder}; put the images of each class into a folder of its own, in it "
            f"or in its train/ and test/{other}"
        )
    if "pool" not in found.parts:
        raise TlbenchError(f"{folder} has images for testing and none for training; add a folder train/")


def _stray(folder: Path) -> Iterator[str]:
    """Why each file that stands directly in a folder of folders is not used."""
    for each in sorted(folder.iterdir()):
        if each.is_file() and not each.name.startswith("."):
            yield OUTSIDE if each.suffix.lower() in ENDINGS else NOT_BY_NAME


def _folders(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith(HIDDEN)]


def _files(folder: Path) -> Iterator[Path]:
    """Visible files below a folder, in order; a folder that links lead to again is read once. Raises OSError."""
    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=_stumble, followlinks=True):
        fresh = []
        for name in sorted(name for name in folders if not name.startswith(HIDDEN)):
            target = os.path.realpath(Path(place, name))
            fresh += [] if target in seen else [name]
            seen.add(target)
        folders[:] = fresh
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _stumble(error: OSError) -> NoReturn:
    raise error
