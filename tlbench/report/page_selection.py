"""What may a reader choose on the page, and from which numbers does the page's script answer?"""

from __future__ import annotations

from typing import NamedTuple

from numpy.polynomial import Chebyshev
from scipy import special

from tlbench.report.analysis import Analysis
from tlbench.report.ranking import IMPUTED_LIMIT, transductive
from tlbench.report.scores import IMPUTED, STATUSES, Grid
from tlbench.report.stats import LEVEL

SCALE = 10_000_000  # a score travels as a whole number of its seventh decimal
DEGREE = 16  # the quantiles are then true to 1e-10


class Kind(NamedTuple):
    """One thing to choose by; a link to the page says `#name=value`."""

    name: str
    heading: str
    values: tuple[str, ...]


def kinds(analysis: Analysis) -> list[Kind]:
    """What there is more than one of."""
    grid = analysis.grid
    groups = sorted({group for group in _groups(analysis) if group})
    every = [
        Kind("budget", "labels a class", tuple(map(str, grid.budgets))),
        Kind("backbone", "backbone", tuple(backbones(grid))),
        Kind("group", "group of datasets", tuple(groups)),
        Kind("dataset", "dataset", grid.datasets),
    ]
    return [kind for kind in every if len(kind.values) > 1]


def backbones(grid: Grid) -> list[str]:
    return sorted({backbone for _, backbone in grid.rows})


def numbers(analysis: Analysis) -> dict:
    """All scores as the report counts them, so that the script draws the same conclusions from a part of them."""
    grid = analysis.grid
    return {
        "rows": grid.rows,
        "backbones": backbones(grid),
        "transductive": transductive(grid).tolist(),
        "datasets": grid.datasets,
        "groups": _groups(analysis),
        "budgets": grid.budgets,
        "seeds": grid.seeds,
        "statuses": STATUSES,
        "imputed": IMPUTED,
        "imputedLimit": IMPUTED_LIMIT,
        "scale": SCALE,
        "status": "".join(map(str, grid.status.ravel().tolist())),
        "z": [None if z != z else round(z) for z in (SCALE * grid.z).ravel().tolist()],
        "quantile": quantile().coef.tolist(),
    }


def quantile(level: float = LEVEL) -> Chebyshev:
    """Student's t quantile as a polynomial in the inverse of its degrees of freedom, which lies in (0, 1]."""
    upper = (1 + level) / 2
    return Chebyshev.interpolate(lambda inverse: special.stdtrit(1 / inverse, upper), DEGREE, domain=[0, 1])


def _groups(analysis: Analysis) -> list[str]:
    """The heading of each dataset; empty where it has none."""
    return [analysis.meta.groups.get(name, "") for name in analysis.grid.datasets]
