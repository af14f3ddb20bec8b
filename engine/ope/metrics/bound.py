"""A stack of metrics bound to one log: what the log can say, and the two quantities of each decision."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.catalog import Catalog
from engine.features import PRESENT, ContextBatch, FeatureSchema
from engine.numeric.matmul import matmul
from engine.ope.metrics.definition import Measure, MetricDefinition, MetricStack
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray


@dataclass(frozen=True)
class Quantities:
    """Numerator and denominator of one metric in n decisions, before any weight.

    Attributes:
        above / below: (n,), 0 where an outcome that the metric reads is not known.
        known: (n,) whether everything that the metric reads is known, features too.
    """

    above: FloatArray
    below: FloatArray
    known: BoolArray


@dataclass(frozen=True)
class BoundStack:
    """A stack, and what a log has for it.

    Attributes:
        stack: the definitions.
        catalog / features: The log's own.
        rewards: names of the log's metrics.
    """

    stack: MetricStack
    catalog: Catalog
    features: FeatureSchema
    rewards: Collection[str]

    @cached_property
    def obstacles(self) -> dict[str, str]:
        """Metric -> why the log cannot say it; metrics that it can say are not among them."""
        found = {name: self._obstacle(metric) for name, metric in self.stack.metrics.items()}
        return {name: why for name, why in found.items() if why}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Metrics that the log has everything for, in the order of the stack."""
        return tuple(name for name in self.stack.metrics if name not in self.obstacles)

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Rewards of the log that must be read."""
        asked = {measure.input for name in self.names for measure in self.stack.metrics[name].measures if measure.input}
        return tuple(sorted({self._stored(name) for name in asked}))

    @cached_property
    def reads_context(self) -> bool:
        """Whether some metric looks at a feature."""
        return any(measure.feature for name in self.names for measure in self.stack.metrics[name].measures)

    def logged(self, name: str, batch: RoundBatch) -> Quantities:
        """A metric's quantities of the logged choices."""
        metric = self.stack.metrics[name]
        known = np.ones(batch.n, dtype=np.bool_)
        above = self._sum(metric.numerator, batch, known)
        below = self._sum(metric.denominator, batch, known) if metric.denominator else np.ones(batch.n)
        above, below = np.where(known, above, 0.0), np.where(known, below, 0.0)
        for measure in metric.measures:
            if measure.feature:
                # A contact of whom it is not known counts as below the threshold; were it known of nobody, that is n/a.
                known &= batch.context.columns[measure.feature].state == PRESENT
        return Quantities(above, below, known)

    def expected(self, name: str, batch: RoundBatch, full: FloatArray) -> Quantities:
        """Quantities of a metric of choices, in expectation under (n, k) probabilities."""
        metric = self.stack.metrics[name]
        above = self._expected(metric.numerator, batch, full)
        below = self._expected(metric.denominator, batch, full) if metric.denominator else np.ones(batch.n)
        return Quantities(above, below, np.ones(batch.n, dtype=np.bool_))

    def _obstacle(self, metric: MetricDefinition) -> str:
        for measure in metric.measures:
            if measure.input and not self._stored(measure.input):
                return f"the log has no metric {measure.input!r}: no outcome says it"
            if measure.channel and measure.channel not in self.catalog.channels:
                return f"the catalog has no channel {measure.channel!r}"
            if measure.feature and not self._numeric(measure.feature):
                return f"the log has no numeric feature {measure.feature!r}"
            if (measure.discounted or measure.times_discount) and not self._depth.any():
                return "no arm of the catalog has a discount"
        return ""

    def _stored(self, given: str) -> str:
        """The log's name of an input; "" where it has none."""
        return next((name for name in self.stack.inputs[given] if name in self.rewards), "")

    def _numeric(self, name: str) -> bool:
        return any(spec.name == name and spec.type == "numeric" for spec in self.features.features)

    def _sum(self, measures: tuple[Measure, ...], batch: RoundBatch, known: BoolArray) -> FloatArray:
        total = np.zeros(batch.n)
        for measure in measures:
            value = self._of_action(measure)[batch.action]
            if measure.input:
                reward = batch.rewards[self._stored(measure.input)]
                known &= ~np.isnan(reward)
                value = value * np.nan_to_num(reward)
            total += value * _held(measure, batch.context)
        return total

    def _expected(self, measures: tuple[Measure, ...], batch: RoundBatch, full: FloatArray) -> FloatArray:
        total = np.zeros(batch.n)
        for measure in measures:
            total += matmul(full, self._of_action(measure)) * _held(measure, batch.context)
        return total

    def _of_action(self, measure: Measure) -> FloatArray:
        """(k,) factor of each action."""
        actions = np.arange(self.catalog.k)
        channel, _, _ = self.catalog.split(actions)
        value = np.full(self.catalog.k, measure.factor)
        send = actions != HOLD
        if measure.sends:
            value = value * send
        if measure.channel:
            value = value * (channel == self.catalog.channels.index(measure.channel))
        if measure.discounted is not None:
            value = value * (send & ((self._depth > 0) == measure.discounted))
        if measure.times_discount:
            value = value * self._depth
        return value

    @cached_property
    def _depth(self) -> FloatArray:
        """(k,) discount depth of each action's arm; 0 for hold."""
        _, _, arm = self.catalog.split(np.arange(self.catalog.k))
        depths = np.array([one.discount_depth for one in self.catalog.arms])
        return np.where(arm >= 0, depths[arm], 0.0)


def _held(measure: Measure, context: ContextBatch) -> FloatArray | float:
    if not measure.feature:
        return 1.0
    column = context.columns[measure.feature]
    with np.errstate(invalid="ignore"):
        held: FloatArray = ((column.state == PRESENT) & (column.values >= measure.at_least)).astype(np.float64)
    return held
