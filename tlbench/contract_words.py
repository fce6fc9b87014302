"""How is a broken law said, so that the author of a plug-in knows what to change? No torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tlbench.registry import raised_at

PLACE = "no writes in place (x[i] = ..., x += ..., x.add_): build a new tensor"
SHAPES = "shapes must not depend on values: instead of x[mask] or nonzero use torch.where or weights"
LAYER = "this layer cannot be fused (nn.GRU, nn.LSTM): write it as matrix products"
KEYS = "draw by key: tlbench.rng; nn.Dropout must be replaced by a mask drawn in `augment` from its keys"
LABELS = "test labels are sealed; a strategy has its task only"
OR_ALONE = "; where that cannot be done, say `fusible = False` (lanes then run one by one, slower)"


class Finding(NamedTuple):
    """What checking one law on one strategy came to."""

    strategy: str
    law: str
    verdict: Literal["kept", "note", "broken"]  # a note is worth knowing and no failure
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.verdict != "broken"


class Broken(Exception):
    """A law does not hold; the message says what to change."""


class Note(str):
    """Something to know about a law that holds."""


# What torch says when lanes are fused -> what the author should write instead.
ADVICE = (
    ("random operation", KEYS),
    ("data-dependent control flow", "replace Python `if`, `while` or `and` on a tensor by torch.where" + OR_ALONE),
    (".item()", "a number must stay a 0-d tensor: no .item(), float(), int() or range() of a tensor" + OR_ALONE),
    ("storage", "no .numpy(), .tolist() or scikit-learn while lanes are fused" + OR_ALONE),
    ("inplace arithmetic", PLACE + OR_ALONE),
    ("match the broadcast shape", PLACE + OR_ALONE),
    ("dynamic shape", SHAPES + OR_ALONE),
    ("Batch norm got a batched", "BatchNorm's statistics belong in the state: GradientStrategy carries them there"),
    ("Batching rule not implemented", LAYER + OR_ALONE),
    ("requires_grad_()", "take gradients with torch.func.grad, not .backward() or torch.optim" + OR_ALONE),
    ("abstract method", "write the methods that it names"),
    ("expected a non-empty list of Tensors", "nothing trains: set requires_grad on what shall train in `module`"),
    ("requires grad", "detach what init and predict return"),
)


def translated(error: BaseException, module: str) -> str:
    """The error, where in `module` (the plug-in) it arose, and what to write instead where that is known."""
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}: {text[:200]}{'...' if len(text) > 200 else ''} ({raised_at(error, module)})"
    advice = next((then for pattern, then in ADVICE if pattern.lower() in text.lower()), "")
    return f"{said}; {advice}" if advice else said


def report(findings: list[Finding]) -> str:
    """One line for each law, under its strategy; then how many are broken."""
    lines: list[str] = []
    for name in dict.fromkeys(finding.strategy for finding in findings):
        lines.append(name)
        for finding in (each for each in findings if each.strategy == name):
            mark = finding.verdict.upper() if not finding.ok else finding.verdict
            lines.append(f"  {mark:6}  {finding.law:12}  {finding.message}".rstrip())
    broken = sum(not finding.ok for finding in findings)
    return "\n".join([*lines, f"{len(findings) - broken} kept, {broken} broken"])
