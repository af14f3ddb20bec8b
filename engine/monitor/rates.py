"""Events per dispatched send, by day, channel and arm; and when a rate is proven to have gone beyond its limit.

Whether a send brings the event is one draw; while its probability is at most the limit r, the likelihood ratio of a
rate q > r against r has mean at most 1 at every number of sends, and so has the mean over several q (Wald 1945; for
composite hypotheses Ramdas, Grunwald, Vovk & Shafer 2023). E(j, t) is that of days j to t. A spike may begin on any
day, so the detector is the sum of E(j, t) over the possible first days j (Shin, Ramdas & Rinaldo, "E-detectors",
2023): it passes 1 / f by chance once in 1 / f days at most, on average.

Which events were reported for which decision so far is read here too; windows and maturity play no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import logsumexp

from engine.catalog import Catalog
from engine.identity import keyed_hash
from engine.records.outcomes import outcome_frame
from engine.types import HOLD, BoolArray, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

# How many times the limit a rate may be; those above 1 are left out.
_TIMES = np.array([1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0])


@dataclass(frozen=True)
class Counted:
    """One scope of a rate.

    Attributes:
        name: of the channel or arm; "" for all.
        days: since 1970, in order.
        sent / events: counts by day.
    """

    name: str
    days: IntArray
    sent: FloatArray
    events: FloatArray


class RateSums:
    """Sends and events by day, channel and arm; mergeable.

    Args:
        catalog: catalog of the log.
        events: names.
    """

    def __init__(self, catalog: Catalog, events: Sequence[str]) -> None:
        self._catalog, self._events = catalog, tuple(events)
        self._shape = (len(catalog.channels), len(catalog.arms), 1 + len(self._events))
        self._days: dict[int, FloatArray] = {}

    def add(self, day: IntArray, action: CodeArray, left: BoolArray, happened: BoolArray) -> None:
        """Add rows.

        Args:
            day: (n,) days since 1970.
            action: (n,) of which sends count.
            left: (n,) dispatched.
            happened: (n, events) whether the event was reported.
        """
        rows = np.flatnonzero(left & (action != HOLD))
        channel, _, arm = self._catalog.split(action[rows])
        table = np.column_stack([np.ones(len(rows)), happened[rows]])
        for one in np.unique(day[rows]).tolist():
            own = day[rows] == one
            sums = np.zeros(self._shape)
            np.add.at(sums, (channel[own], arm[own]), table[own])
            self._days[one] = sums + self._days[one] if one in self._days else sums

    def merge(self, other: RateSums) -> None:
        """Take over the counts of another part."""
        for day, sums in other._days.items():
            self._days[day] = sums + self._days[day] if day in self._days else sums

    def sent(self, last: int, span: int) -> dict[str, int]:
        """Channel -> sends of `span` days up to and with `last`."""
        return self._window(last, span, 0)

    def happened(self, event: str, last: int, span: int) -> dict[str, int]:
        """Channel -> events of the sends of `span` days up to and with `last`."""
        return self._window(last, span, 1 + self._events.index(event))

    def _window(self, last: int, span: int, column: int) -> dict[str, int]:
        days = [sums for day, sums in self._days.items() if last - span < day <= last]
        total = np.sum(days, axis=0) if days else np.zeros(self._shape)
        by_channel = total[..., column].sum(axis=1)
        return {name: int(count) for name, count in zip(self._catalog.channels, by_channel, strict=True)}

    @property
    def last_day(self) -> int | None:
        """The last day that has a send."""
        return max(self._days, default=None)

    def counted(self, event: str, scope: str) -> list[Counted]:
        """The rate of an event, by scope."""
        if not self._days:
            return []
        days = np.array(sorted(self._days), dtype=np.int64)
        table = np.stack([self._days[int(day)] for day in days])[..., [0, 1 + self._events.index(event)]]
        if scope == "all":
            return [Counted("", days, *np.moveaxis(table.sum(axis=(1, 2)), 1, 0))]
        axis, names = (2, self._catalog.channels) if scope == "channel" else (1, self._catalog.arm_ids)
        sums = table.sum(axis=axis)
        return [Counted(name, days, sums[:, place, 0], sums[:, place, 1]) for place, name in enumerate(names)]


def detector(counted: Counted, limit: float, *, above: bool, window_days: int) -> FloatArray:
    """(days,) the detector after each day: sum over first days of the evidence that the rate is beyond the limit.

    Args:
        counted: counts by day.
        limit: in (0, 1).
        above: whether more is worse.
        window_days: days on which a spike may have begun, with the day itself.
    """
    each = [_evidence(counted, t, limit, above=above, window_days=window_days) for t in range(len(counted.days))]
    return np.array([float(np.exp(min(float(logsumexp(one)), 700.0))) for one in each])


def began(counted: Counted, t: int, limit: float, *, above: bool, window_days: int) -> int:
    """Position of the first day of the span up to day t whose evidence is largest; arguments as of `detector`."""
    return t - int(np.argmax(_evidence(counted, t, limit, above=above, window_days=window_days)))


def _evidence(counted: Counted, t: int, limit: float, *, above: bool, window_days: int) -> FloatArray:
    """Logarithms of E(j, t) for j = t, t - 1, ... back to the first day of the window."""
    first = np.flatnonzero(counted.days[: t + 1] > counted.days[t] - window_days)[0]
    sent, events = counted.sent[first : t + 1][::-1], counted.events[first : t + 1][::-1]
    hits = np.cumsum(events if above else sent - events)
    gain, loss = _ratios(limit if above else 1.0 - limit)
    logs = hits[:, None] * gain + (np.cumsum(sent) - hits)[:, None] * loss
    each: FloatArray = logsumexp(logs, axis=1) - np.log(len(gain))
    return each


def _ratios(limit: float) -> tuple[FloatArray, FloatArray]:
    """Logarithm of the likelihood ratio of a hit and of a miss, for rates above the limit."""
    rates = limit * _TIMES
    rates = np.append(rates[rates < 1.0], 0.5 * (1.0 + limit))
    return np.log(rates / limit), np.log1p(-rates) - np.log1p(-limit)


class Reported:
    """Events by decision; memory holds 16 bytes for each outcome that is watched.

    Args:
        outcomes: as `engine.records.outcomes.read_outcomes` gives them.
        events: names that are watched.
        now_at: later ones are not known yet, microseconds.
    """

    def __init__(self, outcomes: pa.Table, events: Sequence[str], now_at: int) -> None:
        self.events = tuple(events)
        frame: pd.DataFrame = outcome_frame(outcomes)
        frame = frame[(frame["at"] <= now_at) & frame["event"].isin(self.events)]
        keys = keyed_hash(frame["decision_id"].to_numpy(dtype=object), "monitor/outcomes")
        codes = pd.Categorical(frame["event"], categories=list(self.events)).codes.astype(np.int64)
        order = np.argsort(keys, kind="stable")
        self._keys: KeyArray = keys[order]
        self._codes: IntArray = codes[order]

    def of(self, decision_ids: ObjectArray) -> BoolArray:
        """(n, events) whether each was reported, once or more."""
        keys = keyed_hash(decision_ids, "monitor/outcomes")
        left = np.searchsorted(self._keys, keys, side="left")
        count = np.searchsorted(self._keys, keys, side="right") - left
        row = np.repeat(np.arange(len(keys)), count)
        place = np.repeat(left - np.cumsum(count) + count, count) + np.arange(len(row))
        happened = np.zeros((len(keys), len(self.events)), dtype=np.bool_)
        happened[row, self._codes[place]] = True
        return happened
