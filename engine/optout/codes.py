"""What to do about a provider's code: suppress the contact's channel, count an event, or pause the channel (K5-K9)."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib import resources
from typing import Final, Literal

import msgspec

from engine.contacts.contacts import EVENTS
from engine.errors import ParameterError
from engine.files.documents import load_yaml
from engine.names import may_mean, name_key, usual_channel
from engine.optout.classify import classify
from engine.types import PURPOSES


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a code means.

    Attributes:
        action: suppress (the contact's channel), count (an event of the contact), pause (the channel for everybody:
            the sender's fault, the contact is not blamed), doubt (close the channel until somebody has read the code).
        channel: which.
        reason: for people.
        source / confidence: provenance as in a pack.
        purposes: purposes that a suppression closes.
        until: what lifts a suppression: the contact's START, or nothing.
        event: kind of event to record, if any.
    """

    action: Literal["suppress", "count", "pause", "doubt"]
    channel: str
    reason: str
    source: str
    confidence: Literal["V", "S", "M", "-"] = "-"
    purposes: tuple[str, ...] = PURPOSES
    until: Literal["start", "never", ""] = ""
    event: str = ""

    def __post_init__(self) -> None:
        if (self.action == "suppress") != bool(self.until):
            raise ParameterError(
                "until", "a provider code", allowed="given for suppress, and only there", got=self.until
            )
        if (self.event and self.event not in EVENTS) or (self.action == "count" and not self.event):
            raise ParameterError("event", "a provider code", allowed=f"one of {EVENTS}", got=self.event)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    codes: dict[str, Action]


# A code that nobody has described must not leave the contact open for ever: it counts as a failed delivery.
UNKNOWN_CODE: Final = "unknown code"
DOUBTED_CODE: Final = "unknown code that reads like a stop, a bounce or a complaint"

_SPACED: Final = re.compile(r"(?<=\d)[,.' ](?=\d{3}(?!\d))")
_SCIENTIFIC: Final = re.compile(r"\d(?:[.,]\d+)?e[+]?\d{1,2}")
_MOST_DIGITS: Final = 40
# Parts of keys (`engine.names.name_key`) that speak of a stop, a bounce or a complaint.
_STOPS: Final = (
    *(
        "unsub",
        "optout",
        "optedout",
        "optsout",
        "stop",
        "suppress",
        "donotcontact",
        "blocked",
        "blocklist",
        "blacklist",
    ),
    *("bounc", "complain", "spam", "abuse"),
)
_STOP_WORDS: Final = ("unsubscribe", "unsubscribed", "opted out", "bounced", "complained", "complaint", "suppressed")


def action_for(code: str | float, channel: str = "sms") -> Action:
    """What to do about a code, however it is spelt; where several codes may be meant, the strictest.

    A code that the table does not have counts as a soft failure of its channel, or is in doubt where it reads like a
    stop, a bounce or a complaint.

    Args:
        code: of the provider, as it came: `hard bounce`, `Complaints`, `#21610` and `21610.0` are codes of the table.
        channel: on which an unknown code came.
    """
    text = unicodedata.normalize("NFKC", str(code)).strip().casefold()
    exact = provider_codes().get(text)
    if exact is not None:
        return exact
    meant = _meant(text)
    action = max((provider_codes()[name] for name in sorted(meant)), key=_strictness, default=None)
    if (action is None or action.action == "count") and _is_stop(text, meant):
        return Action(action="doubt", channel=channel, reason=DOUBTED_CODE, source="ours")
    if action is not None:
        return action
    event = "soft_bounced" if usual_channel(channel) == "email" else "unreachable"
    return Action(action="count", channel=channel, reason=UNKNOWN_CODE, source="ours", event=event)


def _meant(text: str) -> frozenset[str]:
    """Codes of the table that a text names: as a number in it, as words in it, or as a slip of the pen."""
    known = provider_codes()
    named = {name for name in known if not name.isdecimal() and name_key(name) in name_key(text)}
    return frozenset(named | (_numbers(text) & known.keys())) or may_mean(text, known)


def _numbers(text: str) -> set[str]:
    """The whole numbers of a text, without leading zeros, separators of thousands and powers of ten."""
    runs = {run for form in (text, _SPACED.sub("", text)) for run in re.findall(r"\d+", form)}
    return {str(int(run)) for run in runs if len(run) <= _MOST_DIGITS} | {
        f"{float(found.replace(',', '.')):.0f}" for found in _SCIENTIFIC.findall(text)
    }


def _strictness(action: Action) -> tuple[int, int]:
    return ("count", "pause", "doubt", "suppress").index(action.action), len(action.purposes)


def _is_stop(text: str, meant: frozenset[str]) -> bool:
    """Whether what is left of a text without the codes that it names speaks of a stop, a bounce or a complaint."""
    rest = name_key(text)
    for name in meant:
        rest = "" if may_mean(text, {name}) else rest.replace(name_key(name), "")
    if any(part in rest for part in _STOPS) or (rest and may_mean(rest, _STOP_WORDS)):
        return True
    return not meant and any(letter.isalpha() for letter in text) and classify(text).verdict == "stop"


@lru_cache(maxsize=1)
def provider_codes() -> dict[str, Action]:
    """The table that ships."""
    text = (resources.files("conf") / "optout" / "provider_codes.yaml").read_text(encoding="utf-8")
    return msgspec.convert(load_yaml(text), _Table).codes
