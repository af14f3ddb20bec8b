"""Rates and what they raise: proof beyond a limit, few false alarms, and conditions that only take away."""

from __future__ import annotations

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.guardrails.brakes import Brake, Tier
from engine.guardrails.conditions import Conditions, conditions_from
from engine.monitor.escalate import COUNTED, Raised, conditions_after, judge
from engine.monitor.feeds import FeedSums
from engine.monitor.rates import Counted, RateSums, detector
from engine.monitor.rule import Escalation, MonitorRule
from tests.engine.audit.audited_worlds import healthy

CATALOG = Catalog(
    name="rates",
    channels=("email", "sms"),
    hours=(9,),
    arms=(Arm(id="news", approved=True), Arm(id="offer", approved=True)),
)
EVENTS = tuple(COUNTED)


def counted(sent: list[int], events: list[int]) -> Counted:
    days = np.arange(len(sent), dtype=np.int64)
    return Counted("email", days, np.array(sent, dtype=float), np.array(events, dtype=float))


def rates_of(days: int, sends: int, complained: list[int]) -> RateSums:
    """`sends` e-mails with news a day, of which so many complain."""
    sums = RateSums(CATALOG, EVENTS)
    action = np.full(sends, 1, dtype=np.int32)
    for day in range(days):
        happened = np.zeros((sends, len(EVENTS)), dtype=bool)
        happened[: complained[day], EVENTS.index("complained")] = True
        sums.add(np.full(sends, day), action, np.ones(sends, dtype=bool), happened)
    return sums


def test_one_complaint_among_39_sends_proves_nothing() -> None:
    assert detector(counted([39], [1]), 0.001, above=True, window_days=7)[-1] < 50


def test_a_spike_is_proven_on_its_day_and_an_outage_too() -> None:
    spike = detector(counted([1000] * 8, [1] * 7 + [20]), 0.003, above=True, window_days=7)
    assert np.flatnonzero(spike > 1000).tolist() == [7]
    outage = detector(counted([200] * 8, [197] * 7 + [0]), 0.5, above=False, window_days=7)
    assert np.flatnonzero(outage > 1000).tolist() == [7]


def test_a_rate_at_its_limit_alarms_less_often_than_promised() -> None:
    """30 senders at exactly the limit for 60 days: 1,800 days at 1 in 100 promise 18 alarms at most, on average."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(30):
        found = counted([500] * 60, rng.binomial(500, 0.01, 60).tolist())
        alarms += bool((detector(found, 0.01, above=True, window_days=7) >= 100.0).any())
    assert alarms <= 18


def judged(rates: RateSums, *rules: Escalation) -> list[tuple[str, str, str]]:
    rule = MonitorRule(escalations=rules)
    log = healthy(60, 1)
    feeds = FeedSums(log.meta.features, log.meta.catalog)
    found = judge(rule, {one.name: rates for one in rules if one.watch == "rate"}, feeds, (), (), "no propensities")
    return [(one.effect, one.name, one.scope) for one in found.raised]


def rate_rule(name: str, effect: str, scope: str, above: float) -> Escalation:
    return Escalation(name=name, watch="rate", effect=effect, event="complained", scope=scope, above=above)  # type: ignore[arg-type]


def test_the_strongest_effect_comes_first_and_names_its_scope() -> None:
    rates = rates_of(3, 400, [0, 40, 40])
    raised = judged(
        rates,
        rate_rule("warned", "alert", "channel", 0.001),
        rate_rule("arm", "pause_arm", "arm", 0.01),
        rate_rule("stop", "pause_channel", "channel", 0.01),
        rate_rule("all", "kill", "all", 0.02),
        rate_rule("never", "kill", "all", 0.5),
    )
    assert raised == [
        ("kill", "all", ""),
        ("pause_channel", "stop", "email"),
        ("pause_arm", "arm", "news"),
        ("alert", "warned", "email"),
    ]


def test_without_outcomes_a_rule_says_that_it_is_silent() -> None:
    log = healthy(60, 1)
    feeds = FeedSums(log.meta.features, log.meta.catalog)
    rule = MonitorRule(
        escalations=(
            rate_rule("stop", "pause_channel", "channel", 0.01),
            Escalation(name="loss", watch="loss", effect="kill", above=0.0),
            Escalation(name="draw", watch="audit", effect="alert", check="mean_weight"),
        )
    )
    found = judge(rule, None, feeds, (), (), "no propensities")
    assert found.raised == ()
    assert found.strongest == ""
    assert set(found.silent) == {"stop", "loss", "draw"}


RAISED = (
    Raised("stop", "pause_channel", "email", 0.1, 0.01, "1970-01-02", "x"),
    Raised("arm", "pause_arm", "offer", 0.1, 0.01, "1970-01-02", "x"),
)


def test_conditions_only_take_away() -> None:
    before = Conditions(killed=False, paused_channels=frozenset({"sms"}), paused_states=frozenset({"FL"}))
    after = conditions_after(before, RAISED, None, (), 7)
    assert after.paused_channels == {"email", "sms"}
    assert after.paused_arms == {"offer"}
    assert (after.killed, after.paused_states) == (False, {"FL"})
    assert conditions_after(Conditions(), (), None, (), 7).killed is None
    kill = (Raised("all", "kill", "", 0.1, 0.01, "1970-01-02", "x"),)
    assert conditions_after(before, kill, None, (), 7).killed is True


def test_health_volumes_and_brakes_are_those_of_the_last_days() -> None:
    """Ten days of 400 sends; 7 of them are the window; on the day after, six of the last seven are over."""
    rates = rates_of(10, 400, [0] * 8 + [30, 30])
    brake = Brake(rate="complaints", tiers=(Tier(name="stop", effect="stop", above=0.003),), min_sent=100)
    after = conditions_after(Conditions(killed=False), (), rates, [brake], 7)
    health = (after.health or {})["email"]
    assert (health.sent, health.complaints) == (2800, 60)
    assert health.held["complaints"].tier == "stop"
    assert (after.sent_today, after.sent_yesterday, after.sent_7d) == (
        {"email": 0, "sms": 0},
        {"email": 400, "sms": 0},
        {"email": 2400, "sms": 0},
    )
    assert conditions_from(after.to_builtins()) == after


@pytest.mark.parametrize(("share", "raised"), [(0.1, False), (0.6, True)])
def test_a_feed_that_stands_still_and_contacts_who_are_lost(share: float, raised: bool) -> None:
    log = healthy(4000, 6, days=4)
    feeds = FeedSums(log.meta.features, log.meta.catalog)
    last = log.day == log.day.max()
    rng = np.random.default_rng(6)
    gone = last & (rng.random(log.n) < share)
    log.eligible[gone, 1:] = False
    batch = log.batch(0, slice(0, log.n))
    stale = np.where(last & (rng.random(log.n) < share), 2, 0).astype(np.uint8)
    batch.context.columns["spend"].state[:] = stale
    feeds.add(batch, log.day)
    rule = MonitorRule(
        escalations=(
            Escalation(name="reach", watch="reach", effect="alert", drop=0.15),
            Escalation(name="stale", watch="stale", effect="alert", above=0.5),
        )
    )
    found = judge(rule, {}, feeds, (), (), "no propensities")
    assert [one.name for one in found.raised] == (["reach", "stale"] if raised else [])
