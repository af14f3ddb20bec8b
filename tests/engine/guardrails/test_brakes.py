"""engine/guardrails/brakes.py: bounds against scipy's exact test, tiers by hand, hysteresis day by day."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from engine.errors import ParameterError
from engine.guardrails.brakes import Brake, Tier, lower_bound, proven_tier, review, tier_on
from engine.guardrails.conditions import ChannelHealth, Held

GMAIL = Brake(
    rate="complaints",
    tiers=(
        Tier(name="warn", effect="warn", above=0.0008),
        Tier(name="slow", effect="slow", above=0.0010),
        Tier(name="stop", effect="stop", above=0.0020, release_below=0.0010, release_days=3),
        Tier(name="hard", effect="stop", above=0.0030, release_days=7),
    ),
)
QUIET = ChannelHealth(sent=100_000)


def health(sent: int, complaints: int, held: Held | None = None) -> ChannelHealth:
    return ChannelHealth(sent, complaints, held={} if held is None else {"complaints": held})


@pytest.mark.parametrize(("events", "sent"), [(1, 39), (3, 1000), (30, 10_000), (10_000, 10_000)])
def test_bound_is_clopper_and_pearsons(events: int, sent: int) -> None:
    exact = binomtest(events, sent).proportion_ci(0.9, method="exact").low
    assert lower_bound(events, sent, 0.95) == pytest.approx(exact, rel=1e-9)


def test_bound_of_nothing_and_of_late_reports() -> None:
    assert lower_bound(0, 0, 0.95) == 0.0
    assert lower_bound(0, 50, 0.95) == 0.0
    assert lower_bound(3, 0, 0.95) == 0.0
    assert lower_bound(7, 5, 0.95) == lower_bound(5, 5, 0.95)


@pytest.mark.parametrize("sent", [1000, 20_000, 200_000])
def test_a_clean_channel_brakes_no_more_often_than_it_may(sent: int) -> None:
    """Exact, by the binomial law: with a true rate at the limit the brake goes on with probability at most 0.05."""
    stop = GMAIL.tiers[2].above
    counts = np.arange(int(stop * sent * 3) + 30)
    on = [proven_tier(GMAIL, int(count), sent) >= 2 for count in counts]
    assert float(binom.pmf(counts[on], sent, stop).sum()) <= 0.05


def test_one_complaint_among_39_sends_proves_nothing() -> None:
    """2.6 %, nine times the hard limit; without the minimum count the bound alone would call it slow."""
    assert tier_on(GMAIL, health(39, 1)) == -1
    assert lower_bound(1, 39, 0.95) > GMAIL.tiers[1].above


@pytest.mark.parametrize(
    ("complaints", "tier"),
    [(0, None), (80, None), (97, "warn"), (120, "slow"), (230, "stop"), (332, "hard"), (10_000, "hard")],
)
def test_tiers_at_a_hundred_thousand_sends(complaints: int, tier: str | None) -> None:
    """The bound of 97 in 100,000 lies between 0.08 % and 0.10 %; of 332 above 0.30 %."""
    position = tier_on(GMAIL, health(100_000, complaints))
    assert (None if position < 0 else GMAIL.tiers[position].name) == tier


def test_what_is_held_stays_and_the_unknown_counts_as_the_worst() -> None:
    assert tier_on(GMAIL, health(100_000, 0, Held("slow"))) == 1
    assert tier_on(GMAIL, health(100_000, 0, Held("none"))) == -1
    assert tier_on(GMAIL, health(100_000, 0, Held("renamed"))) == 3
    assert tier_on(GMAIL, health(100_000, 332, Held("slow"))) == 3


def days(held: Held, rates: list[float | None], first: int) -> list[Held]:
    """One look a day at 10,000 sends; None is a day that nobody looked at; the window proves nothing any more."""
    seen = []
    for day, rate in enumerate(rates, first):
        if rate is not None:
            held = review(GMAIL, held, QUIET, ChannelHealth(10_000, round(rate * 10_000)), day)
            seen.append(held)
    return seen


def test_the_hard_limit_needs_seven_straight_days_below() -> None:
    on = review(GMAIL, None, health(100_000, 400), QUIET, 100)
    assert on == Held("hard", 0, 100)
    below = days(on, [0.0029] * 7, 101)
    assert [state.tier for state in below] == ["hard"] * 6 + ["none"]
    # The limit itself is not below; it begins the count again.
    again = days(on, [0.0029] * 6 + [0.0030] + [0.0029] * 7, 101)
    assert [state.days_below for state in again[:8]] == [1, 2, 3, 4, 5, 6, 0, 1]
    assert [state.tier for state in again] == ["hard"] * 13 + ["none"]
    # A day that nobody looked at breaks the row.
    gap = days(on, [0.0029] * 3 + [None] + [0.0029] * 7, 101)
    assert [state.days_below for state in gap] == [1, 2, 3, 1, 2, 3, 4, 5, 6, 0]


def test_release_needs_the_lower_limit_and_a_window_that_proves_nothing() -> None:
    stop = Held("stop", 0, 100)
    assert [s.tier for s in days(stop, [0.0015] * 9, 101)] == ["stop"] * 9
    assert [s.tier for s in days(stop, [0.0009] * 3, 101)] == ["stop", "stop", "none"]
    window = health(100_000, 230)
    for day in range(101, 110):
        stop = review(GMAIL, stop, window, QUIET, day)
    assert stop == Held("stop", 0, 109)
    # The window has come down to slow: that is where the brake falls.
    window = health(100_000, 120)
    for day in range(110, 113):
        stop = review(GMAIL, stop, window, QUIET, day)
    assert stop == Held("slow", 0, 112)


def test_days_without_sends_and_looks_on_the_same_day() -> None:
    on = Held("hard", 3, 100)
    empty, trickle = ChannelHealth(0), ChannelHealth(0, complaints=2)
    assert review(GMAIL, on, QUIET, empty, 101) == Held("hard", 4, 101)
    assert review(GMAIL, on, QUIET, trickle, 101) == Held("hard", 0, 101)
    assert review(GMAIL, on, QUIET, empty, 100) == on
    with pytest.raises(ParameterError, match="day"):
        review(GMAIL, on, QUIET, empty, 99)


@given(st.integers(0, 3000), st.integers(0, 100_000), st.integers(0, 300))
def test_more_complaints_never_release(events: int, sent: int, more: int) -> None:
    assert proven_tier(GMAIL, events, sent) <= proven_tier(GMAIL, events + more, sent)
    assert proven_tier(GMAIL, events, sent) >= -1


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 600)), max_size=40))
def test_a_state_is_never_weaker_than_what_the_window_proves(looks: list[tuple[int, int]]) -> None:
    held = None
    for day, (today, window) in enumerate(looks):
        held = review(GMAIL, held, health(100_000, window), health(10_000, today), day)
        names = ["none", *(tier.name for tier in GMAIL.tiers)]
        assert names.index(held.tier) - 1 >= proven_tier(GMAIL, window, 100_000)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Tier(name="a", effect="stop", above=0.0), "above"),
        (lambda: Tier(name="a", effect="stop", above=1.5), "above"),
        (lambda: Tier(name="a", effect="stop", above=0.1, release_below=0.2), "release_below"),
        (lambda: Tier(name="a", effect="stop", above=0.1, release_days=0), "release_days"),
        (lambda: Tier(name="a", effect="slow", above=0.1, share=1.1), "share"),
        (lambda: Tier(name="none", effect="stop", above=0.1), "name"),
        (lambda: Brake(rate="opt_outs", tiers=()), "tiers"),
        (lambda: Brake(rate="opt_outs", tiers=GMAIL.tiers[::-1]), "tiers"),
        (lambda: Brake(rate="opt_outs", tiers=GMAIL.tiers, confidence=1.0), "confidence"),
        (lambda: Brake(rate="opt_outs", tiers=GMAIL.tiers, min_sent=0), "min_sent"),
        (lambda: ChannelHealth(-1), "sent"),
        (lambda: ChannelHealth(5, -1), "complaints"),
    ],
)
def test_bad_numbers(make, name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        make()
