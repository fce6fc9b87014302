"""Which datasets are English sentences from the documentation of installed packages? No download."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from tlbench.datasets.docstrings_choice import Example, chosen
from tlbench.datasets.docstrings_read import Docstring, Package, docstrings, installed
from tlbench.datasets.docstrings_text import prose
from tlbench.registry import DATASETS, Dataset
from tlbench.types import Arrays, Card

NUMPY = Package("numpy", "numpy", "BSD-3-Clause", ("distutils", "f2py", "_utils", "core"))
SCIPY = Package("scipy", "scipy", "BSD-3-Clause")
PANDAS = Package("pandas", "pandas", "BSD-3-Clause")
SKLEARN = Package("sklearn", "scikit-learn", "BSD-3-Clause")
MATPLOTLIB = Package("matplotlib", "matplotlib", "Matplotlib licence (PSF type)")
TORCH = Package(
    "torch", "torch", "BSD-3-Clause",
    ("_inductor", "_dynamo", "_functorch", "_native", "_export", "_refs", "_prims", "_prims_common", "_decomp",
     "_higher_order_ops", "_numpy", "_precompile", "onnx", "export", "ao", "fx"),
)  # fmt: skip
SQLALCHEMY = Package("sqlalchemy", "SQLAlchemy", "MIT")
LIBRARIES = (SCIPY, PANDAS, SKLEARN, MATPLOTLIB, TORCH, SQLALCHEMY)
RANKED = (NUMPY, *LIBRARIES)

STATSMODELS = Package("statsmodels", "statsmodels", "BSD-3-Clause", ("sandbox", "compat"))
SYMPY = Package("sympy", "sympy", "BSD-3-Clause")
NETWORKX = Package("networkx", "networkx", "BSD-3-Clause")
TRANSFORMERS = Package("transformers", "transformers", "Apache-2.0", ("models", "cli", "exporters", "testing_utils.py"))
DEVELOPMENT = (STATSMODELS, SYMPY, NETWORKX, TRANSFORMERS)

Maker = Callable[[tuple[Package, ...]], Arrays]

KINDS = {"function": 0, "method": 0, "property": 1, "class": 2, "module": 3}  # a method is a function that moved

TOPICS = {  # where each topic is written about: package, then the beginning of the module's name
    "statistics": "scipy.stats torch.distributions numpy.random sklearn.covariance sklearn.mixture",
    "linear algebra": "scipy.linalg scipy.sparse numpy.linalg numpy.matrixlib torch.linalg torch._linalg_utils "
    "torch._lobpcg torch.sparse sklearn.decomposition",
    "signals": "scipy.signal scipy.fft scipy.fftpack scipy.ndimage numpy.fft torch.fft torch.signal matplotlib.mlab",
    "optimisation": "scipy.optimize scipy._lib.cobyqa scipy._lib.pyprima torch.optim",
    "plotting": "matplotlib.axes matplotlib.axis matplotlib.figure matplotlib.patches matplotlib.lines "
    "matplotlib.legend matplotlib.collections matplotlib.ticker matplotlib.contour matplotlib.colorbar "
    "matplotlib.quiver matplotlib.projections matplotlib.spines matplotlib.table matplotlib.tri pandas.plotting",
    "reading and writing": "pandas.io scipy.io numpy.lib._npyio_impl numpy.lib._format_impl numpy.lib._iotools "
    "torch.serialization torch.package",
    "neural networks": "torch.nn sklearn.neural_network",
    "machine learning": "sklearn.linear_model sklearn.ensemble sklearn.svm sklearn.tree sklearn.neighbors "
    "sklearn.naive_bayes sklearn.cluster sklearn.preprocessing sklearn.feature_selection sklearn.model_selection "
    "sklearn.semi_supervised sklearn.multiclass sklearn.multioutput sklearn.calibration sklearn.impute",
    "databases": "sqlalchemy.sql sqlalchemy.orm sqlalchemy.engine sqlalchemy.dialects sqlalchemy.pool",
    "distributed computing": "torch.distributed torch.multiprocessing",
}  # fmt: skip


def library_of(packages: tuple[Package, ...]) -> Arrays:
    """Which of the packages is this from?"""
    names = {package.name: package.distribution for package in packages}
    labels = {name: label for label, name in enumerate(names)}
    return _arrays(packages, tuple(names.values()), lambda found: labels[found.package] if found.public else None)


def kind_of(packages: tuple[Package, ...]) -> Arrays:
    """What does this describe?"""
    names = ("function", "property", "class", "module")
    return _arrays(packages, names, lambda found: KINDS.get(found.kind) if found.public else None)


def topic_of(packages: tuple[Package, ...]) -> Arrays:
    """What is this about?"""
    places = [(place, label) for label, names in enumerate(TOPICS.values()) for place in names.split()]

    def topic(found: Docstring) -> int | None:
        module = f"{found.package}.{found.module}."
        return next((label for place, label in places if module.startswith(place + ".")), None)

    return _arrays(packages, tuple(TOPICS), topic)


def _arrays(
    packages: tuple[Package, ...], class_names: tuple[str, ...], label_of: Callable[[Docstring], int | None]
) -> Arrays:
    examples = []
    for package in packages:
        for found, text in _texts(package):
            label = label_of(found)
            if label is not None:
                examples.append(Example(text, label, f"{found.package}.{found.module}"))
    return chosen(examples, class_names)


@lru_cache(maxsize=len(RANKED))  # three datasets are made of the same texts
def _texts(package: Package) -> list[tuple[Docstring, str]]:
    texts = ((found, prose(found.text, package.name)) for found in docstrings(package))
    return [(found, text) for found, text in texts if text is not None]


def _register(name: str, make: Maker, packages: tuple[Package, ...], *, classes: int, summary: str) -> None:
    def arrays(root: Path) -> Arrays:
        return make(packages)

    def state() -> str:
        return ", ".join(f"{package.distribution} {installed(package)}" for package in packages)

    card = Card(
        name=name,
        modality="text",
        classes=classes,
        summary=summary,
        kind="real",
        group="development" if packages is DEVELOPMENT else "docstrings",
        source="docstrings of the installed " + ", ".join(package.distribution for package in packages),
        licence="; ".join(f"{package.distribution}: {package.licence}" for package in packages),
    )
    DATASETS.add(name, Dataset(card, arrays, state=state))


_HOW = "the first paragraph of a docstring, names of libraries, types and code masked; test modules are not in the pool"
_register(
    "docstrings_library",
    library_of,
    LIBRARIES,
    classes=6,
    summary=f"Which of six libraries is this from? English: {_HOW}.",
)
_register(
    "docstrings_kind",
    kind_of,
    RANKED,
    classes=4,
    summary=f"A function, a property, a class or a module? English: {_HOW}.",
)
_register(
    "docstrings_topic", topic_of, RANKED, classes=10, summary=f"Which of ten topics is this about? English: {_HOW}."
)
_register(
    "dev_docstrings_library",
    library_of,
    DEVELOPMENT,
    classes=4,
    summary="Which of four other libraries? For development.",
)
_register(
    "dev_docstrings_kind", kind_of, DEVELOPMENT, classes=4, summary="What kind, in four others? For development only."
)
