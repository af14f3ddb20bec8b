"""The population: how the latents of contacts are spread. One draw per contact and trait, keyed by the contact."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtri

from engine.catalog import Catalog
from engine.errors import ParameterError
from engine.identity import keyed_hash
from engine.types import PURPOSES, CodeArray, FloatArray, ObjectArray
from simulator.numbers import SHARE, number, table
from simulator.people.people import (
    DEVICES,
    HOUR_KINDS,
    MOTIVES,
    ONBOARDING,
    STAGES,
    Draws,
    People,
    pick,
)


class Population(Protocol):
    """Makes contacts: the same contact for the same id and seed."""

    def people(self, contact_id: ObjectArray, catalog: Catalog, seed: int) -> People: ...


Shares = dict[str, float]
Mix = Annotated[Shares, number("shares", "definition", "who the contacts are; a scenario sets its own mix")]
# Log odds at which nothing is ever seen.
UNREAD: Final = -30.0


class ShopperPopulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Independent traits, but for: price sensitivity follows the motive, desktops are not read late at night, and
    `tells` ties what a scenario knows of a contact to the motive.

    Attributes:
        zones / sources / categories: name -> share of contacts.
        unknown_zone: share of contacts without a zone on record.
        devices: name -> share of contacts that read there.
        hour_kinds / motives / stages: name -> share.
        unread: channel -> share of contacts who never look at it (a second address, muted notifications).
        affinity_sd / engagement_sd: spread of the log odds of attention, per channel and over all channels.
        order_shape / order_rate_per_day: gamma shape of the rate of orders without messages, and its mean.
        basket_usd / basket_sd: median and log spread, between contacts, of the mean order.
        reach / transactional_reach: channel -> share with a promotional / transactional permission.
        reach_by_device: channel -> device -> share, where it differs.
        no_record: share of (contact, channel) without any record of consent.
        tenure_days: mean time on the list at the start.
        arriving: share of contacts that join later, evenly over `arriving_days`.
        due: none; cycle (due again so many days after an order); date (once, at any day up to `due_days`); trial (so
            many days after joining).
        due_days / due_sd: mean and relative spread of the cycle or trial.
        fields: name -> level -> share: what the scenario knows besides.
        order_rate_by / engagement_by: field (or "category") -> level -> factor on the rate of orders / log odds added.
        tells: field -> level -> motive that this level goes with.
        tells_share: how often it does.
    """

    zones: Mix = table(
        {
            "America/New_York": 0.33,
            "America/Chicago": 0.2,
            "America/Denver": 0.07,
            "America/Los_Angeles": 0.2,
            "Europe/Berlin": 0.2,
        }
    )
    sources: Mix = table({"checkout": 0.5, "newsletter form": 0.3, "app": 0.15, "store": 0.05})
    categories: Mix = table({"fashion": 0.4, "home": 0.35, "sport": 0.25})
    unknown_zone: Annotated[float, number("share", "assumed", "incomplete records", **SHARE)] = 0.01
    devices: Mix = table({"android": 0.33, "ios": 0.27, "desktop": 0.4})
    hour_kinds: Mix = table({"work_hours": 0.4, "evening": 0.35, "late_mobile": 0.15, "early": 0.1})
    motives: Mix = table({"price": 0.35, "assortment": 0.25, "convenience": 0.2, "trust": 0.2})
    stages: Mix = table({"onboarding": 0.05, "active": 0.5, "lapsing": 0.25, "lapsed": 0.2, "gone": 0.0})
    affinity_sd: Annotated[float, number("log odds", "assumed", "people differ in the channels they read", ge=0.0)] = (
        0.5
    )
    engagement_sd: Annotated[
        float, number("log odds", "assumed", "44 % open one of six (Campaign Monitor)", ge=0.0)
    ] = 1.0
    unread: dict[
        str,
        Annotated[
            float, number("share", "fitted", "44 % open at least one of six e-mails (Campaign Monitor)", **SHARE)
        ],
    ] = table({"email": 0.3, "sms": 0.02, "push": 0.1})
    order_shape: Annotated[
        float, number("1", "fitted", "BG/NBD on CDNOW: spread of rates among who came back; 0.25 of all", gt=0.0)
    ] = 0.68
    order_rate_per_day: Annotated[
        float, number("orders / day", "assumed", "CDNOW: 0.0075 of all while alive, 0.011 of who came back", ge=0.0)
    ] = 0.008
    basket_usd: Annotated[float, number("usd", "assumed", "median order of a shop", gt=0.0)] = 55.0
    basket_sd: Annotated[
        float, number("log usd", "fitted", "spread of mean orders between CDNOW customers", ge=0.0)
    ] = 0.45
    reach: dict[
        str, Annotated[float, number("share", "published", "push: Batch 2025; e-mail and SMS assumed", **SHARE)]
    ] = table({"email": 0.95, "sms": 0.45, "push": 0.61})
    reach_by_device: dict[
        str, dict[str, Annotated[float, number("share", "published", "Batch 2025: Android 67 %, iOS 56 %", **SHARE)]]
    ] = table({"push": {"android": 0.67, "ios": 0.56}})
    transactional_reach: dict[str, Annotated[float, number("share", "assumed", "given with the order", **SHARE)]] = (
        table(
            {
                "email": 0.98,
                "sms": 0.65,
                "push": 0.61,
            }
        )
    )
    no_record: Annotated[float, number("share", "assumed", "consent without source or date", **SHARE)] = 0.01
    tenure_days: Annotated[float, number("days", "assumed", "a list with some history", gt=0.0)] = 300.0
    arriving: Annotated[float, number("share", "assumed", "list growth", **SHARE)] = 0.1
    arriving_days: Annotated[float, number("days", "assumed", "list growth over a season", gt=0.0)] = 90.0
    due: Literal["none", "cycle", "date", "trial"] = "none"
    due_days: Annotated[float, number("days", "assumed", "set by the scenario", gt=0.0)] = 30.0
    due_sd: Annotated[float, number("share", "assumed", "contacts differ in their cycle", ge=0.0)] = 0.2
    fields: dict[str, Shares] = {}
    order_rate_by: dict[str, dict[str, Annotated[float, number("1", "fitted", "see the scenario", ge=0.0)]]] = {}
    engagement_by: dict[str, dict[str, Annotated[float, number("log odds", "fitted", "see the scenario")]]] = {}
    tells: dict[str, dict[str, str]] = {}
    tells_share: Annotated[float, number("share", "assumed", "how well a field tells the motive", **SHARE)] = 0.7

    def __post_init__(self) -> None:
        named = {"devices": DEVICES, "motives": MOTIVES, "hour_kinds": HOUR_KINDS, "stages": STAGES}
        for name, allowed in named.items():
            if set(getattr(self, name)) != set(allowed):
                raise ParameterError(name, "ShopperPopulation", allowed=f"exactly {allowed}", got=getattr(self, name))
        every = {name: getattr(self, name) for name in ("zones", "sources", "categories", *named)} | self.fields
        for name, shares in every.items():
            if not shares or min(shares.values()) < 0.0 or sum(shares.values()) <= 0.0:
                raise ParameterError(name, "ShopperPopulation", allowed="shares >= 0 with a positive sum", got=shares)
        for field, motives in self.tells.items():
            unknown = set(motives.values()) - set(MOTIVES)
            if field not in self.fields or set(motives) - set(self.fields[field]) or unknown:
                raise ParameterError(
                    "tells", "ShopperPopulation", allowed="levels of `fields` -> motives", got={field: motives}
                )

    def people(self, contact_id: ObjectArray, catalog: Catalog, seed: int) -> People:
        """Draw the contacts of some ids.

        Args:
            contact_id: (n,) unique strings.
            catalog: its channels get an affinity and a permission each.
            seed: seed of the world.

        Raises:
            ParameterError: a channel of the catalog without a reach.
        """
        for name in ("reach", "transactional_reach"):
            missing = set(catalog.channels) - set(getattr(self, name))
            if missing:
                raise ParameterError(
                    name,
                    "ShopperPopulation",
                    allowed=f"with every channel of the catalog {catalog.channels}",
                    got=missing,
                )
        keys = keyed_hash(contact_id, f"world/{seed}")
        draw = Draws(keys)
        n = len(keys)
        device = _in_order(pick(draw("device"), self.devices), tuple(self.devices), DEVICES)
        fields = {name: pick(draw(f"field {name}"), shares) for name, shares in self.fields.items()}
        motive = self._motives(draw, fields)
        join_day = self._join_days(draw)
        stage = _in_order(pick(draw("stage"), self.stages), tuple(self.stages), STAGES)
        due_day, cycle_days = self._due(draw, join_day)
        spread = ndtri(_open(draw("price sensitivity")))
        category = pick(draw("category"), self.categories)
        coded = {**fields, "category": category}
        levels = {**{name: tuple(shares) for name, shares in self.fields.items()}, "category": tuple(self.categories)}
        rate = self.order_rate_per_day * gammaincinv(self.order_shape, draw("order rate")) / self.order_shape
        centre = np.where(motive == MOTIVES.index("price"), 0.7, 0.35)
        return People(
            contact_id=contact_id,
            keys=keys,
            zone_code=np.where(draw("no zone") < self.unknown_zone, -1, pick(draw("zone"), self.zones)).astype(
                np.int32
            ),
            zones=tuple(self.zones),
            device=device,
            hour_kind=self._hour_kinds(draw, device),
            motive=motive,
            price_sensitivity=np.clip(centre + 0.15 * spread, 0.0, 1.0),
            category=category,
            categories=tuple(self.categories),
            affinity=np.stack([self._affinity(draw, name) for name in catalog.channels], axis=1),
            engagement=self.engagement_sd * ndtri(_open(draw("engagement")))
            + by_level(self.engagement_by, coded, levels, np.add),
            order_rate=np.asarray(rate * by_level(self.order_rate_by, coded, levels, np.multiply), dtype=np.float64),
            basket_usd=self.basket_usd * np.exp(self.basket_sd * ndtri(_open(draw("basket mean")))),
            source=pick(draw("source"), self.sources),
            sources=tuple(self.sources),
            stage=np.where(join_day > 0, ONBOARDING, stage).astype(np.int32),
            join_day=join_day,
            due_day=due_day if self.due != "none" else np.full(n, np.nan),
            cycle_days=cycle_days if self.due == "cycle" else np.full(n, np.nan),
            consent=self._consent(draw, catalog, device),
            fields=fields,
            levels={name: tuple(shares) for name, shares in self.fields.items()},
        )

    def _affinity(self, draw: Draws, channel: str) -> FloatArray:
        spread = self.affinity_sd * ndtri(_open(draw(f"affinity {channel}")))
        return np.where(draw(f"unread {channel}") < self.unread.get(channel, 0.0), UNREAD, spread)

    def _hour_kinds(self, draw: Draws, device: CodeArray) -> CodeArray:
        kind = _in_order(pick(draw("hours"), self.hour_kinds), tuple(self.hour_kinds), HOUR_KINDS)
        at_desk = (kind == HOUR_KINDS.index("late_mobile")) & (device == DEVICES.index("desktop"))
        return np.where(at_desk, HOUR_KINDS.index("work_hours"), kind).astype(np.int32)

    def _motives(self, draw: Draws, fields: dict[str, CodeArray]) -> CodeArray:
        motive = _in_order(pick(draw("motive"), self.motives), tuple(self.motives), MOTIVES)
        for field, tells in self.tells.items():
            told = np.array([MOTIVES.index(tells[level]) if level in tells else -1 for level in self.fields[field]])
            follows = (told[fields[field]] >= 0) & (draw(f"tells {field}") < self.tells_share)
            motive = np.where(follows, told[fields[field]], motive).astype(np.int32)
        return motive

    def _join_days(self, draw: Draws) -> FloatArray:
        later = draw("arrives") < self.arriving
        before = self.tenure_days * np.log1p(-draw("tenure"))
        return np.floor(np.where(later, 1.0 + draw("arrival day") * self.arriving_days, before))

    def _due(self, draw: Draws, join_day: FloatArray) -> tuple[FloatArray, FloatArray]:
        cycle = self.due_days * np.exp(self.due_sd * ndtri(_open(draw("cycle"))))
        if self.due == "trial":
            return join_day + self.due_days, cycle
        span = cycle if self.due == "cycle" else np.full(len(cycle), self.due_days)
        return np.floor(np.maximum(join_day, 0.0) + draw("due") * span), cycle

    def _consent(self, draw: Draws, catalog: Catalog, device: CodeArray) -> NDArray[np.int8]:
        consent = np.zeros((len(device), len(catalog.channels), len(PURPOSES)), dtype=np.int8)
        for position, channel in enumerate(catalog.channels):
            given = draw(f"reach {channel}")
            # One uniform for both purposes: who allows advertising on a channel allows service messages too.
            by_device = self.reach_by_device.get(channel, {})
            reach = np.array([by_device.get(name, self.reach[channel]) for name in DEVICES])[device]
            consent[:, position, 0] = given < reach
            consent[:, position, 1] = given < np.maximum(reach, self.transactional_reach[channel])
            consent[draw(f"no record {channel}") < self.no_record, position] = -1
        return consent


def by_level(
    values: dict[str, dict[str, float]],
    coded: dict[str, CodeArray],
    levels: dict[str, tuple[str, ...]],
    join: np.ufunc,
) -> FloatArray:
    """(n,) values of each contact's levels, joined over fields; levels without a value count as neutral.

    Raises:
        ParameterError: a field or level that the population does not have.
    """
    neutral = float(join.identity)
    out = np.full(len(coded["category"]), neutral)
    for field, by in values.items():
        if set(by) - set(levels.get(field, ())):
            raise ParameterError(field, "ShopperPopulation", allowed=f"fields and levels of {levels}", got=by)
        out = join(out, np.array([by.get(level, neutral) for level in levels[field]])[coded[field]])
    return out


def _open(uniform: FloatArray) -> FloatArray:
    """Uniforms kept off 0, where the normal quantile is infinite."""
    return np.maximum(uniform, 2.0**-54)


def _in_order(code: CodeArray, names: tuple[str, ...], order: tuple[str, ...]) -> CodeArray:
    """Codes into `names` -> codes into `order`."""
    return np.array([order.index(name) for name in names], dtype=np.int32)[code]
