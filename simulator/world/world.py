"""The world: one batch of contacts that is stepped as arrays. The environments and every command stand on it.

Per step: `deciding` says for whom a decision is taken, `contacts` what is known of them, `eligibility` what the
guardrails leave; `advance` takes the actions and returns what happened. All draws are keyed by (seed, contact, step),
so two policies meet the same luck, and batches of any size give the same world.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np

from engine.contacts.contacts import ContactBatch
from engine.eligibility import Eligibility
from engine.errors import ParameterError
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.layer import Guardrails
from engine.time.localtime import instant_of, slot_instants
from engine.types import HOLD, NOT_AN_INSTANT, BoolArray, CodeArray, FloatArray, IntArray
from simulator.people.arrivals import Arrivals
from simulator.people.batch import contact_batch
from simulator.people.people import contact_ids
from simulator.scenario import Scenario
from simulator.world.happened import Happened
from simulator.world.inputs import Inputs
from simulator.world.observe import Observer
from simulator.world.response import Cells, Chances, Moment
from simulator.world.state import State, start_state


class World:
    """A batch of contacts.

    Args:
        scenario: parts, catalog, features, pack.
        n: contacts, at least 1.
        seed: seed of the world.
        first: number of the first contact; contacts `first` to `first + n - 1` are the same in any batch.
        guardrails: the layer; made from the scenario's pack where None.
        luck: 0 is the world itself; another number is another future of the same contacts (for planning by rollouts).

    Raises:
        ParameterError: n below 1.
        ConfigError: parts that do not fit the catalog, or features that cannot be observed.
    """

    def __init__(
        self,
        scenario: Scenario,
        n: int,
        seed: int,
        *,
        first: int = 0,
        guardrails: Guardrails | None = None,
        luck: int = 0,
    ) -> None:
        if n < 1:
            raise ParameterError("n", "World", allowed="at least 1", got=n)
        self.scenario = scenario
        self.seed = seed
        self.first = first
        self.catalog = scenario.catalog
        self.guardrails = guardrails or Guardrails(
            scenario.pack, scenario.catalog, scenario.packages, scenario.features
        )
        people = scenario.population.people(contact_ids(first, n), scenario.catalog, seed)
        self.people = replace(people, luck=luck) if luck else people
        self.draw = self.people.draw
        self._response = scenario.response.bind(scenario.catalog)
        self._dynamics = scenario.dynamics.bind(scenario.catalog)
        self._observer = Observer(
            scenario.spec.observation,
            scenario.features,
            self.people,
            getattr(scenario.population, "due", "none"),
            scenario.catalog.channels,
        )
        self._history = self.draw("history") >= scenario.spec.observation.unknown_history
        self._inputs = Inputs(
            self.guardrails.extra_inputs,
            scenario.spec.register,
            self.people,
            scenario.catalog,
            self._observer,
            instant_of(scenario.calendar.now(0), owner="World"),
        )
        self._arrivals = Arrivals(scenario, self.people)
        self._cost = np.array([scenario.spec.money.send_cost_usd.get(name, 0.0) for name in self.catalog.channels])
        self._depth = np.array([arm.discount_depth for arm in self.catalog.arms])
        self.reset()

    @property
    def n(self) -> int:
        return self.people.n

    def reset(self) -> None:
        """Back to the first step."""
        self.resume(start_state(self.people, self.catalog, self.scenario.step_days))

    def resume(self, state: State) -> None:
        """Go on from a state of this batch, for instance one that an earlier process left."""
        self.state = state
        self._move_clock()

    @property
    def hour_moves_seen_only(self) -> bool:
        """Whether the response says that hours act on nothing but attention (see `BoundShopperResponse`)."""
        return bool(getattr(self._response, "hour_moves_seen_only", False))

    @property
    def reported(self) -> dict[str, IntArray]:
        """Event -> (C,) how many became known at the start of this step: unsubscribed, complained, bounced."""
        return self._arrivals.reported

    @property
    def now(self) -> datetime:
        """The instant of this step's decisions."""
        return self.scenario.calendar.now(self.state.step)

    def deciding(self) -> BoolArray:
        """(n,) for whom a decision is taken in this step."""
        return self.scenario.spec.trigger.deciding(self.people, self.state, self.moment)

    def contacts(self, rows: IntArray) -> ContactBatch:
        """What is known of some contacts now, for rules and policies alike."""
        frozen = max(
            (fault.elapsed(self.moment.day) for fault in self.scenario.spec.faults if fault.kind == "stale_feed"),
            default=0.0,
        )
        context = self._observer.context(self.state, self.moment, rows, frozen)
        known = self._history[rows]
        return contact_batch(self.people, self.state, self.moment, context, self.catalog, rows, known, self._inputs)

    def eligibility(self, contacts: ContactBatch, conditions: Conditions = NOTHING_SAID) -> Eligibility:
        """What the guardrails leave of the actions."""
        return self.guardrails.left(contacts, self.now, conditions)

    def send_instants(self, rows: IntArray, hour_slots: IntArray) -> IntArray:
        """(m,) planned instant of a slot, in each contact's own zone; now where the zone is unknown."""
        at = self._slots[self.people.zone_code[rows], hour_slots]
        planned: IntArray = np.where(at == NOT_AN_INSTANT, self.moment.now_at, at)
        return planned

    def cells(self, rows: IntArray, actions: IntArray | CodeArray) -> Cells:
        """Sends as the response judges them; `actions` are no holds."""
        channel, slot, arm = self.catalog.split(actions)
        return Cells(rows, channel, self._hours[self.people.zone_code[rows], slot], arm)

    def chances(self, cells: Cells) -> Chances:
        """The chances of messages in this step, with the faults that are on."""
        chances = self._response.chances(self.people, self.state, cells, self.moment)
        return self._arrivals.faulty(chances, cells, self.moment)

    def organic(self) -> FloatArray:
        """(n,) chance of an order without any message in this step."""
        return self._dynamics.organic(self.people, self.state, self.moment)

    def advance(self, action: CodeArray) -> Happened:
        """Send, let happen, and move on by one step.

        Args:
            action: (n,) actions; hold for contacts that were not decided for.

        Raises:
            ParameterError: wrong length, or an action that the catalog does not have.
        """
        action = np.asarray(action, dtype=np.int32)
        if action.shape != (self.n,) or (len(action) and not 0 <= action.min() <= action.max() < self.catalog.k):
            raise ParameterError(
                "action", "World", allowed=f"({self.n},) in [0, {self.catalog.k})", got=(action.shape, action[:5])
            )
        happened = self._happen(action)
        self._remember(happened)
        self._dynamics.after(self.people, self.state, happened, self.moment)
        self._arrivals.plan(self.state, happened, self.moment)
        self.state.step += 1
        self._move_clock()
        self._arrivals.arrive(self.state, self.moment)
        return happened

    def _move_clock(self) -> None:
        calendar, step = self.scenario.calendar, self.state.step
        demand, attention = calendar.levels(step)
        days = self.scenario.step_days
        self.moment = Moment(step, instant_of(calendar.now(step), owner="World"), step * days, days, attention, demand)
        hours = self.catalog.hours
        unknown = np.full((1, len(hours)), NOT_AN_INSTANT, dtype=np.int64)
        self._slots = np.vstack([slot_instants(self.people.zones, hours, self.moment.now_at), unknown])
        self._hours = self._arrivals.local_hours(hours, self.moment)

    def _happen(self, action: CodeArray) -> Happened:
        money, step, draw = self.scenario.spec.money, self.state.step, self.draw
        rows = np.flatnonzero(action != HOLD)
        channel, slot, arm = self.catalog.split(action[rows])
        cells = self.cells(rows, action[rows])
        chances = self.chances(cells)
        fate = draw("fate", step, rows)
        hard = fate < chances.hard_bounced
        soft = ~hard & (fate < chances.hard_bounced + chances.soft_bounced)
        delivered = ~(hard | soft)
        seen = delivered & (draw("seen", step, rows) < chances.seen)
        clicked = seen & (draw("clicked", step, rows) < chances.clicked)
        bought = clicked & (draw("ordered", step, rows) < chances.ordered)
        organic = draw("organic", step) < self.organic()
        ordered = np.zeros(self.n, dtype=np.bool_)
        ordered[rows] = bought
        sold, free, discount, refund = self._orders(rows[bought], arm[bought], np.flatnonzero(organic))
        cost = np.zeros(self.n)
        cost[rows] = self._cost[channel]
        left = delivered & (draw("unsubscribed", step, rows) < chances.unsubscribed)
        complained = delivered & (draw("complained", step, rows) < chances.complained)
        reward = money.margin_share * (sold + free - refund) - discount - cost
        reward[rows] -= money.unsubscribe_usd * left + money.complaint_usd * complained
        return Happened(
            step=step,
            action=action,
            rows=rows,
            channel=channel,
            hour_slot=slot,
            arm=arm,
            send_at=self.send_instants(rows, slot),
            bounced_hard=hard,
            bounced_soft=soft,
            delivered=delivered,
            seen=seen,
            clicked=clicked,
            replied=delivered & (draw("replied", step, rows) < chances.replied),
            unsubscribed=left,
            complained=complained,
            message_order=bought,
            ordered=ordered,
            organic=organic,
            order_usd=sold,
            organic_usd=free,
            discount_usd=discount,
            refund_usd=refund,
            cost_usd=cost,
            reward_usd=reward,
        )

    def _orders(
        self, sold_rows: IntArray, arm: IntArray, free_rows: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """(n,) value of message orders, of organic ones, discounts on both, and refunds."""
        money, state, people = self.scenario.spec.money, self.state, self.people
        sold, free, discount, refund = (np.zeros(self.n) for _ in range(4))
        for rows, value, name in ((sold_rows, sold, "message"), (free_rows, free, "organic")):
            value[rows] = people.basket_usd[rows] * (0.4 + 1.2 * self.draw(f"basket {name}", state.step, rows))
            coupon = np.where(state.coupon_until[rows] >= state.step, state.coupon_depth[rows], 0.0)
            depth = np.maximum(self._depth[arm], coupon) if name == "message" else coupon
            discount[rows] += depth * value[rows]
            share = np.where(depth > 0.0, money.discount_refund_share, money.refund_share)
            back = self.draw(f"refund {name}", state.step, rows) < share
            refund[rows] += np.where(back, (1.0 - depth / max(money.margin_share, 1e-9)) * value[rows], 0.0)
        return sold, free, discount, refund

    def _remember(self, happened: Happened) -> None:
        self.state.sends.append(happened.rows, happened.send_at, happened.channel, happened.arm)
