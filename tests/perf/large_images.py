"""How much memory and time does a large folder of images need? Not a test: it makes, loads and deletes gigabytes.

python tests/perf/large_images.py [--images 50000] [--side 224] [--place /tmp]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

CLASSES = 100
LIMIT_MB = 2048  # of resident memory for 50,000 images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--place", type=Path, default=None)
    parser.add_argument("--load", type=Path, default=None, help="load what is there; used by this script itself")
    given = parser.parse_args()
    if given.load:
        load(given.load)
        return
    with tempfile.TemporaryDirectory(prefix="tlbench-large-", dir=given.place) as place:
        began = time.monotonic()
        make(Path(place) / "large", given.images, given.side)
        print(f"{given.images} images of {given.side} x {given.side} written in {time.monotonic() - began:.0f} s")
        for what in ("made", "loaded again"):
            print(f"{what}: ", end="", flush=True)
            subprocess.run([sys.executable, __file__, "--load", place], check=True)


def make(home: Path, images: int, side: int) -> None:
    """JPEG files, smooth pictures with some noise, in class folders."""
    from PIL import Image

    rng = np.random.Generator(np.random.PCG64(0))
    for c in range(CLASSES):
        (home / f"class{c:03}").mkdir(parents=True)
    for i in range(images):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        picture = coarse.resize((side, side), Image.Resampling.BICUBIC)
        picture.save(home / f"class{i % CLASSES:03}" / f"{i}.jpg", quality=90)


def load(place: Path) -> None:
    """Loads the folder, and prints seconds and the most memory that was resident: all of it, and anonymous."""
    from tlbench.datasets import base, folder  # noqa: F401 - registers folder:
    from tlbench.registry import DATASETS

    most, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], resident("RssAnon"))

    before = resident("VmHWM")
    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    data = base.load(DATASETS.name(f"folder:{place / 'large'}"), place / "root")
    seconds = time.monotonic() - began
    done.set()
    watcher.join()
    size = sum(path.stat().st_size for path in data.folder.iterdir()) / 2**30
    peak = resident("VmHWM")
    print(
        f"{seconds:.1f} s, pool {data.pool_x.shape}, test {data.test_x.shape}, {size:.1f} GiB on disk, "
        f"{data.duplicates_removed} copies; resident at most {peak:.0f} MiB ({before:.0f} before), "
        f"anonymous {most[0]:.0f} MiB"
    )
    assert peak < LIMIT_MB, f"{peak:.0f} MiB are more than {LIMIT_MB}"


def resident(field: str) -> float:
    """A field of /proc/self/status, MiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


if __name__ == "__main__":
    main()
