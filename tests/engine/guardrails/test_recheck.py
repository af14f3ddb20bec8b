"""engine/guardrails/recheck.py: the chosen action of a logged decision, judged again at the instant of its dispatch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch, plain_contacts
from engine.errors import ParameterError
from engine.guardrails.conditions import Conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, pack_from
from engine.guardrails.recheck import Chosen, Dispatch, recheck, recheck_batch, sent_now
from engine.guardrails.specimens import specimen_contacts
from engine.records import schema as records
from engine.time.localtime import instant_of
from engine.types import HOLD, NOT_AN_INSTANT

CATALOG = Catalog(
    name="recheck",
    channels=("email", "sms"),
    hours=(9, 18, "now"),
    arms=(
        Arm(id="promo", approved=True),
        Arm(id="receipt", approved=True, purpose="transactional"),
        Arm(id="ends", approved=True, valid_until="2026-11-03T12:30:00Z"),
    ),
)
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)  # Tuesday
ENTRY = {"kind": "eng", "jurisdiction": "any", "source": "test", "checked_on": "2026-11-22"}
OPEN = {"mon-sat": ["09:00-20:00"]}
RULES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("C1", "consent", {}),
    ("K1", "suppression", {}),
    ("Q9", "quiet_hours", {"windows": {"*": OPEN}}),
    ("F4", "frequency", {"caps": [{"max": 1, "window_s": 86_400}]}),
    ("O8", "content", {}),
    ("O11", "operations", {}),
)
RUNNING = Conditions(killed=False)


def pack(*rules: tuple[str, str, dict[str, Any]]) -> Pack:
    entries = [{"id": name, "rule": rule, "params": params, **ENTRY} for name, rule, params in rules]
    return pack_from({"name": "t", "version": "1", "rules": entries})


LAYER = Guardrails(pack(*RULES), CATALOG)


def contact(sends: tuple[tuple[datetime, int, int], ...] = (), **changes: Any) -> ContactBatch:
    known: dict[str, Any] = {
        "zones": ("UTC",),
        "zone_code": np.zeros(1, dtype=np.int32),
        "consent": np.ones((1, 2, 2), dtype=np.int8),
        "suppressed": np.zeros((1, 2), dtype=np.int8),
        "history_known": np.ones(1, dtype=np.bool_),
        "sent_offsets": np.array([0, len(sends)], dtype=np.int64),
        "sent_at": np.array([instant_of(at) for at, _, _ in sends], dtype=np.int64),
        "sent_channel": np.array([channel for _, channel, _ in sends], dtype=np.int32),
        "sent_purpose": np.array([purpose for _, _, purpose in sends], dtype=np.int32),
    }
    return plain_contacts(np.array(["c"], dtype=object), CATALOG, **(known | changes))


def chosen(name: str = "email|now|promo", at: datetime | None = NOW, reserved: bool = False) -> Chosen:
    planned = NOT_AN_INSTANT if at is None else instant_of(at)
    return Chosen(np.array([CATALOG.resolve(name)], dtype=np.int32), np.array([planned]), np.array([reserved]))


def ask(what: Chosen, who: ContactBatch, now: datetime = NOW, conditions: Conditions = RUNNING) -> Dispatch:
    return recheck(LAYER, what, who, now, conditions)


def ids(answer: Dispatch) -> set[str]:
    return {reason.id for reason in answer.reasons}


def test_what_may_go_goes() -> None:
    assert ask(chosen(), contact()) == Dispatch(True, records.DISPATCHED)
    assert ask(chosen(at=None), contact()).allowed  # a plan without an instant cannot be late
    assert ask(chosen("hold", None), plain_contacts(np.array(["c"], dtype=object), CATALOG)).allowed


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"consent": np.zeros((1, 2, 2), dtype=np.int8)}, "C1"),
        ({"consent": np.full((1, 2, 2), -1, dtype=np.int8)}, "C1"),
        ({"suppressed": np.array([[1, 0]], dtype=np.int8)}, "K1"),
        ({"suppressed": np.array([[-1, 0]], dtype=np.int8)}, "K1"),
        ({"zone_code": np.array([-1], dtype=np.int32)}, "Q9"),
        ({"history_known": np.zeros(1, dtype=np.bool_)}, "F4"),
    ],
)
def test_what_changed_in_between_stops_it(changes: dict[str, Any], rule: str) -> None:
    answer = ask(chosen(), contact(**changes))
    assert (answer.allowed, answer.state, ids(answer)) == (False, records.SUPPRESSED, {rule})
    assert all(reason.reason for reason in answer.reasons)


def test_every_reason_is_told() -> None:
    nobody = plain_contacts(np.array(["c"], dtype=object), CATALOG)
    assert ids(ask(chosen(), nobody, conditions=Conditions())) == {"C1", "K1", "Q9", "F4", "O11"}


def test_the_send_leaves_now_whatever_its_slot_was() -> None:
    """Planned for 18:00; at 19:50 it would arrive by 20:00 at the latest, a second later perhaps not."""
    evening = NOW.replace(hour=18)
    what = chosen("sms|18|promo", evening)
    assert ask(what, contact(), NOW.replace(hour=19, minute=49, second=59)).allowed
    assert ids(ask(what, contact(), NOW.replace(hour=19, minute=50, second=1))) == {"Q9"}
    assert sent_now(CATALOG).hours == ("now",)
    # An arm that ends at 12:30 was planned in time, and leaves too late at 12:20 plus the margin.
    ending = chosen("email|now|ends", NOW)
    assert ask(ending, contact(), NOW.replace(minute=19)).allowed
    assert ids(ask(ending, contact(), NOW.replace(minute=20))) == {"O8"}


def test_the_own_reservation_is_not_counted_twice() -> None:
    own, other = (NOW, 0, 0), (NOW - timedelta(hours=23), 1, 0)
    assert ids(ask(chosen(), contact((own,)))) == {"F4"}
    assert ask(chosen(reserved=True), contact((own,))).allowed
    assert ids(ask(chosen(reserved=True), contact((other, own)))) == {"F4"}
    # One entry is the own one; its twin, another channel, another purpose or another instant is not.
    assert ids(ask(chosen(reserved=True), contact((own, own)))) == {"F4"}
    assert ids(ask(chosen(reserved=True), contact(((NOW, 1, 0),)))) == {"F4"}
    assert ids(ask(chosen(reserved=True), contact(((NOW - timedelta(seconds=1), 0, 0),)))) == {"F4"}
    assert ask(chosen(reserved=True), contact()).allowed


def test_late_and_early() -> None:
    late = ask(chosen(), contact(), NOW + timedelta(hours=6, microseconds=1))
    assert (late.state, ids(late)) == (records.SUPPRESSED, {"late"})
    assert ask(chosen(), contact(), NOW + timedelta(hours=6)).allowed
    early = ask(chosen("email|18|promo", NOW.replace(hour=18)), contact())
    assert (early.allowed, early.state, ids(early)) == (False, records.DECIDED, {"early"})
    assert early.reasons[0].next_allowed_at == instant_of(NOW.replace(hour=18))


def test_switches() -> None:
    assert ids(ask(chosen(), contact(), conditions=Conditions(killed=True))) == {"O11"}
    paused = Conditions(killed=False, paused_channels=frozenset({"email"}))
    assert ids(ask(chosen(), contact(), conditions=paused)) == {"O11"}
    assert ask(chosen("sms|now|promo"), contact(), conditions=paused).allowed


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10_000))
def test_equal_to_the_layer_on_a_catalog_of_now(seed: int, minutes: int) -> None:
    """Allowed exactly where the layer allows the same channel and arm in the slot "now", for any contact and action."""
    now = NOW + timedelta(minutes=minutes)
    n = 40
    rng = np.random.default_rng(seed)
    people = specimen_contacts(CATALOG, n, instant_of(now), seed)
    action = rng.integers(0, CATALOG.k, n).astype(np.int32)
    what = Chosen(action, np.full(n, NOT_AN_INSTANT), np.zeros(n, dtype=np.bool_))
    got = recheck_batch(LAYER, what, people, now, RUNNING)
    instantly = sent_now(CATALOG)
    eligible = Guardrails(LAYER.pack, instantly).eligibility(people, now, RUNNING)[0].dense()
    channel, _, arm = CATALOG.split(action)
    same = [HOLD if c < 0 else instantly.index(int(c), 0, int(a)) for c, a in zip(channel, arm, strict=True)]
    assert got.allowed.tolist() == eligible[np.arange(n), same].tolist()
    assert sorted(got.reasons) == np.flatnonzero(~got.allowed).tolist()
    # Row by row it is the same.
    for row in (0, n - 1):
        alone = recheck(LAYER, what.take(np.array([row])), people.alone(row), now, RUNNING)
        assert (alone.allowed, alone.state) == (got.one(row).allowed, got.one(row).state)
        assert {reason.id for reason in alone.reasons} == {reason.id for reason in got.one(row).reasons}


def test_a_rule_without_its_input_refuses() -> None:
    layer = Guardrails(pack(("C1", "consent", {}), ("O13", "emergency", {})), CATALOG)
    answer = recheck(layer, chosen(), contact(), NOW, RUNNING)
    assert (ids(answer), answer.reasons[0].observed) == ({"O13"}, "missing")


@pytest.mark.parametrize(
    ("what", "who", "name"),
    [
        (replace(chosen(), action=np.array([99], dtype=np.int32)), contact(), "action"),
        (replace(chosen(), action=np.array([-1], dtype=np.int32)), contact(), "action"),
        (replace(chosen(), send_at=np.array([0, 0])), contact(), "chosen"),
        (chosen().take(np.array([0, 0])), contact(), "chosen"),
        (chosen(), contact(consent=np.ones((1, 3, 2), np.int8), suppressed=np.zeros((1, 3), np.int8)), "contacts"),
    ],
)
def test_what_does_not_fit(what: Chosen, who: ContactBatch, name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        recheck(LAYER, what, who, NOW)
    with pytest.raises(ParameterError, match="max_delay_s"):
        recheck(LAYER, chosen(), contact(), NOW, RUNNING, -1.0)
    with pytest.raises(ParameterError, match="now"):
        recheck(LAYER, chosen(), contact(), NOW.replace(tzinfo=None))
