"""Who the contacts are: what no policy sees. Drawn once per contact, the same for a contact number in any batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.identity import unit_of
from engine.types import BoolArray, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

MOTIVES: Final = ("price", "assortment", "convenience", "trust")
HOUR_KINDS: Final = ("work_hours", "evening", "late_mobile", "early")
DEVICES: Final = ("android", "ios", "desktop")
STAGES: Final = ("onboarding", "active", "lapsing", "lapsed", "gone")
ONBOARDING, ACTIVE, LAPSING, LAPSED, GONE = range(len(STAGES))
NEVER: Final = 1 << 29


@dataclass(frozen=True)
class People:
    """n contacts; everything here is fixed for life.

    Attributes:
        contact_id: (n,) strings.
        keys: (n,) uint64, the root of every draw of the contact in one world.
        zone_code: (n,) into `zones`; -1 where the zone is not on record.
        zones: IANA names.
        device: (n,) position in `DEVICES`.
        hour_kind: (n,) position in `HOUR_KINDS`.
        motive: (n,) position in `MOTIVES` at the start; dynamics may move it.
        price_sensitivity: (n,) in [0, 1].
        category: (n,) position in `categories`: the product category that the contact cares about.
        categories: names.
        affinity: (n, C) log odds of seeing a message on the channel, against the average contact.
        engagement: (n,) log odds of seeing any message, against the average contact.
        order_rate: (n,) orders per day without any message, in an ordinary state.
        basket_usd: (n,) mean order value.
        source: (n,) position in `sources`: where the contact subscribed.
        sources: names.
        stage: (n,) position in `STAGES` at the start.
        join_day: (n,) day on which the contact joins the list; 0 or less: was there at the start.
        due_day: (n,) first day on which something falls due (renewal, trial end, refill); NaN where nothing does.
        cycle_days: (n,) days from an order to the next due day; NaN where nothing falls due again.
        consent: (n, C, P) int8: 1 granted, 0 denied, -1 no record.
        fields: name -> (n,) positions in `levels[name]`: what a scenario knows besides.
        levels: level names of `fields`.
        luck: which of the possible lives the contacts lead: another luck, the same contacts and another future.
    """

    contact_id: ObjectArray
    keys: KeyArray
    zone_code: CodeArray
    zones: tuple[str, ...]
    device: CodeArray
    hour_kind: CodeArray
    motive: CodeArray
    price_sensitivity: FloatArray
    category: CodeArray
    categories: tuple[str, ...]
    affinity: FloatArray
    engagement: FloatArray
    order_rate: FloatArray
    basket_usd: FloatArray
    source: CodeArray
    sources: tuple[str, ...]
    stage: CodeArray
    join_day: FloatArray
    due_day: FloatArray
    cycle_days: FloatArray
    consent: NDArray[np.int8]
    fields: Mapping[str, CodeArray]
    levels: Mapping[str, tuple[str, ...]]
    luck: int = 0

    @property
    def n(self) -> int:
        return len(self.keys)

    @property
    def draw(self) -> Draws:
        """The contacts' uniforms."""
        return Draws(self.keys, self.luck)


def contact_ids(first: int, n: int) -> ObjectArray:
    """(n,) ids of the contacts `first`, `first + 1`, ..."""
    return np.array([f"contact-{number:08d}" for number in range(first, first + n)], dtype=object)


class Draws:
    """Named uniforms of the contacts: a pure function of (world seed, contact, name, step).

    Two policies in one world meet the same uniforms (common random numbers), and no draw depends on how contacts are
    cut into batches or spread over processes. A draw without a step is a trait; only draws with one are luck.
    """

    def __init__(self, keys: KeyArray, luck: int = 0) -> None:
        self._keys = keys
        self._luck = f"/{luck}" if luck else ""

    def __call__(self, name: str, step: int | None = None, rows: IntArray | None = None) -> FloatArray:
        """(n,) or (len(rows),) in [0, 1)."""
        keys = self._keys if rows is None else self._keys[rows]
        return unit_of(keys, name if step is None else f"{name}@{step}{self._luck}")


def pick(uniform: FloatArray, shares: Mapping[str, float]) -> CodeArray:
    """(n,) positions among the keys of a mapping, by inversion; shares are made to sum to 1."""
    edges = np.cumsum(np.array(list(shares.values()), dtype=np.float64))
    return np.searchsorted(edges[:-1] / edges[-1], uniform, side="right").astype(np.int32)


def present_mask(people: People, day: float) -> BoolArray:
    """(n,) who is on the list by now."""
    joined: BoolArray = people.join_day <= day
    return joined
