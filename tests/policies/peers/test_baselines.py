"""Uniform, always, merge-tag blast and static segments, by hand and by property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import one_axis_catalog
from engine.eligibility import pack
from engine.errors import ConfigError, DataError, EligibilityError, LearnError, MissingPropensityError, ParameterError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.identity import keyed_hash
from engine.records.rounds import RoundBatch
from engine.sampling import check_distribution
from policies.check import check_policy
from policies.exploring.action_values import ActionSums
from policies.peers.constant import AlwaysPolicy, AnySendPolicy, MergeTagBlast, UniformPolicy
from policies.peers.segmentation import fit_cuts
from policies.peers.segments import SegmentConfig, tune_segments

BENEFIT = {"source": "test", "collected_where": "test", "customer_benefit": "fewer messages that do not fit"}
SCHEMA = FeatureSchema(
    features=(
        FeatureSpec(name="recency", type="numeric", unit="days", **BENEFIT),
        FeatureSpec(name="place", type="categorical", unit="level", **BENEFIT),
    )
)
CATALOG = one_axis_catalog("test", ["a", "b"])


def context(recency: list[float], place: list[int], state: list[int] | None = None) -> ContextBatch:
    n = len(recency)
    states = np.array(state or [PRESENT] * n, dtype=np.uint8)
    columns = {
        "recency": Column(np.where(states == PRESENT, recency, np.nan), states),
        "place": Column(np.array(place, dtype=np.int32), np.zeros(n, dtype=np.uint8), ("town", "land")),
    }
    return ContextBatch(SCHEMA, columns, n)


def rounds(batch: ContextBatch, action: list[int], reward: list[float], propensity: float = 1 / 3) -> RoundBatch:
    n = batch.n
    ids = np.array([f"d{i}" for i in range(n)], dtype=object)
    return RoundBatch(
        chunk=0,
        decision_id=ids,
        context=batch,
        action=np.array(action, dtype=np.int32),
        propensity=np.full(n, propensity),
        eligible=pack(np.ones((n, 3), dtype=bool)),
        k=3,
        cluster=keyed_hash(ids, "cluster"),
        rewards={"r": np.array(reward, dtype=float)},
        usable=np.ones(n, dtype=bool),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
    )


def test_every_baseline_passes_the_conformance_suite() -> None:
    log = rounds(context([1, 2, 3, 4], [0, 1, 0, 1]), [0, 1, 2, 2], [0.0, 1.0, 2.0, 0.0])
    sums = ActionSums("r", 3)
    sums.add(log)
    for policy in (
        UniformPolicy(),
        AnySendPolicy(),
        AlwaysPolicy(CATALOG, "b"),
        MergeTagBlast(sums.result()),
        tune_segments([log], "r", CATALOG, SCHEMA, SegmentConfig()),
    ):
        check_policy(policy, CATALOG, SCHEMA)


def test_uniform_gives_the_double_that_a_log_of_one_over_k_holds() -> None:
    eligible = np.ones((2, 46), dtype=bool)
    got = UniformPolicy().distribution(context([1, 2], [0, 0]), eligible)
    assert (got == 1 / 46).all()


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3).filter(any), min_size=1, max_size=8))
def test_every_baseline_gives_a_distribution_over_the_eligible(rows: list[list[bool]]) -> None:
    eligible = np.array(rows)
    batch = context([1.0] * len(rows), [0] * len(rows))
    log = rounds(context([1, 2, 3, 4], [0, 1, 0, 1]), [0, 1, 2, 2], [0.0, 1.0, 2.0, 0.0])
    sums = ActionSums("r", 3)
    sums.add(log)
    policies = [
        UniformPolicy(),
        AnySendPolicy(),
        AlwaysPolicy(CATALOG, "a"),
        MergeTagBlast(sums.result()),
        tune_segments([log], "r", CATALOG, SCHEMA, SegmentConfig(features=("place",))),
    ]
    for policy in policies:
        check_distribution(policy.distribution(batch, eligible), eligible, policy.name)


def test_always_takes_hold_where_its_action_was_removed_and_the_first_where_hold_was_too() -> None:
    eligible = np.array([[True, True, True], [True, False, True], [False, False, True]])
    got = AlwaysPolicy(CATALOG, "a").distribution(context([1, 1, 1], [0, 0, 0]), eligible)
    assert got.argmax(axis=1).tolist() == [1, 0, 2]


def test_any_message_holds_only_where_nothing_may_be_sent() -> None:
    eligible = np.array([[True, True, True], [True, False, True], [True, False, False], [False, True, True]])
    got = AnySendPolicy().distribution(context([1, 1, 1, 1], [0, 0, 0, 0]), eligible)
    assert got.tolist() == [[0, 0.5, 0.5], [0, 0, 1], [1, 0, 0], [0, 0.5, 0.5]]


def test_an_empty_eligible_set_is_an_error() -> None:
    for policy in (UniformPolicy(), AnySendPolicy(), AlwaysPolicy(CATALOG, "hold")):
        with pytest.raises(EligibilityError, match="empty eligible set"):
            policy.distribution(context([1], [0]), np.zeros((1, 3), dtype=bool))


def test_unknown_action_names_what_there_is() -> None:
    with pytest.raises(DataError, match="unknown action 'c'"):
        AlwaysPolicy(CATALOG, "c")


def test_merge_tag_blast_never_holds_while_a_send_is_eligible() -> None:
    """Hold earned most here; the blast still sends, b (mean 2) before a (mean 1)."""
    sums = ActionSums("r", 3)
    sums.add(rounds(context([1, 1, 1], [0, 0, 0]), [0, 1, 2], [9.0, 1.0, 2.0]))
    policy = MergeTagBlast(sums.result())
    eligible = np.array([[True, True, True], [True, True, False], [True, False, False]])
    assert policy.distribution(context([1, 1, 1], [0, 0, 0]), eligible).argmax(axis=1).tolist() == [2, 1, 0]


def test_shrunken_means_by_hand() -> None:
    """Action 1: group 0 has one row with reward 4, group 1 three with 0 -> overall 1; shrink 1: (4 + 1) / 2 = 2.5."""
    batch = rounds(context([1, 1, 1, 1], [0, 1, 1, 1]), [1, 1, 1, 1], [4.0, 0.0, 0.0, 0.0])
    sums = ActionSums("r", 3, 2, lambda b: b.context.columns["place"].values.astype(np.int64))
    sums.add(batch)
    means = sums.result().means(1.0)
    assert means[0, 1] == pytest.approx(2.5)
    assert means[1, 1] == pytest.approx(0.25)
    assert np.isneginf(means[:, [0, 2]]).all()


def test_segments_find_the_feature_that_matters_and_ignore_the_other() -> None:
    rng = np.random.default_rng(5)
    n = 6000
    place = rng.integers(0, 2, n)
    action = rng.integers(0, 3, n)
    reward = (action == np.where(place == 0, 1, 2)) * 1.0 + rng.normal(0, 0.3, n)
    batch = rounds(context(list(rng.normal(10, 3, n)), place.tolist()), action.tolist(), reward.tolist())
    policy = tune_segments([batch], "r", CATALOG, SCHEMA, SegmentConfig())
    assert policy.segmentation.cuts[0].feature == "place"
    best = policy.distribution(context([1, 1], [0, 1]), np.ones((2, 3), dtype=bool)).argmax(axis=1)
    assert best.tolist() == [1, 2]


def test_segments_of_noise_stay_one_segment_or_lose_nothing() -> None:
    """Rewards that depend on nothing: whatever is chosen must be close to the single best action's value."""
    rng = np.random.default_rng(11)
    n = 4000
    batch = rounds(
        context(list(rng.normal(0, 1, n)), rng.integers(0, 2, n).tolist()),
        rng.integers(0, 3, n).tolist(),
        rng.normal(1, 1, n).tolist(),
    )
    policy = tune_segments([batch], "r", CATALOG, SCHEMA, SegmentConfig())
    assert policy.segmentation.segments <= 42


