"""What changes of a contact from step to step: the truth, and what has become known of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.types import BoolArray, CodeArray, FloatArray, IntArray
from simulator.people.people import NEVER, STAGES, People

# Sends that are remembered per contact; more than any frequency window of a pack may hold in a month of daily sends.
MEMORY: Final = 40
# Mean days since the last reaction of a contact of average engagement at the start, by stage. Assumed.
LAST_SEEN_DAYS: Final = {"onboarding": 10.0, "active": 20.0, "lapsing": 60.0, "lapsed": 150.0, "gone": 400.0}


@dataclass
class Sends:
    """The last sends of each contact, oldest first, right-aligned.

    Attributes:
        at: (n, MEMORY) int64 microseconds of the planned instant; 0 where there is none.
        channel / arm: (n, MEMORY) positions in the catalog.
        count: (n,) how many are remembered.
    """

    at: IntArray
    channel: NDArray[np.int8]
    arm: NDArray[np.int16]
    count: CodeArray

    def append(self, rows: IntArray, at: IntArray, channel: IntArray, arm: IntArray) -> None:
        """Remember one send of each row, in the order of planned instants.

        With several steps a day a later decision may be planned for an earlier hour than the one before.
        """
        # Places before the longest history of these rows are empty, and need not move.
        begin = max(MEMORY - 1 - int(self.count[rows].max(initial=0)), 0)
        for memory, new in ((self.at, at), (self.channel, channel), (self.arm, arm)):
            kept = memory[rows, begin + 1 :]
            memory[rows, begin:-1] = kept
            memory[rows, -1] = new
        self.count[rows] = np.minimum(self.count[rows] + 1, MEMORY)
        early = rows[self.at[rows, -1] < self.at[rows, -2]]
        if len(early):
            order = np.argsort(self.at[early], axis=1, kind="stable")
            for memory in (self.at, self.channel, self.arm):
                memory[early] = np.take_along_axis(memory[early], order, axis=1)

    def newest(self, most: int) -> IntArray:
        """(n, <= most) instants of the newest sends: the last columns, without those that are empty for everybody."""
        width = min(most, int(self.count.max(initial=0)), self.at.shape[1])
        return self.at[:, self.at.shape[1] - width :]

    def of(self, rows: IntArray, known: BoolArray) -> tuple[IntArray, IntArray]:
        """The sends of some rows, as compressed rows.

        Args:
            rows: (m,) rows.
            known: (m,) rows without are left out.

        Returns:
            (m + 1,) offsets, and the (s,) positions of the sends in the flattened arrays, oldest first in each row.
        """
        memory = self.at.shape[1]
        counts = np.where(known, self.count[rows], 0).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # The sends of a row are the last `count` of its `memory` places.
        begin = rows * memory + memory - counts - offsets[:-1]
        return offsets, np.repeat(begin, counts) + np.arange(offsets[-1])

    def since(self, instant: int) -> CodeArray:
        """(n,) number of remembered sends at or after an instant."""
        counted: CodeArray = (self.at >= max(instant, 1)).sum(axis=1, dtype=np.int32)
        return counted


@dataclass
class Known:
    """What the sender has learnt of each contact, from events that have arrived.

    Attributes:
        engaged / ordered / browsed: (n,) step of the last known one; -NEVER where there was none.
        orders: (n,) known orders, decayed over a year.
        spend_usd: (n,) their value, decayed alike.
        unopened: (n,) sends in a row without a known reaction.
        reactions: (n, 4) decayed counts of known reactions by quarter of the day (night, morning, afternoon, evening).
        visits: (n,) known visits, decayed over a week.
    """

    engaged: CodeArray
    ordered: CodeArray
    browsed: CodeArray
    orders: FloatArray
    spend_usd: FloatArray
    unopened: CodeArray
    reactions: FloatArray
    visits: FloatArray


@dataclass
class State:
    """n contacts at the start of a step.

    Attributes:
        step: number of the step.
        motive: (n,) position in `MOTIVES`.
        stage: (n,) position in `STAGES`.
        intent: (n,) wants something now.
        fatigue: (n, C) stock of messages by channel.
        pressure: (n,) stock of messages over all channels.
        habit: (n,) stock of discounts seen, in units of ten percent.
        arm_step: (n, K) step at which each arm was last sent.
        consent: (n, C, P) int8 as on record now.
        withdrew: (n, C) step in which a promotional permission was taken back, as on record; -NEVER where it was not.
        suppressed: (n, C) int8: 1 after an opt-out, a hard bounce or a complaint that is known.
        reachable: (n, C) whether the address works; nobody knows until a message bounces.
        finished: (n,) nothing can be ordered any more (a trial that ended, a contract renewed).
        due_day: (n,) next day on which something falls due; NaN where nothing does.
        engaged / ordered / browsed: (n,) true step of the last reaction, order and visit.
        cart_usd: (n,) value left in the cart.
        coupon_until / coupon_depth: (n,) last step and depth of a discount that was seen.
        ticket_until: (n,) last step of an open support case.
        tickets: (n,) support contacts, decayed over a month.
        sends: the last ones.
        known: what the sender knows.
        arriving: step -> what becomes known then, a list of (event, rows, channels, value).
    """

    step: int
    motive: CodeArray
    stage: CodeArray
    intent: BoolArray
    fatigue: FloatArray
    pressure: FloatArray
    habit: FloatArray
    arm_step: CodeArray
    consent: NDArray[np.int8]
    withdrew: CodeArray
    suppressed: NDArray[np.int8]
    reachable: BoolArray
    finished: BoolArray
    due_day: FloatArray
    engaged: CodeArray
    ordered: CodeArray
    browsed: CodeArray
    cart_usd: FloatArray
    coupon_until: CodeArray
    coupon_depth: FloatArray
    ticket_until: CodeArray
    tickets: FloatArray
    sends: Sends
    known: Known
    arriving: dict[int, list[tuple[str, IntArray, IntArray, FloatArray]]] = field(default_factory=dict)


def start_state(people: People, catalog: Catalog, step_days: float) -> State:
    """The first step: no message has been sent yet, orders and reactions of earlier times are drawn."""
    n, channels, arms = people.n, len(catalog.channels), len(catalog.arms)
    draw = people.draw
    old = np.maximum(-people.join_day, 0.0)
    # An exponential age with the contact's own rate, within the time on the list.
    rate = np.maximum(people.order_rate, 1e-9)
    ordered_ago = -np.log1p(-draw("last order")) / rate
    seen_ago = np.array([LAST_SEEN_DAYS[stage] for stage in STAGES])[people.stage]
    engaged_ago = -seen_ago * np.exp(-0.5 * people.engagement) * np.log1p(-draw("last engagement"))
    ordered = _steps_ago(ordered_ago, old, step_days)
    engaged = _steps_ago(engaged_ago, old, step_days)
    orders = np.minimum(old, 365.0) * people.order_rate
    known_orders = np.floor(orders + draw("orders so far"))
    return State(
        step=0,
        motive=people.motive.copy(),
        stage=people.stage.copy(),
        intent=draw("first intent") < 0.15,
        fatigue=np.zeros((n, channels)),
        pressure=np.zeros(n),
        habit=np.zeros(n),
        arm_step=np.full((n, arms), -NEVER, dtype=np.int32),
        consent=people.consent.copy(),
        withdrew=np.full((n, channels), -NEVER, dtype=np.int32),
        suppressed=np.zeros((n, channels), dtype=np.int8),
        reachable=np.ones((n, channels), dtype=np.bool_),
        finished=np.zeros(n, dtype=np.bool_),
        due_day=people.due_day.copy(),
        engaged=engaged.copy(),
        ordered=ordered.copy(),
        browsed=np.full(n, -NEVER, dtype=np.int32),
        cart_usd=np.zeros(n),
        coupon_until=np.full(n, -NEVER, dtype=np.int32),
        coupon_depth=np.zeros(n),
        ticket_until=np.full(n, -NEVER, dtype=np.int32),
        tickets=np.zeros(n),
        sends=Sends(
            np.zeros((n, MEMORY), dtype=np.int64),
            np.full((n, MEMORY), -1, dtype=np.int8),
            np.full((n, MEMORY), -1, dtype=np.int16),
            np.zeros(n, dtype=np.int32),
        ),
        known=Known(
            engaged=engaged,
            ordered=ordered,
            browsed=np.full(n, -NEVER, dtype=np.int32),
            orders=known_orders,
            spend_usd=known_orders * people.basket_usd,
            unopened=np.zeros(n, dtype=np.int32),
            reactions=np.zeros((n, 4)),
            visits=np.zeros(n),
        ),
    )


def _steps_ago(days_ago: FloatArray, tenure_days: FloatArray, step_days: float) -> CodeArray:
    within = days_ago < tenure_days
    return np.where(within, -np.ceil(days_ago / step_days), -NEVER).astype(np.int32)
