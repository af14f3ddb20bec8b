"""States from reported events: every step that may follow, and every one that may not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records.schema import DECIDED, DELIVERED, DISPATCHED, FAILED, LEGAL, STATES, SUPPRESSED, advance_states


def after(before: str, *events: str) -> tuple[str, int]:
    state, illegal = advance_states(
        np.array([before], dtype=object), np.zeros(len(events), dtype=np.int64), np.array(events, dtype=object)
    )
    return state[0], illegal


@pytest.mark.parametrize(("before", "event"), list(itertools.product(STATES, STATES)))
def test_every_pair(before: str, event: str) -> None:
    allowed = {
        (DECIDED, DISPATCHED),
        (DECIDED, DELIVERED),
        (DECIDED, FAILED),
        (DECIDED, SUPPRESSED),
        (DISPATCHED, DELIVERED),
        (DISPATCHED, FAILED),
        (DISPATCHED, SUPPRESSED),
    }
    if before == event:
        assert after(before, event) == (before, 0)
    elif (before, event) in allowed:
        assert after(before, event) == (event, 0)
    else:
        assert after(before, event) == (before, 1)


def test_by_hand() -> None:
    """decided -> dispatched -> delivered; then a failure that cannot be; opened names no state."""
    assert after(DECIDED, DISPATCHED, "opened", DELIVERED, FAILED) == (DELIVERED, 1)


def test_rows_do_not_touch_each_other_and_the_input_stays() -> None:
    before = np.array([DECIDED, DECIDED, DISPATCHED], dtype=object)
    state, illegal = advance_states(
        before, np.array([2, 0, 2]), np.array([FAILED, DISPATCHED, DELIVERED], dtype=object)
    )
    assert state.tolist() == [DISPATCHED, DECIDED, FAILED]
    assert illegal == 1
    assert before.tolist() == [DECIDED, DECIDED, DISPATCHED]


@given(st.sampled_from(STATES), st.lists(st.sampled_from([*STATES, "opened", "clicked"]), max_size=6))
def test_an_end_is_an_end(before: str, events: list[str]) -> None:
    state, illegal = after(before, *events)
    assert 0 <= illegal <= len(events)
    if not LEGAL[before]:
        assert state == before
    # Reporting everything again changes nothing any more, unless an event that came too early fits now.
    if state in (DELIVERED, FAILED, SUPPRESSED):
        assert after(state, *events)[0] == state
