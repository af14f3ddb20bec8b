"""The parts of a season: intervals over seeds, restrictions, the slice, the linear peers, cells."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import ConfigError, ParameterError, StorageError
from engine.guardrails.layer import Guardrails
from engine.records.rounds import RoundBatch
from engine.types import IntArray
from experiments.season.actors import ArmsActor, LinearActor, SparingActor, predict
from experiments.season.cells import CellGroup, cell_key, is_done, read_cell
from experiments.season.comparison import Seasons, judged, over_seeds, paired, ratio_over_seeds
from experiments.season.config import ExperimentConfig, OracleConfig, SliceConfig, Variant, one_cell
from experiments.season.episode import play_season
from experiments.season.policies import SharedLearning, make
from experiments.season.rounds import CLICKED, MARGIN, MESSAGE, Slice, randomised_slice
from experiments.season.runner import GroupRun
from experiments.season.variants import restriction, varied
from policies.linear.bandits import LinearThompson, LinUcb
from policies.linear.ridge import LinearSums
from policies.peers.constant import UniformPolicy
from simulator.oracles.silence import value_of_silence
from simulator.rollout import PolicyActor, turn_of
from simulator.scenario import Scenario, load_scenario
from simulator.truth import Planner
from simulator.world.world import World

TINY = SliceConfig(contacts=150, days=6)
FREE = restriction(Variant(), load_scenario("newsletter").catalog, load_scenario("newsletter").features)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("newsletter")


@pytest.fixture(scope="module")
def guardrails(scenario: Scenario) -> Guardrails:
    return Guardrails(scenario.pack, scenario.catalog, scenario.packages, scenario.features)


@pytest.fixture(scope="module")
def slice_(scenario: Scenario, guardrails: Guardrails) -> Slice:
    return randomised_slice(scenario, TINY, 3, FREE, guardrails)


def test_an_interval_over_seeds_is_students_by_hand() -> None:
    """1, 2, 3: mean 2, deviation 1, error 1 / sqrt(3); Student's 97.5 % point with 2 degrees is 4.3027."""
    found = over_seeds([1.0, 2.0, 3.0], None, 0.05)
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2.0 - 4.302653 / 3**0.5, 2.0 + 4.302653 / 3**0.5))
    assert found.verdict == "no difference"
    assert over_seeds([-1.0, -1.01], None, 0.05).verdict == "worse"


def test_one_seed_has_the_interval_of_its_contacts_or_none() -> None:
    found = over_seeds([1.0], 0.1, 0.05)
    assert (found.low, found.high) == pytest.approx((1.0 - 0.1959964, 1.0 + 0.1959964))
    assert over_seeds([1.0], None, 0.05).verdict == "insufficient"


def test_a_ratio_is_that_of_means_and_a_share_of_nothing_is_none() -> None:
    """Proportional seeds have no spread around their ratio."""
    found = ratio_over_seeds([1.0, 1.5, 2.0], [2.0, 3.0, 4.0], 0.05)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert ratio_over_seeds([1.0, 1.0], [5.0, -5.1], 0.05) is None
    assert ratio_over_seeds([1.0], [-1.0], 0.05) is None
    assert ratio_over_seeds([1.0], [4.0], 0.05).mean == 0.25  # type: ignore[union-attr]


def test_an_interval_over_seeds_covers_as_often_as_it_says() -> None:
    """4,000 times five normal seeds: 95 % within four Monte Carlo errors."""
    draws = np.random.default_rng(5).normal(1.0, 2.0, size=(4000, 5))
    spreads = [over_seeds(row, None, 0.05) for row in draws]
    inside = np.mean([(one.low or 0.0) <= 1.0 <= (one.high or 0.0) for one in spreads])
    assert abs(inside - 0.95) < 4 * (0.95 * 0.05 / 4000) ** 0.5


def test_pairing_uses_the_contacts_that_both_have() -> None:
    found = paired([np.array([3.0, 5.0])], [np.array([1.0, 1.0, 100.0])])
    assert found.by_seed.tolist() == [3.0]
    assert found.stderr == pytest.approx(1.0)


