"""Rolling frequency caps, to the microsecond, per channel and across channels (catalogue F3-F6, F8).

Judged at the planned instant of each slot, not at the decision: a send counts while it is less than a window old
there. Sends planned later than the slot count as well where some window over the slot holds them: a send planned for
next week closes nothing today under a cap per day. A minimum gap is a cap of 1. No calendar days anywhere: 23:00 and
00:00 are one hour apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np

from engine.contacts.contacts import UNTOLD_CHANNEL, ContactBatch
from engine.errors import ParameterError
from engine.guardrails.history.bounds import NEVER, alone, nth_newest, rows_of
from engine.guardrails.history.spans import Spans, first_clear, inside_slots, near, spans_of
from engine.guardrails.rule import Cell, Finding, Scene, Verdict, purpose_mask
from engine.time.localtime import FARTHEST_SLOT_US, datetime_of
from engine.types import MICROSECONDS_PER_S, NOT_AN_INSTANT, PURPOSES, BoolArray, CodeArray, IntArray

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
        """A slot is closed until the release instant of its channel, and around sends that are planned for later."""
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
        planned: list[tuple[Spans, IntArray]] = []
        for channels, spans in self._spans(caps, contacts, scene.now_at):
            # What closes a slot now closes all later ones up to its end; the last one of a contact ends last.
            begun = spans.start < scene.now_at
            rows = spans.groups[begun]
            newest = nth_newest(rows, 1)
            rows, at = rows[newest], spans.end[begun][newest]
            for channel in channels.tolist():
                release[rows, channel] = np.maximum(release[rows, channel], at)
            touched[rows] = True
            if not begun.all():
                planned.append((spans.kept(~begun), channels))
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
            for spans, channels in planned:
                inside = inside_slots(scene, spans)
                if inside is not None:
                    closed[inside.rows[:, None], purpose, channels] |= inside.slots[:, None, :]
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

    def _spans(
        self, caps: list[tuple[Cap, IntArray]], contacts: ContactBatch, now_at: int
    ) -> Iterator[tuple[IntArray, Spans]]:
        """The channels of each cap that holds sends, and when it does by contact: after now, for slots from now on."""
        finite = [(cap, channels) for cap, channels in caps if cap.max]
        if finite:
            sends = self._counted(finite, contacts, now_at)
            for cap, channels in finite:
                yield channels, _spans_of_cap(cap, channels, sends, now_at)

    def _counted(self, caps: list[tuple[Cap, IntArray]], contacts: ContactBatch, now_at: int) -> _Sends:
        """The sends of counting purposes that some cap may still count: looked for once for all caps."""
        longest = max(cap.window_us for cap, _ in caps)
        at = contacts.sent_at
        sends = np.flatnonzero((at > now_at - longest) & (at < now_at + FARTHEST_SLOT_US + longest))
        sends = sends[purpose_mask(self.counts)[contacts.sent_purpose[sends]]]
        return _Sends(rows_of(contacts.sent_offsets, sends), contacts.sent_at[sends], contacts.sent_channel[sends])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The cap that keeps the slot closed longest."""
        one = alone(scene, row)
        contacts = one.contacts
        caps = [(cap, at) for cap, at in self._active(scene.catalog.channels) if cell.channel in at]
        planned = int(one.planned[0, cell.hour])
        never = next((cap for cap, _ in caps if cap.max == 0), None)
        if never is not None:
            return Finding("any send", _limit(never), f"sends on {_scope(never)} are capped at 0: never")
        if not contacts.history_known[0]:
            return Finding("unknown", _limit(caps[0][0]), "nobody knows what was sent to this contact")
        if planned == NOT_AN_INSTANT:
            reason = "the slot has no planned instant: the time zone is unknown"
            return Finding("unknown", _limit(caps[0][0]), reason)
        sends = self._counted(caps, contacts, scene.now_at)
        spans = [(cap, channels, _spans_of_cap(cap, channels, sends, scene.now_at).pairs()) for cap, channels in caps]
        closing = [
            (end, cap, channels) for cap, channels, pairs in spans for start, end in pairs if start < planned < end
        ]
        _, cap, channels = max(closing, key=lambda found: found[0])
        observed = near(sends.at[_on(cap, channels, sends)], planned, cap.window_us)
        apart = ~purpose_mask(self.counts)[contacts.sent_purpose]
        exempt = near(contacts.sent_at[apart], planned, cap.window_us)
        reason = (
            f"{observed} sends on {_scope(cap)} within {cap.window_s} s of {datetime_of(planned).isoformat()}"
            f" ({exempt} exempt ones are not counted)"
        )
        following = first_clear(one, [span for _, _, pairs in spans for span in pairs], (cell.hour,))
        return Finding(observed, _limit(cap), reason, following)


def _scope(cap: Cap) -> str:
    return "all channels" if cap.channels is None else ", ".join(cap.channels)


def _limit(cap: Cap) -> dict[str, Any]:
    return {"max": cap.max, "window_s": cap.window_s, "channels": _scope(cap)}


def _on(cap: Cap, channels: IntArray, sends: _Sends) -> BoolArray:
    """(m,) sends on the channels of a cap; all of them where it names none."""
    if cap.channels is None:
        return np.ones(len(sends.at), dtype=np.bool_)
    named = np.zeros(max(channels.max(), sends.channel.max(initial=0)) + 3, dtype=np.bool_)
    named[channels] = True
    # A send whose channel cannot be told may have been on any.
    named[UNTOLD_CHANNEL] = True
    on: BoolArray = named[sends.channel]  # another channel is -1: the last entry
    return on


def _spans_of_cap(cap: Cap, channels: IntArray, sends: _Sends, now_at: int) -> Spans:
    """Give the spans, by contact, in which a cap holds one more send; what is over by now is left out."""
    counted = _on(cap, channels, sends)
    found = spans_of(sends.rows[counted], sends.at[counted], cap.max or 1, cap.window_us)
    return found.kept(found.end > now_at)


RULE = FrequencyRule
