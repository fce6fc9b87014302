"""Which files does an exported folder hold, and are they as they were written?"""

from __future__ import annotations

import hashlib
from pathlib import Path

FORMAT = 1  # raised when an older folder cannot be read any more
WEIGHTS, CONFIG, README = "model.safetensors", "config.json", "README.md"


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder that is read to predict, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: _sha256(path) for name, path in named.items() if name not in (CONFIG, README)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
