"""What stands in a reference to another library's picture network, `PREFIX:NAME[@WEIGHTS][?size=PIXELS]`?"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tlbench.datasets.options import named, side, split
from tlbench.types import TlbenchError


class Spec(NamedTuple):
    """A reference, read."""

    reference: str
    model: str
    weights: str  # "": the library's own; "random"; a name of the library's weights; a file or folder
    size: int | None  # side of the pictures, where another than the network's own

    @property
    def name(self) -> str:
        """The name in a cell: the file that the weights come from is shortened to its stem."""
        prefix = self.reference.partition(":")[0]
        weights = f"@{Path(self.weights).stem}" if self.weights else ""
        return named(f"{prefix}:{self.model}{weights}", {"size": str(self.size)} if self.size else {})


def read(reference: str) -> Spec:
    """The parts of a reference. Raises TlbenchError for an option that is not there, and for nothing after an @."""
    rest, options = split(reference, ("size",))
    model, at, weights = rest.partition("@")
    if at and not weights:
        raise TlbenchError(f"{reference!r}: nothing after the @; write @random, or @ and the path of a file")
    return Spec(reference, model, weights, side(reference, options))
