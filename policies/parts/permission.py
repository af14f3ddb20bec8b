"""What a lost permission costs: the gains of the channels that it closes, for half of a horizon.

A loss closes the channel of its message, or every channel. A log shows which: the days for which a contact's other
channels stay open after a loss, against those after sends of the same time that lost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.time.localtime import DAY_US
from engine.types import NOT_AN_INSTANT, FloatArray, IntArray, KeyArray
from policies.parts.log import PartsLog, Tally, is_send

# Losses after which other channels could be open; with fewer nothing is read from them.
_LEAST_LOSSES: Final = 5
_CLEAR: Final = 2.0
_BINS: Final = 20


@dataclass(frozen=True)
class OpenUntil:
    """When each contact's channels were last open.

    Attributes:
        contacts: (contacts,) keys, ascending.
        last: (contacts, C) instant of the last decision with the channel open, in microseconds; 0 where there is none.
        span: instants of the first and the last decision.
    """

    contacts: KeyArray
    last: IntArray
    span: tuple[int, int]

    @classmethod
    def of(cls, log: PartsLog) -> OpenUntil | None:
        """That of every decision of the log; None where it has no instants, or one channel alone."""
        channels = log.catalog.shape[0]
        batches = [batch for batch in log.every() if batch.n]
        contacts = np.unique(np.concatenate([np.unique(batch.cluster) for batch in batches]))
        last = np.zeros((len(contacts), channels), dtype=np.int64)
        spans = []
        for batch in batches:
            at = np.flatnonzero(batch.decided_at != NOT_AN_INSTANT)
            if len(at):
                when, row = batch.decided_at[at], np.searchsorted(contacts, batch.cluster[at])
                open_to = batch.eligible_dense()[at, 1:].reshape(len(at), channels, -1).any(axis=2)
                np.maximum.at(last, row, np.where(open_to, when[:, None], 0))
                spans.append((int(when.min()), int(when.max())))
        if not spans or channels == 1:
            return None
        return cls(contacts, last, (min(one for one, _ in spans), max(one for _, one in spans)))

    def share_closed(self, log: PartsLog, loss: str) -> float | None:
        """Share of the time of the other channels that a loss ends; None where the log cannot show it.

        0 where what is missing is within two standard errors of nothing.
        """
        edges = np.linspace(self.span[0], self.span[1], _BINS + 1)[1:-1]
        days, rows = np.zeros(_BINS), np.zeros(_BINS)
        lost: list[tuple[FloatArray, IntArray]] = []
        for batch in log.batches():
            known = ~np.isnan(batch.rewards[loss]) & (batch.decided_at != NOT_AN_INSTANT)
            at = np.flatnonzero(is_send(batch) & known)
            when = batch.decided_at[at]
            others = self.last[np.searchsorted(self.contacts, batch.cluster[at])].copy()
            others[np.arange(len(at)), log.catalog.split(batch.action[at])[0]] = 0
            after = np.maximum(others.max(axis=1, initial=0) - when, 0) / DAY_US
            happened, time = batch.rewards[loss][at] > 0.0, np.searchsorted(edges, when)
            days += np.bincount(time[~happened], weights=after[~happened], minlength=_BINS)
            rows += np.bincount(time[~happened], minlength=_BINS)
            lost.append((after[happened], time[happened]))
        after, time = (np.concatenate(side) for side in zip(*lost, strict=True))
        usual = (days / np.maximum(rows, 1.0))[time]
        if (usual > 0.0).sum() < _LEAST_LOSSES:
            return None
        error = float((after - usual).std() / np.sqrt(len(after)) / usual.mean())
        closed = float(np.clip(1.0 - after.mean() / usual.mean(), 0.0, 1.0))
        return closed if closed > _CLEAR * error else 0.0


def prices(gain: FloatArray, closed: float, tally: Tally, horizon_days: float) -> FloatArray:
    """(C,) what losing a channel costs: the gains with it less those without, for half of the horizon.

    Args:
        gain: (n, C) the best gain of each decision on each channel, at least 0; NaN where it is not open.
        closed: share of the other channels' time that the loss ends too.
        tally: of the log.
        horizon_days: over which the channel is missed.
    """
    whole = np.fmax.reduce(gain, axis=1)
    missed = np.zeros(gain.shape[1])
    for channel, own in enumerate(gain.T):
        open_to = np.isfinite(own)
        others = np.fmax.reduce(np.delete(gain, channel, axis=1), axis=1, initial=0.0)
        missed[channel] = float((whole - (1.0 - closed) * others)[open_to].mean()) if open_to.any() else 0.0
    per_day = tally.sends / (tally.contacts * max(tally.days, 1.0)) if tally.days else 0.0
    price: FloatArray = missed * per_day * horizon_days / 2.0
    return price
