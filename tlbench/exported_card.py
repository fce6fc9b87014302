"""What must someone know who is handed an exported model? Its model card."""

from __future__ import annotations

from typing import Any

from tlbench import advise_words
from tlbench.advise import Advice
from tlbench.backbones import saved
from tlbench.exported_fit import Refit

SHOWN = 30  # classes named before the rest are counted


def card(advice: Advice, refit: Refit, config: dict[str, Any]) -> str:
    """The text of README.md."""
    data, way = advice.contest.data, advice.findings.subject
    kind = {"image": "an image", "text": "a text"}[data.card.modality]
    metric = data.card.metric.replace("_", " ")
    values = ", ".join(f"{name} {_plain(value)}" for name, value in refit.params.items()) or "none"
    tested = advise_words.method(advice.contest, advice.findings)[0]
    parts = {
        "What it does": (
            f"It names the class of {kind}: one of {len(data.class_names)}, learnt from {len(data.y)} labelled "
            f"examples of `{data.card.name}`.\n\n    tlbench predict DIR INPUT..."
        ),
        "How good it is": (
            f"Trained the same way on a part of the examples and tested on the rest: {metric} "
            f"{advise_words.mean(way.value)}, 95 % interval {advise_words.between(way.value)}. {tested}\n\n"
            f"This model itself was trained on all labels, so it has no test score of its own. {_trust(advice)}"
        ),
        "What it was trained on": _data(advice),
        "How it was trained": (
            f"Strategy `{way.strategy}` (version {config['strategy']['version']}) on the network `{way.network}` "
            f"(weights {config['network']['fingerprint'][:12]}). Hyperparameters: {values}; chosen by inner folds on "
            f"all labels from {refit.trials} trials. {advise_words.cost(way)}"
        ),
        "Limits": (
            "It knows its classes only and names one of them for any input, also for what is none of them. Inputs of "
            f"another source, camera, language or time may do worse than the score says. {_seen(config)}"
        ),
        "Licences": (
            f"Weights of the pretrained network: {saved.licence(refit.predictor.backbone)}. Data: {data.card.licence}."
        ),
    }
    head = f"# {way.strategy} on {way.network}, for {data.card.name}\n\nMade by tlbench {config['tlbench']}.\n"
    return head + "".join(f"\n## {title}\n\n{text}\n" for title, text in parts.items())


def _trust(advice: Advice) -> str:
    """What its probabilities are, and what was measured of them."""
    found = advice.calibration
    return (
        f"Probabilities are the softmax of its logits over a temperature of {found.temperature:.3g}, which was found "
        "on the held-out examples of that comparison. There the expected calibration error was "
        f"{advise_words.percent(found.error)} (plain softmax: {advise_words.percent(found.raw_error)}), for models "
        "trained on fewer labels than this one; for inputs of another kind nothing is known."
    )


def _seen(config: dict[str, Any]) -> str:
    """What becomes of an input before the network sees it."""
    if config["modality"] == "text":
        return f"Texts are cut after {config['network']['tokens']['length']} tokens."
    side = config["picture"][0]
    return f"Images are resized so that their shorter side has {side} pixels, and cut to the square in the middle."


def _data(advice: Advice) -> str:
    data = advice.contest.data
    names = [f"| {name} | {count} |" for name, count in zip(data.class_names, data.counts, strict=True)]
    more = [f"\nand {len(names) - SHOWN} more classes, see config.json."] if len(names) > SHOWN else []
    lines = ["| class | examples |", "|---|---:|", *names[:SHOWN], *more]
    lines += [f"\nLeft out: {count} x {reason}." for reason, count in data.left_out.items()]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
