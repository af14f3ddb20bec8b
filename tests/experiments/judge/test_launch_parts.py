"""What a launch report is made of: the gate on the stack, who is treated differently, weights, what rules take away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.features import ContextBatch
from engine.ope.metrics.bound import BoundStack
from engine.ope.metrics.definition import Margin, Measure, MetricDefinition, MetricStack
from engine.ope.metrics.gate import Gate
from engine.ope.metrics.state import StackState
from engine.ope.target import LoggedTarget, Remembered, TargetBatch
from engine.records.rounds import RoundBatch
from experiments.judge.launch.metrics import gate_of, metric_rows
from experiments.judge.launch.support import WeightHistogram
from experiments.judge.launch.treatment import TreatmentSums, cell_names, kinds_of
from policies.peers.segmentation import Cut, Segmentation
from tests.engine.ope.metrics.test_metric_stack import CATALOG, EMAIL, FEATURES, HOLD, SMS, Fixed, many, rounds
from tests.experiments.judge.launch_examples import result

TODAY, NEW = Fixed((0.5, 0.3, 0.0, 0.2, 0.0), "today"), Fixed((0.4, 0.3, 0.1, 0.2, 0.0), "vw")


def definition(margin: Margin, *, layer: str = "delivery", **numerator: object) -> MetricDefinition:
    return MetricDefinition(
        layer=layer,  # type: ignore[arg-type]
        label="a label",
        numerator=(Measure(**numerator),),  # type: ignore[arg-type]
        higher_is_better=False,
        guardrail=margin,
    )


def gate_on(margin: Margin, blocks: list[RoundBatch], today: object = TODAY, **changes: object) -> Gate:
    stack = MetricStack(inputs={"opened": ("opened",)}, metrics={"m": definition(margin, **changes)})  # type: ignore[arg-type]
    state = StackState(BoundStack(stack, CATALOG, FEATURES, frozenset(blocks[0].rewards)), [today, NEW])  # type: ignore[list-item]
    for block in blocks:
        state.add(block)
    return gate_of(state, "vw", result("vw", "better", low=0.01, high=0.16), stack, 0.05)


def log() -> list[RoundBatch]:
    return [many(3, 600, chunk) for chunk in range(3)]


@pytest.mark.parametrize(
    ("margin", "changes", "verdict", "passed"),
    [
        pytest.param(Margin(margin=0.2), {"input": "opened"}, "pass", True, id="within"),
        pytest.param(Margin(margin=0.01), {"input": "opened"}, "undecided", False, id="not-shown"),
        pytest.param(Margin(margin=0.05), {"sends": True, "layer": "volume"}, "fail", False, id="more-volume"),
        pytest.param(
            Margin(margin=0.25, relative=True), {"sends": True, "layer": "volume"}, "pass", True, id="relative"
        ),
        pytest.param(Margin(margin=0.0), {"input": "opened", "channel": "push"}, "n/a", True, id="no-such-channel"),
        pytest.param(
            Margin(margin=0.0, required=True), {"input": "opened", "channel": "push"}, "n/a", False, id="required"
        ),
    ],
)
def test_the_gate_asks_what_the_definitions_say(
    margin: Margin, changes: dict[str, object], verdict: str, passed: bool
) -> None:
    found = gate_on(margin, log(), **changes)
    assert [one.verdict for one in found.checks] == ["pass", verdict]
    assert found.passed == passed
    assert found.checks[1].label == "a label"


def test_volume_is_not_asked_where_today_s_practice_sends_nothing() -> None:
    found = gate_on(Margin(margin=0.0), log(), Fixed((1.0, 0, 0, 0, 0), "today"), sends=True, layer="volume")
    assert found.passed
    assert "sends nothing" in found.checks[1].reason


def test_what_must_be_shown_and_is_too_thin_refuses_and_what_need_not_is_let_through() -> None:
    """Of 1,800 decisions one opened mail in a currency of its own: too few events to judge money by."""
    blocks = [replace(block, rewards={"opened": np.zeros(block.n)}) for block in log()]
    blocks[0].rewards["opened"][int(np.flatnonzero(blocks[0].action == EMAIL)[0])] = 50.0
    money = {"input": "opened"}
    stack_margin = Margin(margin=1.0), Margin(margin=1.0, rule="not_shown_worse")
    found = [gate_money(margin, blocks, money) for margin in stack_margin]
    assert [one.checks[1].verdict for one in found] == ["undecided", "n/a"]
    assert [one.passed for one in found] == [False, True]
    assert "too few events" in found[0].checks[1].reason


def gate_money(margin: Margin, blocks: list[RoundBatch], numerator: dict[str, str]) -> Gate:
    metric = MetricDefinition(
        layer="efficiency", label="m", unit="usd", numerator=(Measure(**numerator),), guardrail=margin
    )
    stack = MetricStack(inputs={"opened": ("opened",)}, metrics={"m": metric})
    state = StackState(BoundStack(stack, CATALOG, FEATURES, frozenset(("opened",))), [TODAY, NEW])
    for block in blocks:
        state.add(block)
    return gate_of(state, "vw", result("vw", "better", low=0.01, high=0.16), stack, 0.05)


def test_rows_carry_definitions_and_differences() -> None:
    stack = MetricStack(inputs={"opened": ("opened",)}, metrics={"m": definition(Margin(margin=0.1), input="opened")})
    state = StackState(BoundStack(stack, CATALOG, FEATURES, frozenset(("opened", "delivered"))), [TODAY, NEW])
    for block in log():
        state.add(block)
    today, new = metric_rows(state, 0.05)
    assert (today.policy, new.policy, new.label, new.rows) == ("today", "vw", "a label", 1800)
    assert today.difference is None
    assert new.difference is not None
    assert new.value is not None
    assert today.value is not None
    assert new.difference.value == pytest.approx(new.value - today.value)


def context(streak: list[float]) -> ContextBatch:
    block = rounds([HOLD] * len(streak)).context
    column = replace(block.columns["unopened_streak"], values=np.array(streak))
    return ContextBatch(FEATURES, {"unopened_streak": column}, len(streak))


def test_treatment_by_hand() -> None:
    """Two of four contacts have a streak: they go from e-mail to nothing, for the others nothing changes."""
    cut = Cut("unopened_streak", edges=(3.0,))
    sums, other = TreatmentSums(CATALOG, Segmentation((cut,))), TreatmentSums(CATALOG, Segmentation((cut,)))
    email, nothing = np.eye(5)[[EMAIL] * 2], np.eye(5)[[HOLD] * 2]
    sums.add(context([5.0, 6.0]), email, nothing)
    other.add(context([0.0, 1.0]), email, email)
    sums.merge(other)
    found = sums.result("vw", "today")
    assert (found.rows, found.distance) == (4, 0.5)
    overall = {row.level: (row.baseline, row.policy) for row in found.overall}
    assert overall["no message"] == (0.0, 0.5)
    assert overall["email"] == (1.0, 0.5)
    assert overall["news"] == (1.0, 0.5)
    groups = {group.level: group for group in found.groups}
    assert groups["3 or more"].distance == 1.0
    assert groups["3 or more"].share == 0.5
    assert groups["below 3"].distance == 0.0


def test_cells_have_names() -> None:
    assert cell_names(Cut("x", edges=(1.0, 2.5))) == (
        "below 1",
        "1 to below 2.5",
        "2.5 or more",
        "not known",
        "out of date",
    )
    assert cell_names(Cut("x", levels=("a",), numeric=False)) == ("a", "other", "not known", "out of date")
    # One hour slot says nothing, two channels and two arms do.
    assert [kind for kind, _ in kinds_of(CATALOG).names] == ["treatment", "channel", "channel", "arm", "arm"]


def test_the_histogram_of_weights_by_hand() -> None:
    """Weights 0, 1 and 3 of three decisions: the largest carries three quarters, ESS 16 / 10."""
    block = rounds([HOLD, EMAIL, SMS], np.array([0.5, 0.2, 0.2]))
    histogram = WeightHistogram(Fixed((0.0, 0.2, 0.0, 0.6, 0.2)))
    histogram.add(block)
    found = histogram.result()
    assert (found.rows, found.largest_weight, found.mean_weight) == (3, pytest.approx(3.0), pytest.approx(4 / 3))
    assert found.effective == pytest.approx(1.6)
    seen = {(one.low, one.high): (one.rows, one.weight) for one in found.bins if one.rows}
    assert seen[0.0, 0.0] == (pytest.approx(1 / 3), 0.0)
    assert seen[2.0, 5.0] == (pytest.approx(1 / 3), pytest.approx(0.75))
    assert sum(one.rows for one in found.bins) == pytest.approx(1.0)


def test_a_remembered_target_is_asked_once_a_block() -> None:
    class Counted(Fixed):
        asked = 0

        def probabilities(self, rounds: RoundBatch) -> TargetBatch:
            Counted.asked += 1
            return super().probabilities(rounds)

    target, block = Remembered(Counted((1.0, 0, 0, 0, 0))), rounds([HOLD])
    first = target.probabilities(block)
    assert target.probabilities(block) is first
    assert Counted.asked == 1
    target.probabilities(rounds([HOLD]))
    assert Counted.asked == 2
    assert (target.name, target.knows_all) == ("fixed", True)
    assert LoggedTarget().name == "logged"
