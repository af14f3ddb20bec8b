"""Caps: by hand, and against a slow definition of the rolling window."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ParameterError
from engine.state.sends.caps import Cap, SendRequest, Separation, conflict, first_free, forbidden_spans, gap
from engine.types import MICROSECONDS_PER_S

DAY_S = 86_400
HOUR = 3600 * MICROSECONDS_PER_S


def send(at: int, *, key: str = "", channel: str = "sms", purpose: str = "promotional", **more: str) -> SendRequest:
    return SendRequest(key or f"d{at}", "c", channel, purpose, at, **more)


def fits_slowly(wanted: int, times: list[int], most: int, window: int) -> bool:
    """Slide a half-open window (end - window, end] over every instant that can be an end."""
    every = sorted([*times, wanted])
    inside = [[at for at in every if end - window < at <= end] for end in every]
    return all(len(members) <= most for members in inside if wanted in members)


@given(
    st.lists(st.integers(0, 60), max_size=8),
    st.integers(0, 60),
    st.integers(1, 4),
    st.integers(1, 25),
)
def test_agrees_with_the_sliding_window(times: list[int], wanted: int, most: int, window: int) -> None:
    """Also where the sends so far break the cap already: only windows that hold the new send matter."""
    spans = forbidden_spans(sorted(times), most, window)
    assert fits_slowly(wanted, times, most, window) is not any(start < wanted < end for start, end in spans)


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(0, 60), st.integers(1, 4), st.integers(1, 25))
def test_next_allowed_is_the_first_that_fits(times: list[int], wanted: int, most: int, window: int) -> None:
    spans = forbidden_spans(sorted(times), most, window)
    first = next(at for at in range(wanted, 200) if fits_slowly(at, times, most, window))
    assert first_free(wanted, spans) == first


def test_no_fourth_in_any_24_hours() -> None:
    """Sends at 23:00, 0:00 and 1:00: a calendar day's cap would allow a fourth at 2:00; it is free 24 h after 23:00."""
    cap = Cap("three_a_day", 3, DAY_S)
    others = [send(at * HOUR) for at in (23, 24, 25)]
    found = conflict(send(26 * HOUR), others, [cap])
    assert found is not None
    assert found.reasons == ("three_a_day",)
    assert found.next_allowed_at == (23 + 24) * HOUR
    assert conflict(send(47 * HOUR), others, [cap]) is None


def test_later_planned_sends_count() -> None:
    """Two are planned for 20:00 and 21:00; one at 10:00 would make 3 within 24 h, one the day before fits."""
    cap = Cap("two_a_day", 2, DAY_S)
    others = [send(20 * HOUR), send(21 * HOUR)]
    assert conflict(send(10 * HOUR), others, [cap]) is not None
    assert conflict(send(-3 * HOUR), others, [cap]) is None
    assert conflict(send(-3 * HOUR + 1), others, [cap]) is not None


def test_gap_holds_both_ways() -> None:
    rule = gap("sms_gap", 16 * 3600, channels=("sms",))
    other = [send(100 * HOUR)]
    open_at = {at: conflict(send(at * HOUR), other, [rule]) is None for at in (84, 85, 100, 115, 116)}
    assert open_at == {84: True, 85: False, 100: False, 115: False, 116: True}
    assert conflict(send(100 * HOUR, channel="email"), other, [rule]) is None


def test_null_is_no_cap_and_zero_is_never() -> None:
    crowd = [send(at) for at in range(50)]
    assert conflict(send(60), crowd, [Cap("open", None, DAY_S)]) is None
    found = conflict(send(60), [], [Cap("never", 0, DAY_S)])
    assert found is not None
    assert (found.reasons, found.next_allowed_at) == (("never",), None)


def test_every_broken_rule_is_named_and_the_latest_decides() -> None:
    others = [send(0)]
    rules = [Cap("day", 1, DAY_S), Cap("week", 1, 7 * DAY_S), Cap("free", 2, DAY_S)]
    found = conflict(send(HOUR), others, rules)
    assert found is not None
    assert (found.reasons, found.next_allowed_at) == (("day", "week"), 7 * 24 * HOUR)


def test_transactional_is_exempt_and_not_counted() -> None:
    cap = Cap("one", 1, DAY_S)
    receipt = send(HOUR, purpose="transactional")
    assert conflict(receipt, [send(0)], [cap]) is None
    assert conflict(send(2 * HOUR), [receipt], [cap]) is None


def test_per_topic() -> None:
    cap = Cap("topic", 1, DAY_S, same=("topic",))
    others = [send(0, topic="shoes")]
    assert conflict(send(HOUR, topic="shoes"), others, [cap]) is not None
    assert conflict(send(HOUR, topic="hats"), others, [cap]) is None


def test_separation_is_between_the_sides_only() -> None:
    rule = Separation("never_a_with_b", DAY_S, "template", left=("a",), right=("b",))
    a, b = send(0, template="a"), send(0, key="x", template="b")
    assert conflict(send(HOUR, template="b"), [a], [rule]) is not None
    assert conflict(send(-HOUR, template="a"), [b], [rule]) is not None
    assert conflict(send(HOUR, template="a"), [a], [rule]) is None
    assert conflict(send(24 * HOUR, template="b"), [a], [rule]) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: Cap("", 1, 1),
        lambda: Cap("x", -1, 1),
        lambda: Cap("x", True, 1),
        lambda: Cap("x", 1, 0),
        lambda: Cap("x", 1, float("nan")),
        lambda: Cap("x", 1, 1, purposes=("promo",)),
        lambda: Cap("x", 1, 1, same=("contact",)),
        lambda: Separation("x", 1, "nothing", ("a",), ("b",)),
        lambda: SendRequest("", "c", "sms", "promotional", 0),
        lambda: SendRequest("d", "c\0", "sms", "promotional", 0),
        lambda: SendRequest("d", "\ud800", "sms", "promotional", 0),
        lambda: SendRequest("d", "c", "sms", "promo", 0),
        lambda: SendRequest("d", "c", "sms", "promotional", 1.5),
        lambda: SendRequest("d", "c", "sms", "promotional", 10**18),
    ],
)
def test_bad_input_is_refused(build: object) -> None:
    with pytest.raises(ParameterError):
        build()  # type: ignore[operator]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 3), st.integers(1, 20))
def test_admitting_in_any_order_never_breaks_a_cap(wanted: list[int], most: int, window: int) -> None:
    admitted: list[SendRequest] = []
    rule = Cap("cap", most, window / MICROSECONDS_PER_S)
    for number, at in enumerate(wanted):
        request = send(at, key=f"d{number}")
        if conflict(request, admitted, [rule]) is None:
            admitted.append(request)
    times = sorted(request.send_at for request in admitted)
    assert all(later - earlier >= window for earlier, later in zip(times, times[most:], strict=False))
    assert all(earlier <= later for earlier, later in pairwise(times))
