"""What `tactful ablate --json` prints."""

from __future__ import annotations

from typing import Any

from experiments.outputs import LogSummary
from experiments.outputs_base import Output


class LiftRow(Output, frozen=True, kw_only=True):
    """What a signal group, or a learnt decision, is worth; null where it is not defined.

    Attributes:
        name: The name of the group or of the decision.
        features: The features that were taken away, or that the decision is learnt from.
        value: What the policy without the group, or with that decision learnt alone, is worth per decision.
        lift: value with less value without, per decision, on the same rows.
        stderr / low / high: The error of the lift; intervals of one table hold together.
        verdict: "carries value", "no detectable lift", "costs value" or "insufficient".
        notes: reservations.
    """

    name: str
    features: tuple[str, ...]
    value: float | None
    lift: float | None
    stderr: float | None
    low: float | None
    high: float | None
    verdict: str
    notes: tuple[str, ...] = ()


class AblateOutput(Output, frozen=True, kw_only=True):
    """`tactful ablate --json`.

    Attributes:
        estimator / alpha: The estimator and the error rate of every lift; the intervals of one table hold together at
            1 - alpha.
        value: What the full policy is worth, per decision.
        context: the full context over a context-free bandit.
        signals: one row for each signal group, the largest lift first.
        decisions: one row for each decision that is learnt alone, over the best constant message.
        references: the best constant action, static segments and a merge-tag blast, over the best constant message.
        skipped: what could not be asked, and why.
        split: how the log was divided.
    """

    log: LogSummary
    estimator: str
    alpha: float
    value: float | None
    context: LiftRow
    signals: tuple[LiftRow, ...]
    decisions: tuple[LiftRow, ...]
    references: tuple[LiftRow, ...]
    skipped: dict[str, str]
    split: dict[str, Any]
    files: dict[str, str] = {}


ABLATE_OUTPUTS: dict[str, type[Output]] = {"ablate": AblateOutput}
