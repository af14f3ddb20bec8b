"""Arms that wait for their days before a date: by hand, at the edges, and through the conformance suite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch, plain_contacts
from engine.errors import ConfigError
from engine.guardrails.check import check_rule
from engine.guardrails.judging import findings, judge, removed
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Scene
from engine.types import NOT_AN_INSTANT

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NOON = 20_000 * DAY_US + 12 * HOUR_US
CATALOG = Catalog(
    name="trial",
    channels=("email", "sms"),
    hours=(9, 18),
    arms=(
        Arm(id="help", approved=True),
        Arm(id="ends", approved=True, channels=("sms",), attributes={"due_within_days": 3}),
        Arm(id="notice", approved=True, purpose="transactional", attributes={"due_within_days": 14.0}),
    ),
)
RULE = make_rule("due_window", {})


def scene(due_at: int, zone: str | None = "UTC", margin_s: int = 0) -> Scene:
    contacts: ContactBatch = plain_contacts(
        np.array(["c"], dtype=object),
        CATALOG,
        zones=() if zone is None else (zone,),
        zone_code=np.array([-1 if zone is None else 0], dtype=np.int32),
        extra={"due_at": np.array([due_at], dtype=np.int64)},
    )
    return Scene(CATALOG, contacts, NOON, margin_s)


def gone(where: Scene) -> set[str]:
    eligible = removed(judge(RULE, where), 1, CATALOG).dense()[0]
    _, _, arms = CATALOG.split(np.flatnonzero(~eligible))
    return {CATALOG.arm_ids[arm] for arm in arms}


@pytest.mark.parametrize(
    ("due_at", "expected"),
    [
        # The first slot after noon is 18:00 today, the last 09:00 tomorrow.
        (NOON + 3 * DAY_US + 6 * HOUR_US, set()),
        (NOON + 3 * DAY_US + 6 * HOUR_US + 1, {"ends"}),
        (NOON + 21 * HOUR_US, set()),
        (NOON + 21 * HOUR_US - 1, {"ends", "notice"}),
        (NOON + 14 * DAY_US + 6 * HOUR_US + 1, {"ends", "notice"}),
        (NOON - DAY_US, {"ends", "notice"}),
        (NOT_AN_INSTANT, {"ends", "notice"}),
    ],
    ids=["first day", "a moment early", "last slot", "a moment late", "too early for both", "over", "unknown"],
)
def test_an_arm_waits_for_its_days(due_at: int, expected: set[str]) -> None:
    assert gone(scene(due_at)) == expected


def test_the_queue_must_not_carry_it_past_the_date() -> None:
    due = NOON + 21 * HOUR_US + 600_000_000
    assert gone(scene(due, margin_s=600)) == set()
    assert gone(scene(due - 1, margin_s=600)) == {"ends", "notice"}


def test_without_a_zone_a_slot_may_lie_anywhere() -> None:
    assert gone(scene(NOON + 3 * DAY_US, zone=None)) == set()
    assert gone(scene(NOON + HOUR_US, zone=None)) == {"ends", "notice"}


def test_without_the_column_every_such_arm_is_gone() -> None:
    where = scene(NOON + 2 * DAY_US)
    bare = Scene(CATALOG, replace(where.contacts, extra={}), NOON, 0)
    assert gone(bare) == {"ends", "notice"}


def test_what_is_said_of_an_early_arm_is_when_it_opens() -> None:
    """Due in 5 days at noon; open when no slot lies before 2 days from now at noon: at 12:00 the slot 18:00 is next."""
    found = {CATALOG.action_names[action]: why for action, why in findings(RULE, scene(NOON + 5 * DAY_US))}
    why = found["sms|18|ends"]
    assert why.next_allowed_at is not None
    later = Scene(CATALOG, scene(NOON + 5 * DAY_US).contacts, why.next_allowed_at, 0)
    assert gone(later) == set()
    assert "more than 3 days" in why.reason
    assert "email|9|help" not in found
    late = dict(findings(RULE, scene(NOON - DAY_US)))
    assert all(why.next_allowed_at is None and "after" in why.reason for why in late.values())
    assert all(why.observed == "unknown" for _, why in findings(RULE, scene(NOT_AN_INSTANT)))


def test_a_window_shorter_than_the_slots_never_opens() -> None:
    short = Arm(id="short", approved=True, attributes={"due_within_days": 0.1})
    catalog = Catalog(name="short", channels=("sms",), hours=(9, 18), arms=(short,))
    contacts = replace(scene(NOON + 5 * DAY_US).contacts)
    contacts = plain_contacts(
        np.array(["c"], dtype=object), catalog, zones=("UTC",), zone_code=np.zeros(1, dtype=np.int32),
        extra=contacts.extra,
    )  # fmt: skip
    found = findings(RULE, Scene(catalog, contacts, NOON, 0))
    assert found
    assert all(why.next_allowed_at is None for _, why in found)


@pytest.mark.parametrize("value", [0, -1, 4000, "three"])
def test_a_number_of_days_must_be_one(value: float | str) -> None:
    arm = Arm(id="x", approved=True, attributes={"due_within_days": value})
    catalog = Catalog(name="wrong", channels=("sms",), hours=(9,), arms=(arm,))
    nobody = plain_contacts(np.empty(0, dtype=object), catalog)
    with pytest.raises(ConfigError, match="due_within_days") as caught:
        judge(RULE, Scene(catalog, nobody, NOON, 0))
    assert caught.value.hint


def test_it_conforms() -> None:
    check_rule(RULE, CATALOG)
