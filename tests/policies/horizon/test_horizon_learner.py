"""The long-horizon learner on small worlds whose values are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.eligibility import pack
from engine.errors import LearnError, ParameterError
from engine.features import PRESENT, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.records.rounds import RoundBatch
from policies.check import check_policy
from policies.exploring.config import ExplorationConfig
from policies.horizon.config import HorizonConfig
from policies.horizon.continuation import continuation, echo_slope, following_money, permission_loss
from policies.horizon.learner import HorizonLearner, advantages
from policies.horizon.panel import panel_of, stacked
from policies.horizon.regression import Regression
from policies.trained import TrainedFolder
from policies.vw.arguments import VwConfig

US_PER_DAY = 86_400_000_000
GREEDY = ExplorationConfig(kind="greedy")
STATE = FeatureSpec(
    name="state",
    type="categorical",
    unit="level",
    source="send history",
    collected_where="messages sent to the contact",
    customer_benefit="Tired contacts get fewer messages",
)
SCHEMA = FeatureSchema(features=(STATE,))
FRESH, TIRED = 0, 1
SMALL = HorizonConfig(
    ridge=1.0, value_ridge=1.0, continuation_ridge=1.0, discount=0.7, look_ahead=5, examples=600, alarm=False
)
CONFIG = VwConfig(learning_rate=0.5, passes=6, bit_precision=12, horizon=SMALL)
BRIEF = msgspec.structs.replace(CONFIG, passes=1, horizon=msgspec.structs.replace(SMALL, look_ahead=1))


def catalog(*arms: Arm, channels: tuple[str, ...] = ("email",)) -> Catalog:
    return Catalog(name="small", channels=channels, hours=("now",), arms=arms or (Arm(id="news", approved=True),))


def batch(day: int, state: np.ndarray, action: np.ndarray, money: np.ndarray, eligible: np.ndarray) -> RoundBatch:
    n = len(action)
    return RoundBatch(
        chunk=day,
        decision_id=np.array([f"{day}-{row}" for row in range(n)], dtype=object),
        context=ContextBatch(
            SCHEMA,
            {"state": Column(state.astype(np.int32), np.full(n, PRESENT, dtype=np.uint8), ("fresh", "tired"))},
            n,
        ),
        action=action.astype(np.int32),
        propensity=1.0 / eligible.sum(axis=1),
        eligible=pack(eligible),
        k=eligible.shape[1],
        cluster=np.arange(n, dtype=np.uint64),
        rewards={"margin": money},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.full(n, (20_000 + day) * US_PER_DAY, dtype=np.int64),
        extra={},
    )


def tiring(contacts: int = 40, days: int = 15) -> list[RoundBatch]:
    """A send is worth 1 to the fresh and 0.05 to the tired; who got one is tired the next day, else fresh."""
    generator = np.random.default_rng(1)
    state, out = np.zeros(contacts, dtype=np.int64), []
    for day in range(days):
        action = generator.integers(0, 2, size=contacts)
        money = np.where(action == 1, np.where(state == FRESH, 1.0, 0.05), 0.0)
        out.append(batch(day, state, action, money, np.ones((contacts, 2), dtype=np.bool_)))
        state = action
    return out


def tiring_values(discount: float, look_ahead: int) -> np.ndarray:
    """(2, 2) exact Q of the world above, by state and action: Bellman's equation, iterated."""
    gain = np.array([[0.0, 1.0], [0.0, 0.05]])
    q = gain
    for _ in range(look_ahead):
        q = gain + discount * q.max(axis=1)[None, :]
    return q


def learner(config: VwConfig = CONFIG, of: Catalog | None = None) -> HorizonLearner:
    return HorizonLearner(of or catalog(), SCHEMA, "margin", (-100.0, 100.0), config, GREEDY)


def test_continuation_is_that_of_bellman() -> None:
    """A send costs 0.7 (V(fresh) - V(tired)) later, whoever gets it: given the gains, the fit finds it."""
    panel = panel_of(tiring(), catalog(), 10**6, 0)
    state = np.concatenate([context.columns["state"].values for context in panel.contexts])
    on = Regression(catalog(), SCHEMA, panel.contexts, panel.action, np.ones(panel.n), CONFIG)
    found = continuation(panel, on, np.where(state == FRESH, 1.0, 0.05)[:, None], SMALL)
    exact = tiring_values(0.7, 5)
    for value, gain in ((FRESH, 1.0), (TIRED, 0.05)):
        assert found[state == value].mean() == pytest.approx(exact[value, 1] - exact[value, 0] - gain, abs=0.05)
    assert exact[TIRED, 1] < exact[TIRED, 0] - 0.3


def test_advantage_is_gain_and_later() -> None:
    found = advantages(tiring(20, 6), catalog(), SCHEMA, "margin", BRIEF)
    assert (found.total == found.gain + found.later).all()
    assert found.total.shape == (20 * 6, 1)
    assert found.changed_at is None


