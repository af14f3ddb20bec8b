"""The stack of metrics: by hand, merged, exact for choices, and silent where a log cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from engine.catalog import Catalog, catalog_from
from engine.eligibility import pack
from engine.errors import ParameterError
from engine.features import MISSING, PRESENT, Column, ContextBatch, FeatureSchema, schema_from
from engine.ope.metrics.bound import BoundStack
from engine.ope.metrics.definition import Margin, Measure, MetricDefinition, MetricStack
from engine.ope.metrics.figures import MetricFigure, demand_of, evidence_of_figure, stack_figures
from engine.ope.metrics.state import StackState
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, Target, TargetBatch
from engine.records.rounds import RoundBatch
from engine.types import FloatArray
from experiments.study.simulated_metrics import shipped_stack

CATALOG: Catalog = catalog_from(
    {
        "name": "two_channels",
        "channels": ["email", "sms"],
        "hours": [9],
        "arms": [{"id": "news", "approved": True}, {"id": "deal", "approved": True, "discount_depth": 0.2}],
    },
    source="a test",
)
FEATURES: FeatureSchema = schema_from(
    {
        "features": [
            {
                "name": "unopened_streak",
                "type": "numeric",
                "unit": "count",
                "source": "sends",
                "collected_where": "sends",
                "customer_benefit": "Tired contacts get fewer messages",
                "max_age_days": 2,
            }
        ]
    },
    source="a test",
)
# hold, email news, email deal, sms news, sms deal
HOLD, EMAIL, EMAIL_DEAL, SMS, SMS_DEAL = range(5)
ANYTHING = SupportRule(
    min_ess=0,
    min_clusters=2,
    max_weight_share=1,
    max_square_share=1,
    min_outcomes=0,
    max_error_share=1,
    max_cluster_error_share=1,
)


@dataclass(frozen=True)
class Fixed:
    """The same distribution for everybody."""

    probabilities_of: tuple[float, ...]
    name: str = "fixed"
    knows_all: bool = True

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        full = np.tile(self.probabilities_of, (rounds.n, 1))
        return TargetBatch(full[np.arange(rounds.n), rounds.action], full, np.zeros(rounds.n))


def rounds(
    action: list[int], propensity: float | FloatArray = 0.2, chunk: int = 0, streak: float = 0.0, **rewards: list[float]
) -> RoundBatch:
    n = len(action)
    column = Column(np.full(n, streak), np.zeros(n, dtype=np.uint8))
    return RoundBatch(
        chunk=chunk,
        decision_id=np.array([f"{chunk}/{i}" for i in range(n)], dtype=object),
        context=ContextBatch(FEATURES, {"unopened_streak": column}, n),
        action=np.array(action, dtype=np.int32),
        propensity=np.broadcast_to(np.asarray(propensity, dtype=np.float64), (n,)).copy(),
        eligible=pack(np.ones((n, 5), dtype=np.bool_)),
        k=5,
        cluster=np.arange(n, dtype=np.uint64) * np.uint64(2**33 + 7) + np.uint64(chunk),
        rewards={name: np.array(values, dtype=np.float64) for name, values in rewards.items()},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
    )


def stack_of(**metrics: MetricDefinition) -> MetricStack:
    named = {measure.input for metric in metrics.values() for measure in metric.measures if measure.input}
    return MetricStack(inputs={name: (name,) for name in named}, metrics=metrics)


def share(numerator: Measure, denominator: Measure | None = None) -> MetricDefinition:
    below = () if denominator is None else (denominator,)
    return MetricDefinition(layer="delivery", label="x", numerator=(numerator,), denominator=below)


OPENS = share(Measure(input="opened", channel="email"), Measure(input="delivered", channel="email"))


def figures(
    stack: MetricStack, targets: list[Target], *batches: RoundBatch, rule: SupportRule | None = None
) -> dict[tuple[str, str], MetricFigure]:
    bound = BoundStack(stack, CATALOG, FEATURES, frozenset(batches[0].rewards))
    state = StackState(bound, targets)
    for batch in batches:
        state.add(batch)
    return {(one.policy, one.metric): one for one in stack_figures(state, 0.05, rule)}


def test_a_ratio_of_weighted_sums_by_hand() -> None:
    """Weights p / 0.2: 3 for e-mail news, 1 for e-mail deals: (3 + 0 + 1) / (3 + 3 + 1) = 4/7; SMS plays no part."""
    batch = rounds([EMAIL, EMAIL, EMAIL_DEAL, SMS], opened=[1, 0, 1, 1], delivered=[1, 1, 1, 1])
    own = figures(stack_of(opens=OPENS), [LoggedTarget(), Fixed((0.2, 0.6, 0.2, 0, 0))], batch, rule=ANYTHING)
    assert own["logged", "opens"].value == pytest.approx(2 / 3)
    assert own["fixed", "opens"].value == pytest.approx(4 / 7)
    # Influences (w o - R w d) / 7: 9/49, -12/49, 3/49; with 4 independent rows the variance is 4/3 of their squares.
    expected = np.sqrt(4 / 3 * (9**2 + 12**2 + 3**2)) / 49
    assert own["fixed", "opens"].stderr == pytest.approx(expected)
    gap = own["fixed", "opens"].difference
    assert gap is not None
    assert gap.value == pytest.approx(4 / 7 - 2 / 3)
    assert gap.low is not None
    assert gap.high is not None
    assert gap.low < gap.value < gap.high


def test_rows_without_a_known_outcome_are_in_neither_sum() -> None:
    batch = rounds([EMAIL] * 4, opened=[1, 0, np.nan, 1], delivered=[1, 1, 1, np.nan])
    own = figures(stack_of(opens=OPENS), [LoggedTarget()], batch, rule=ANYTHING)["logged", "opens"]
    assert (own.value, own.rows) == (0.5, 2)


def test_choices_are_read_off_the_policy_without_any_weight() -> None:
    """Messages per decision: 1 - P(hold), whatever was logged; the share of tired contacts is over messages."""
    stack = stack_of(
        sends=share(Measure(sends=True)),
        tired=share(Measure(sends=True, feature="unopened_streak", at_least=5), Measure(sends=True)),
    )
    batches = [rounds([HOLD] * 3, streak=6.0), rounds([EMAIL, SMS, HOLD], chunk=1)]
    own = figures(stack, [LoggedTarget(), Fixed((0.25, 0.25, 0.5, 0, 0))], *batches, rule=ANYTHING)
    assert own["fixed", "sends"].value == pytest.approx(0.75)
    assert own["fixed", "sends"].stderr == pytest.approx(0.0, abs=1e-12)
    assert own["fixed", "tired"].value == pytest.approx(0.5)
    assert own["logged", "sends"].value == pytest.approx(2 / 6)
    assert own["logged", "tired"].value == pytest.approx(0.0)


def test_discounts_factors_and_sums_of_measures() -> None:
    """Cost 0.1 + 0.1 for two sends, and 0.2 of the 10 that the deal sold: 2.2 for one purchase."""
    cost = MetricDefinition(
        layer="efficiency",
        label="cost",
        unit="usd",
        numerator=(
            Measure(input="cost", sends=True, factor=-1.0),
            Measure(input="revenue", times_discount=True),
        ),
        denominator=(Measure(input="order", sends=True),),
    )
    depth = share(Measure(input="revenue", discounted=True), Measure(input="revenue", sends=True))
    batch = rounds([EMAIL, SMS_DEAL, HOLD], cost=[-0.1, -0.1, 0.0], revenue=[0.0, 10.0, 99.0], order=[0, 1, 1])
    own = figures(stack_of(cost=cost, depth=depth), [LoggedTarget()], batch, rule=ANYTHING)
    assert own["logged", "cost"].value == pytest.approx(2.2)
    assert own["logged", "depth"].value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("metric", "changes", "why"),
    [
        pytest.param(share(Measure(input="replied")), {}, "no metric 'replied'", id="no-column"),
        pytest.param(share(Measure(input="opened", channel="push")), {}, "no channel 'push'", id="no-channel"),
        pytest.param(share(Measure(feature="age", sends=True)), {}, "no numeric feature 'age'", id="no-feature"),
        pytest.param(share(Measure(input="opened")), {"opened": [0.0] * 40}, "no such event", id="no-event"),
        pytest.param(share(Measure(input="opened")), {"opened": [np.nan] * 40}, "nothing of it is known", id="pending"),
        pytest.param(OPENS, {"action": [SMS] * 40}, "nothing to divide by", id="no-base"),
        pytest.param(OPENS, {"action": [EMAIL] + [SMS] * 39}, "too little to divide by: 1.0", id="thin-base"),
        pytest.param(
            MetricDefinition(layer="efficiency", label="r", unit="usd", numerator=(Measure(input="opened"),)),
            {"opened": [0.0] * 39 + [7.0]},
            "too few events: 1.0",
            id="one-order",
        ),
    ],
)
def test_what_the_log_cannot_say_is_na_with_the_reason(
    metric: MetricDefinition, changes: dict[str, list[float]], why: str
) -> None:
    given: dict[str, list[float]] = {"opened": [1.0, 0.0] * 20, "delivered": [1.0] * 40}
    action = [int(one) for one in changes.pop("action", [EMAIL] * 40)]
    batch = rounds(action, **(given | changes))
    names = {measure.input for measure in metric.measures if measure.input}
    stack = MetricStack(inputs={name: (name,) for name in names}, metrics={"m": metric})
    own = figures(stack, [LoggedTarget()], batch)["logged", "m"]
    assert own.value is None
    assert own.low is None
    assert own.difference is None
    assert why in own.missing


def test_a_feature_that_is_known_of_nobody_is_na() -> None:
    batch = rounds([EMAIL] * 40)
    blank = Column(np.full(40, np.nan), np.full(40, MISSING, dtype=np.uint8))
    batch = replace(batch, context=ContextBatch(FEATURES, {"unopened_streak": blank}, 40))
    stack = stack_of(tired=share(Measure(sends=True, feature="unopened_streak", at_least=5), Measure(sends=True)))
    assert "nothing of it is known" in figures(stack, [LoggedTarget()], batch)["logged", "tired"].missing
    assert PRESENT == 0


def test_too_little_support_hides_the_figure() -> None:
    """The policy would send SMS deals, which the log did twice in 200 decisions."""
    action = [EMAIL] * 198 + [SMS_DEAL] * 2
    propensity = np.array([0.99] * 198 + [0.01] * 2)
    batch = rounds(action, propensity, opened=[1.0, 0.0] * 100)
    own = figures(stack_of(o=share(Measure(input="opened"))), [LoggedTarget(), Fixed((0, 0, 0, 0, 1.0))], batch)
    assert own["logged", "o"].value == 0.5
    assert own["fixed", "o"].value is None
    assert own["fixed", "o"].thin
    assert "too little support" in own["fixed", "o"].missing
    assert evidence_of_figure(own["fixed", "o"], 0.5).missing


def many(seed: int, n: int, chunk: int = 0) -> RoundBatch:
    """A log over five actions, one in 20 e-mails opened; contacts come twice."""
    generator = np.random.default_rng([seed, chunk])
    propensity = np.array([0.3, 0.3, 0.2, 0.1, 0.1])
    action = generator.choice(5, n, p=propensity)
    delivered = (action > 0) & (generator.random(n) < 0.9)
    opened = delivered & (generator.random(n) < 0.05 * (1 + (action == EMAIL_DEAL)))
    batch = rounds(action.tolist(), propensity[action], chunk, opened=opened.tolist(), delivered=delivered.tolist())
    return replace(batch, cluster=batch.cluster // np.uint64(2))


def batches_of(seed: int) -> Iterator[RoundBatch]:
    yield from (many(seed, 500, chunk) for chunk in range(4))


def test_partitions_in_any_order_give_the_same_bytes() -> None:
    stack = stack_of(opens=OPENS, sends=share(Measure(sends=True)))
    bound = BoundStack(stack, CATALOG, FEATURES, frozenset(("opened", "delivered")))
    targets = [LoggedTarget(), Fixed((0.1, 0.1, 0.6, 0.1, 0.1))]
    whole, odd, even = (StackState(bound, targets) for _ in range(3))
    for place, batch in enumerate(batches_of(1)):
        whole.add(batch)
        (odd if place % 2 else even).add(batch)
    odd.merge(even)
    assert stack_figures(odd, 0.05) == stack_figures(whole, 0.05)


def test_intervals_of_a_rare_share_cover_it() -> None:
    """100 logs of 500 decisions with about 25 opens: 95 % intervals that hold in fewer than 88 have P < 0.005."""
    stack = stack_of(opens=OPENS)
    target = Fixed((0.1, 0.2, 0.4, 0.2, 0.1))
    # Of e-mails, a third are news (5 %) and two thirds deals (10 %).
    expected, held = (0.2 * 0.05 + 0.4 * 0.1) / 0.6, 0
    for seed in range(100):
        own = figures(stack, [LoggedTarget(), target], many(seed, 500))["fixed", "opens"]
        assert own.low is not None
        assert own.high is not None
        held += own.low <= expected <= own.high
    assert held >= 88


def test_the_shipped_stack_has_sixteen_metrics_in_four_layers_and_more() -> None:
    """R38 and R39: sixteen in four layers; discounts, refunds and volume beside them."""
    metrics = shipped_stack().metrics
    layers = [metric.layer for metric in metrics.values()]
    for layer in ("delivery", "engagement", "conversion", "efficiency"):
        assert layers.count(layer) == 4, layer
    assert {"discount_share", "refund_share", "sends_per_decision", "unsubscribe_rate"} <= set(metrics)
    asked = {name for name, metric in metrics.items() if demand_of(name, metric) is not None}
    assert {"unsubscribe_rate", "complaint_rate", "sends_per_decision"} <= asked
    # Opens and clicks are never what a launch is decided by.
    assert not asked & {"open_rate", "click_rate", "read_rate", "reply_rate"}


def test_demands_carry_the_margin_of_the_definition() -> None:
    metric = replace_guardrail(OPENS, Margin(margin=0.1, relative=True, rule="not_shown_worse", required=True))
    demand = demand_of("opens", metric)
    assert demand is not None
    assert (demand.rule, demand.margin, demand.relative, demand.required) == ("not_shown_worse", 0.1, True, True)
    assert demand_of("opens", OPENS) is None


def replace_guardrail(metric: MetricDefinition, guardrail: Margin) -> MetricDefinition:
    return MetricDefinition(
        layer=metric.layer,
        label=metric.label,
        numerator=metric.numerator,
        denominator=metric.denominator,
        guardrail=guardrail,
    )


def test_what_cannot_be_a_stack_is_refused() -> None:
    with pytest.raises(ParameterError, match="among"):
        MetricStack(inputs={}, metrics={"opens": OPENS})
    with pytest.raises(ParameterError, match="at least one measure"):
        MetricDefinition(layer="delivery", label="x", numerator=())
    with pytest.raises(ParameterError, match="margin"):
        Margin(margin=-0.1)
    with pytest.raises(ParameterError, match="factor"):
        Measure(factor=float("nan"))
    bound = BoundStack(stack_of(opens=OPENS), CATALOG, FEATURES, frozenset())
    with pytest.raises(ParameterError, match="distinct"):
        StackState(bound, [LoggedTarget(), LoggedTarget()])
