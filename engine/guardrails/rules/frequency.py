"""Rolling frequency caps, to the microsecond, per channel and across channels (catalogue F3-F6, F8).

Judged at the planned instant of each slot, not at the decision: a send counts while it is less than a window old
there. Sends planned later than the slot count as well, because a window over both would hold them both. A minimum gap
is a cap of 1. No calendar days anywhere: 23:00 and 00:00 are one hour apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from engine.contacts import UNTOLD_CHANNEL, ContactBatch
from engine.errors import ParameterError
from engine.guardrails.lookback import NEVER, not_before, nth_newest, rows_of
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.localtime import datetime_of, first_pass
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, PURPOSES, CodeArray, IntArray

# Above the sentinel of unknown instants, below every real one: a slot without an instant is closed under any cap.
_OPEN = NOT_AN_INSTANT + 1


class Cap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most `max` sends in any window.

    Attributes:
        max: sends allowed; null is no cap, 0 is never.
        window_s: length of the rolling window, seconds; a send exactly that long ago no longer counts.
        channels: sends on these channels count, and sends on them are capped; null is all channels together.
    """

    max: int | None
    window_s: int
    channels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.max is not None and self.max < 0:
            raise ParameterError("max", "a frequency cap", allowed="0 or more, or null for no cap", got=self.max)
        if not 0 < self.window_s <= 3660 * 86_400:
            raise ParameterError("window_s", "a frequency cap", allowed="in 1 s to 10 years", got=self.window_s)
        if self.channels is not None and not self.channels:
            raise ParameterError(
                "channels", "a frequency cap", allowed="a list of channels, or null for all together", got=self.channels
            )

    @property
    def window_us(self) -> int:
        return self.window_s * MICROSECONDS_PER_S


class _Sends(NamedTuple):
    """Sends of counting purposes, in the order of the batch: row, instant and channel of each."""

    rows: IntArray
    at: IntArray
    channel: CodeArray


class FrequencyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes slots at which one more send would exceed a cap; the strictest cap wins.

    Attributes:
        caps: the caps; all must hold.
        applies_to: purposes that are capped.
        counts: purposes whose sends count; transactional sends are exempt and not counted by default.
    """

    caps: tuple[Cap, ...]
    applies_to: tuple[str, ...] = ("promotional",)
    counts: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        for field in ("applies_to", "counts"):
            unknown = set(getattr(self, field)) - set(PURPOSES)
            if unknown:
                raise ParameterError(field, "frequency", allowed=f"among {PURPOSES}", got=sorted(unknown))

    @property
    def reads(self) -> tuple[str, ...]:
        return ("sends",)

    def verdict(self, scene: Scene) -> Verdict:
        """A slot is closed until the release instant of its channel."""
        caps = self._active(scene.catalog.channels)
        if not caps:
            return Verdict()
        contacts = scene.contacts
        # A channel without a cap is not in the rule's scope: not even a slot without an instant is closed there.
        release = np.full((contacts.n, len(scene.catalog.channels)), NOT_AN_INSTANT, dtype=np.int64)
        release[:, np.unique(np.concatenate([channels for _, channels in caps]))] = _OPEN
        unknown = np.flatnonzero(~contacts.history_known)
        touched = contacts.zone_code < 0
        touched[unknown] = True
        for rows, channels, at in self._released(caps, contacts, scene.now_at):
            for channel in channels.tolist():
                release[rows, channel] = np.maximum(release[rows, channel], at)
            touched[rows] = True
        for cap, channels in caps:
            if not cap.max:
                release[:, channels], touched[:] = NEVER, True
            release[unknown[:, None], channels] = NEVER
        _, hours, _ = scene.catalog.shape
        closed = np.zeros((contacts.n, len(PURPOSES), release.shape[1], hours), dtype=np.bool_)
        rows = np.flatnonzero(touched)
        # Where nothing was touched nothing is closed: with many rows it is cheaper to compare them than to pick some.
        some: IntArray | slice = rows if 3 * len(rows) < contacts.n else slice(None)
        within = scene.planned[some][:, None, :] < release[some][:, :, None]
        for purpose in np.flatnonzero(purpose_mask(self.applies_to)):
            closed[some, purpose] = within
        return Verdict(channel_hour=closed)

    def _active(self, channels: tuple[str, ...]) -> list[tuple[Cap, IntArray]]:
        """Caps that cap something, each with the positions of its channels."""
        active = []
        for cap in self.caps:
            named = channels if cap.channels is None else cap.channels
            positions = np.array([at for at, channel in enumerate(channels) if channel in named], dtype=np.int64)
            if cap.max is not None and len(positions):
                active.append((cap, positions))
        return active

    def _released(
        self, caps: list[tuple[Cap, IntArray]], contacts: ContactBatch, now_at: int
    ) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
        """Rows, channels and release instants of each cap that some rows have reached."""
        every = [cap for cap, _ in caps if cap.max and cap.channels is None]
        if every:
            offsets, sent_at = self._counting(contacts)
            for cap in every:
                yield _nth_of_all(cap, offsets, sent_at, now_at, contacts)
        some = [(cap, channels) for cap, channels in caps if cap.max and cap.channels is not None]
        if some:
            sends = self._counted(some, contacts, now_at)
            for cap, channels in some:
                rows, at = _releases(cap, channels, sends, now_at)
                yield rows, channels, at

    def _counting(self, contacts: ContactBatch) -> tuple[IntArray, IntArray]:
        """The sends of counting purposes as compressed rows: (n + 1,) offsets and instants, oldest first in each."""
        counts = purpose_mask(self.counts)[contacts.sent_purpose]
        if counts.all():
            return contacts.sent_offsets, contacts.sent_at
        before = np.concatenate([[0], np.cumsum(counts)])
        return before[contacts.sent_offsets], contacts.sent_at[counts]

    def _counted(self, caps: list[tuple[Cap, IntArray]], contacts: ContactBatch, now_at: int) -> _Sends:
        """The sends of counting purposes that some cap may still count: looked for once for all caps."""
        longest = max(cap.window_us for cap, _ in caps)
        sends = np.flatnonzero(contacts.sent_at > now_at - longest)
        sends = sends[purpose_mask(self.counts)[contacts.sent_purpose[sends]]]
        return _Sends(rows_of(contacts.sent_offsets, sends), contacts.sent_at[sends], contacts.sent_channel[sends])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The cap that keeps the slot closed longest."""
        contacts = scene.contacts.take(np.array([row]))
        caps = [(cap, at) for cap, at in self._active(scene.catalog.channels) if cell.channel in at]
        releases = [self._of_one(cap, at, contacts, scene.now_at) for cap, at in caps]
        latest = int(np.argmax(releases))
        cap, channels = caps[latest]
        scope = "all channels" if cap.channels is None else ", ".join(cap.channels)
        limit = {"max": cap.max, "window_s": cap.window_s, "channels": scope}
        planned = int(scene.planned[row, cell.hour])
        if cap.max == 0:
            return Finding("any send", limit, f"sends on {scope} are capped at 0: never")
        if not contacts.history_known[0]:
            return Finding("unknown", limit, "nobody knows what was sent to this contact")
        zone = scene.zone(row)
        if planned == NOT_AN_INSTANT:
            return Finding("unknown", limit, "the slot has no planned instant: the time zone is unknown")
        sends = self._counted([(cap, channels)], contacts, scene.now_at)
        inside = sends.at[_counts_towards(cap, channels, sends, scene.now_at)] > planned - cap.window_us
        observed, exempt = int(inside.sum()), self._exempt(cap, contacts, planned)
        reason = (
            f"{observed} sends on {scope} within {cap.window_s} s of {datetime_of(planned).isoformat()}"
            f" ({exempt} exempt ones are not counted)"
        )
        opens = partial(not_before, max(releases))
        # Without a zone only the slot "now" has an instant, and it needs none.
        following = first_pass(zone or "UTC", scene.catalog.hours[cell.hour], scene.now_at, opens)
        return Finding(observed, limit, reason, following)

    def _of_one(self, cap: Cap, channels: IntArray, contacts: ContactBatch, now_at: int) -> int:
        """The release of one contact."""
        if not cap.max or not contacts.history_known[0]:
            return NEVER
        sends = self._counted([(cap, channels)], contacts, now_at)
        return int(_releases(cap, channels, sends, now_at)[1].max(initial=_OPEN))

    def _exempt(self, cap: Cap, contacts: ContactBatch, planned: int) -> int:
        """Sends of one contact in the window of a slot whose purpose is not counted: they are counted apart."""
        apart = ~purpose_mask(self.counts)[contacts.sent_purpose]
        return int((apart & (contacts.sent_at > planned - cap.window_us)).sum())


def _nth_of_all(
    cap: Cap, offsets: IntArray, sent_at: IntArray, now_at: int, contacts: ContactBatch
) -> tuple[IntArray, IntArray, IntArray]:
    """Rows whose max-th newest send lies in the window, all channels, and the instants a window after it."""
    rows = np.flatnonzero(np.diff(offsets) >= (cap.max or 1))
    nth = sent_at[offsets[rows + 1] - (cap.max or 1)]
    late = nth > now_at - cap.window_us
    return rows[late], np.arange(contacts.consent.shape[1]), nth[late] + cap.window_us


def _counts_towards(cap: Cap, channels: IntArray, sends: _Sends, now_at: int) -> IntArray:
    """Positions of the sends that count towards a cap and that no slot from now on is past."""
    counted = sends.at > now_at - cap.window_us
    if cap.channels is not None:
        named = np.zeros(max(channels.max(), sends.channel.max(initial=0)) + 3, dtype=np.bool_)
        named[channels] = True
        named[UNTOLD_CHANNEL] = True
        counted &= named[sends.channel]  # another channel is -1: the last entry
    return np.flatnonzero(counted)


def _releases(cap: Cap, channels: IntArray, sends: _Sends, now_at: int) -> tuple[IntArray, IntArray]:
    """(row, first instant that the cap leaves open): a window after the max-th newest of the sends that count."""
    counted = _counts_towards(cap, channels, sends, now_at)
    found = counted[nth_newest(sends.rows[counted], cap.max or 1)]
    return sends.rows[found], sends.at[found] + cap.window_us


RULE = FrequencyRule
