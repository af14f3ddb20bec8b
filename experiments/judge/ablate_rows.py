"""From an evaluation to lifts with verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from engine.ope.estimate import Estimate
from engine.ope.evaluate import Evaluation
from experiments.outputs_ablate import LiftRow

CARRIES: Final = "carries value"
NONE: Final = "no detectable lift"
COSTS: Final = "costs value"
INSUFFICIENT: Final = "insufficient"
_TURNED: Final = {CARRIES: COSTS, COSTS: CARRIES}


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