def test_missing_and_stale_values_are_segments_of_their_own() -> None:
    batch = context([1.0, 2.0, 3.0, 4.0], [0, 0, 0, 0], [PRESENT, PRESENT, MISSING, STALE])
    cut = fit_cuts(SCHEMA, ["recency"], [batch], bins=2)
    segments = cut.segment_of(batch)
    assert len(set(segments.tolist())) == 4
    assert segments.max() < cut.segments


def test_unseen_levels_fall_into_the_other_cell() -> None:
    cut = fit_cuts(SCHEMA, ["place"], [context([1], [0])], bins=2)
    unseen = ContextBatch(
        SCHEMA,
        {
            "recency": Column(np.ones(1), np.zeros(1, dtype=np.uint8)),
            "place": Column(np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.uint8), ("mars",)),
        },
        1,
    )
    assert cut.segment_of(unseen)[0] == len(cut.cuts[0].levels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 0}, "bins"),
        ({"bins": 51}, "bins"),
        ({"max_features": -1}, "max_features"),
        ({"shrink_rows": -1.0}, "shrink_rows"),
    ],
)
def test_bad_segment_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SegmentConfig(**settings)  # type: ignore[arg-type]


def test_segments_refuse_what_they_cannot_learn_from() -> None:
    batch = rounds(context([1, 2], [0, 1]), [0, 1], [0.0, 1.0])
    with pytest.raises(ConfigError, match="unknown features"):
        tune_segments([batch], "r", CATALOG, SCHEMA, SegmentConfig(features=("colour",)))
    with pytest.raises(LearnError, match="no rounds"):
        tune_segments([batch.take(slice(0, 0))], "r", CATALOG, SCHEMA, SegmentConfig(features=("place",)))
    without = rounds(context([1, 2], [0, 1]), [0, 1], [0.0, 1.0], propensity=float("nan"))
    with pytest.raises(MissingPropensityError, match="no propensities"):
        tune_segments([without], "r", CATALOG, SCHEMA, SegmentConfig(features=("place",)))
