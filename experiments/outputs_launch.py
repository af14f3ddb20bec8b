"""What a launch decision is printed with: the metrics, the gate, who is treated differently, what the rules cost."""

from __future__ import annotations

from experiments.outputs_base import Output


class MetricDifference(Output, frozen=True, kw_only=True):
    """A metric of the policy minus that of the baseline, on the same rows.

    Attributes:
        verdict: better | worse | no difference | insufficient, "better" being the good direction of the metric.
    """

    baseline: str
    value: float
    stderr: float | None
    low: float | None
    high: float | None
    verdict: str


class MetricRow(Output, frozen=True, kw_only=True):
    """One metric of one policy; every figure is null where the log cannot say, and then `missing` says why.

    Attributes:
        layer: delivery | engagement | conversion | efficiency | honesty | volume.
        label: its name for people.
        unit: "share", "usd" or "count".
        rows: of the log whose outcome is known.
        effective: what the rows of the denominator are worth: (sum w)^2 / sum w^2.
    """

    policy: str
    metric: str
    layer: str
    label: str
    unit: str
    higher_is_better: bool
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None
    alpha: float
    rows: int
    effective: float
    missing: str = ""
    difference: MetricDifference | None = None


class GateCheck(Output, frozen=True, kw_only=True):
    """One demand of the promotion gate and what became of it.

    Attributes:
        role: primary | guardrail.
        rule: better | not_worse | not_shown_worse.
        margin: allowed, in the metric's unit or as a share of the baseline's value where `relative`.
        gain: of the new policy, positive is good; null where it is not known.
        bound / limit: the one-sided bound of the gain that decides, and what it is held against.
        verdict: pass | fail | undecided | n/a.
        blocks: whether it refuses the launch.
    """

    metric: str
    label: str
    unit: str
    role: str
    rule: str
    margin: float
    relative: bool
    baseline_value: float | None
    value: float | None
    gain: float | None
    bound: float | None
    limit: float | None
    verdict: str
    reason: str
    blocks: bool


class GateOutput(Output, frozen=True, kw_only=True):
    """The promotion gate: primary metric better, no guardrail metric worse than its margin.

    Attributes:
        policy / baseline: who is let through, in place of whom.
        error: one-sided, of each demand; of the whole gate it is no more.
    """

    policy: str
    baseline: str
    passed: bool
    reason: str
    error: float
    checks: tuple[GateCheck, ...]


class ShareRow(Output, frozen=True, kw_only=True):
    """Share of decisions that get something, under the baseline and under the policy.

    Attributes:
        kind: treatment | channel | hours | arm.
        shares: expected, from the policies' own probabilities: no outcome is in them and so no error either.
    """

    kind: str
    level: str
    baseline: float
    policy: float


class GroupRow(Output, frozen=True, kw_only=True):
    """How a group of contacts is treated.

    Attributes:
        feature / level: who.
        share: of the decisions.
        distance: mean total variation between the two policies' distributions over actions, in [0, 1].
        shares: of the group, hold first.
    """

    feature: str
    level: str
    share: float
    distance: float
    shares: tuple[ShareRow, ...]


class TreatmentOutput(Output, frozen=True, kw_only=True):
    """Who is treated differently, and how.

    Attributes:
        distance: mean total variation distance between the two policies' distributions over actions, in [0, 1].
        overall: of all decisions.
        groups: the most different ones first.
    """

    policy: str
    baseline: str
    rows: int
    distance: float
    overall: tuple[ShareRow, ...]
    groups: tuple[GroupRow, ...]


class WeightBin(Output, frozen=True, kw_only=True):
    """Rows whose weight lies above `low` and up to `high`; null is without limit, 0 to 0 is a weight of exactly 0.

    Attributes:
        rows: share of the rows.
        weight: share of the sum of weights.
    """

    low: float
    high: float | None
    rows: float
    weight: float


class SupportRow(Output, frozen=True, kw_only=True):
    """How much of the log speaks for a policy.

    Attributes:
        effective: what its rows are worth: (sum w)^2 / sum w^2.
        mean_weight: 1 in expectation where propensities are right.
    """

    policy: str
    rows: int
    effective: float
    mean_weight: float
    largest_weight: float
    bins: tuple[WeightBin, ...]


class RuleCost(Output, frozen=True, kw_only=True):
    """What one guardrail rule takes away from the policy.

    Attributes:
        removed: share of (decision, send action) pairs that it removes.
        silenced: share of decisions that it alone leaves without any send.
        sends: sends per decision that the policy would make more without it.
        value: what a reward model thinks that those are worth, per decision; an opinion: nothing that the rule removes
            was ever sent, so no log can confirm it. Null where it is not a choice (legal) or no model knows.
        note: reservations.
    """

    id: str
    rule: str
    kind: str
    removed: float
    silenced: float
    sends: float | None = None
    value: float | None = None
    note: str = ""
