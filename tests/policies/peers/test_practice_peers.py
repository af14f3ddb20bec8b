"""What senders and papers do instead: best action, calendars, send time, volume threshold, recovering softmax."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.eligibility import pack
from engine.errors import ConfigError, DataError, EligibilityError, LearnError, MissingPropensityError, ParameterError
from engine.features import ContextBatch, FeatureSchema, FeatureSpec, categorical_column, numeric_column
from engine.identity import keyed_hash
from engine.records.rounds import RoundBatch
from policies.check import check_policy
from policies.exploring.action_values import ActionSums
from policies.peers.constant import BestAction
from policies.peers.fixed_calendar import FixedCalendar
from policies.peers.recovering_softmax import RecoveringSoftmax, Recovery, difference_scores
from policies.peers.send_time import SendTime, UsualHour, tune_send_time
from policies.peers.volume_threshold import VolumeThreshold, tune_volume, uplift
from policies.vw.arguments import VwConfig
from policies.vw.reward_model import VwRewardModel

BENEFIT = "fewer and more useful messages"


def spec(name: str) -> FeatureSpec:
    return FeatureSpec(
        name=name, type="numeric", unit="u", source="t", collected_where="t", customer_benefit=BENEFIT, low=0.0
    )


SCHEMA = FeatureSchema(features=(spec("days"), spec("opens 9"), spec("opens 18")))
# email x (9, 18) x (A, B): actions 1 = 9 A, 2 = 9 B, 3 = 18 A, 4 = 18 B.
CATALOG = Catalog(
    name="two hours",
    channels=("email",),
    hours=(9, 18),
    arms=(Arm(id="A", approved=True), Arm(id="B", approved=True)),
)
OPENS = {"9": "opens 9", "18": "opens 18"}


def context(days, nine=None, eighteen=None) -> ContextBatch:
    """One row per entry; None is missing."""
    n = len(days)
    columns = {}
    for feature, values in zip(SCHEMA.features, (days, nine or [None] * n, eighteen or [None] * n), strict=True):
        state = np.array([value is None for value in values]).astype(np.uint8)
        columns[feature.name] = numeric_column(feature, np.array([value or 0.0 for value in values]), state)
    return ContextBatch(SCHEMA, columns, n)


def rounds(action, reward, propensity=None, eligible=None) -> RoundBatch:
    n = len(action)
    ids = np.array([f"d{row}" for row in range(n)], dtype=object)
    may = np.ones((n, 5), dtype=bool) if eligible is None else np.array(eligible, dtype=bool)
    return RoundBatch(
        chunk=0,
        decision_id=ids,
        context=context([1.0] * n),
        action=np.array(action, dtype=np.int32),
        propensity=np.full(n, 0.2) if propensity is None else np.array(propensity, dtype=float),
        eligible=pack(may),
        k=5,
        cluster=keyed_hash(ids, "c"),
        rewards={"y": np.array(reward, dtype=float)},
        usable=np.ones(n, dtype=bool),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
    )


EVERY = np.ones((1, 5), dtype=bool)


def chosen(policy, batch, eligible=None):
    may = np.ones((batch.n, 5), dtype=bool) if eligible is None else np.array(eligible, dtype=bool)
    return policy.distribution(batch, may).argmax(axis=1).tolist()


# --- best single action


def values_of(batch):
    sums = ActionSums("y", 5)
    sums.add(batch)
    return sums.result()


def test_best_action_by_hand():
    """Means: hold 0.5, A at 9 0.9, B at 9 0.7; the rest was never logged."""
    policy = BestAction(values_of(rounds([0, 1, 2, 0], [0.4, 0.9, 0.7, 0.6])))
    assert policy.action == 1
    assert chosen(policy, context([1.0] * 3), [[1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [1, 0, 0, 1, 1]]) == [1, 2, 0]
    # Only actions that were never logged: the first of them, not an error.
    assert chosen(policy, context([1.0]), [[0, 0, 0, 1, 1]]) == [3]
    check_policy(policy, CATALOG, SCHEMA)


# --- fixed-frequency calendars


def test_calendar_by_hand():
    """Every 7 days: due after 7, 8 and never, not after 6.9; B where A is not eligible, any other send after that."""
    policy = FixedCalendar(CATALOG, SCHEMA, ["18|A", "9|B"], 7, "days")
    assert policy.name == "every_7_days"
    assert chosen(policy, context([6.9, 7.0, 8.0, None])) == [0, 3, 3, 3]
    due = context([9.0] * 4)
    may = [[1, 1, 1, 0, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    assert chosen(policy, due, may) == [2, 1, 0, 4]
    # Not due, but hold is not eligible: something must be chosen.
    assert chosen(policy, context([1.0]), [[0, 0, 1, 0, 0]]) == [2]
    check_policy(policy, CATALOG, SCHEMA)


@pytest.mark.parametrize(
    ("actions", "every", "feature", "error"),
    [
        (["18|A"], 0.0, "days", ParameterError),
        (["18|A"], np.nan, "days", ParameterError),
        (["18|A"], 7.0, "weeks", ConfigError),
        ([], 7.0, "days", ConfigError),
        (["hold"], 7.0, "days", ConfigError),
        (["18|C"], 7.0, "days", DataError),
    ],
)
def test_bad_calendars(actions, every, feature, error):
    with pytest.raises(error):
        FixedCalendar(CATALOG, SCHEMA, actions, every, feature)


# --- send-time optimisation


def test_send_time_by_hand():
    """Pair A beats B; shares 0.6 and 0.4 with prior 5: 3 and 2 opens. 9 opens at 18 turn it, no history does not."""
    policy = SendTime(CATALOG, SCHEMA, np.array([[0.3, 0.2]]), np.array([0.6, 0.4]), OPENS)
    who = context([1.0] * 3, [0.0, None, 8.0], [9.0, None, 8.0])
    assert chosen(policy, who) == [3, 1, 1]
    # 18 A is not eligible: the same arm at the other hour before the other arm; hold last.
    assert chosen(policy, who.take(slice(0, 1)), [[1, 1, 1, 0, 1]]) == [1]
    assert chosen(policy, who.take(slice(0, 1)), [[1, 0, 1, 0, 1]]) == [4]
    assert chosen(policy, who.take(slice(0, 1)), [[1, 0, 0, 0, 0]]) == [0]
    check_policy(policy, CATALOG, SCHEMA)


def test_send_time_tuned_on_a_log():
    """B wins by its mean over hours (0.5 against 0.3); 18 by its mean over arms (0.5 against 0.3)."""
    log = [rounds([1, 2, 3, 4, 0], [0.2, 0.4, 0.4, 0.6, 1.0])]
    policy = tune_send_time(log, "y", CATALOG, SCHEMA, OPENS)
    assert chosen(policy, context([1.0, 1.0], [None, 9.0], [None, None])) == [4, 2]
    nothing = tune_send_time([rounds([0, 1], [0.1, 0.0])], "y", CATALOG, SCHEMA, OPENS)
    assert chosen(nothing, context([1.0])) == [1]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"prior": 0.0}, ParameterError),
        ({"pair_values": np.zeros((2, 2))}, ParameterError),
        ({"pair_values": np.array([[np.nan, 0.0]])}, ParameterError),
        ({"hour_shares": np.zeros(2)}, ParameterError),
        ({"hour_shares": np.array([1.0, -1.0])}, ParameterError),
        ({"opens": {"10": "days"}}, ConfigError),
        ({"opens": {"9": "clicks"}}, ConfigError),
    ],
)
def test_bad_send_times(change, error):
    given = {"pair_values": np.zeros((1, 2)), "hour_shares": np.ones(2), "opens": OPENS, "prior": 5.0}
    with pytest.raises(error):
        SendTime(CATALOG, SCHEMA, **(given | change))


# --- volume threshold


def test_uplift_by_hand():
    scores = np.array([[0.5, 0.7, 0.9, 0.1, 0.1]] * 3)
    may = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 0, 0, 0, 0]], dtype=bool)
    np.testing.assert_allclose(uplift(scores, may), [0.4, 0.2, -np.inf])
    with pytest.raises(EligibilityError):
        uplift(scores, np.zeros((3, 5), dtype=bool))


@pytest.fixture(scope="module")
def model(world):
    fitted = VwRewardModel(world.catalog, world.schema, "y", (0.0, 1.0), VwConfig())
    fitted.fit([world.rounds(3000, seed=81)])
    return fitted.fitted


@pytest.mark.parametrize("volume", [0.0, 0.1, 0.37, 1.0])
def test_volume_is_kept_on_the_log(world, model, volume):
    """At most the share asked for, and nothing that the model says harms."""
    batch = world.rounds(2000, seed=82)
    policy = tune_volume([batch.take(slice(0, 700)), batch.take(slice(700, 2000))], model.encoder, model.tables, volume)
    every = batch.eligible_dense()
    sent = 1.0 - policy.distribution(batch.context, every)[:, 0]
    gains = uplift(model.tables.scores(model.encoder.encode(batch.context)), every)
    assert sent.mean() <= volume
    assert policy.threshold >= 0.0
    np.testing.assert_array_equal(sent == 1.0, gains > policy.threshold)
    if 0.0 < volume < 0.5:
        assert sent.mean() == pytest.approx(volume, abs=1e-3)
    check_policy(policy, world.catalog, world.schema)


def test_volume_goes_to_whom_it_moves(world, model):
    """The threshold policy at half the volume keeps more than half of what sending to everybody gains."""
    batch = world.rounds(3000, seed=83, eligible_share=1.1)
    means = world.means(batch.context)

    def gain(volume):
        policy = tune_volume([batch], model.encoder, model.tables, volume)
        p = policy.distribution(batch.context, batch.eligible_dense())
        return (p * means).sum(axis=1).mean() - 0.5

    assert gain(0.4) > 0.6 * gain(1.0) > 0.0


def test_bad_volumes(world, model):
    with pytest.raises(ParameterError, match="threshold"):
        VolumeThreshold(model.encoder, model.tables, np.nan)
    with pytest.raises(ParameterError, match="volume"):
        tune_volume([], model.encoder, model.tables, 1.1)
    with pytest.raises(LearnError, match="no usable rounds"):
        tune_volume([], model.encoder, model.tables, 0.5)
    batch = world.rounds(10, seed=84)
    with pytest.raises(LearnError, match="no usable rounds"):
        tune_volume([replace(batch, usable=np.zeros(10, dtype=bool))], model.encoder, model.tables, 0.5)


# --- recovering difference softmax


def test_difference_scores_by_hand():
    """Action 1: chosen 0.6, awake and not chosen (0.2 + 0.4) / 2 = 0.3: score 1. Action 2, awake in 2 rounds: -1 / 2.

    Action 0 was awake in all, chosen 0.4; the others' mean is (0.6 + 0.2) / 2 = 0.4: score 0. Actions 3, 4: unknown.
    """
    may = [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]
    log = rounds([1, 2, 0], [0.6, 0.2, 0.4], eligible=may)
    np.testing.assert_allclose(
        difference_scores([log], "y", (0.0, 1.0), CATALOG), [0.0, 1.0, 0.2 / 0.6 - 1.0, 0.0, 0.0], atol=1e-12
    )


def test_differences_are_as_under_even_choices():
    """Action 1 is worth 0.4 and hold 0.2; a log that leans gives the same score as an even one."""
    action = [1] * 8 + [0] * 2
    log = rounds(action, [0.4] * 8 + [0.2] * 2, propensity=[0.8] * 8 + [0.2] * 2, eligible=[[1, 1, 0, 0, 0]] * 10)
    scores = difference_scores([log], "y", (0.0, 1.0), CATALOG)
    np.testing.assert_allclose(scores[:2], [-0.5, 1.0], atol=1e-12)


def test_recovery_by_hand():
    """Arm A has score 0.02, B 0.01; seen 15 days ago A loses half of 0.02 and ties, seen today all of it."""
    recovery = Recovery(temperature=0.01, penalty=0.02, half_life_days=15.0, days_since={"A": "days"})
    policy = RecoveringSoftmax(CATALOG, SCHEMA, np.array([0.0, 0.02, 0.01, 0.02, 0.01]), recovery)
    p = policy.distribution(context([15.0, 0.0, None]), np.array([[False, True, True, False, False]] * 3))
    np.testing.assert_allclose(p[0, 1:3], [0.5, 0.5])
    weights = np.exp([0.0, 1.0])
    np.testing.assert_allclose(p[1, 1:3], weights / weights.sum())
    weights = np.exp([2.0, 1.0])
    np.testing.assert_allclose(p[2, 1:3], weights / weights.sum())
    check_policy(policy, CATALOG, SCHEMA)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: Recovery(temperature=0.0), ParameterError),
        (lambda: Recovery(penalty=-1.0), ParameterError),
        (lambda: Recovery(half_life_days=np.inf), ParameterError),
        (lambda: RecoveringSoftmax(CATALOG, SCHEMA, np.zeros(4), Recovery()), ParameterError),
        (lambda: RecoveringSoftmax(CATALOG, SCHEMA, np.full(5, np.nan), Recovery()), ParameterError),
        (lambda: RecoveringSoftmax(CATALOG, SCHEMA, np.zeros(5), Recovery(days_since={"C": "days"})), ConfigError),
        (lambda: RecoveringSoftmax(CATALOG, SCHEMA, np.zeros(5), Recovery(days_since={"A": "weeks"})), ConfigError),
        (lambda: difference_scores([], "y", (-1.0, 1.0), CATALOG), LearnError),
        (lambda: difference_scores([], "y", (0.0, 1.0), CATALOG), LearnError),
        (
            lambda: difference_scores([rounds([0], [0.1], propensity=[np.nan])], "y", (0.0, 1.0), CATALOG),
            MissingPropensityError,
        ),
        (lambda: difference_scores([rounds([0], [7.0])], "y", (0.0, 1.0), CATALOG), LearnError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_bad_recoveries(call, error):
    with pytest.raises(error):
        call()


# --- what logs know instead of dates and counts


def test_calendar_by_counts():
    """Every 3.5 days is at most twice a week: due after 0 and 1 sends in seven days, not after 2; unknown is none."""
    policy = FixedCalendar(CATALOG, SCHEMA, ["18|A"], 3.5, "days", counts=True)
    assert chosen(policy, context([0.0, 1.0, 2.0, 5.0, None])) == [3, 3, 0, 0, 3]
    check_policy(policy, CATALOG, SCHEMA)


def parts_schema() -> FeatureSchema:
    usual = FeatureSpec(
        name="part", type="categorical", unit="l", source="t", collected_where="t", customer_benefit=BENEFIT
    )
    return FeatureSchema(features=(usual,))


def test_send_time_by_the_part_of_the_day():
    """Prior 5 on 18 h alone; 20 opens of the morning win 9 h; a part without a slot and unknown change nothing."""
    schema = parts_schema()
    usual = UsualHour("part", {"morning": ("9",), "night": ()})
    policy = SendTime(CATALOG, schema, np.array([[0.3, 0.2]]), np.array([0.0, 1.0]), {}, usual=usual)
    codes = np.array([0, 1, -1, 2], dtype=np.int32)
    column = categorical_column(schema.features[0], codes, ("morning", "night", "noon"), (codes < 0).astype(np.uint8))
    assert chosen(policy, ContextBatch(schema, {"part": column}, 4)) == [1, 3, 3, 3]
    check_policy(policy, CATALOG, schema)


@pytest.mark.parametrize(
    ("feature", "parts", "opens", "error"),
    [
        ("days", {"morning": ("9",)}, 20.0, ConfigError),
        ("part", {"morning": ("10",)}, 20.0, ConfigError),
        ("part", {"morning": ("9",)}, 0.0, ParameterError),
    ],
)
def test_bad_parts_of_the_day(feature, parts, opens, error):
    with pytest.raises(error):
        SendTime(
            CATALOG,
            parts_schema(),
            np.zeros((1, 2)),
            np.ones(2),
            {},
            usual=UsualHour(feature, parts, opens),
        )
