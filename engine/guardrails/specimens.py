"""Made-up contacts with every kind of hole, on which `check_rule` tries a rule: seeded, the same in every run."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.contacts import NO, UNKNOWN, YES, ContactBatch, order_sends, plain_contacts
from engine.localtime import DAY_US
from engine.types import MICROSECONDS_PER_S, PURPOSES, IntArray

ZONES: Final = (
    "UTC",
    "America/New_York",
    "America/Los_Angeles",
    "Europe/London",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "America/St_Johns",
    "Africa/Casablanca",
)
LOCALES: Final = ("en-US", "en", "de-DE", "pt-BR")
# Around the ends of rolling windows, to the microsecond.
_EDGES: Final = (-1, 0, 1)


def specimen_contacts(catalog: Catalog, n: int, now_at: int, seed: int = 0) -> ContactBatch:
    """n contacts: all zones of `ZONES` and none, every consent level, full, empty and unknown histories.

    Sends lie anywhere in 40 days, at exact multiples of hours before now (and a microsecond beside), and ahead of now.
    """
    rng = np.random.default_rng(seed)
    channels = len(catalog.channels)
    offsets, at = _sends(rng, n, now_at)
    sent_channel = rng.integers(-1, channels, len(at)).astype(np.int32)
    sent_purpose = rng.integers(0, len(PURPOSES), len(at)).astype(np.int32)
    at, sent_channel, sent_purpose = order_sends(offsets, at, sent_channel, sent_purpose)
    levels = np.array([UNKNOWN, NO, YES], dtype=np.int8)
    return plain_contacts(
        np.array([f"specimen-{row}" for row in range(n)], dtype=object),
        catalog,
        zones=ZONES,
        zone_code=rng.integers(-1, len(ZONES), n).astype(np.int32),
        locales=LOCALES,
        locale_code=rng.integers(-1, len(LOCALES), n).astype(np.int32),
        consent=rng.choice(levels, (n, channels, len(PURPOSES)), p=[0.1, 0.2, 0.7]),
        suppressed=rng.choice(levels, (n, channels), p=[0.05, 0.8, 0.15]),
        sent_offsets=offsets,
        sent_at=at,
        sent_channel=sent_channel,
        sent_purpose=sent_purpose,
        history_known=(np.diff(offsets) > 0) | (rng.random(n) < 0.8),
    )


def _sends(rng: np.random.Generator, n: int, now_at: int) -> tuple[IntArray, IntArray]:
    lengths = rng.integers(0, 7, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])
    anywhere = rng.integers(-40 * DAY_US, 2 * DAY_US, total)
    on_the_hour = -rng.integers(0, 32 * 24, total) * 3_600 * MICROSECONDS_PER_S + rng.choice(_EDGES, total)
    return offsets, now_at + np.where(rng.random(total) < 0.5, anywhere, on_the_hour)
