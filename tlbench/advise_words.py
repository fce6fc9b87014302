"""How is an advice said, so that someone who only wants to know what to use can act on it?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tlbench.advise_findings import ENOUGH, NEGLIGIBLE, Findings, Way
from tlbench.advise_runs import Contest
from tlbench.advise_scores import Confused
from tlbench.advise_stats import Estimate
from tlbench.registry import STRATEGIES
from tlbench.report.numbers import amount, seconds

FEW_TESTED = 5  # examples of a class tested in all, under which one more or less moves its share by a fifth
MEANINGS = {
    "balanced_accuracy": "the share of examples named rightly, averaged over classes",
    "accuracy": "the share of examples named rightly",
}
ROWS, NAMED = 12, 3  # ways in the table and classes named, before the rest are counted
SURE, LIKELY = 0.975, 0.8
NARROW = 0.015  # half-width of an interval from which a decimal means something


def markdown(contest: Contest, found: Findings, mistakes: Sequence[Confused]) -> str:
    """The advice, headings first to be read alone."""
    parts = [
        ("What to use", answer(contest, found)),
        ("How sure is this", certainty(contest, found)),
        ("What a few more labels would buy", labels(contest, found)),
        ("All that was compared", [*table(contest, found)]),
        ("Which classes are mistaken", classes(contest, mistakes)),
        ("What to know of the data", warnings(contest, found)),
        ("How this was found", method(contest, found)),
    ]
    data = contest.data
    kind = f"{len(data.y)} {data.card.modality}s, {len(data.class_names)} classes"
    body = "\n".join(f"\n## {title}\n\n" + "\n".join(lines) for title, lines in parts if lines)
    return f"# {data.card.name}: {kind}\n{body}\n"


def answer(contest: Contest, found: Findings) -> list[str]:
    """What to use, and what it scores."""
    metric = contest.data.card.metric
    chance = next((way.value.mean for way in found.ways if way.strategy == "majority"), None)
    guess = f"; always naming the largest class would give {percent(chance)}" if chance is not None else ""
    meaning = f" ({MEANINGS[metric]})" if metric in MEANINGS else ""
    way = found.subject
    score = f"{metric.replace('_', ' ')}{meaning} {mean(way.value)}, 95 % interval {between(way.value)}{guess}"
    if found.advised is None:
        return [
            f"**Nothing here is known to beat guessing.** The best of {len(found.ways)} ways, {named(way)}, reached "
            f"{score}. Do not build on this yet: check that labels and files belong together, and see below for how "
            "many labels would tell."
        ]
    lines = [f"**Use {named(way)}.** {sentence(way.strategy)}", "", f"On examples that it had not seen: {score}."]
    if way is not found.best:
        best = found.best
        lines += [
            "",
            f"The highest score was that of {named(best)}, {points(way.behind.mean)} more, which cannot be told from "
            f"chance here ({between(way.behind, signed=True)}); {named(way)} needs {less(way, best)} computing, so it "
            "is the one to start with.",
        ]
    if found.frugal is not None:
        frugal = found.frugal
        lines += [
            "",
            f"Where computing is dear: {named(frugal)} needs {less(frugal, way)} of it. It scored "
            f"{points(way.value.mean - frugal.value.mean)} less, which may be chance.",
        ]
    keep = "To have it: the same command with `--export DIR`, then `tlbench predict DIR INPUT...`."
    return [*lines, "", cost(way), "", keep]


def certainty(contest: Contest, found: Findings) -> list[str]:
    """What is known of the choice, with probabilities that the comparison carries."""
    lines = []
    for floor in contest.floors:
        if floor in found.against:
            what = "guessing" if floor == "majority" else f"{floor}, which needs no pretrained network"
            lines.append(f"- Better than {what}? {chances(found.against[floor])}.")
    if found.advised is not None:
        rivals = [way for way in found.rivals if way.strategy not in contest.floors]
        beaten = [way for way in found.ways if way.told_apart and way.strategy not in contest.floors]
        if beaten:
            lines.append(f"- Surely worse than the best: {listed([named(way) for way in beaten])}.")
        if rivals:
            lines.append(
                f"- Cannot be told apart from the best with these labels: {listed([named(way) for way in rivals])}. "
                "That is no proof that they are equal."
            )
        if found.more.rival is not None:
            lines.append(f"- {rivalry(contest, found, found.more.rival)}")
    if found.flattery > 0.001:
        lines.append(
            f"- The best of {len(found.ways)} looks better than it is on the examples that it was chosen on: here by "
            f"about {points(found.flattery)}, found by choosing on all folds but one and scoring on that one."
        )
    return lines


def labels(contest: Contest, found: Findings) -> list[str]:
    """What the learning curve says about labelling more."""
    gain, lines = found.more.gain, []
    for point in found.curve:
        lines.append(f"- {point.labels:.0f} labels: {mean(point.value)} ({between(point.value)})")
    if gain is None:
        return [*lines, "There are too few labels for a curve, so this cannot be told."]
    curve = [f"Learning curve of {named(found.subject)}:", "", *lines, ""]
    said = f"The last doubling of labels brought {points(gain.mean, signed=True)} ({between(gain, signed=True)})"
    left = 1 - found.curve[-1].value.mean
    if left < NEGLIGIBLE or gain.high < NEGLIGIBLE:
        why = "less than a point is left to gain" if left < NEGLIGIBLE else "less than a point a doubling"
        return [*curve, f"**More labels would buy little.** {said}; {why}."]
    if gain.above_zero:
        more = math.ceil(len(contest.data.y) / len(contest.data.class_names))
        another = f"another doubling (about {more} labels more a class) should bring as much or somewhat less"
        return [*curve, f"**More labels help.** {said}; {another}, as curves flatten."]
    n, classes = len(contest.data.y), len(contest.data.class_names)
    more = math.ceil(n / classes)
    next_step = f"Label about {more} more a class and ask again: the interval should shrink by a third"
    if found.more.to_know <= 2 * n:
        more = max(1, math.ceil((found.more.to_know - n) / classes))
        next_step = f"Label about {more} more a class and ask again: the interval should then be narrow enough to tell"
    return [*curve, f"**Cannot tell what more labels would buy.** {said}. {next_step}."]


def table(contest: Contest, found: Findings) -> Iterator[str]:
    """A row a way, best first."""
    metric = contest.data.card.metric.replace("_", " ")
    yield f"| way | {metric} | 95 % interval | behind the best | choose and train | predict one | numbers to keep |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for way in found.ways[:ROWS]:
        behind = "best" if way is found.best else f"{points(way.behind.mean)} ({between(way.behind, signed=True)})"
        mark = " **(advised)**" if way is found.advised else ""
        apart = "" if way is found.best or way.told_apart else " ?"
        speed = f"{way.cost.get('predict_ms_1', math.nan):.2g} ms"
        size = amount(way.cost.get("stored_parameters", math.nan))
        score = f"{mean(way.value)} | {between(way.value)} | {behind}{apart}"
        yield f"| {named(way)}{mark} | {score} | {spent(way)} | {speed} | {size} |"
    if len(found.ways) > ROWS:
        yield f"\nand {len(found.ways) - ROWS} more, in advice.json."
    yield "\n`?`: cannot be told apart from the best."
    for name, reason in found.failed.items():
        yield f"\nNot compared: {name} ({reason})."
    for name, reason in contest.left_out.items():
        yield f"\nNetwork left out: {name} ({short(reason)})."


def classes(contest: Contest, mistakes: Sequence[Confused]) -> list[str]:
    """The weakest classes, where labels or a closer look are best spent."""
    lines = [
        f"- {each.name!r}: {percent(each.found)} of {each.examples} found; most others taken for {each.taken_for!r}"
        for each in mistakes[:NAMED]
    ]
    if len(mistakes) > NAMED:
        lines.append(f"- and {len(mistakes) - NAMED} classes of which more is found")
    return lines


def warnings(contest: Contest, found: Findings) -> list[str]:
    """What weakens the numbers."""
    data, counts = contest.data, contest.data.counts
    lines = [f"- Left out: {count} x {reason}." for reason, count in data.left_out.items()]
    few = [f"{data.class_names[i]!r} ({counts[i]})" for i in counts.argsort(kind="stable") if counts[i] < FEW_TESTED]
    if few:
        lines.append(f"- Classes with fewer than {FEW_TESTED} examples, of which little can be known: {listed(few)}.")
    tested = sum(fold.test for fold in contest.folds)
    if tested < FEW_TESTED * 4 * len(data.class_names):
        lines.append(f"- Only {tested} examples are tested in all: one more or less right is {percent(1 / tested, 1)}.")
    if counts.max() > 5 * counts.min():
        lines.append(
            f"- Classes are uneven ({counts.min()} to {counts.max()} examples); the score counts each class alike, and "
            "plain accuracy would look different."
        )
    return lines


def method(contest: Contest, found: Findings) -> list[str]:
    """How the numbers came about, in a paragraph."""
    folds, effort = contest.folds, contest.effort
    tuning = f"Hyperparameters were chosen inside the training part ({effort.trials} trials)"
    if len(folds) == 1:
        return [
            f"One hold-out: {folds[0].train} examples to learn from, {folds[0].test} to test on, looked at once. "
            f"{tuning}. Intervals (Student's t over ten disjoint parts of the test examples) cover other test examples "
            "of the same kind, not other training examples."
        ]
    train, test = (round(sum(getattr(fold, side) for fold in folds) / len(folds)) for side in ("train", "test"))
    return [
        f"{len(folds)}-fold cross-validation: each time about {train} examples to learn from and {test} to test on, "
        f"and every example is tested once. {tuning}, never on what is tested. Folds share training examples, so "
        "intervals are those of the corrected resampled t test (Nadeau and Bengio 2003: variance times 1/K + "
        "n_test/n_train). They hold for examples like these: pictures of another camera or texts of another source may "
        "do worse."
    ]


def cost(way: Way) -> str:
    """Seconds, milliseconds and numbers of a way."""
    kept, whole = (amount(way.cost.get(f"{kind}_parameters", math.nan)) for kind in ("stored", "total"))
    return (
        f"It costs {spent(way)} to choose its settings and train (features not counted), "
        f"{way.cost.get('predict_ms_1', math.nan):.2g} ms to predict one example on one core or device, "
        f"and {'next to nothing' if kept == '0' else f'{kept} numbers'} to keep for this task; the whole network has "
        f"{whole}."
    )


def less(cheap: Way, dear: Way) -> str:
    """How much less of computing, in words."""
    return f"{amount(dear.effort / cheap.effort)} times less" if cheap.effort else "far less"


def spent(way: Way) -> str:
    """Time to choose settings and to train."""
    value = way.cost.get("tune_seconds", math.nan) + way.cost.get("fit_seconds", math.nan)
    return "< 0.1 s" if value < 0.1 else seconds(float(f"{value:.2g}") if value < 60 else value)


def named(way: Way) -> str:
    strategy = STRATEGIES[way.strategy]
    return way.strategy if strategy.tap == "input" and not strategy.trains else f"{way.strategy} on {way.network}"


def sentence(strategy: str) -> str:
    """The first sentence that a strategy says of itself."""
    first = " ".join((STRATEGIES[strategy].__doc__ or "").split("\n\n")[0].split())
    return first if first.endswith(".") else f"{first}."


def chances(lead: Estimate) -> str:
    """`Surely, by +12.0 points (+8.1 to +16.0)`, or with a probability."""
    size = f"by {points(lead.mean, signed=True)} ({between(lead, signed=True)})"
    probability = lead.above()
    if probability >= SURE:
        return f"Surely, {size}"
    if probability >= LIKELY:
        return f"Likely (probability {percent(probability)}), {size}"
    return f"Cannot be said (probability {percent(probability)}), {size}"


def percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def points(value: float, *, signed: bool = False) -> str:
    number = f"{100 * value:{'+' if signed else ''}.1f}"
    return f"{number} point{'' if number.lstrip('+-') == '1.0' else 's'}"


def between(value: Estimate, *, signed: bool = False) -> str:
    if signed:
        return f"{100 * value.low:+.1f} to {100 * value.high:+.1f}"
    digits = _digits(value)
    return f"{100 * value.low:.{digits}f} to {100 * value.high:.{digits}f} %"


def mean(value: Estimate) -> str:
    """A score with as many digits as its interval bears."""
    return percent(value.mean, _digits(value))


def short(reason: str) -> str:
    """What went wrong, without the advice and the details that follow."""
    first = reason.partition(" (")[0].partition(";")[0]
    return first.rpartition("': ")[2] if "': " in first else first


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[: 2 * NAMED])
    return f"{shown} and {len(names) - 2 * NAMED} more" if len(names) > 2 * NAMED else shown


def rivalry(contest: Contest, found: Findings, rival: Way) -> str:
    """How many labels more a class would tell a rival from the best, derived from the width of their interval."""
    n, classes = len(contest.data.y), len(contest.data.class_names)
    pair = f"{named(rival)} from {named(found.best)}"
    if found.more.to_choose > ENOUGH * n:
        return f"To tell {pair} would take more than {ENOUGH:.0f} times the labels that you have: choose by cost."
    more = max(1, math.ceil((found.more.to_choose - n) / classes))
    return f"To tell {pair}, label about {more} more a class and ask again."


def _digits(value: Estimate) -> int:
    return 1 if value.half < NARROW else 0