def test_the_slice_has_exact_propensities(slice_: Slice) -> None:
    """Half hold, half even over the sends: weights average to one, and holds have the reward 0 of a message."""
    weights, held = [], []
    for block in slice_.choices:
        sends = block.eligible_dense()[:, 1:].sum(axis=1)
        expected = np.where(block.action == 0, 0.5, 0.5 / sends)
        assert np.allclose(block.propensity, expected, rtol=1e-12)
        weights.append(np.where(block.action == 0, 1.0 / block.propensity, 0.0))
        held.append(block.rewards[MESSAGE][block.action == 0])
        assert set(np.unique(block.rewards[CLICKED])) <= {0.0, 1.0}
    mean = np.concatenate(weights)
    assert abs(mean.mean() - 1.0) < 5 * mean.std() / len(mean) ** 0.5
    assert not np.concatenate(held).any()


def test_decisions_without_a_choice_are_no_choices(slice_: Slice) -> None:
    for block in slice_.batches:
        assert not block.action[~block.usable].any()
        assert (block.propensity[~block.usable] == 1.0).all()
    assert sum(block.n for block in slice_.choices) == sum(int(block.usable.sum()) for block in slice_.batches)
    # What a message brought is the margin of the day but for orders that came by themselves.
    for block in slice_.batches:
        assert (block.rewards[MESSAGE] <= block.rewards[MARGIN] + 1e-9)[block.rewards[MARGIN] >= 0.0].all()


def test_a_sparing_actor_chooses_what_the_policy_would(scenario: Scenario, guardrails: Guardrails) -> None:
    turn = turn_of(World(scenario, 120, 2, guardrails=guardrails))
    sparing, plain = SparingActor(UniformPolicy()).act(turn), PolicyActor(UniformPolicy()).act(turn)
    assert np.array_equal(sparing[0], plain[0])
    assert np.array_equal(sparing[1], plain[1])


def test_linear_peers_are_those_of_the_package(scenario: Scenario, guardrails: Guardrails, slice_: Slice) -> None:
    sums = LinearSums(scenario.catalog, scenario.features, MESSAGE, (-1e5, 1e6))
    sums.add(slice_.choices)
    posterior = sums.posterior()
    turn = turn_of(World(scenario, 60, 4, guardrails=guardrails))
    context, eligible = turn.contacts.context, turn.eligibility.dense()
    for ours, theirs in zip(predict(posterior, context), posterior.predict(context), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    chosen, _ = LinearActor(posterior, 1.5).act(turn)
    assert np.array_equal(chosen, LinUcb(posterior, 1.5).distribution(context, eligible).argmax(axis=1))
    drawn, propensity = LinearActor(posterior, 0.5, thompson=True).act(turn)
    chance = LinearThompson(posterior, 0.5).distribution(context, eligible)[np.arange(len(drawn)), drawn]
    some = turn.eligibility.sendable()
    assert (chance > 0.0).all()
    assert np.isnan(propensity[some]).all()
    assert (propensity[~some] == 1.0).all()


@pytest.mark.parametrize(
    ("variant", "named"),
    [
        pytest.param(Variant(first_channel="fax"), "fax", id="channel"),
        pytest.param(Variant(hour="25"), "25", id="hour"),
        pytest.param(Variant(without=("horoscope",)), "horoscope", id="signals"),
    ],
)
def test_a_restriction_that_cannot_be_is_named(scenario: Scenario, variant: Variant, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        restriction(variant, scenario.catalog, scenario.features)


def test_restrictions_remove_what_they_say(scenario: Scenario, guardrails: Guardrails) -> None:
    world = World(scenario, 200, 1, guardrails=guardrails)
    catalog = scenario.catalog
    wanted = Variant(first_channel="sms", hour="17", first_discount=True, without=("motive",))
    turn = restriction(wanted, catalog, scenario.features).turn(world)
    free = FREE.turn(world)
    channel, hour, arm = catalog.split(np.arange(1, catalog.k))
    left, before = turn.eligibility.dense()[:, 1:], free.eligibility.dense()[:, 1:]
    first = world.state.sends.count[turn.rows] == 0
    assert first.any()
    assert not (left & ~before).any()
    assert not left[:, np.array(catalog.hours)[hour] != 17].any()
    sms, deal = catalog.channels.index("sms"), np.array([one.discount_depth for one in catalog.arms]) > 0.0
    assert not left[first][:, (channel != sms) | ~deal[arm]].any()
    assert (turn.contacts.context.columns["motive"].state == 1).all()
    assert not (free.contacts.context.columns["motive"].state == 1).all()


def test_a_cap_is_a_rule_of_the_pack() -> None:
    capped = varied("newsletter", Variant(monthly_cap=2))
    free = varied("newsletter", Variant())
    assert capped.pack != free.pack
    with pytest.raises(ConfigError, match="cap over 30 days"):
        varied("hillstrom", Variant(monthly_cap=2))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("contacts", 1, id="contacts"),
        pytest.param("days", 0, id="days"),
        pytest.param("seeds", (1, 1), id="seeds"),
        pytest.param("seeds", 0, id="no-seeds"),
        pytest.param("metric", "clicks", id="metric"),
        pytest.param("alpha", 1.0, id="alpha"),
        pytest.param("policies", (), id="policies"),
        pytest.param("at_most", {"segments": 10}, id="baseline-cut"),
        pytest.param("workers", 0, id="workers"),
    ],
)
def test_a_configuration_out_of_range_is_refused(key: str, value: object) -> None:
    with pytest.raises(ParameterError, match=key):
        ExperimentConfig(**{key: value})


