"""How do pictures in files become an array? Decoded once, several at a time, all to one size."""

from __future__ import annotations

import io
import logging
import os
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from tlbench.datasets import pieces

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 256  # pixels; so that the usual Resize(256) and CenterCrop(224) have something to cut
LARGEST_PIXELS = 89_478_485  # of one image: a quarter of a GiB decoded, where Pillow warns of bombs
# Raster formats that Pillow itself decodes; EPS, for one, would start another program.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
SECONDS_BETWEEN_NEWS = 10.0
MOST_THREADS = 16  # each may hold a large image in full
EXAMPLES_NAMED = 3

NOT_AN_IMAGE = "file cannot be decoded as an image"
DAMAGED = "image is truncated or damaged"
TOO_LARGE = f"image has more than {LARGEST_PIXELS // 10**6} million pixels"
MISSING = "file does not exist"
UNREADABLE = "file cannot be read"
FLOATING = "image has floating-point pixels"

log = logging.getLogger("tlbench")


class Unusable(Exception):
    """A picture that cannot be used; the message is the reason under which it is counted."""


@dataclass(frozen=True)
class Pictures:
    """Pictures that are not decoded yet: a dataset function may return them in place of an array of pixels.

    `items` gives, by place, a file's path, an encoded image's bytes or a PIL image; it is asked from one thread only.
    `size` is the side of the squares they become: 256, or their own where all are equal, square and smaller.
    """

    items: Sequence[Path | bytes | Image]
    size: int | None = None
    rows: np.ndarray | None = None  # places in `items`; None: all

    def __len__(self) -> int:
        return len(self.items) if self.rows is None else len(self.rows)

    def __getitem__(self, kept: np.ndarray) -> Pictures:
        """The pictures that a mask or places keep."""
        rows = np.arange(len(self.items)) if self.rows is None else self.rows
        return replace(self, rows=rows[kept])

    def each(self) -> Iterator[Path | bytes | Image]:
        """The encoded pictures in order."""
        yield from self.items if self.rows is None else (self.items[int(row)] for row in self.rows)

    def __iter__(self) -> Iterator[bytes]:
        """What identifies each picture before it is decoded: the bytes of its file."""
        return map(_content, self.each())


class Decoded(NamedTuple):
    x: pieces.OnDisk  # uint8 [n, S, S, 3], of those that could be decoded
    kept: np.ndarray  # [N] bool: which these are
    reasons: dict[str, int]  # why the others could not, and how many


def common_side(*parts: Pictures) -> int:
    """The side that all pictures get: the size asked for, or see `Pictures.size`."""
    for part in parts:
        if part.size is not None:
            return part.size
    own: int | None = None
    for item in (item for part in parts for item in part.each()):
        width, height = _shape(item)
        if width and (width != height or width > SIDE or own not in (None, width)):
            return SIDE
        own = own or width or None
    return own or SIDE


def decoded(pictures: Pictures, file: Path, *, side: int, name: str) -> Decoded:
    """Decodes pictures into `file` (.npy), one thread a core; says under `name` how far it is and what fails.

    Threads, because Pillow decodes and resizes outside Python's lock.
    """
    kept, failures = np.ones(len(pictures), bool), list[str]()

    def good() -> Iterator[np.ndarray]:
        for at, found in enumerate(_parallel(pictures, side, name)):
            if isinstance(found, str):
                kept[at] = False
                failures.append(found)
            else:
                yield found[None]

    pieces.write(file, good(), (len(pictures), side, side, 3), np.dtype(np.uint8))
    reasons = Counter(failure.partition(": ")[0] for failure in failures)
    if failures:
        shown = "; ".join(failures[:EXAMPLES_NAMED]) + (" ..." if len(failures) > EXAMPLES_NAMED else "")
        log.warning("%s: %d of %d images are left out: %s", name, len(failures), len(pictures), shown)
    return Decoded(pieces.OnDisk(file), kept, dict(reasons))


