"""How is the outcome of a verification said? Line by line, what changed first."""

from __future__ import annotations

from collections.abc import Iterator

from tlbench.types import Status
from tlbench.verify import DECIDES, TOLERANCE, Verdict, Verification, chosen_trial

SHA256 = 64  # characters of a fingerprint, of which 12 are printed


def lines(made: Verification) -> Iterator[str]:
    """What determines the cell, what came out, what else differs, and the verdict."""
    changed = {change.what: change for change in made.changed}
    for name, words in DECIDES.items():
        value = str(getattr(made.published.cell, name))
        if words not in changed and value:
            yield _line(words, f"as it was: {value[:12] if len(value) == SHA256 else value}")
    for change in made.changed:
        yield _line(change.what, f"CHANGED: was {change.then[:64] or 'none'}, is {change.now[:64] or 'none'}")
    if made.again is not None:
        yield from _results(made)
    for change in made.elsewhere:
        yield _line(change.what, f"{change.then[:12] or 'none'} then, {change.now[:12] or 'none'} now")
    yield f"{made.verdict}: {_meaning(made)}"


def _results(made: Verification) -> Iterator[str]:
    assert made.again is not None
    then, now = made.published.measurement, made.again.measurement
    yield _line("trained beside", f"{made.company - 1} other cells, as when it was published")
    yield _line("status", str(then.status) if then.status == now.status else f"{then.status} then, {now.status} now")
    for words, reason in (("reason then", then.reason), ("reason now", now.reason)):
        if reason:
            yield _line(words, reason)
    if then.status is not Status.DONE or now.status is not Status.DONE:
        return
    choices = [chosen_trial(made.published), chosen_trial(made.again)]
    equal = then.selection_seal == now.selection_seal
    same = f"trial {choices[0]}, {'under the same seal' if equal else 'on values that differ by rounding'}"
    yield _line("choice", same if choices[0] == choices[1] else f"trial {choices[0]} then, trial {choices[1]} now")
    if made.predictions is not None:
        bits, largest, flipped = made.predictions
        apart = f"differ by {largest:.3g} at most; {flipped:.1%} of predictions are of another class"
        yield _line("test logits", "the same bit for bit, of every refitted trial" if bits else apart)
    yield _line("score", f"{then.score:.6f} then, {now.score:.6f} now")


def _meaning(made: Verification) -> str:
    status = made.published.measurement.status
    if made.held and status is not Status.DONE:
        return f"{status} again, {'for the same reason' if made.verdict is Verdict.IDENTICAL else 'said otherwise'}"
    if made.verdict is Verdict.IDENTICAL:
        return "the published cell comes out again, bit for bit"
    if made.verdict is Verdict.SAME:
        return f"the same choice, and a score within {TOLERANCE} of the published one; {_promise(made)}"
    if made.again is None:
        reasons = " and ".join(f"the {change.what}" for change in made.changed)
        return f"it was not run again, since {reasons} changed"
    return f"another choice, another status, or a score further than {TOLERANCE} from the published one"


def _promise(made: Verification) -> str:
    """Why not bit for bit."""
    if made.published.provenance.determinism == "seeded":
        return "its device promises no more than equal seeds"
    if made.elsewhere:
        return "equal bits are promised for equal code, packages and processor only, and some of these differ"
    return "equal bits are promised for equal code, packages and processor; another processor rounds otherwise"


def _line(name: str, text: str) -> str:
    return f"  {name:<30} {text}"