def test_policy_waits_where_the_myopic_one_sends() -> None:
    both = np.ones((2, 2), dtype=np.bool_)
    context = tiring(2, 1)[0].context
    context = replace(context, columns={"state": replace(context.columns["state"], values=np.array([0, 1], np.int32))})
    far = learner()
    far.learn(tiring())
    near = learner(msgspec.structs.replace(CONFIG, horizon=msgspec.structs.replace(SMALL, look_ahead=0)))
    near.learn(tiring())
    assert far.policy().distribution(context, both).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert near.policy().distribution(context, both).tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_sends_that_lose_money_are_held(tmp_path: Path) -> None:
    """Every send costs 5: hold everywhere; the folder serves the same and is learnt on."""
    rounds = [replace(one, rewards={"margin": np.where(one.action == 1, -5.0, 0.0)}) for one in tiring(40, 8)]
    made = learner(msgspec.structs.replace(BRIEF, passes=4))
    made.learn(rounds)
    held = made.policy().distribution(rounds[0].context, np.ones((40, 2), dtype=np.bool_))
    assert (held[:, 0] == 1.0).all()
    check_policy(made.policy(), catalog(), SCHEMA)
    made.export(tmp_path / "policy")
    loaded = TrainedFolder(tmp_path / "policy").policy()
    served = loaded.distribution(rounds[0].context, np.ones((40, 2), dtype=np.bool_))
    assert (served == held).all()
    again = TrainedFolder(tmp_path / "policy").learner()
    assert isinstance(again, HorizonLearner)
    again.learn(rounds)
    assert again.state.rounds == 2 * made.state.rounds == 2 * 40 * 8


def test_failure_changes_nothing() -> None:
    made = learner(BRIEF)
    made.learn(tiring(30, 6))
    before = made.state
    unknown = [replace(one, rewards={"margin": np.full(one.n, np.nan)}) for one in tiring(30, 6)]
    with pytest.raises(LearnError):
        made.learn(unknown)
    with pytest.raises(LearnError):
        made.learn([])
    assert made.state is before


def test_same_rounds_give_the_same_bytes() -> None:
    one, other = learner(BRIEF), learner(BRIEF)
    one.learn(tiring(30, 6))
    other.learn(tiring(30, 6))
    assert one.state.model == other.state.model


def test_panel_links_the_days_of_a_contact() -> None:
    panel = panel_of(tiring(2, 3), catalog(), 10**6, 0)
    assert panel.following.tolist() == [2, 3, 4, 5, -1, -1]
    assert panel.gap_days.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert following_money(replace(panel, batches=panel.batches), "margin", 1)[:2].tolist() == [
        panel.reward("margin")[2],
        panel.reward("margin")[3],
    ]


def test_lost_permission_by_hand() -> None:
    """Sends are worth 1 on e-mail and 3 on SMS: losing SMS costs 2 a message, losing e-mail nothing. Half of ten days,
    at two messages in five days: 2 messages."""
    wide = catalog(channels=("email", "sms"))
    rounds = [
        batch(day, np.zeros(4), np.full(4, day % 2), np.zeros(4), np.ones((4, 3), dtype=np.bool_)) for day in range(5)
    ]
    panel = panel_of(rounds, wide, 10**6, 0)
    gain = np.tile([1.0, 3.0], (panel.n, 1))
    loss = permission_loss(panel, gain, wide, msgspec.structs.replace(SMALL, horizon_days=10.0))
    assert loss[0].tolist() == pytest.approx([0.0, 4.0])


def test_discounts_are_charged_for_the_orders_that_follow() -> None:
    """A discount of 0.5 takes 1 from the next decision of who looks (chance 1): -2 per unit of exposure."""
    arms = catalog(Arm(id="news", approved=True), Arm(id="half", approved=True, discount_depth=0.5))
    generator, money, out = np.random.default_rng(2), np.zeros(80), []
    for day in range(20):
        action = generator.integers(1, 3, size=80)
        out.append(batch(day, np.zeros(80), action, money + generator.normal(size=80), np.ones((80, 3), dtype=bool)))
        money = np.where(action == 2, -1.0, 0.0)
    panel = panel_of(out, arms, 10**6, 0)
    assert echo_slope(panel, arms, "margin", np.ones(panel.n), 1) == pytest.approx(-2.0, abs=0.4)
    assert echo_slope(panel, catalog(), "margin", np.ones(panel.n), 1) == 0.0
    assert echo_slope(panel, arms, "other", np.ones(panel.n), 1) == 0.0


def test_contexts_with_other_codes_are_joined_by_level() -> None:
    one = tiring(2, 1)[0].context
    other = replace(one, columns={"state": Column(np.array([0, -1], np.int32), np.array([0, 1], np.uint8), ("tired",))})
    joined = stacked([one, other]).columns["state"]
    assert joined.levels == ("fresh", "tired")
    assert joined.values.tolist() == [0, 0, 1, -1]


@pytest.mark.parametrize(
    "changes",
    [{"discount": 0.0}, {"ridge": -1.0}, {"charge": 1.5}, {"rows": 0}, {"half_life_days": 0.0}, {"look_ahead": -1}],
    ids=["discount", "ridge", "charge", "rows", "half life", "look ahead"],
)
def test_bad_configuration_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        HorizonConfig(**changes)


def test_learner_needs_a_horizon_and_mtr() -> None:
    for config in (VwConfig(), VwConfig(cb_type="ips", horizon=SMALL)):
        with pytest.raises(ParameterError):
            learner(config)
