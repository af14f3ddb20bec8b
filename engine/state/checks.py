"""Checks at the border of the store, in the one template of errors."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from engine.errors import ParameterError
from engine.names import known_name, usual_channel
from engine.time.instants import END, SPAN, is_possible
from engine.time.localtime import datetime_of

MAX_SPAN_S: Final = 3660 * 86_400


def require_instant(name: str, owner: str, value: Any, *, optional: bool = False, hint: str = "") -> None:
    """Refuse what is no instant in int microseconds (or None where optional)."""
    if value is None and optional:
        return
    if not is_possible(value):
        raise ParameterError(name, owner, allowed=f"int microseconds since 1970 UTC, {SPAN}", got=value, hint=hint)


def require_after(name: str, owner: str, value: int | None, start: int | None, *, hint: str) -> None:
    """Refuse an end that is not after its start: the fact would hold at no instant. None is without end or start."""
    if value is not None and start is not None and value <= start:
        began, ended = (datetime_of(at).isoformat() for at in (start, value))
        raise ParameterError(name, owner, allowed=f"after its start, {began}", got=ended, hint=hint)


def require_micros(name: str, owner: str, value: Any) -> None:
    """Refuse what is no int microseconds: of an instant that was computed, where any origin will do."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= END:
        raise ParameterError(name, owner, allowed="int microseconds since 1970 UTC, before 2200", got=value)


def require_id(name: str, owner: str, value: Any) -> None:
    """Refuse what is no non-empty string that both databases can hold."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ParameterError(name, owner, allowed="a non-empty string without NUL", got=value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ParameterError(name, owner, allowed="a string that UTF-8 can encode", got=value) from error


def keep_name(fact: Any, name: str, choices: Collection[str], *, hint: str = "") -> None:
    """Put the known name that is meant in the place of what was written into a frozen fact.

    Args:
        fact: changed in place.
        name: name of its field.
        choices: all names that exist.
        hint: said after the nearest name.

    Raises:
        ParameterError: it is none of the choices.
    """
    meant = known_name(getattr(fact, name), choices, owner=type(fact).__name__, parameter=name, hint=hint)
    object.__setattr__(fact, name, meant)


def keep_channel(fact: Any, *, optional: bool = False) -> None:
    """Put the usual name of a channel in the place of what was written; a name that is not usual stays, trimmed.

    Which channels exist only the catalog says, so the name is held against it when it is read.

    Raises:
        ParameterError: no name, where one is needed.
    """
    channel = fact.channel
    if channel is None and optional:
        return
    require_id("channel", type(fact).__name__, channel)
    trimmed = channel.strip()
    require_id("channel", type(fact).__name__, trimmed)
    object.__setattr__(fact, "channel", usual_channel(trimmed))


def require_choice(name: str, owner: str, value: Any, choices: Collection[str]) -> None:
    """Refuse what is not among the choices."""
    if value not in choices:
        raise ParameterError(name, owner, allowed=f"one of {tuple(choices)}", got=value)


def require_depth(owner: str, value: Any) -> None:
    """Refuse what is no discount depth, nor None."""
    if value is not None and not 0 <= value < 1:
        raise ParameterError("discount", owner, allowed="in [0, 1), or None where not known", got=value)


def require_span(name: str, owner: str, value: Any) -> None:
    """Refuse what is no duration of 1 second to 10 years."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SPAN_S:
        raise ParameterError(name, owner, allowed="in (0, 10 years], seconds", got=value)
