"""What `tactful explain --json` prints."""

from __future__ import annotations

from experiments.outputs import RemovalRow
from experiments.outputs_base import CommandOutput, Output
from experiments.outputs_prices import PricesOutput


class ActionRow(Output, frozen=True, kw_only=True):
    """One action of one decision; p_respond and p_unsub are null where the policy has no model of them.

    `price` is what budgets charged the send, in the metric's unit.
    """

    action: str
    eligible: bool
    score: float | None
    probability: float
    removed_by: tuple[RemovalRow, ...] = ()
    p_respond: float | None = None
    p_unsub: float | None = None
    price: float = 0.0


class PartRow(Output, frozen=True, kw_only=True):
    """A share of a difference of scores; `of` breaks it down: groups and features by factor, factors by group."""

    name: str
    value: float
    of: dict[str, float] = {}


class ComparisonRow(Output, frozen=True, kw_only=True):
    """The chosen action against another one.

    Attributes:
        against: name of the other action.
        role: "hold" or "runner_up".
        difference: score of the chosen action - score of the other, in the metric's unit.
        groups / features / factors: three views of the same terms, each adds up to the difference.
    """

    against: str
    role: str
    difference: float
    groups: tuple[PartRow, ...]
    features: tuple[PartRow, ...]
    factors: tuple[PartRow, ...]


class HoldbackRow(Output, frozen=True, kw_only=True):
    """`held` is whether the best expected value is at most that of hold (R23); `reason` is why nothing was sent."""

    held: bool
    reason: str | None
    sentence: str
    best: str | None
    best_expected_value: float | None
    hold_expected_value: float


class ExplainOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful explain --json`.

    Attributes:
        group: treatment, control or uniform.
        metric: what the policy maximises; scores and expected values are in its unit.
        expected_value / p_respond / p_unsub: of the chosen action; null where there is no model.
        comparisons: the chosen action against hold and against the runner-up.
        notes: what else to know.
        prices: of the budgets that the decision was made under; null where there were none.
    """

    decision_id: str
    decided_at: str
    action: str
    propensity: float
    actions: tuple[ActionRow, ...]
    group: str
    metric: str
    expected_value: float | None
    p_respond: float | None
    p_unsub: float | None
    holdback: HoldbackRow | None
    comparisons: tuple[ComparisonRow, ...] = ()
    notes: tuple[str, ...] = ()
    prices: PricesOutput | None = None


EXPLAIN_OUTPUTS: dict[str, type[Output]] = {"explain": ExplainOutput}
