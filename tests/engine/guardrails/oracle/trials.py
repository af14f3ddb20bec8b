"""Which instants, crowds and packs the layer and the oracle are compared on; seeded, so that every run is the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from engine.guardrails.conditions import Conditions
from engine.guardrails.pack import Pack
from engine.time.localtime import instant_of
from tests.engine.guardrails.oracle.crowd import CATALOG, ZONES, crowd
from tests.engine.guardrails.oracle.differ import Tally, compare
from tests.engine.guardrails.oracle.people import MICROSECOND
from tests.engine.guardrails.oracle.senders import sender

# A leap day, the turn of a year, far ahead, long ago, an ordinary minute, a Sunday noon in New York.
PLAIN = (
    datetime(2028, 2, 29, 11, 59, 59, 999_999, tzinfo=UTC),
    datetime(2027, 1, 1, tzinfo=UTC),
    datetime(2199, 12, 20, 13, 0, 0, 1, tzinfo=UTC),
    datetime(1991, 1, 8, 4, 30, tzinfo=UTC),
    datetime(2026, 7, 15, 13, 37, 11, 250_000, tzinfo=UTC),
    datetime(2026, 11, 22, 17, 0, tzinfo=UTC),
    datetime(2026, 12, 25, 15, 0, tzinfo=UTC),
)


@lru_cache(maxsize=1)
def changes() -> tuple[datetime, ...]:
    """Every instant in two years at which some zone changes its clock, to the second."""
    found = set()
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(0, 2 * 365 * 24, 12)]
    for name in ZONES:
        zone = ZoneInfo(name)
        offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
        for (low, before), (high, after) in zip(
            zip(hours, offsets, strict=True), zip(hours[1:], offsets[1:], strict=True), strict=False
        ):
            if before != after:
                while high - low > timedelta(seconds=1):
                    middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
                    low, high = (low, middle) if middle.astimezone(zone).utcoffset() == after else (middle, high)
                found.add(high)
    return tuple(sorted(found))


def instants(rng: np.random.Generator, n: int) -> list[datetime]:
    """n instants: the plain ones, then around clock changes: at them, a microsecond beside, within a day and a half."""
    near = [timedelta(0), -MICROSECOND, MICROSECOND, timedelta(minutes=-10), timedelta(hours=-1)]
    found = list(PLAIN[:n])
    while len(found) < n:
        change = changes()[int(rng.integers(len(changes())))]
        shift = near[int(rng.integers(len(near)))]
        if rng.random() < 0.5:
            shift = timedelta(seconds=int(rng.integers(-36 * 3600, 12 * 3600)))
        found.append(change + shift)
    return found


def trials(pack: Pack, n: int, seed: int, *, blocks: int = 20, contacts: int | None = None) -> Iterator[Tally]:
    """About n triples in `blocks` crowds, each at an instant of its own, with a sender of its own."""
    rng = np.random.default_rng(seed)
    # Only some runs try the plain instants; the others find their own around clock changes.
    begin = (
        instants(rng, blocks)
        if blocks > len(PLAIN) or seed % 10 == 0
        else instants(rng, blocks + len(PLAIN))[len(PLAIN) :]
    )
    for now in begin:
        zones = ZONES if contacts is None else tuple(rng.choice(ZONES, contacts, replace=False).tolist())
        batch = crowd(rng, zones, instant_of(now))
        each = -(-n // (blocks * batch.n))
        world: Conditions = sender(rng, CATALOG, pack)
        yield compare(rng, pack, CATALOG, batch, now, each, world)
