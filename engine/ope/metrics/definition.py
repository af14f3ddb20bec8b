"""What a metric is: a ratio of two sums over decisions, written as data."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from engine.errors import ParameterError

Layer = Literal["delivery", "engagement", "conversion", "efficiency", "honesty", "volume"]


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A quantity of one decision: a product of what is named here; nothing named counts every decision as 1.

    Attributes:
        input: key of the stack's `inputs`, a reward of the log; "" counts 1.
        sends: only decisions that send.
        channel: only decisions that send on this channel.
        discounted: only decisions that send an arm with (true) or without (false) a discount.
        feature / at_least: only contacts whose value of a numeric feature is present and at least this.
        times_discount: times the discount depth of the arm that is sent.
        factor: times this.
    """

    input: str = ""
    sends: bool = False
    channel: str = ""
    discounted: bool | None = None
    feature: str = ""
    at_least: float = 0.0
    times_discount: bool = False
    factor: float = 1.0

    def __post_init__(self) -> None:
        for name in ("at_least", "factor"):
            if not math.isfinite(getattr(self, name)):
                raise ParameterError(name, "a measure", allowed="finite", got=getattr(self, name))


class Margin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """By how much a metric may get worse at a launch, and what must be shown.

    Attributes:
        margin: at least 0; in the metric's unit, or a share of today's value where `relative`.
        relative: see margin.
        rule: "not_worse" (the log must show it) or "not_shown_worse" (the log must not show the contrary).
        required: whether a log that cannot say (`n/a`) refuses too.
    """

    margin: float
    relative: bool = False
    rule: Literal["not_worse", "not_shown_worse"] = "not_worse"
    required: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ParameterError("margin", "a guardrail metric", allowed="at least 0", got=self.margin)


class MetricDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One metric: sum of the numerator over sum of the denominator, both under the policy that is judged.

    Attributes:
        layer: The group under which it is printed.
        label: its name for people.
        numerator: measures that are added up.
        denominator: measures that are added up; empty is every decision.
        unit: "share" (a part of the denominator, in [0, 1]), "usd" or "count".
        higher_is_better: Whether more of it is good.
        description: what it says, for people.
        guardrail: what a launch must not do to it; None where nothing is asked.
    """

    layer: Layer
    label: str
    numerator: tuple[Measure, ...]
    denominator: tuple[Measure, ...] = ()
    unit: Literal["share", "usd", "count"] = "share"
    higher_is_better: bool = True
    description: str = ""
    guardrail: Margin | None = None

    def __post_init__(self) -> None:
        if not self.numerator:
            raise ParameterError("numerator", f"the metric {self.label!r}", allowed="at least one measure", got=())

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (*self.numerator, *self.denominator)

    @property
    def of_choices(self) -> bool:
        """Whether it asks nothing of the outcomes: then a policy's own probabilities say it, without any weight."""
        return not any(measure.input for measure in self.measures)


class MetricStack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Metrics by name, in the order in which they are printed.

    Attributes:
        inputs: what a measure asks for -> metrics of the log (`reward_NAME`) that say it; the first there counts.
        metrics: The metrics by their names.
    """

    inputs: dict[str, tuple[str, ...]]
    metrics: dict[str, MetricDefinition]

    def __post_init__(self) -> None:
        for name, metric in self.metrics.items():
            unknown = {measure.input for measure in metric.measures} - {"", *self.inputs}
            if unknown:
                raise ParameterError(
                    "input", f"the metric {name!r}", allowed=f"among {sorted(self.inputs)}", got=sorted(unknown)
                )
