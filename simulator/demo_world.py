"""A small world for the demonstration: contacts, and what they do after a decision. SIMULATED, and said so.

Every number here is assumed unless a source stands beside it; the full simulator is a package of its own. Effects are
modest on purpose: a tuned segment rule is hard to beat by more than a few percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from engine.catalog import Catalog
from engine.identity import uniforms
from engine.records import outcome_schema
from engine.types import CodeArray, FloatArray, ObjectArray

CHANNELS = ("email", "sms")
HOURS = ("morning", "noon", "evening")
MOTIVES = ("price", "assortment", "convenience", "trust")
DEVICES = ("phone", "desktop")
ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Europe/Berlin")
NOTE = "SIMULATED: contacts and outcomes come from a small assumed world, not from people."

# Orders within three days without any message; order per campaign e-mail is about 0.1 % of a whole list (Omnisend,
# Klaviyo), these contacts are chosen for a recent visit, so more of them buy.
ORGANIC_ORDER = 0.05
# Unsubscribes per send: e-mail 0.25 % (Mailchimp 2019), SMS 0.8-1.5 % (Klaviyo's "good" band).
UNSUBSCRIBE = np.array([0.0025, 0.011])
SEND_COST_USD = np.array([0.001, 0.015])
UNSUBSCRIBE_COST_USD = 12.0
BASKET_USD = 42.0
MARGIN = 0.45
# Change of the log odds of an order, assumed: arms x motives.
ARM_BY_MOTIVE = np.array(
    [
        [0.05, 0.60, 0.10, 0.00],
        [0.00, 0.15, 0.05, 0.65],
        [0.25, 0.05, 0.60, 0.10],
        [0.75, 0.05, 0.05, -0.15],
    ]
)
SHIPPING, DISCOUNT = 2, 3
HOUR_MATCH = 0.30
CHANNEL_LIFT = np.array([0.15, 0.35])
PRESSURE = -0.12


def make_contacts(n: int, seed: int, now: datetime, *, first: int = 0) -> pa.Table:
    """A contact file of n rows, with missing and stale values, consents, suppressions and recent sends.

    Args:
        n: contacts, at least 1.
        seed: same seed and number, same contact.
        now: aware instant at which the file is taken.
        first: number of the first contact.
    """
    ids = np.array([f"contact-{first + i:07d}" for i in range(n)], dtype=object)
    draw = _Draws(ids, seed)
    observed = [(now - timedelta(days=float(days))).isoformat() for days in draw("age") * 9]
    columns: dict[str, Sequence[Any] | ObjectArray | FloatArray] = {
        "contact_id": ids,
        "time_zone": _blank(draw.pick("zone", ZONES), draw("no zone") < 0.01),
        "days_since_engagement": _blank(np.round(-14 * np.log1p(-draw("engagement")), 1), draw("no engagement") < 0.05),
        "cart_value": _blank(
            np.where(draw("has cart") < 0.4, np.round(15 + 120 * draw("cart"), 2), 0.0), draw("no cart") < 0.03
        ),
        "cart_value_at": observed,
        "purchases_90d": np.floor(-1.4 * np.log1p(-draw("purchases"))),
        "usual_hour": _blank(_noisy(draw, "hour", HOURS), draw("no hour") < 0.15),
        "motive": _blank(_noisy(draw, "motive", MOTIVES), draw("no motive") < 0.2),
        "device": draw.pick("device", DEVICES),
        "sends": [_sends(now, *row) for row in zip(draw("sent"), draw("sent hours"), strict=True)],
    }
    for channel, share in zip(CHANNELS, (0.95, 0.45), strict=True):
        given = draw(f"consent {channel}") < share
        columns[f"consent_{channel}_promotional"] = given
        columns[f"consent_{channel}_promotional_at"] = [(now - timedelta(days=200)).isoformat()] * n
        columns[f"consent_{channel}_promotional_source"] = ["checkout"] * n
        columns[f"suppressed_{channel}"] = draw(f"suppressed {channel}") < 0.01
    return pa.table({name: pa.array(list(values)) for name, values in columns.items()})


def outcomes_of(decisions: pa.Table, contacts: pa.Table, seed: int) -> pa.Table:
    """What happened after each decision, as an outcome table: purchased, unsubscribed and the cost of each send.

    Values are margins: an order brings its basket's margin less the discount, a send and an unsubscribe cost.

    Args:
        decisions: rows of a decision log over `conf/catalog/demo.yaml`, in the order of the contacts.
        contacts: the file that was decided on.
        seed: of the world; not that of the decisions.
    """
    arms = ("new_arrivals", "social_proof", "free_shipping", "ten_percent_off")
    channel = _positions(decisions.column("channel"), CHANNELS)
    arm = _positions(decisions.column("arm"), arms)
    hour = _positions(decisions.column("send_hour"), ("9", "12", "18"))
    draw = _Draws(np.asarray(contacts.column("contact_id").to_pylist(), dtype=object), seed)
    sent = arm >= 0
    order = draw("order") < _order_probability(contacts, draw, channel, arm, hour)
    leaves = sent & (draw("leave") < UNSUBSCRIBE[channel])
    basket = BASKET_USD * (0.4 + 1.2 * draw("basket"))
    # The cheaper shipping and the discount are paid on every order that follows such a message, organic ones too.
    given = np.where(arm == DISCOUNT, 0.10 * basket, np.where(arm == SHIPPING, 3.0, 0.0))
    ids = np.asarray(decisions.column("decision_id").to_pylist(), dtype=object)
    at = decisions.column("decided_at").cast(pa.int64()).to_numpy()
    parts = [
        (ids[sent], "dispatched", at[sent] + 1, np.full(sent.sum(), np.nan)),
        (ids[sent], "sent", at[sent] + 1, -SEND_COST_USD[channel[sent]]),
        (ids[order], "purchased", at[order] + _delay(draw("delay"))[order], (MARGIN * basket - given)[order]),
        (
            ids[leaves],
            "unsubscribed",
            at[leaves] + _delay(draw("delay leave"))[leaves],
            np.full(leaves.sum(), -UNSUBSCRIBE_COST_USD),
        ),
    ]
    schema = outcome_schema()
    return pa.concat_tables(
        [
            pa.table(
                {
                    "decision_id": list(who),
                    "event": [event] * len(who),
                    "at": pa.array(when, pa.int64()).cast(schema.field("at").type),
                    "value_usd": pa.array(worth, from_pandas=True),
                }
            ).cast(schema)
            for who, event, when, worth in parts
        ]
    )


def expected_margin(contacts: pa.Table, catalog: Catalog, seed: int) -> FloatArray:
    """(n, k) expected margin of every action for every contact, in USD: the truth that estimates can be held against.

    Args:
        contacts: the file that was decided on.
        catalog: `conf/catalog/demo.yaml`.
        seed: of the world, as given to `outcomes_of`.
    """
    n = contacts.num_rows
    draw = _Draws(np.asarray(contacts.column("contact_id").to_pylist(), dtype=object), seed)
    values = np.empty((n, catalog.k))
    for action, (channel, hour, arm) in enumerate(zip(*catalog.split(np.arange(catalog.k)), strict=True)):
        cell = [np.full(n, position, dtype=np.int32) for position in (channel, arm, hour)]
        given = 0.10 * BASKET_USD if arm == DISCOUNT else 3.0 if arm == SHIPPING else 0.0
        values[:, action] = _order_probability(contacts, draw, *cell) * (MARGIN * BASKET_USD - given)
        if arm >= 0:
            values[:, action] -= SEND_COST_USD[channel] + UNSUBSCRIBE[channel] * UNSUBSCRIBE_COST_USD
    return values


def _order_probability(
    contacts: pa.Table, draw: _Draws, channel: CodeArray, arm: CodeArray, hour: CodeArray
) -> FloatArray:
    """(n,) chance of an order: organic log odds plus what the message adds through motive, hour, channel, pressure."""
    sends = np.array([0 if row is None else len(row) for row in contacts.column("sends").to_pylist()])
    cart = contacts.column("cart_value").fill_null(0.0).to_numpy()
    away = contacts.column("days_since_engagement").fill_null(20.0).to_numpy()
    odds = np.log(ORGANIC_ORDER / (1 - ORGANIC_ORDER)) + 0.9 * (cart > 0) - 0.02 * np.minimum(away, 60)
    motive, usual = draw.code("motive", len(MOTIVES)), draw.code("hour", len(HOURS))
    matches = np.where(hour == usual, HOUR_MATCH, -HOUR_MATCH / 3)
    lift = ARM_BY_MOTIVE[arm, motive] + matches + CHANNEL_LIFT[channel] + PRESSURE * sends - 0.1
    odds = odds + np.where(arm >= 0, lift, 0.0)
    probability: FloatArray = 1.0 / (1.0 + np.exp(-odds))
    return probability


class _Draws:
    """Named uniforms of each contact: the same contact always draws the same, in any file and order."""

    def __init__(self, ids: ObjectArray, seed: int) -> None:
        self._ids, self._seed = ids, seed
        self._traits = 7  # traits must not change with the seed of the outcomes

    def __call__(self, what: str) -> FloatArray:
        return uniforms(np.array([f"{what}/{who}" for who in self._ids], dtype=object), self._seed)

    def code(self, trait: str, levels: int) -> CodeArray:
        named = np.array([f"trait {trait}/{who}" for who in self._ids], dtype=object)
        return (uniforms(named, self._traits) * levels).astype(np.int32)

    def pick(self, what: str, levels: tuple[str, ...]) -> ObjectArray:
        picked: ObjectArray = np.array(levels, dtype=object)[(self(what) * len(levels)).astype(int)]
        return picked


def _noisy(draw: _Draws, trait: str, levels: tuple[str, ...]) -> ObjectArray:
    """What is observed of a trait: right for three contacts of four, any level for the others."""
    true = np.array(levels, dtype=object)[draw.code(trait, len(levels))]
    return np.where(draw(f"seen {trait}") < 0.75, true, draw.pick(f"wrong {trait}", levels))


def _blank(values: ObjectArray | FloatArray, where: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> ObjectArray:
    out = np.asarray(values, dtype=object).copy()
    out[where] = None
    return out


def _sends(now: datetime, share: float, hours: float) -> list[dict[str, str]] | None:
    """Recent sends of a contact; None where nobody knows (1 %)."""
    if share > 0.99:
        return None
    count = int(share * 4)
    return [
        {
            "at": (now - timedelta(hours=20 + 40 * i + 30 * hours)).isoformat(),
            "channel": "email",
            "purpose": "promotional",
        }
        for i in range(count)
    ]


def _positions(column: pa.ChunkedArray, levels: tuple[str, ...]) -> CodeArray:
    place = {level: i for i, level in enumerate(levels)}
    return np.array([-1 if value is None else place[value] for value in column.to_pylist()], dtype=np.int32)


def _delay(uniform: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Microseconds to an event: 33 % within an hour, 81 % within a day, all within three (GetResponse 2020, clicks)."""
    hours = np.interp(uniform, [0.0, 0.336, 0.514, 0.81, 1.0], [0.02, 1.0, 3.0, 24.0, 71.0])
    return (hours * 3.6e9).astype(np.int64)
