"""What to do about a provider's code: suppress the contact's channel, count an event, or pause the channel (K5-K9)."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Literal

import msgspec

from engine.contacts import EVENTS
from engine.errors import ParameterError
from engine.files.documents import load_yaml
from engine.types import PURPOSES


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a code means.

    Attributes:
        action: suppress (the contact's channel), count (an event of the contact), pause (the channel for everybody:
            the sender's fault, the contact is not blamed).
        channel: which.
        reason: for people.
        source / confidence: as in a pack.
        purposes: that a suppression closes.
        until: what lifts a suppression: the contact's START, or nothing.
        event: kind of event to record, if any.
    """

    action: Literal["suppress", "count", "pause"]
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
UNKNOWN_CODE = "unknown code"


def action_for(code: str | int, channel: str = "sms") -> Action:
    """What to do about a code; a code that the table does not have counts as a soft failure of its channel.

    Args:
        code: of the provider.
        channel: on which an unknown code came.
    """
    found = provider_codes().get(str(code).strip().lower())
    if found is not None:
        return found
    event = "soft_bounced" if channel == "email" else "unreachable"
    return Action(action="count", channel=channel, reason=UNKNOWN_CODE, source="ours", event=event)


@lru_cache(maxsize=1)
def provider_codes() -> dict[str, Action]:
    """The table that ships."""
    text = (resources.files("conf") / "optout" / "provider_codes.yaml").read_text(encoding="utf-8")
    return msgspec.convert(load_yaml(text), _Table).codes
