"""How much of a budget there is today."""

from __future__ import annotations

from datetime import date

from engine.errors import ParameterError
from policies.prices.config import BudgetSpec


def allowance(spec: BudgetSpec, today: date, used: float | None = None) -> float:
    """What a run of today may use: of a day what is left, of a campaign an even part of what is left.

    What one day leaves goes to the days after it, and what it takes too much comes from them, so the campaign's sum is
    met however single days come out.

    Args:
        spec: the budget.
        today: in the budgets' zone.
        used: before this run; None takes the budget's own figure.

    Raises:
        ParameterError: a campaign that is over.
    """
    left = max(0.0, spec.amount - (spec.used if used is None else used))
    if spec.per == "day":
        return left
    days = (spec.last_day() - today).days + 1
    if days < 1:
        raise ParameterError("ends", f"budget {spec.name!r}", allowed=f"{today} or later", got=spec.ends)
    return left / days