def test_without_a_sweep_the_first_of_each_axis_is_left() -> None:
    config = ExperimentConfig(scenarios=("newsletter", "winback"), policies=("segments", "vw", "never"), seeds=5)
    one = one_cell(config)
    assert (one.scenarios, one.policies, one.seed_numbers) == (("newsletter",), ("vw",), (1,))
    assert one.all_policies == ("segments", "vw")


def test_the_planner_passes_the_segments_and_silence_is_its_closed_form(tmp_path: Path) -> None:
    """Signs, on one small world: clairvoyance is worth something; never sending is worth what the equations say."""
    config = ExperimentConfig(
        policies=("never", "merge_tag", "myopic_oracle", "planner"),
        baseline="merge_tag",
        contacts=200,
        days=10,
        slice=TINY,
        oracle=OracleConfig(rollouts=1, bound_contacts=40),
        at_most={"planner": 30},
    )
    run = GroupRun(config, CellGroup("newsletter", "as it is", 1), tmp_path)
    assert list(run.run()) == list(config.all_policies)
    assert run.missing() == []
    rows, gaps = judged(config, tmp_path)
    by_name = {row.policy: row for row in rows}
    assert by_name["never"].sends == 0.0
    assert by_name["never"].unsubscribes == 0.0
    assert by_name["planner"].regret_per_day == 0.0
    assert by_name["planner"].gap_closed == 1.0
    assert (by_name["myopic_oracle"].difference or 0.0) > 0.0
    assert by_name["never"].verdict == "worse"
    (gap,) = gaps
    assert gap.silence_off is not None
    assert gap.silence_stderr is not None
    assert abs(gap.silence_off) < 4.5 * gap.silence_stderr
    assert gap.gap is not None
    assert gap.bound is not None
    assert gap.bound > gap.gap > 0.0
    seasons = Seasons(config, "newsletter", "as it is", tmp_path)
    stone, top = seasons.cells("myopic_oracle")[0].played.total, seasons.cells("planner")[0].played.total
    base = seasons.cells("merge_tag")[0].played.total
    # By way of the oracle: the planner on its thirty, the oracle on all.
    assert gap.gap == pytest.approx((top - stone[:30]).mean() + (stone - base).mean())
    never = seasons.cells("never")[0].played
    world = World(load_scenario("newsletter"), 200, 1)
    assert never.total.mean() - value_of_silence(world, 10).mean() == pytest.approx(gap.silence_off)


def test_cells_of_another_configuration_are_in_the_way(tmp_path: Path) -> None:
    config = ExperimentConfig(policies=("never",), baseline="never", contacts=20, days=2)
    group = CellGroup("newsletter", "as it is", 1)
    assert list(GroupRun(config, group, tmp_path).run()) == ["never"]
    path = group.file(tmp_path, "never")
    assert is_done(path, cell_key(config, group, "never"))
    other = msgspec.structs.replace(config, days=3)
    with pytest.raises(StorageError, match="another configuration"):
        GroupRun(other, group, tmp_path).missing()
    # More policies, seeds and processes leave what is there.
    wider = msgspec.structs.replace(config, policies=("never", "vw"), seeds=4, workers=2)
    assert GroupRun(wider, group, tmp_path).missing() == ["vw"]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StorageError, match="cannot be read"):
        read_cell(path)


