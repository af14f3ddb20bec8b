"""policies/parts/learner.py and log.py: what is found in a log, what is left out, and what is charged, by hand."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from engine.eligibility import pack
from engine.errors import LearnError, ParameterError
from engine.records.rounds import RoundBatch
from engine.types import HOLD
from policies.exploring.config import ExplorationConfig
from policies.parts.config import PartsConfig
from policies.parts.learner import PartsLearner
from policies.parts.log import PartsLog
from policies.vw.arguments import VwConfig
from tests.policies.parts.parts_worlds import COSTS, RANGE, SCHEMA, US_PER_DAY, catalog, context, learner, learnt, log


def pending(batch: RoundBatch, rows: np.ndarray, *names: str) -> RoundBatch:
    """The same with some outcomes not known yet."""
    unknown = {name: np.where(rows, np.nan, batch.rewards[name]) for name in names}
    return replace(batch, rewards={**batch.rewards, **unknown})


def read(batch: RoundBatch, metric: str = "margin", **config: object) -> PartsLog:
    limits = RANGE if metric == "margin" else (-1.0, 1.0)
    return PartsLog([batch], catalog(), metric, limits, PartsConfig(**config))


@pytest.fixture(scope="module")
def usual() -> PartsLearner:
    return learnt(log(6000))


def test_the_right_arm_for_each_motive(usual: PartsLearner) -> None:
    """A click is twice as likely where the motive of the arm is the contact's; those who want ease get no match."""
    some = context(2000, 5)
    best = usual.policy().tables.scores(usual.state.encoder.encode(some)).argmax(axis=1)
    _, _, arm = catalog().split(best)
    motive = some.columns["motive"].values
    assert (best != HOLD).all()
    assert (arm[motive == 1] == 1).mean() > 0.9
    assert (arm[motive == 0] != 1).mean() > 0.9


def test_chance_and_worth_are_those_of_the_world(usual: PartsLearner) -> None:
    summary = usual.state.summary()
    assert summary["stage"] == "clicked"
    assert summary["parts"]["chance"]["mean"] == pytest.approx(0.15 * (1 + 2 / 9 + 1 / 9), rel=0.15)
    assert summary["parts"]["worth"]["mean"] == pytest.approx(5 + 3 * 22 / 62, rel=0.1)
    some = context(500, 6)
    parts = usual.policy().tables.parts(usual.state.encoder.encode(some), 1)
    # Those below 40 bring 8 USD a click, the others 5.
    assert parts["worth"][some.columns["age"].values < 30].mean() > parts["worth"].mean() + 0.3


def test_costs_are_those_of_the_log(usual: PartsLearner) -> None:
    """Sending by e-mail costs 0.01, by SMS 0.05; no discount is charged on the first two arms."""
    fees = usual.policy().tables.fees
    np.testing.assert_allclose(fees["sending"], np.repeat([COSTS], 3, axis=0).T, atol=1e-9)
    assert (fees["discount"][:, :2] == 0.0).all()


