"""How many rows should the splits of well-known Hugging Face datasets have?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tlbench.types import TlbenchError


class Published(NamedTuple):
    rows: Mapping[str, int]  # by split
    source: str


_SST2 = Published({"train": 6920, "validation": 872, "test": 1821}, "Socher et al. 2013, binary task")
_SST5 = Published({"train": 8544, "validation": 1101, "test": 2210}, "Socher et al. 2013, section 5.1")
_EMOTION = Published({"train": 16_000, "validation": 2000, "test": 2000}, "the split of Saravia et al. 2018 on the hub")
_AG_NEWS = Published({"train": 120_000, "test": 7600}, "Zhang, Zhao and LeCun 2015, table 3")
_BANKING77 = Published({"train": 10_003, "test": 3080}, "Casanueva et al. 2020, table 1")

# CR has no published split of this size, so its counts are not checked; nor are those of repositories not named here.
COUNTS: Mapping[str, Published] = {
    "SetFit/sst2": _SST2,
    "SetFit/sst5": _SST5,
    "SetFit/emotion": _EMOTION,
    "dair-ai/emotion": _EMOTION,
    "SetFit/ag_news": _AG_NEWS,
    "fancyzhx/ag_news": _AG_NEWS,
    "ag_news": _AG_NEWS,
    "mteb/banking77": _BANKING77,
    "PolyAI/banking77": _BANKING77,
    "banking77": _BANKING77,
}


def check_counts(repo: str, rows: Mapping[str, int]) -> None:
    """Raises TlbenchError when a split has another number of rows than was published; other repositories pass."""
    published = COUNTS.get(repo)
    for split, expected in (published.rows if published else {}).items():
        if published and rows.get(split) != expected:
            found = f"has {rows[split]} rows" if split in rows else "is missing"
            raise TlbenchError(
                f"hf:{repo}: split {split!r} {found}; {expected} were published ({published.source}): the repository "
                f"changed; pin the commit that you trust with ?revision=SHA, which is taken as it is"
            )