def test_learners_may_learn_on_from_their_own_decisions(tmp_path: Path) -> None:
    """Every second day; before the first update nothing differs, a policy that does not learn never does."""
    config = ExperimentConfig(
        policies=("never", "linucb"),
        baseline="best_action",
        contacts=60,
        days=5,
        slice=TINY,
        oracle=OracleConfig(bound_contacts=0),
    )
    on = msgspec.structs.replace(config, learn_every_days=2)
    group = CellGroup("newsletter", "as it is", 1)
    still, learning = (GroupRun(one, group, tmp_path) for one in (config, on))
    for policy in ("best_action", "linucb"):
        before, after = (run.play(policy).by_step[60] for run in (still, learning))
        assert np.array_equal(before[:2], after[:2])
        assert np.array_equal(before, after) == (policy == "best_action")


def test_policies_of_parts_and_what_observations_allow(scenario: Scenario, guardrails: Guardrails) -> None:
    """All of them send to some and hold for others, and the teacher of gains without noise earns more than silence."""
    config = ExperimentConfig(name="parts", question="?", slice=SliceConfig(contacts=800, days=14), contacts=400)
    shared = SharedLearning(config, scenario, 3, FREE, guardrails)
    earned = {}
    for name in ("never", "segments_of_parts", "vw_parts", "vw_parts_greedy", "best_observable"):
        world = World(scenario, 400, 3, guardrails=guardrails)
        actor = make(name, shared)
        assert not isinstance(actor, Planner)
        played = play_season(world, actor, 12, (), FREE)
        earned[name] = float(played.total.mean())
        assert (played.sends.sum() > 0) == (name != "never"), name
        assert played.sends.sum() < 12 * 400, name
    assert earned["best_observable"] > earned["never"]


def test_the_way_to_the_best_observable_is_split(tmp_path: Path) -> None:
    """Shares and rooms are those of the paired differences of the rows."""
    policies = ("segments", "never", "segments_undiscounted", "best_observable")
    config = ExperimentConfig(
        name="split",
        policies=policies,
        seeds=1,
        contacts=300,
        days=10,
        slice=TINY,
        oracle=OracleConfig(bound_contacts=0),
    )
    assert list(GroupRun(config, CellGroup("newsletter", "as it is", 1), tmp_path).run()) == list(policies)
    rows, (gap,) = judged(config, tmp_path)
    by_name = {row.policy: row for row in rows}
    whole = by_name["best_observable"].difference
    assert whole is not None
    assert gap.observable == pytest.approx(whole)
    assert gap.discounts == pytest.approx(by_name["segments_undiscounted"].difference)
    assert by_name["segments_undiscounted"].discount_share == 0.0
    closed, gain = by_name["never"].observable_closed, by_name["never"].difference or 0.0
    assert closed == (None if whole <= 0.0 else pytest.approx(gain / whole))
    assert by_name["best_observable"].observable_closed is None


def test_a_slice_of_some_arms_is_as_if_no_other_had_been_eligible(slice_: Slice) -> None:
    """Propensities are those of half hold among what stays; nothing else of a decision changes."""
    plain = np.array([arm.discount_depth for arm in slice_.catalog.arms]) == 0.0
    discounted = np.array([False, *np.tile(~plain, (slice_.catalog.k - 1) // len(plain))])
    rounds = slice_.only(plain, TINY.hold_share)
    assert 0 < sum(batch.n for batch in rounds) < sum(batch.n for batch in slice_.choices)
    for batch in rounds:
        eligible = batch.eligible_dense()
        assert not discounted[batch.action].any()
        assert not eligible[:, discounted].any()
        before = {
            ident: sends for one in slice_.choices for ident, sends in zip(one.decision_id, _sends(one), strict=True)
        }
        offered = np.array([before[ident] for ident in batch.decision_id])
        among = 0.5 + 0.5 * _sends(batch) / offered
        assert np.allclose(batch.propensity, np.where(batch.action == 0, 0.5, 0.5 / offered) / among, rtol=1e-12)


def _sends(batch: RoundBatch) -> IntArray:
    return batch.eligible_dense()[:, 1:].sum(axis=1)


def test_an_actor_of_some_arms_sends_no_other(scenario: Scenario, guardrails: Guardrails) -> None:
    turn = turn_of(World(scenario, 120, 2, guardrails=guardrails))
    arms = np.arange(len(scenario.catalog.arms)) == 0
    chosen, propensity = ArmsActor(SparingActor(UniformPolicy()), arms).act(turn)
    _, _, arm = scenario.catalog.split(chosen[chosen > 0])
    assert len(arm)
    assert not np.asarray(arm).any()
    assert (propensity > 0.0).all()
