"""From records of consent and suppression to one level per contact and channel.

Consent: a grant counts where it has a source and an instant that has come, has not expired, and is newer than every
refusal. An implied grant never outweighs a refusal, whenever it came: only an express one does. At the same instant the
refusal wins. A refusal counts from when it is in the store, whatever its instant.

Suppression: it holds from when it is in the store, until its end or until a later row lifts it. A lift ends rows of its
own channel and reason only: START after STOP does not make a number reachable that also bounced. Names are compared as
`engine.names` understands them; a suppression whose channel cannot be told closes every channel until it is lifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.contacts.contacts import CONSENT_BASES, NO, UNKNOWN, UNTOLD_CHANNEL, YES, LevelArray, channel_codes
from engine.names import channel_of, codes_of, name_key, usual_channel
from engine.state.facts import CONSENT_KINDS, CONSENT_PURPOSES, EXPRESS_KINDS, GRANTED, PROFILING, STOP_KINDS
from engine.types import NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray

WITHOUT_END: Final = np.iinfo(np.int64).max
CONSENT_COLUMNS: Final = ("channel", "purpose", "status", "kind", "source", "recorded_at", "expires_at")
_NEVER: Final = np.iinfo(np.int64).max
_EVERY: Final = -3

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Consents:
    """Consent per contact, channel and purpose, all of shape (n, C, P).

    Where several grants hold, basis, instant and end are all those of one of them, the best basis first and then the
    latest end: parts of different grants would add up to one that nobody gave.

    Attributes:
        level: 1 granted, 0 refused or lapsed, -1 no record that counts.
        given_at: of the grant that holds, else of the newest refusal; `NOT_AN_INSTANT` where there is neither.
        basis: position in `CONSENT_BASES`; -1 without a grant that holds.
        expires_at: the largest int64 for a consent without end, `NOT_AN_INSTANT` where there is no consent.
    """

    level: LevelArray
    given_at: IntArray
    basis: LevelArray
    expires_at: IntArray


def fold_consents(found: Columns, n: int, channels: tuple[str, ...], now_at: int) -> Consents:
    """Consent of n contacts.

    Args:
        found: `CONSENT_COLUMNS` and `owner`, the contact's row in [0, n).
        n: contacts.
        channels: C names.
        now_at: microseconds.
    """
    shape = (n, len(channels), len(PURPOSES))
    level = np.full(shape, UNKNOWN, dtype=np.int8)
    expires = np.full(shape, NOT_AN_INSTANT, dtype=np.int64)
    refused = np.full(shape, NOT_AN_INSTANT, dtype=np.int64)
    cell = (
        np.array(found["owner"], dtype=np.int64),
        _channels(found["channel"], channels),
        codes_of(found["purpose"], CONSENT_PURPOSES, none=_EVERY, unknown=UNTOLD_CHANNEL).astype(np.int64),
    )
    granted = np.array([status == GRANTED for status in found["status"]], dtype=np.bool_)
    given = np.array([_NEVER if at is None else at for at in found["recorded_at"]], dtype=np.int64)
    until = np.array([WITHOUT_END if at is None else at for at in found["expires_at"]], dtype=np.int64)
    sourced = np.array([bool(source) for source in found["source"]], dtype=np.bool_)
    kind = np.array([CONSENT_KINDS.index(kind) for kind in found["kind"]], dtype=np.int8)
    express = kind < len(EXPRESS_KINDS)
    for row in np.flatnonzero(~granted):
        where = (cell[0][row], _stretch(int(cell[1][row])), _stretch(int(cell[2][row])))
        refused[where] = np.maximum(refused[where], given[row])
        level[where] = NO
    counts = granted & sourced & (given <= now_at) & (cell[1] >= 0) & (cell[2] >= 0) & (cell[2] < len(PURPOSES))
    cell = (cell[0][counts], cell[1][counts], cell[2][counts])
    given, until, express, kind = given[counts], until[counts], express[counts], kind[counts]
    free = refused[cell] == NOT_AN_INSTANT
    holds = (until > now_at) & (free | (express & (given > refused[cell])))
    holding = (cell[0][holds], cell[1][holds], cell[2][holds])
    level[holding] = YES
    # The last one written stands: the best basis, and of these the latest end.
    order = np.lexsort((given[holds], until[holds], -kind[holds].astype(np.int64)))
    best = tuple(axis[order] for axis in holding)
    basis = np.full(shape, UNKNOWN, dtype=np.int8)
    given_at = np.where(refused == _NEVER, NOT_AN_INSTANT, refused)
    expires[best], given_at[best] = until[holds][order], given[holds][order]
    basis[best] = np.where(kind[holds][order] < len(CONSENT_BASES), kind[holds][order], UNKNOWN)
    return Consents(level, given_at, basis, expires)


def profiling_objections(found: Columns, n: int, channels: tuple[str, ...]) -> NDArray[np.int8]:
    """(n, C) 1 where the contact has objected to profiling for a channel (or all) and not agreed again since."""
    refused = np.full((n, len(channels)), NOT_AN_INSTANT, dtype=np.int64)
    agreed = np.full_like(refused, NOT_AN_INSTANT)
    named = ("owner", "channel", "purpose", "status", "recorded_at", "source")
    for owner, channel, purpose, status, at, source in zip(*(found[name] for name in named), strict=True):
        if purpose not in (None, PROFILING) or at is None or (status == GRANTED and not source):
            continue
        code = int(_channels([channel], channels)[0])
        if status == GRANTED and code < 0:  # an agreement of which nobody can tell where it holds opens nothing
            continue
        target = agreed if status == GRANTED else refused
        where = (owner, _stretch(code))
        target[where] = np.maximum(target[where], at)
    objected: NDArray[np.int8] = ((refused != NOT_AN_INSTANT) & (refused >= agreed)).astype(np.int8)
    return objected


def _channels(names: Sequence[str | None], channels: tuple[str, ...]) -> IntArray:
    """Positions of channels; -1 for another one, `_EVERY` for None, `UNTOLD_CHANNEL` where it cannot be told."""
    distinct = list(dict.fromkeys(names))
    code = dict(zip(distinct, channel_codes(distinct, channels, none=_EVERY).tolist(), strict=True))
    return np.array([code[name] for name in names], dtype=np.int64)


def _stretch(code: int) -> slice:
    """The stretch of an axis that the code of a refusal means: what cannot be told is refused everywhere."""
    if code in (_EVERY, UNTOLD_CHANNEL):
        return slice(None)
    return slice(0, 0) if code < 0 else slice(code, code + 1)


SUPPRESSION_COLUMNS: Final = ("channel", "reason", "at", "until_at", "lifted")


@dataclass(frozen=True)
class Lifts:
    """When which reason was last lifted for whom and where."""

    at: Mapping[tuple[int, str | None, str], int]
    channels: tuple[str, ...]

    def end(self, owner: int, channel: str | None, reason: str, at: int) -> bool:
        """Whether a later lift ends what began at an instant."""
        return self.at.get(_place(owner, channel, reason, self.channels), at) > at


def lifts_of(found: Columns, channels: tuple[str, ...], now_at: int) -> Lifts:
    """The lifts among suppression records; those that lie after now do not count yet."""
    lifted_at: dict[tuple[int, str | None, str], int] = {}
    for owner, channel, reason, at, lifted in zip(
        *(found[name] for name in ("owner", "channel", "reason", "at", "lifted")), strict=True
    ):
        if lifted and at <= now_at:
            key = _place(owner, channel, reason, channels)
            lifted_at[key] = max(lifted_at.get(key, at), at)
    return Lifts(lifted_at, channels)


def fold_suppressions(found: Columns, n: int, channels: tuple[str, ...], now_at: int, lifts: Lifts) -> NDArray[np.int8]:
    """(n, C): 1 suppressed, 0 not.

    Args:
        found: `SUPPRESSION_COLUMNS` and `owner`, the contact's row in [0, n).
        n: contacts.
        channels: C names.
        now_at: microseconds; what has ended by then is over.
        lifts: lifts of the same records.
    """
    level = np.full((n, len(channels)), NO, dtype=np.int8)
    rows = zip(found["owner"], *(found[name] for name in SUPPRESSION_COLUMNS), strict=True)
    for owner, channel, reason, at, until_at, lifted in rows:
        if lifted or (until_at is not None and until_at <= now_at) or lifts.end(owner, channel, reason, at):
            continue
        code = int(channel_codes([channel], channels, none=UNTOLD_CHANNEL)[0])
        if code == UNTOLD_CHANNEL:
            level[owner] = YES
        elif code >= 0:
            level[owner, code] = YES
    return level


def standing_events(found: Columns, lifts: Lifts) -> Columns:
    """Events without the stops that a later lift of their own channel and kind has ended."""
    kept: BoolArray = np.array(
        [
            kind not in STOP_KINDS or not lifts.end(owner, channel, kind, at)
            for owner, kind, channel, at in zip(
                *(found[name] for name in ("owner", "kind", "channel", "at")), strict=True
            )
        ],
        dtype=np.bool_,
    )
    if kept.all():
        return found
    return {name: [value for value, stays in zip(column, kept, strict=True) if stays] for name, column in found.items()}


def _place(owner: int, channel: str | None, reason: str, channels: tuple[str, ...]) -> tuple[int, str | None, str]:
    where = None if channel is None else channel_of(channel, channels) or name_key(usual_channel(channel))
    return owner, where, name_key(reason)
