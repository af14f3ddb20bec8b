"""Rolling frequency caps, to the microsecond, per channel and across channels (catalogue F3-F6, F8).

Judged at the planned instant of each slot, not at the decision: a send counts while it is less than a window old
there. Sends planned later than the slot count as well, because a window over both would hold them both. A minimum gap
is a cap of 1. No calendar days anywhere: 23:00 and 00:00 are one hour apart.
"""

from __future__ import annotations

from functools import partial

import msgspec
import numpy as np

from engine.contacts import ContactBatch
from engine.errors import ParameterError
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.localtime import datetime_of, first_pass
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, PURPOSES, BoolArray, IntArray

NEVER = np.iinfo(np.int64).max
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
        release = np.full((contacts.n, len(scene.catalog.channels)), _OPEN, dtype=np.int64)
        for cap, channels in caps:
            at = self._release(cap, channels, contacts)
            release[:, channels] = np.maximum(release[:, channels], at[:, None])
        capped = release != _OPEN
        touched = capped.any(axis=1) | (contacts.zone_code < 0)
        _, hours, _ = scene.catalog.shape
        closed = np.zeros((contacts.n, len(PURPOSES), release.shape[1], hours), dtype=np.bool_)
        rows = np.flatnonzero(touched)
        within = scene.planned[rows][:, None, :] < release[rows][:, :, None]
        scope = purpose_mask(self.applies_to)
        closed[rows] = scope[:, None, None] & within[:, None]
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

    def _counted(self, cap: Cap, channels: IntArray, contacts: ContactBatch) -> BoolArray:
        """(m,) which sends count towards a cap."""
        counted = purpose_mask(self.counts)[contacts.sent_purpose]
        if cap.channels is not None:
            counted = counted & np.isin(contacts.sent_channel, channels)
        return counted

    def _release(self, cap: Cap, channels: IntArray, contacts: ContactBatch) -> IntArray:
        """(n,) first instant that a cap leaves open: a window after the max-th newest of the sends that count."""
        if not cap.max:
            return np.full(contacts.n, NEVER, dtype=np.int64)
        sends = np.flatnonzero(self._counted(cap, channels, contacts))
        ends = np.searchsorted(sends, contacts.sent_offsets)
        oldest = ends[1:] - cap.max
        full = oldest >= ends[:-1]
        release = np.full(contacts.n, _OPEN, dtype=np.int64)
        release[full] = contacts.sent_at[sends[oldest[full]]] + cap.window_us
        release[~contacts.history_known] = NEVER
        return release

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The cap that keeps the slot closed longest."""
        contacts = scene.contacts.take(np.array([row]))
        caps = [(cap, at) for cap, at in self._active(scene.catalog.channels) if cell.channel in at]
        releases = [int(self._release(cap, at, contacts)[0]) for cap, at in caps]
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
        counted = self._counted(cap, channels, contacts) & (contacts.sent_at > planned - cap.window_us)
        reason = f"{int(counted.sum())} sends on {scope} within {cap.window_s} s of {datetime_of(planned).isoformat()}"
        opens = partial(_not_before, max(releases))
        # Without a zone only the slot "now" has an instant, and it needs none.
        following = first_pass(zone or "UTC", scene.catalog.hours[cell.hour], scene.now_at, opens)
        return Finding(int(counted.sum()), limit, reason, following)


def _not_before(release: int, planned: int) -> int:
    return max(release, planned)


RULE = FrequencyRule
