"""What comes of simulated decisions: events as outcomes, and what they are worth within the attribution window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.contacts.contacts import ContactBatch
from engine.features import PRESENT
from engine.log.join import MetricSpec
from engine.log.parquet import labels
from engine.records import schema as records
from engine.time.localtime import HOUR_US
from engine.types import PURPOSES, BoolArray, FloatArray, IntArray, ObjectArray
from simulator.metrics import conversion_of
from simulator.scenario import Scenario
from simulator.world.happened import Happened
from simulator.world.response import Moment
from simulator.world.world import World

# In this order they stand in the file, for each contact.
EVENTS: Final = (
    "dispatched",
    "sent",
    "bounced",
    "delivered",
    "opened",
    "clicked",
    "replied",
    "purchased",
    "refunded",
    "unsubscribed",
    "complained",
    "ordered",
    "returned",
)
# Two reports of one thing reach the feed, or get lost, together.
_SAME_REPORT: Final = {"ordered": "purchased", "returned": "refunded"}
OWN: Final = ("dispatched", "sent")
DECIDED_STEP: Final = "decided_step"


@dataclass(frozen=True)
class _Events:
    """m events of one kind: rows of the batch, instants, values (NaN where there are none)."""

    event: str
    rows: IntArray
    at: IntArray
    value: FloatArray


def outcome_table(
    world: World,
    happened: Happened,
    moment: Moment,
    decided: IntArray,
    ids_of: Callable[[IntArray, int], ObjectArray],
) -> pa.Table:
    """The events of one step, by contact, in the columns of an outcome file and `decided_step`.

    Args:
        world: world of the step; its clock may have moved on.
        happened: what the step brought.
        moment: the step.
        decided: (n,) step of the decision to which an order is credited now; negative where there is none.
        ids_of: decision ids of some rows at a step.
    """
    found = [*_of_messages(world, happened, moment), *_of_orders(world, happened, moment)]
    found = [_reported(world, one, moment.step) for one in found]
    rows = np.concatenate([one.rows for one in found])
    rank = np.repeat([EVENTS.index(one.event) for one in found], [len(one.rows) for one in found])
    at = np.concatenate([one.at for one in found])
    value = np.concatenate([one.value for one in found])
    credited = np.flatnonzero(decided[rows] >= 0)
    order = credited[np.lexsort((at[credited], rank[credited], rows[credited]))]
    rows, steps = rows[order], decided[rows[order]].astype(np.int64)
    ids = np.empty(len(rows), dtype=object)
    for step in np.unique(steps):
        own = steps == step
        ids[own] = ids_of(rows[own], int(step))
    schema = records.outcome_schema()
    columns = {
        "decision_id": pa.array(ids, pa.string()),
        "event": labels(rank[order], EVENTS),
        "at": pa.array(at[order], pa.int64()).cast(records.INSTANT),
        "value_usd": pa.array(value[order], pa.float64(), from_pandas=True),
    }
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    return table.append_column(DECIDED_STEP, pa.array(steps, pa.int64()))


def _of_messages(world: World, happened: Happened, moment: Moment) -> list[_Events]:
    rows, sent = happened.rows, happened.send_at
    money = world.scenario.spec.money
    cost = -happened.cost_usd[rows]
    click = _after(world, "clicked", happened, moment)
    seen = _after(world, "seen", happened, moment)
    # Nobody clicks what they have not opened; the two curves are drawn apart.
    seen = np.where(happened.clicked, np.minimum(click, seen), seen)
    every = np.ones(len(rows), dtype=np.bool_)
    nothing = np.full(len(rows), np.nan)
    bounced = happened.bounced_hard | happened.bounced_soft
    leaves = np.full(len(rows), -money.unsubscribe_usd)
    complains = np.full(len(rows), -money.complaint_usd)
    kinds: tuple[tuple[str, BoolArray, IntArray, FloatArray], ...] = (
        ("dispatched", every, sent, nothing),
        ("sent", every, sent, cost),
        ("bounced", bounced, _after(world, "bounced", happened, moment), nothing),
        ("delivered", happened.delivered, _after(world, "delivered", happened, moment), nothing),
        ("opened", happened.seen, seen, nothing),
        ("clicked", happened.clicked, click, nothing),
        ("replied", happened.replied, _after(world, "replied", happened, moment), nothing),
        ("unsubscribed", happened.unsubscribed, _after(world, "unsubscribed", happened, moment), leaves),
        ("complained", happened.complained, _after(world, "complained", happened, moment), complains),
    )
    return [_Events(event, rows[flags], at[flags], value[flags]) for event, flags, at, value in kinds]


def _of_orders(world: World, happened: Happened, moment: Moment) -> list[_Events]:
    """Orders by message after their click, others within the day; refunds after their order."""
    share = world.scenario.spec.money.margin_share
    total = happened.order_usd + happened.organic_usd
    discount = np.divide(happened.discount_usd, total, out=np.zeros(len(total)), where=total > 0.0)
    bought = happened.rows[happened.message_order]
    clicked = _after(world, "clicked", happened, moment)[happened.message_order]
    free = np.flatnonzero(happened.organic)
    found = []
    ordered_at = np.full(world.n, moment.now_at, dtype=np.int64)
    for rows, start, value in (
        (bought, clicked, happened.order_usd),
        (free, np.full(len(free), moment.now_at), happened.organic_usd),
    ):
        at = start + _delay(world, "ordered", "", rows, moment.step)
        ordered_at[rows] = np.maximum(ordered_at[rows], at)
        found.append(_Events("purchased", rows, at, (share - discount[rows]) * value[rows]))
        found.append(_Events("ordered", rows, at, (1.0 - discount[rows]) * value[rows]))
    back = np.flatnonzero(happened.refund_usd > 0.0)
    at = ordered_at[back] + _delay(world, "refunded", "", back, moment.step)
    paid_back = happened.refund_usd[back]
    return [*found, _Events("refunded", back, at, -share * paid_back), _Events("returned", back, at, paid_back)]


def _after(world: World, event: str, happened: Happened, moment: Moment) -> IntArray:
    """(m,) instants of an event of each message, were it to happen: the delays by which the world learns of it too."""
    at = happened.send_at.copy()
    for position in np.unique(happened.channel):
        own = happened.channel == position
        name = world.catalog.channels[position]
        at[own] += _delay(world, event, name, happened.rows[own], moment.step)
    return at


def _delay(world: World, event: str, channel: str, rows: IntArray, step: int) -> IntArray:
    return world.scenario.delay.delay_us(event, channel, world.draw(f"delay {event}", step, rows))


def _reported(world: World, events: _Events, step: int) -> _Events:
    """What the feed reports of the events, and when."""
    if events.event in OWN or not len(events.rows):
        return events
    delay = world.scenario.delay
    rows, at, value = events.rows, events.at, events.value
    report = _SAME_REPORT.get(events.event, events.event)
    late, lost, again = (getattr(delay, f"{name}_share", 0.0) for name in ("late", "lost", "duplicate"))
    if late:
        lag = round(getattr(delay, "late_hours", 0.0) * HOUR_US)
        at = at + lag * (world.draw(f"late {report}", step, rows) < late)
    if lost or again:
        times = np.where(world.draw(f"duplicate {report}", step, rows) < again, 2, 1)
        times = np.where(world.draw(f"lost {report}", step, rows) < lost, 0, times)
        rows, at, value = np.repeat(rows, times), np.repeat(at, times), np.repeat(value, times)
    return _Events(events.event, rows, at, value)


MONEY = ("purchased", "refunded", "sent", "unsubscribed", "complained")
# Range of the money of one decision where the population does not say how large orders are.
WIDE_USD = 10_000.0


def scenario_metrics(scenario: Scenario) -> dict[str, MetricSpec]:
    """Metrics by name: margin (of everything that is credited), then what the stack of metrics is made of."""
    spec = scenario.spec
    days = spec.attribution_window_days
    window_s, within = days * 86_400.0, f"within {days:g} days of the decision"
    bound = largest_money(scenario)
    money = MetricSpec(
        events=MONEY,
        kind="sum",
        window_s=window_s,
        low=-bound,
        high=bound,
        unit="usd",
        description=f"margin of orders {within}, less discounts, refunds, sends and lost permissions",
    )
    shares = {"order": ("purchased", spec.outcome), "clicked": ("clicked", "click")}
    shares |= {
        name: (name, name) for name in ("unsubscribed", "complained", "delivered", "bounced", "opened", "replied")
    }
    shares[conversion_of(spec.outcome)] = ("purchased", spec.outcome)
    turnover = _turnover(largest_order_value(scenario), window_s, within)
    return {"margin": money, **turnover} | {
        name: MetricSpec(events=(event,), kind="any", window_s=window_s, unit="share", description=f"{what} {within}")
        for name, (event, what) in shares.items()
    }


def _turnover(bound: float, window_s: float, within: str) -> dict[str, MetricSpec]:
    """What was paid, what was paid back, and what the sends cost; none of it is what a policy should learn from."""
    said = {
        "revenue": ("ordered", f"what was paid for orders {within}"),
        "refunds": ("returned", f"what was paid back {within}"),
        "send_cost": ("sent", f"cost of the send, below zero, {within}"),
    }
    return {
        name: MetricSpec(
            events=(event,), kind="sum", window_s=window_s, low=-bound, high=bound, unit="usd", description=what
        )
        for name, (event, what) in said.items()
    }


def largest_order_value(scenario: Scenario) -> float:
    """USD that the orders credited to one decision do not exceed: `largest_money` without the margin's share."""
    return largest_money(scenario) / max(scenario.spec.money.margin_share, 1e-3)


