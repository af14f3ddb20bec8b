"""Uplift and quantiles of policies on a log: by hand, in any partition, and what is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from engine.ope.quantiles import MOST_VALUES, STEPS, PolicyQuantiles, edges_of, quantiles
from engine.ope.target import ColumnTarget, LoggedTarget, PolicyTarget
from engine.ope.uplift.curve import auuc, qini
from engine.ope.uplift.effects import effects
from engine.ope.uplift.policies import UpliftState

N = 600


def send_log(ope, rows_per_chunk=100, k=2, cluster=None):
    """Send with 0.4 where x is below 0.5, else with 0.6; the message adds x - 0.3."""
    rng = np.random.default_rng(5)
    x = rng.random(N)
    chance = np.where(x < 0.5, 0.4, 0.6)
    action = (rng.random(N) < chance).astype(int)
    reward = np.round(x + action * (x - 0.3), 2)
    return ope.batches(
        action,
        np.where(action == 1, chance, 1 - chance),
        {"r": reward},
        k=k,
        features={"x": x},
        cluster=cluster,
        rows_per_chunk=rows_per_chunk,
    )


class BySize:
    """Sends with probability x."""

    name = "by x"

    def distribution(self, context, eligible):
        x = context.columns["x"].values
        rest = np.zeros((len(x), eligible.shape[1] - 2))
        return np.column_stack([1 - x, x, rest])


def arrays(batches):
    x = np.concatenate([batch.context.columns["x"].values for batch in batches])
    sent = np.concatenate([batch.action == 1 for batch in batches])
    reward = np.concatenate([batch.rewards["r"] for batch in batches])
    return x, effects(sent, reward, np.where(x < 0.5, 0.4, 0.6))


def state_of(batches, targets, logging=None):
    state = UpliftState(targets, "r", logging)
    for batch in batches:
        state.add(batch)
    return state


def test_figures_are_those_of_the_functions_on_whole_arrays(ope) -> None:
    batches = send_log(ope)
    always = PolicyTarget(ope.TablePolicy("always", [0, 1]))
    found, all_sent = state_of(batches, [PolicyTarget(BySize()), always]).results(0.05, clustered=False)
    x, effect = arrays(batches)
    for figure, expected in ((found.auuc, auuc(x, effect)), (found.qini, qini(x, effect))):
        assert (figure.value, figure.stderr) == pytest.approx((expected.value, expected.stderr))
        assert figure.high - figure.low == pytest.approx(2 * 1.959964 * expected.stderr)
    assert found.everybody.value == pytest.approx(effect.mean())
    assert found.rule.value == pytest.approx(np.where(x >= 0.5, effect, 0).mean())
    assert found.over_everybody.value == pytest.approx(found.rule.value - found.everybody.value)
    assert (found.policy, found.rows, found.left_out) == ("by x", N, 0)
    half = next(point for point in found.curve if point.threshold == 0.5)
    assert (half.share, half.gain) == pytest.approx(((x >= 0.5).mean(), found.rule.value))
    assert all_sent.qini.value == pytest.approx(0, abs=1e-12)
    assert all_sent.over_everybody.value == 0.0
    assert all_sent.rule == all_sent.everybody


def test_a_score_that_follows_the_effect_is_found_to_do_so(ope) -> None:
    (found,) = state_of(send_log(ope), [PolicyTarget(BySize())]).results(0.05, clustered=False)
    assert found.qini.low > 0


def test_partitions_in_any_order_give_the_same(ope) -> None:
    batches = send_log(ope)
    targets = [PolicyTarget(BySize())]
    parts = state_of(batches[:2], targets), state_of(batches[:1:-1], targets)
    parts[1].merge(parts[0])
    assert parts[1].results(0.05, clustered=False) == state_of(batches, targets).results(0.05, clustered=False)


def test_clusters_widen_the_intervals(ope) -> None:
    batches = send_log(ope, cluster=np.arange(N) // 100)
    state = state_of(batches, [PolicyTarget(BySize())])
    (rows,), (clusters,) = state.results(0.05, clustered=False), state.results(0.05, clustered=True)
    assert rows.everybody.value == clusters.everybody.value
    assert rows.everybody.stderr != clusters.everybody.stderr


def test_rows_that_could_only_be_sent_to_or_only_be_held_are_left_out(ope) -> None:
    eligible = np.ones((6, 2), dtype=bool)
    eligible[0, 0] = eligible[1, 1] = False
    batches = ope.batches(
        [1, 0, 1, 0, 1, 0], [1, 1, 0.5, 0.5, 0.5, 0.5], {"r": [9, 9, 1, 0, 1, 0]}, k=2, eligible=eligible
    )
    (found,) = state_of(batches, [PolicyTarget(ope.TablePolicy("u", [1, 1]))]).results(0.05, clustered=False)
    assert (found.rows, found.left_out) == (4, 2)
    assert found.everybody.value == pytest.approx(1.0)  # 2 and -0 in turn, over 4 rows
    with pytest.raises(DataError, match="no row of the log"):
        state_of([batches[0].take(slice(0, 2))], [PolicyTarget(ope.TablePolicy("u", [1, 1]))]).results(
            0.05, clustered=False
        )


def test_of_several_messages_the_logging_policy_must_be_known(ope) -> None:
    """A uniform log over hold and two messages sends with 2/3, whichever it sent."""
    batches = ope.batches([0, 1, 2], [1 / 3] * 3, {"r": [0, 1, 1]}, k=3)
    uniform = PolicyTarget(ope.TablePolicy("u", [1, 1, 1]))
    with pytest.raises(DataError, match="several messages"):
        state_of(batches, [uniform])
    (found,) = state_of(batches, [uniform], uniform).results(0.05, clustered=False)
    assert found.everybody.value == pytest.approx(1.0)  # 0, 1.5, 1.5


def test_what_is_not_known_in_full_is_refused() -> None:
    for targets in ([], [LoggedTarget()], [ColumnTarget("column:p", "p")]):
        with pytest.raises(ParameterError, match="whole distribution"):
            UpliftState(targets, "r")


def test_quantiles_of_policies_are_those_of_their_weights(ope) -> None:
    batches = send_log(ope)
    one = PolicyTarget(ope.TablePolicy("send", [0, 1]))
    state = PolicyQuantiles([LoggedTarget(), one], "r", edges_of(batches, "r"))
    for batch in batches:
        state.add(batch)
    found = state.results((0.25, 0.5), 0.05)
    reward = np.concatenate([batch.rewards["r"] for batch in batches])
    weight = np.concatenate([(batch.action == 1) / batch.propensity for batch in batches])
    assert found["send"] == quantiles(weight, reward, (0.25, 0.5))
    assert found["logged"] == quantiles(np.ones(N), reward, (0.25, 0.5))
    assert msgspec.to_builtins(found["send"][0])["level"] == 0.25


def test_a_policy_that_the_log_holds_nothing_of_has_no_quantiles(ope) -> None:
    batches = ope.batches([0, 0], [0.5, 0.5], {"r": [0, 1]}, k=2)
    state = PolicyQuantiles([PolicyTarget(ope.TablePolicy("send", [0, 1]))], "r", [0.0, 1.0])
    state.add(batches[0])
    assert state.results((0.5,), 0.05) == {"send": ()}


def test_edges_are_the_rewards_or_even_steps_of_many(ope) -> None:
    few = edges_of(ope.batches([0, 0, 0], [1.0] * 3, {"r": [2, 1, 2]}, k=1), "r")
    assert few[1:].tolist() == [1.0, 2.0]
    assert few[0] == np.nextafter(1.0, -np.inf)
    n = MOST_VALUES + 1
    many = edges_of(ope.batches(np.zeros(n, dtype=int), np.ones(n), {"r": np.arange(n) / 2}, k=1), "r")
    assert (len(many), many[0], many[-1]) == (STEPS + 1, 0.0, MOST_VALUES / 2)
    with pytest.raises(DataError, match="no rows"):
        edges_of([], "r")
