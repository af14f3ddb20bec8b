"""From an evaluation to lifts with verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from engine.ope.estimate import Estimate
from engine.ope.evaluate import Evaluation
from experiments.outputs import Output

CARRIES: Final = "carries value"
NONE: Final = "no detectable lift"
COSTS: Final = "costs value"
INSUFFICIENT: Final = "insufficient"
_TURNED: Final = {CARRIES: COSTS, COSTS: CARRIES}


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


def lifts_of(found: Evaluation, features: Mapping[str, Sequence[str]]) -> list[LiftRow]:
    """One row a policy: its value less the baseline's."""
    return [_row(estimate, tuple(features.get(estimate.policy, ()))) for estimate in found.results]


def negated(row: LiftRow) -> LiftRow:
    """The same difference seen from the baseline: what the policy lacks."""
    return msgspec.structs.replace(
        row,
        lift=_minus(row.lift),
        low=_minus(row.high),
        high=_minus(row.low),
        verdict=_TURNED.get(row.verdict, row.verdict),
    )


def full_value(found: Evaluation) -> float | None:
    """The baseline's own value."""
    return found.baseline[0].value


def _row(estimate: Estimate, features: tuple[str, ...]) -> LiftRow:
    gap, notes = estimate.difference, estimate.notes
    if gap is None or gap.value is None:
        return LiftRow(
            name=estimate.policy, features=features, value=None, lift=None, stderr=None, low=None, high=None,
            verdict=INSUFFICIENT, notes=notes,
        )  # fmt: skip
    return LiftRow(
        name=estimate.policy,
        features=features,
        value=estimate.value,
        lift=gap.value,
        stderr=gap.stderr,
        low=gap.low,
        high=gap.high,
        verdict=_verdict(estimate),
        notes=notes,
    )


def _verdict(estimate: Estimate) -> str:
    if not estimate.trustworthy:
        return INSUFFICIENT
    return {"better": CARRIES, "worse": COSTS}.get(estimate.verdict, NONE)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
