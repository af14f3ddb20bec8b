"""policies/registry.py: every name makes a policy that keeps the contract, or says what it lacks."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from engine.errors import ConfigError, LearnError, ParameterError
from engine.features import FeatureSchema, FeatureSpec
from engine.records.rounds import RoundBatch
from policies.check import check_policy
from policies.linear.bandits import LinearThompson, LinUcb
from policies.peers.config import LEARNING, PEER_NAMES, TUNED, PeerConfig
from policies.registry import LEARNERS, MAKERS, PEERS, Setting, learner, make

FEATURES = {"value": "numeric", "zip code": "categorical", "sends_7d": "numeric", "usual_hour": "categorical"}


def schema_of(*names: str) -> FeatureSchema:
    return FeatureSchema(
        features=tuple(
            FeatureSpec(
                name=name,
                type=FEATURES[name],
                unit="u",
                source="t",
                collected_where="t",
                customer_benefit="fewer of them",
            )
            for name in names
        )
    )


@pytest.fixture(scope="module")
def there(make_world):
    """Rounds whose schema has what every peer needs: hours 9 and 20, sends of the week, the usual part of the day."""
    world = make_world(1, 2, 2)
    catalog = msgspec.structs.replace(world.catalog, hours=(9, 20))
    made = type(world)(catalog, schema_of(*FEATURES))
    setting = Setting(catalog, made.schema, "y", (0.0, 1.0))
    return made, setting, [made.rounds(300, seed=71), made.rounds(300, seed=72)]


@pytest.mark.parametrize("name", MAKERS)
def test_every_name_makes_a_policy(name, there):
    world, setting, rounds = there
    policy = make(name, rounds, setting)
    check_policy(policy, world.catalog, world.schema)
    again = make(name, rounds, setting)
    context, eligible = world.context(20, seed=73), np.ones((20, world.catalog.k), dtype=bool)
    np.testing.assert_array_equal(policy.distribution(context, eligible), again.distribution(context, eligible))


@pytest.mark.parametrize("name", PEERS)
def test_nothing_is_learnt_from_nothing(name, there):
    with pytest.raises(LearnError):
        make(name, [], there[1])


@pytest.mark.parametrize("name", ["calendar", "send_time"])
def test_a_missing_feature_is_named(name, make_world):
    world = make_world(1, 2, 2)
    with pytest.raises(ConfigError, match=r"needs a (numeric|categorical) feature"):
        make(name, [world.rounds(50, seed=74)], Setting(world.catalog, world.schema, "y", (0.0, 1.0)))


def test_names_are_those_that_configurations_allow():
    assert (tuple(PEERS), tuple(LEARNERS)) == (PEER_NAMES, LEARNING)
    assert set(MAKERS) == {*TUNED, *LEARNING}


def test_unknown_names():
    setting = Setting(None, None, "y", (0.0, 1.0))
    with pytest.raises(ConfigError, match="linusb"):
        make("linusb", [], setting)
    with pytest.raises(ConfigError, match="does not learn"):
        learner("calendar", setting)


def test_widths_count_in_deviations_of_the_reward(there):
    """Rewards ten times as large: the same choices, because the widths grow with them."""
    world, setting, rounds = there
    larger = [
        RoundBatch(**{**{f: getattr(b, f) for f in b.__dataclass_fields__}, "rewards": {"y": 10.0 * b.rewards["y"]}})
        for b in rounds
    ]
    wide = Setting(world.catalog, world.schema, "y", (0.0, 10.0))
    context, eligible = world.context(30, seed=75), np.ones((30, world.catalog.k), dtype=bool)
    for name in ("linucb", "lin_ts"):
        one = make(name, rounds, setting).distribution(context, eligible)
        two = make(name, larger, wide).distribution(context, eligible)
        np.testing.assert_allclose(one, two, atol=1e-9)
    assert isinstance(make("linucb", rounds, setting), LinUcb)
    assert isinstance(make("lin_ts", rounds, setting), LinearThompson)


@pytest.mark.parametrize("name", LEARNERS)
def test_going_on_equals_one_go(name, there):
    world, setting, rounds = there
    steps = learner(name, setting)
    for block in rounds:
        steps.learn([block])
    once = learner(name, setting)
    once.learn(rounds[:1])
    once.learn(rounds[1:])
    context, eligible = world.context(20, seed=76), np.ones((20, world.catalog.k), dtype=bool)
    np.testing.assert_array_equal(
        steps.policy().distribution(context, eligible), once.policy().distribution(context, eligible)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ridge", 0.0),
        ("alpha", -1.0),
        ("v", float("nan")),
        ("temperature", 0.0),
        ("penalty", float("inf")),
        ("every_days", -1.0),
        ("volume", 1.1),
        ("volume", float("nan")),
        ("prior", 0.0),
    ],
)
def test_bad_parameters(name, value):
    with pytest.raises(ParameterError, match=name):
        PeerConfig(**{name: value})
