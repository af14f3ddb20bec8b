"""Provider codes: whom they close, what they count, and when the contact is not to blame."""

from __future__ import annotations

import msgspec
import pytest

from engine.contacts import EVENTS
from engine.errors import ParameterError
from engine.optout.codes import Action, action_for, provider_codes


@pytest.mark.parametrize(
    ("code", "action", "until"),
    [
        ("21610", "suppress", "start"),
        (30006, "suppress", "never"),
        ("21635", "suppress", "never"),
        ("21211", "suppress", "never"),
        ("30003", "count", ""),
        ("30005", "count", ""),
        ("30004", "suppress", "start"),
        ("30007", "pause", ""),
        ("30034", "pause", ""),
        (" HARD_BOUNCE ", "suppress", "never"),
        ("soft_bounce", "count", ""),
        ("complaint", "suppress", "never"),
    ],
)
def test_every_code_of_the_catalogue(code: str | int, action: str, until: str) -> None:
    found = action_for(code)
    assert (found.action, found.until) == (action, until)


def test_the_senders_fault_never_closes_a_contact() -> None:
    for code in ("30007", "30034"):
        assert action_for(code).event == ""


def test_a_complaint_ends_marketing_only() -> None:
    assert action_for("complaint").purposes == ("promotional",)
    assert action_for("hard_bounce").purposes == ("promotional", "transactional")


def test_counted_events_are_known_to_the_rules() -> None:
    assert {action.event for action in provider_codes().values() if action.event} <= set(EVENTS)


@pytest.mark.parametrize(("channel", "event"), [("sms", "unreachable"), ("email", "soft_bounced")])
def test_an_unknown_code_counts_as_a_failure(channel: str, event: str) -> None:
    found = action_for("99999", channel)
    assert (found.action, found.channel, found.event) == ("count", channel, event)


@pytest.mark.parametrize(
    "change",
    [
        {"action": "suppress"},
        {"action": "pause", "until": "never"},
        {"action": "count"},
        {"action": "count", "event": "sneezed"},
    ],
)
def test_codes_that_make_no_sense_are_refused(change: dict[str, str]) -> None:
    with pytest.raises((ParameterError, msgspec.ValidationError)):
        Action(**({"channel": "sms", "reason": "r", "source": "s"} | change))
