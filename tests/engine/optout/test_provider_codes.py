"""Provider codes: whom they close, what they count, and when the contact is not to blame."""

from __future__ import annotations

import msgspec
import pytest

from engine.contacts.contacts import EVENTS
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


SPELLINGS = {
    "hard_bounce": ("hard-bounce", "Hard Bounce", "hardbounce", "hard_bounced", "hrad bounce", "Hard\u200bBounce: 550"),
    "soft_bounce": ("soft-bounced", "Soft Bounce"),
    "complaint": ("Complaints", "spam complaint", "complained"),
    "21610": (
        "21610.0",
        "\uff12\uff11\uff16\uff11\uff10",
        "#21610",
        "E21610",
        "021610",
        "2.161E+04",
        "21,610",
        "\u0662\u0661\u0666\u0661\u0660",
    ),
    "30007": ("Twilio error 30007: carrier filtered (spam)", "E30007"),
}


@pytest.mark.parametrize(("code", "spelling"), [(code, one) for code, many in SPELLINGS.items() for one in many])
def test_a_spelling_of_a_code_is_the_code(code: str, spelling: str) -> None:
    assert action_for(spelling) == provider_codes()[code]


def test_a_float_of_a_json_file_is_the_whole_number() -> None:
    assert action_for(21610.0) == provider_codes()["21610"]


def test_of_several_codes_the_strictest_holds() -> None:
    assert action_for("30003; 21610") == provider_codes()["21610"]
    assert action_for("complaint after hard bounce") == provider_codes()["hard_bounce"]


@pytest.mark.parametrize(
    "code",
    [
        "unsubscribed",
        "opted-out",
        "unsubscibed",
        "STOP",
        "bounce",
        "spam",
        "Blocked",
        "do not contact",
        "30003 unsubscribed",
    ],
)
def test_an_unknown_code_that_reads_like_a_stop_is_in_doubt(code: str) -> None:
    found = action_for(code, "email")
    assert (found.action, found.channel, found.event) == ("doubt", "email", "")


@pytest.mark.parametrize("code", ["21611", "550 5.1.1", "failed", "delivered", "1e999", "9" * 5000, "121610"])
def test_another_unknown_code_counts(code: str) -> None:
    assert action_for(code).action == "count"


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