def largest_money(scenario: Scenario) -> float:
    """USD that the events of one decision cannot leave, as a round number.

    Two orders in each step of the window, of a contact whose baskets lie six standard deviations above the median.
    """
    population, spec = scenario.population, scenario.spec
    basket = getattr(population, "basket_usd", None)
    if basket is None:
        return WIDE_USD
    largest = 1.6 * basket * float(np.exp(6.0 * getattr(population, "basket_sd", 0.0)))
    orders = 2.0 * (1.0 + spec.attribution_window_days / scenario.step_days)
    lost = spec.money.unsubscribe_usd + spec.money.complaint_usd
    bound = orders * spec.money.margin_share * largest + orders * lost
    scale = 10.0 ** np.floor(np.log10(bound))
    return float(np.ceil(bound / scale) * scale)


# Whoever gave a permission did so this long ago; the world does not date it.
CONSENT_AGE_DAYS = 200
_SEND = pa.struct([("at", pa.string()), ("channel", pa.string()), ("purpose", pa.string())])


def contact_table(world: World, rows: IntArray) -> pa.Table:
    """Some contacts as they are known now. What is stale is left out, so it comes back as missing.

    Args:
        world: at the step of the decisions.
        rows: contacts.
    """
    batch, now = world.contacts(rows), world.now
    names = np.array([*batch.zones, None], dtype=object)
    columns: dict[str, Any] = {
        "contact_id": batch.contact_id.tolist(),
        "time_zone": names[batch.zone_code].tolist(),
        "as_of": [now.isoformat()] * batch.n,
    }
    for name, column in batch.context.columns.items():
        values = np.array([*column.levels, None], dtype=object)[column.values] if column.levels else column.values
        shown = column.state == PRESENT
        columns[name] = [value if seen else None for value, seen in zip(values.tolist(), shown, strict=True)]
    given = (now - timedelta(days=CONSENT_AGE_DAYS)).isoformat()
    for position, channel in enumerate(world.catalog.channels):
        for other, purpose in enumerate(PURPOSES):
            consent = f"consent_{channel}_{purpose}"
            columns[consent] = _flags(batch.consent[:, position, other])
            columns[f"{consent}_at"] = [given] * batch.n
            columns[f"{consent}_source"] = ["checkout"] * batch.n
        columns[f"suppressed_{channel}"] = _flags(batch.suppressed[:, position])
    table = pa.table(columns)
    return table.append_column("sends", pa.array(_sends(world, batch), pa.list_(_SEND)))


def _flags(codes: Any) -> list[bool | None]:
    return [None if code < 0 else bool(code) for code in codes.tolist()]


def _sends(world: World, batch: ContactBatch) -> list[list[dict[str, str]] | None]:
    at = np.datetime_as_string(batch.sent_at.astype("datetime64[us]"), unit="s")
    every = [
        {"at": f"{when}Z", "channel": world.catalog.channels[channel], "purpose": PURPOSES[purpose]}
        for when, channel, purpose in zip(
            at.tolist(), batch.sent_channel.tolist(), batch.sent_purpose.tolist(), strict=True
        )
    ]
    starts = batch.sent_offsets.tolist()
    return [
        every[start:end] if known else None
        for start, end, known in zip(starts, starts[1:], batch.history_known.tolist(), strict=False)
    ]