def pixels(item: Path | bytes | Image, side: int) -> np.ndarray:
    """RGB pixels uint8 [side, side, 3]: shorter side to `side` (bicubic, antialiased), centre cut out.

    Turned as its EXIF orientation says; transparency on white; 16 bits cut to the upper 8; first frame of several.
    Raises Unusable.
    """
    if isinstance(item, Path):
        with _file(item) as file:
            return _pixels(file, side)
    return _pixels(io.BytesIO(item) if isinstance(item, bytes) else item, side)


def _pixels(source: BinaryIO | Image, side: int) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        image = source if isinstance(source, Image.Image) else Image.open(source, formats=_formats())
        if image.width * image.height > LARGEST_PIXELS:
            raise Unusable(TOO_LARGE)
        if min(image.size) >= 4 * side:
            image.draft(None, (2 * side, 2 * side))  # JPEG: decoded at a half to an eighth, still twice what is kept
        image = _rgb(ImageOps.exif_transpose(image))
        return np.asarray(_squared(image, side))
    except (Unusable, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise Unusable(TOO_LARGE) from error
    except Image.UnidentifiedImageError as error:
        raise Unusable(NOT_AN_IMAGE) from error
    except Exception as error:  # each decoder has its own way of stumbling over a damaged file
        raise Unusable(DAMAGED) from error


def _parallel(pictures: Pictures, side: int, name: str) -> Iterator[np.ndarray | str]:
    """In order: the pixels of each picture, or why there are none and which picture that is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = min(cores, MOST_THREADS)
    _formats()  # loads Pillow's readers before threads ask for them
    waiting: deque[Future[np.ndarray | str]] = deque()
    heard = time.monotonic()
    # Bombs are refused by their size; filters belong to the process, so they are set outside the threads.
    with warnings.catch_warnings(), ThreadPoolExecutor(threads, "decode") as pool:
        warnings.simplefilter("ignore")
        for at, item in enumerate(pictures.each()):
            waiting.append(pool.submit(_tried, item, side, at))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
            if time.monotonic() - heard > SECONDS_BETWEEN_NEWS:
                heard = time.monotonic()
                log.info("%s: %d of %d images decoded", name, at, len(pictures))
        while waiting:
            yield waiting.popleft().result()


def _tried(item: Path | bytes | Image, side: int, at: int) -> np.ndarray | str:
    try:
        return pixels(item, side)
    except Unusable as problem:
        cause = f" ({problem.__cause__})" if str(problem) in (DAMAGED, UNREADABLE) else ""
        return f"{problem}: {item if isinstance(item, Path) else f'number {at}'}{cause}"


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(each for each in FORMATS if each in Image.OPEN)


def _rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode == "F":
        raise Unusable(FLOATING)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _squared(image: Image, side: int) -> Image:
    """What Resize(side) and CenterCrop(side) of torchvision leave, without making what the crop throws away."""
    from PIL import Image

    if image.size == (side, side):
        return image
    short = min(image.size)
    scaled = [side if length == short else int(side * length / short) for length in image.size]
    offsets = [round((length - side) / 2) for length in scaled]
    (x, y), (a, b) = offsets, [length / new for length, new in zip(image.size, scaled, strict=True)]
    box = (x * a, y * b, min((x + side) * a, image.width), min((y + side) * b, image.height))
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)


def _file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise Unusable(MISSING) from error
    except OSError as error:
        raise Unusable(UNREADABLE) from error


def _content(item: Path | bytes | Image) -> bytes:
    """Bytes to take a hash of; of a file that cannot be read its name, as it will be left out anyway."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, Path):
        try:
            return item.read_bytes()
        except OSError:
            return item.name.encode()
    return f"{item.mode}{item.size}".encode() + item.tobytes()


def _shape(item: Path | bytes | Image) -> tuple[int, int]:
    """Width and height as the head of the file tells; (0, 0) where there is no telling."""
    from PIL import Image

    if isinstance(item, Image.Image):
        return item.size
    try:
        with Image.open(io.BytesIO(item) if isinstance(item, bytes) else item, formats=_formats()) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0
