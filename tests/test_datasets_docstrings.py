"""Datasets of docstrings hold plain English, name no library, and have no module on both sides."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tlbench.datasets import base, docstrings
from tlbench.datasets.docstrings_choice import NEAR, POOL, Example, chosen
from tlbench.datasets.docstrings_read import Package
from tlbench.datasets.docstrings_read import docstrings as read
from tlbench.datasets.docstrings_text import first_paragraph, prose
from tlbench.registry import DATASETS
from tlbench.types import Arrays, TlbenchError

RANKED = {"docstrings_library": 6, "docstrings_kind": 4, "docstrings_topic": 10}
DEVELOPMENT = {"dev_docstrings_library": 4, "dev_docstrings_kind": 4}

SOURCE = '''
"""Toys
====

What children play with on rainy days."""
raise SystemExit("this module must not be run")

def public():
    """public(a, b) -> int

    Count the toys on the shelf before the children wake up.
    """

def _private():
    """Hide what nobody needs to see of the toys."""

class Toy:
    """One toy among the many in the box."""
    @cached_property
    def colour(self):
        """The colour of the toy in bright daylight."""
    def squeak(self):
        def inner():
            """Never read, as nobody can call it."""
    squeak.__doc__ = "neither is this"
if True:
    class _Hidden:
        """A class that is hidden from the children."""
        def found(self):
            """A method of what is hidden from the children."""
add_newdoc("toys", "compiled", """
    compiled(x, /)

    Wind up the toy until the spring is tight.
    """)
squeeze = _add_docstr(toys.squeeze, """Squeeze it
until it is flat.""".format(**common))
'''


def toys(folder: Path) -> Package:
    (folder / "toys" / "tests").mkdir(parents=True)
    (folder / "toys" / "__init__.py").write_text(SOURCE)
    (folder / "toys" / "tests" / "test_toys.py").write_text('"""Tests of the toys are no documentation."""\n')
    (folder / "toys" / "skipped.py").write_text('"""A file that is left out on purpose."""\n')
    (folder / "toys-1.0.dist-info").mkdir()
    (folder / "toys-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    return Package("toys", "toys", "none", ("skipped.py",))


def test_docstrings_are_read_and_no_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = {(each.kind, each.public, first_paragraph(each.text)) for each in read(toys(tmp_path))}
    assert found == {
        ("module", True, "What children play with on rainy days."),
        ("function", True, "Count the toys on the shelf before the children wake up."),
        ("function", False, "Hide what nobody needs to see of the toys."),
        ("class", True, "One toy among the many in the box."),
        ("property", True, "The colour of the toy in bright daylight."),
        ("class", False, "A class that is hidden from the children."),
        ("method", False, "A method of what is hidden from the children."),
        ("compiled", True, "Wind up the toy until the spring is tight."),
        ("compiled", True, "Squeeze it until it is flat."),
    }
    assert "toys" not in sys.modules


def test_a_package_that_is_not_there_is_said() -> None:
    with pytest.raises(TlbenchError, match="'no-such-package'.* pip install no-such-package"):
        list(read(Package("no_such_package", "no-such-package", "none")))


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Return the NumPy `ndarray` as a pandas.DataFrame with np.where applied twice.", "Return the library object as a name with name applied twice."),  # noqa: E501
        ("Draw *lines* on the :class:`~matplotlib.axes.Axes` since v3.4.1 of Matplotlib.", "Draw lines on the name since of library."),  # noqa: E501
        ("Compute :math:`x^2` of each Tensor in ``input`` along `axis`, see [1]_.", "Compute of each object in input along axis, see."),  # noqa: E501
        ("solve(a, b)\n\nSolve the naïve equation for the unknown vector at last.", "Solve the naive equation for the unknown vector at last."),  # noqa: E501
        ("Split the rows\ninto two parts of equal size.\nParameters\n----------\nx", "Split the rows into two parts of equal size."),  # noqa: E501
        ("Split the rows into two parts of equal size.\n>>> f(3)\n", "Split the rows into two parts of equal size."),
        (".. deprecated:: 1.2\n\nReturn the sum of all of the rows.", "Return the sum of all of the rows."),
        ("A numpy-like array, ndarray-like at heart, is NP-hard to find.", "A library-like array, object-like at heart, is NP-hard to find."),  # noqa: E501
        ("Return the sum.", None),
        ("np.where, pd.cut, np.sin, np.cos, np.tan, np.exp", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_names_a_library_is_masked(docstring: str, expected: str | None) -> None:
    assert prose(docstring, "toys") == expected


def test_a_package_is_masked_in_its_own_words_only() -> None:
    text = "Many toys are in the box that toys opens."
    assert prose(text, "toys") == "Many library are in the box that library opens."
    assert prose(text, "games") == text


def test_near_copies_ambiguous_wordings_and_shared_modules_are_left_out() -> None:
    words = [f"w{i}" for i in range(4000)]

    def text(i: int) -> str:
        return " ".join(words[(i * 7 + j * j) % 4000] for j in range(8))

    examples = [Example(text(i), i % 2, f"module {i // 10}") for i in range(2000)]
    copies = [Example(each.text + " too", each.label, "elsewhere") for each in examples[:50]]
    ambiguous = [Example(f"Said by both, {i} times over again.", label, "m") for i in range(30) for label in (0, 1)]
    made = chosen([*examples, *copies, *ambiguous], ("a", "b"))
    everything = [*made.pool_x, *made.test_x]
    assert not [each for each in everything if each.startswith("Said by both")]
    stems = [each.removesuffix(" too") for each in everything]
    assert len(set(stems)) == len(stems)
    module = {each.text: each.group for each in [*examples, *copies]}
    assert not {module[each] for each in made.pool_x} & {module[each] for each in made.test_x}
    assert np.bincount(made.test_y).tolist() == [300, 300]
    assert np.ptp(np.bincount(made.pool_y)) == 0
    again = chosen([*reversed(ambiguous), *examples, *copies], ("a", "b"))
    assert base.fingerprint(again) == base.fingerprint(made)


@pytest.fixture(scope="module")
def made() -> dict[str, Arrays]:
    return {name: base.prepared(DATASETS[name].make(Path()), DATASETS[name].card)[0] for name in RANKED}


def test_ranked_and_development_datasets_share_no_package() -> None:
    assert {name for name in DATASETS if "docstrings" in name} == RANKED.keys() | DEVELOPMENT.keys()
    assert not {package.name for package in docstrings.RANKED} & {package.name for package in docstrings.DEVELOPMENT}
    for name, classes in (RANKED | DEVELOPMENT).items():
        card = DATASETS[name].card
        assert (card.modality, card.classes) == ("text", classes)
        assert (card.group == "development") == (name in DEVELOPMENT)
        assert "BSD-3-Clause" in card.licence


def test_each_ranked_dataset_is_balanced_and_large_enough(made: dict[str, Arrays]) -> None:
    for name, classes in RANKED.items():
        arrays = made[name]
        assert np.bincount(arrays.test_y).tolist() == [600 // classes] * classes
        sizes = np.bincount(arrays.pool_y)
        assert np.ptp(sizes) == 0, name
        assert 200 < sizes[0] <= POOL
        assert arrays.groups is not None
        for label in range(classes):
            assert len(np.unique(arrays.groups[arrays.pool_y == label])) >= 15


def test_no_text_names_its_library_or_shows_code(made: dict[str, Arrays]) -> None:
    names = [package.name for package in docstrings.RANKED] + ["scikit-learn", "pytorch", "pyplot", "np", "pd", "plt"]
    shown = r"`|>>>|\w\.\w+\(|ndarray|DataFrame"
    given_away = re.compile(rf"(?<![\w-])({'|'.join(names)})(?![\w-])|{shown}", re.IGNORECASE)
    for arrays in made.values():
        for text in [*arrays.pool_x, *arrays.test_x]:
            assert not given_away.search(text), text
            assert text.isascii()
            assert "\n" not in text


def test_no_two_texts_are_near_copies(made: dict[str, Arrays]) -> None:
    def bag(text: str) -> set[object]:
        words = re.findall(r"\w\w+", text.lower())
        return {*words, *zip(words, words[1:], strict=False)}

    arrays = made["docstrings_library"]
    bags = [bag(text) for text in [*arrays.pool_x[::5], *arrays.test_x]]
    for i, a in enumerate(bags):
        for b in bags[:i]:
            assert len(a & b) < NEAR * len(a | b)


def test_the_state_names_the_versions_and_nothing_else() -> None:
    import numpy
    import torch

    state = DATASETS["docstrings_topic"].state()
    assert f"numpy {numpy.__version__}" in state
    assert f"torch {torch.__version__}".partition("+")[0] in state
    assert "/" not in state