def test_a_discount_is_charged_by_hand() -> None:
    """0.2 x organic spending a day x 3 days x 2, where half of the messages are seen.

    Everybody who did not click spends 3 in 6 days (each contact is decided for every 6 days, money_days is 10).
    """
    batch = log(3000)
    spend = np.where(batch.rewards["clicked"] > 0, 100.0, 3.0)
    seen = np.where(np.arange(3000) % 2 == 0, 1.0, 0.0)
    batch = replace(
        batch,
        rewards={**batch.rewards, "spend": spend, "opened": seen},
        cluster=np.arange(3000, dtype=np.uint64) % np.uint64(1000),
        decided_at=(np.arange(3000) // 1000 * 6 * US_PER_DAY).astype(np.int64),
    )
    made = learnt(batch, money_days=10.0)
    # Two gaps of six days for each contact, 12 days in all.
    expected = 0.2 * 3.0 / 6.0 * 3.0 * 2.0
    np.testing.assert_allclose(made.state.charge, [0.0, 0.0, expected], rtol=1e-6)
    np.testing.assert_allclose(made.policy().tables.fees["discount"][:, 2], expected * 0.5, rtol=0.1)
    assert f"Discounts are charged with {expected:.3f} USD" in " ".join(made.state.said)
    assert not learnt(batch, discount_days=0.0).state.charge.any()
    assert learnt(batch, discount_factor=4.0).state.charge[2] == pytest.approx(
        expected * 4 / 2 * 6 / PartsConfig().money_days
    )


def test_a_lost_permission_is_priced_by_what_is_missed() -> None:
    """Where SMS alone is open to a contact, losing it loses all; a channel that nobody has open costs nothing."""
    batch = log(4000)
    eligible = np.ones((4000, catalog().k), dtype=np.bool_)
    eligible[:, 1:7] = False
    sms = batch.action > 6
    keep = np.flatnonzero(sms | (batch.action == HOLD))
    narrow = RoundBatch(**{name: getattr(batch, name) for name in batch.__dataclass_fields__})

    narrow = replace(narrow, eligible=pack(eligible)).take(keep)
    prices = {loss.name: loss.price for loss in learnt(narrow).policy().tables.losses}
    assert prices["unsubscribed"][0] == 0.0
    assert prices["unsubscribed"][1] > 0.0
    twice = {loss.name: loss.price for loss in learnt(narrow, horizon_days=180.0).policy().tables.losses}
    np.testing.assert_allclose(twice["unsubscribed"], 2 * prices["unsubscribed"], rtol=1e-9)
    free = {loss.name: loss.price for loss in learnt(narrow, horizon_days=0.0).policy().tables.losses}
    assert not free["unsubscribed"].any()


def test_the_channel_that_loses_more_permissions_is_charged_more(usual: PartsLearner) -> None:
    """Five in a hundred unsubscribe by SMS, one by e-mail."""
    x = usual.state.encoder.encode(context(500, 8))
    email, sms = (usual.policy().tables.parts(x, action)["unsubscribed"] for action in (1, 7))
    assert (email <= 0.0).all()
    assert sms.mean() < email.mean() < 0.0


@pytest.mark.parametrize("name", ["clicked", "visits", "email_clicks", "replied", "viewed", "SmsReply"])
def test_a_stage_is_found_by_its_words(name: str) -> None:
    batch = log(400)
    assert (
        read(replace(batch, rewards={"margin": batch.rewards["margin"], name: batch.rewards["clicked"]})).stage == name
    )


def test_the_first_of_the_stages_is_taken() -> None:
    batch = log(400)
    both = replace(batch, rewards={**batch.rewards, "visited": batch.rewards["clicked"]})
    assert read(both).stage == "clicked"
    assert read(both, stages=("visit", "click")).stage == "visited"
    assert read(both, stage="visited").stage == "visited"
    assert read(both, stage="").stage == ""


def test_what_is_no_event_is_no_stage() -> None:
    """A count of clicks, or a click that everybody or nobody has, stands between nothing and nothing."""
    batch = log(400)
    for values in (batch.rewards["clicked"] * 3, np.zeros(400), np.ones(400), np.full(400, np.nan)):
        assert read(replace(batch, rewards={**batch.rewards, "clicked": values})).stage == ""


def test_a_named_stage_that_is_missing_is_refused_with_the_nearest_name() -> None:
    made = learner(stage="cliked")
    with pytest.raises(ParameterError, match="cliked") as failed:
        made.learn([log(400)])
    assert "did you mean 'clicked'" in failed.value.hint
    assert "margin" in failed.value.hint
    with pytest.raises(LearnError, match="nothing has been learnt"):
        made.policy()
    with pytest.raises(ParameterError, match="stage"):
        learner(stage="margin").learn([log(400)])


@pytest.mark.parametrize("stage", ["", "auto"])
def test_without_a_stage_the_money_is_modelled(stage: str) -> None:
    """Named "" with clicks in the log, or looked for where there are none."""
    batch = log(4000) if not stage else log(4000, clicked=None, unsubscribed=None)
    made = learnt(batch, stage=stage)
    assert set(made.state.fitted) == {"money"}
    assert made.state.summary()["stage"] == ""
    assert made.state.said == (
        "The log has no stage between a message and its money, so the money itself was modelled.",
    )
    assert made.policy().tables.chance is None


def test_few_stages_fall_back_to_money_and_say_so() -> None:
    batch = log(1500)
    some = np.cumsum(batch.rewards["clicked"]) * batch.rewards["clicked"]
    for most in (19, 20):
        few = np.where((some > 0) & (some <= most), 1.0, 0.0)
        made = learnt(replace(batch, rewards={**batch.rewards, "clicked": few}))
        assert ("chance" in made.state.fitted) == (most == 20)
    said = learnt(replace(batch, rewards={**batch.rewards, "clicked": np.where(some == 1, 1.0, 0.0)})).state.said
    assert said[-1] == "Only 1 sends reached the stage clicked, fewer than 20, so the money itself was modelled."


def test_rows_whose_stage_is_pending_say_nothing_of_it() -> None:
    """Half of the clicks are not known yet: the chance is that of the others, not half of it."""
    batch = log(6000)
    late = np.random.default_rng(2).random(6000) < 0.5
    made = learnt(pending(batch, late, "clicked"))
    known = learnt(batch)
    sent = int(((batch.action > 0) & ~late).sum())
    assert made.state.fitted["chance"].rows == sent
    assert made.state.fitted["chance"].mean == pytest.approx(known.state.fitted["chance"].mean, rel=0.1)
    assert made.state.fitted["organic"].rows == int((~late & (batch.rewards["clicked"] == 0)).sum())
    assert made.state.fitted["unsubscribed"].rows == int((batch.action > 0).sum())
    some = made.state.encoder.encode(context(300, 9))
    ours, theirs = (one.policy().tables.parts(some, 1)["chance"].mean() for one in (made, known))
    assert ours == pytest.approx(theirs, rel=0.15)


def test_unknown_costs_losses_and_openings_are_left_out() -> None:
    batch = log(6000)
    late = np.random.default_rng(3).random(6000) < 0.5
    batch = replace(batch, rewards={**batch.rewards, "opened": (np.arange(6000) % 4 == 0).astype(float)})
    made = learnt(pending(batch, late, "send_cost", "unsubscribed", "opened"))
    np.testing.assert_allclose(made.policy().tables.fees["sending"], np.repeat([COSTS], 3, axis=0).T, atol=1e-9)
    assert made.state.fitted["unsubscribed"].rows == int(((batch.action > 0) & ~late).sum())
    np.testing.assert_allclose(made.state.tally.opened, 0.25, atol=0.05)
    spend = np.full(6000, np.nan)
    silent = learnt(replace(batch, rewards={**batch.rewards, "revenue": spend}))
    assert not silent.state.charge.any()


def test_rows_whose_money_is_pending_do_not_train() -> None:
    batch = log(3000)
    late = np.arange(3000) % 3 == 0
    made = learnt(pending(batch, late, "margin"))
    assert (made.state.tally.rounds, made.state.tally.skipped) == (2000, 1000)


def test_a_stage_that_comes_without_a_message_is_not_the_messages_doing() -> None:
    """Everybody visits with chance 0.3, whatever is sent, and a visit brings 10 USD: nothing is worth sending."""
    batch, rng = log(8000), np.random.default_rng(4)
    visit = (rng.random(8000) < 0.3).astype(float)
    cost = -batch.rewards["send_cost"]
    rewards = {"margin": 10 * visit - cost, "visit": visit, "send_cost": batch.rewards["send_cost"]}
    made = learnt(replace(batch, rewards=rewards), ridges=(300.0,), worth_ridges=(3000.0,))
    assert made.state.tally.held_stages > 100
    scores = made.policy().tables.scores(made.state.encoder.encode(context(500, 4)))
    advantage = scores[:, 1:].max(axis=1) - scores[:, HOLD]
    assert scores[:, HOLD].mean() == pytest.approx(3.0, abs=0.4)
    assert abs(advantage.mean()) < 0.5


def test_an_event_that_is_maximised_is_its_own_stage() -> None:
    made = learnt(log(3000), metric="clicked")
    assert set(made.state.fitted) == {"chance"}
    scores = made.policy().tables.scores(made.state.encoder.encode(context(200, 4)))
    assert ((scores >= 0.0) & (scores <= 1.0)).all()
    assert scores[:, 1:].mean() == pytest.approx(0.2, abs=0.03)


def test_learning_again_is_the_same_and_anew(usual: PartsLearner) -> None:
    again = learner()
    again.learn([log(300)])
    again.learn(iter([log(6000)]))
    assert msgspec.json.encode(again.state.summary()) == msgspec.json.encode(usual.state.summary())
    for name, tables in usual.policy().tables.stored().items():
        assert again.policy().tables.stored()[name].base.tobytes() == tables.base.tobytes()


@pytest.mark.slow
def test_batches_change_nothing_that_matters() -> None:
    batch = log(3000)
    pieces = [batch.take(slice(start, start + 431)) for start in range(0, 3000, 431)]
    x = learnt(batch).state.encoder.encode(context(100, 2))
    one, other = (made.policy().tables.scores(x) for made in (learnt(batch), learnt(*pieces)))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_failure_leaves_the_learner_as_it_was(usual: PartsLearner) -> None:
    made = learnt(log(3000))
    before = made.state
    bad = log(3000)
    bad.rewards["margin"][7] = RANGE[1] + 1
    with pytest.raises(LearnError, match="margin"):
        made.learn([bad])
    assert made.state is before
    with pytest.raises(LearnError, match="no usable round"):
        made.learn([replace(log(10), usable=np.zeros(10, dtype=np.bool_))])
    with pytest.raises(LearnError, match="no metric 'revenue'"):
        PartsLearner(catalog(), SCHEMA, "revenue", RANGE, VwConfig(parts=PartsConfig())).learn([log(50)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ridges", ()),
        ("ridges", (1.0, 1.0)),
        ("worth_ridges", (0.0, 1.0)),
        ("horizon_days", -1.0),
        ("discount_days", float("nan")),
        ("discount_factor", float("inf")),
        ("money_days", 0.0),
        ("pieces", 1),
        ("choice_rows", 999),
        ("passes", 1),
        ("refit_days", 0),
        ("memory_days", 0),
        ("seed", -1),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=f"`{name}` of PartsConfig"):
        PartsConfig(**{name: value})


def test_votes_and_a_configuration_without_parts_are_refused() -> None:
    with pytest.raises(ParameterError, match="PartsLearner"):
        learner(ExplorationConfig(kind="bag"))
    with pytest.raises(ParameterError, match="PartsLearner"):
        PartsLearner(catalog(), SCHEMA, "margin", RANGE, VwConfig())
