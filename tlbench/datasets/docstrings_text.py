"""What remains of a docstring when everything that would name its library is taken out?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

THING, NAME, LIBRARY = "object", "name", "library"  # what stands for a type, for an identifier and for a package
FEWEST_WORDS = 6

LIBRARIES = """
    numpy scipy pandas scikit-learn scikitlearn sklearn scikit scikits matplotlib mplot3d pyplot pylab torch pytorch
    libtorch torchscript torchvision caffe2 aten tensorflow keras jax numba cupy dask statsmodels patsy formulaic
    seaborn sympy networkx sqlalchemy psycopg2 pymysql joblib cython pyarrow numexpr pytables cuda triton nccl
"""
ABBREVIATIONS = "np sp pd tf sm nx sns mpl plt"  # in NP-hard and TF-IDF they are something else
TYPES = """
    ndarray ndarrays array_like array-like dataframe dataframes tensor tensors ufunc ufuncs dtype dtypes
"""
JARGON = """
    autograd fsdp ddp dtensor dtensors pytree pytrees kineto cupti cuspy nvshmem torchelastic mtia xpu inductor dynamo
    groupby ewm styler datetimelike datetime-like datetimetz rcparams mathtext gridspec ticklabel ticklabels bbox bboxes
    vmin vmax linestyle fontsize facecolor edgecolor dbapi db-api endog exog loadtxt genfromtxt savetxt astype nbunch
    ebunch coef intercept gh
"""
CAPITALISED_TYPES = """
    Series Index Indexes Timestamp Timestamps Timedelta Timedeltas Period Periods Interval Intervals Categorical
    Categoricals Axes Axis Figure Figures Artist Artists Bbox Module Modules Parameter Storage Bunch Estimator
    Graph Digraph Session Engine Column Columns Table Query Mapper Connection Symbol Expr Poly Basic Matrix Study Trial
    Array Arrays Model Results Path Line Patch Collection Text Transform Normalize Colormap Variable Function Future
"""

_SECTION = re.compile(
    r"(args|arguments|parameters|params|returns?|raises|yields|examples?|notes?|see also|attributes|usage|references|"
    r"inputs?|outputs?|keyword arguments|shape|warnings?|methods|references)\s*:{0,2}\s*$",
    re.IGNORECASE,
)
_STOP = re.compile(r"(>>>|\.\. |:param|:return|:rtype|:type|:raises|@param|@return|\||\+-|\* |- )")
_RULE = re.compile(r"([=\-~#*^\"'`.+])\1{2,}\s*$")
_SIGNATURE = re.compile(r"^[\w.$]+\s*\([^\n]*\)(\s*->.*)?$|^[\w.$]+\(.*\)(\s*->.*|\s*--)?$|^[\w.$]+ *=.*$", re.DOTALL)
_ROLE = re.compile(r"(?::[\w+-]+)+:`([^`]*)`")
_LITERAL = re.compile(r"``[^`]*``|`[^`]*`")
_LINK = re.compile(r"`([^`<]*)<[^>`]*>`_{1,2}|\[\d+\]_|\|[^| ]+\||https?://\S+|www\.\S+|%\(\w+\)\w|\{[^{}]*\}")
_MATHS = re.compile(r":math:`[^`]*`|\$[^$]*\$|\\\w+(\{[^{}]*\})*")
_VERSION = re.compile(r"\bv?\d+\.\d+(\.\w+)*\b")
_IDENTIFIER = re.compile(
    r"\b\w+(?:\.\w+)*\(.*?\)"  # a call
    r"|\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+"  # a dotted path
    r"|\b\w*[A-Za-z0-9]_\w+|\b_+\w+|\b\w+_\b"  # snake_case
    r"|\b[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+\b|\b[a-z]+[A-Z]\w*\b|\b[A-Z]{2,}[a-z]\w+\b"  # CamelCase
)


def _any_of(words: str, flags: int = re.IGNORECASE, *, outside: str = r"\w") -> re.Pattern[str]:
    """Any of the words, where none of the characters `outside` stands beside it."""
    return re.compile(rf"(?<![{outside}])(?:{'|'.join(map(re.escape, words.split()))})(?:'s)?(?![{outside}])", flags)


_own_name = lru_cache(maxsize=32)(_any_of)
_LIBRARY, _ABBREVIATION = _any_of(LIBRARIES), _any_of(ABBREVIATIONS, outside=r"\w-")
_TYPE, _JARGON, _CAPITALISED = _any_of(TYPES), _any_of(JARGON), _any_of(CAPITALISED_TYPES, 0)
_REPEATED = re.compile(r"\b(object|name|library)(?:[\s,/]+(?:or |and )?\1\b)+")


def prose(docstring: str, package: str) -> str | None:
    """The first paragraph as one line in plain words, masked; None when there are fewer than six words of English.

    The package's own name is masked in what it says, even where it is a word that others use.
    """
    paragraph = first_paragraph(docstring)
    text = masked(_own_name(package).sub(LIBRARY, paragraph)) if paragraph else ""
    words = [word for word in re.findall(r"[A-Za-z]{2,}", text) if word not in (THING, NAME, LIBRARY)]
    return text if len(words) >= FEWEST_WORDS else None


def first_paragraph(docstring: str) -> str:
    """Its lines in one, without the headings and signatures before it and without code, directives and sections."""
    for block in re.split(r"\n\s*\n", unicodedata.normalize("NFKC", docstring).strip()):
        if _SIGNATURE.match(block.strip()):
            continue
        lines = _plain(block.strip().splitlines())
        if lines:
            return " ".join(" ".join(lines).split())
    return ""


def masked(text: str) -> str:
    """The text with links, code, type names and names of libraries replaced by neutral words."""
    text = _LINK.sub(lambda found: found[1] or " ", _MATHS.sub(" ", text))
    text = _LITERAL.sub(_word_or_name, _ROLE.sub(NAME, text))
    text = _ABBREVIATION.sub(LIBRARY, _LIBRARY.sub(LIBRARY, text.replace("*", "")))
    text = _VERSION.sub(" ", _JARGON.sub(NAME, _IDENTIFIER.sub(NAME, text)))
    text = _CAPITALISED.sub(THING, _TYPE.sub(THING, text))
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = re.sub(r"\s+([,.;:)])", r"\1", " ".join(text.replace("`", "").split()))
    return _REPEATED.sub(r"\1", text).strip(" :;-")


def _word_or_name(literal: re.Match[str]) -> str:
    """What stands in backticks, where it is a plain word as the name of an argument often is."""
    content = literal[0].strip("` ")
    return content if content.isalpha() and content.islower() else NAME


def _plain(lines: Iterable[str]) -> list[str]:
    """The lines up to the first that is no prose; a line that the next underlines is a heading and goes."""
    kept: list[str] = []
    for line in map(str.strip, lines):
        if _RULE.match(line):
            kept = []
        elif _STOP.match(line) or _SECTION.match(line):
            break
        elif not (not kept and _SIGNATURE.match(line)):
            kept.append(line)
    return kept
