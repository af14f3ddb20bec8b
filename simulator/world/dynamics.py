"""How contacts change: fatigue, pressure, intent, lifecycle, habit of discounts, addresses, and orders on their own.

Per step of dt days, after the messages of the step had their effect (h(x) is 2^(-dt / x)):

    F_c' = (F_c + sent_c) h(fatigue_half_life_c)      G' = (G + sum_c weight_c sent_c) h(pressure_half_life)
    D'   = (D + 10 depth seen) h(habit_half_life)
    intent: off -> on with intent_on (near a due day times due_intent); on -> off with intent_off, and after an order
    stage: onboarding -> active -> lapsing -> lapsed -> gone at fixed rates; an order or a click makes active again
    orders without a message: Poisson of rate demand stage_demand intent_demand^intent e^(-habit D - irritation G^2)
"""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec
import numpy as np
from scipy.special import betaincinv

from engine.catalog import Catalog
from engine.errors import ParameterError
from engine.types import BoolArray, CodeArray, FloatArray, IntArray
from simulator.numbers import SHARE, number, table
from simulator.people.people import ACTIVE, GONE, LAPSED, LAPSING, MOTIVES, ONBOARDING, STAGES, Draws, People, pick
from simulator.world.attention import decay
from simulator.world.happened import Happened
from simulator.world.response import Moment
from simulator.world.state import State


class Dynamics(Protocol):
    """Orders without messages, and the step from one state to the next."""

    def organic(self, people: People, state: State, moment: Moment) -> FloatArray: ...

    def after(self, people: People, state: State, happened: Happened, moment: Moment) -> None: ...


class DynamicsModel(Protocol):
    """What a configuration names: binds itself to a catalog once."""

    def bind(self, catalog: Catalog) -> Dynamics: ...


Rate = number("1 / day", "assumed", "swept", ge=0.0)


class ShopperDynamics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates of change; see the module's equations."""

    fatigue_half_life_days: dict[
        str, Annotated[float, number("days", "assumed", "with fatigue_drop fitted at this half-life", gt=0.0)]
    ] = table({"email": 7.0, "sms": 7.0, "push": 7.0})
    pressure_half_life_days: Annotated[float, number("days", "assumed", "swept", gt=0.0)] = 7.0
    pressure_weight: dict[
        str, Annotated[float, number("1", "assumed", "an SMS weighs more than an e-mail", ge=0.0)]
    ] = table({"email": 1.0, "sms": 1.5, "push": 0.8})
    irritation: Annotated[
        float, number("1 / message^2", "fitted", "interior optimum near 7 e-mails a month (Zhang et al. 2017)", ge=0.0)
    ] = 0.002
    habit: Annotated[float, number("1 / ten percent", "assumed", "full-price orders lost to the habit", ge=0.0)] = 0.03
    habit_half_life_days: Annotated[float, number("days", "assumed", "swept", gt=0.0)] = 60.0
    coupon_days: Annotated[float, number("days", "assumed", "a discount that was seen is used so long", ge=0.0)] = 3.0
    intent_on: Annotated[float, Rate] = 0.04
    intent_off: Annotated[float, Rate] = 0.25
    due_intent: Annotated[float, number("1", "assumed", "intent comes so much more often near a due day", ge=0.0)] = 5.0
    due_window_days: Annotated[float, number("days", "assumed", "how near", gt=0.0)] = 7.0
    intent_demand: Annotated[float, number("1", "assumed", "orders are so much more likely with intent", ge=0.0)] = 5.0
    stage_demand: dict[str, Annotated[float, number("1", "assumed", "factor on orders without messages", ge=0.0)]] = (
        table(
            {
                "onboarding": 1.2,
                "active": 1.0,
                "lapsing": 0.5,
                "lapsed": 0.15,
                "gone": 0.0,
            }
        )
    )
    onboarding_ends: Annotated[float, Rate] = 1 / 30
    lapses: Annotated[float, Rate] = 1 / 90
    lapses_further: Annotated[float, Rate] = 1 / 90
    leaves: Annotated[float, Rate] = 1 / 365
    gone_per_order: Annotated[
        float, number("share", "assumed", "few of a list; 0.25 of CDNOW's first-time buyers (BG/NBD)", **SHARE)
    ] = 0.02
    gone_spread: Annotated[
        float, number("1", "fitted", "BG/NBD on CDNOW: 1 / (1 + a + b); 0 is the same for everybody", ge=0.0, lt=1.0)
    ] = 0.0
    address_dies: Annotated[float, number("1 / day", "assumed", "list decay, about 20 % a year", ge=0.0)] = 0.0006
    browses: Annotated[float, Rate] = 0.02
    browses_with_intent: Annotated[float, Rate] = 0.35
    cart_share: Annotated[float, number("share", "assumed", "visits that leave a cart", **SHARE)] = 0.3
    ticket: Annotated[float, Rate] = 0.003
    ticket_days: Annotated[float, number("days", "assumed", "until it is closed", ge=0.0)] = 4.0
    motive_changes: Annotated[float, number("1 / day", "assumed", "drift of preferences", ge=0.0)] = 0.0005
    once: bool = False

    def __post_init__(self) -> None:
        if set(self.stage_demand) != set(STAGES):
            raise ParameterError(
                "stage_demand", "ShopperDynamics", allowed=f"exactly {STAGES}", got=sorted(self.stage_demand)
            )

    def bind(self, catalog: Catalog) -> BoundShopperDynamics:
        """The dynamics over a catalog's channels.

        Raises:
            ParameterError: a channel without numbers.
        """
        return BoundShopperDynamics(self, catalog)


class BoundShopperDynamics:
    """`ShopperDynamics` as arrays by position on the catalog's axes."""

    def __init__(self, numbers: ShopperDynamics, catalog: Catalog) -> None:
        self.numbers = numbers
        for name in ("fatigue_half_life_days", "pressure_weight"):
            missing = set(catalog.channels) - set(getattr(numbers, name))
            if missing:
                raise ParameterError(
                    name, "ShopperDynamics", allowed=f"with every channel of {catalog.channels}", got=sorted(missing)
                )
        self._half_life = np.array([numbers.fatigue_half_life_days[name] for name in catalog.channels])
        self._weight = np.array([numbers.pressure_weight[name] for name in catalog.channels])
        self._demand = np.array([numbers.stage_demand[stage] for stage in STAGES])
        self._depth = np.array([arm.discount_depth for arm in catalog.arms])

    def organic(self, people: People, state: State, moment: Moment) -> FloatArray:
        """(n,) chance of an order without any message within the step."""
        numbers = self.numbers
        rate = people.order_rate * moment.demand * self._demand[state.stage]
        rate = rate * np.where(state.intent, numbers.intent_demand, 1.0)
        rate = rate * np.exp(-numbers.habit * state.habit - numbers.irritation * state.pressure**2)
        here = (people.join_day <= moment.day) & ~state.finished
        chance: FloatArray = -np.expm1(-rate * moment.step_days) * here
        return chance

    def after(self, people: People, state: State, happened: Happened, moment: Moment) -> None:
        """Move the state by one step, in place; `happened` is what the step brought."""
        draw = people.draw
        self._stocks(state, happened, moment)
        bought = happened.ordered | happened.organic
        self._intent(state, bought, draw, moment)
        self._stages(people, state, happened, bought, draw, moment)
        self._visits(people, state, bought, draw, moment)
        self._due(people, state, bought, moment)
        self._rest(state, draw, moment)

    def _stocks(self, state: State, happened: Happened, moment: Moment) -> None:
        numbers, rows = self.numbers, happened.rows
        state.fatigue[rows, happened.channel] += 1.0
        state.pressure[rows] += self._weight[happened.channel]
        state.arm_step[rows, happened.arm] = moment.step
        depth = self._depth[happened.arm]
        shown = rows[(depth > 0.0) & happened.seen]
        given = depth[(depth > 0.0) & happened.seen]
        state.habit[shown] += 10.0 * given
        state.coupon_depth[shown] = given
        state.coupon_until[shown] = moment.step + int(np.ceil(numbers.coupon_days / moment.step_days))
        state.fatigue *= decay(self._half_life, moment.step_days)
        state.pressure *= decay(numbers.pressure_half_life_days, moment.step_days)
        state.habit *= decay(numbers.habit_half_life_days, moment.step_days)

    def _intent(self, state: State, bought: BoolArray, draw: Draws, moment: Moment) -> None:
        numbers = self.numbers
        near = np.abs(state.due_day - moment.day) <= numbers.due_window_days
        comes = numbers.intent_on * np.where(near, numbers.due_intent, 1.0)
        chance = -np.expm1(-np.where(state.intent, numbers.intent_off, comes) * moment.step_days)
        state.intent ^= draw("intent", moment.step) < chance
        state.intent &= ~bought

    def _stages(
        self, people: People, state: State, happened: Happened, bought: BoolArray, draw: Draws, moment: Moment
    ) -> None:
        numbers = self.numbers
        rates = np.zeros(len(STAGES))
        rates[[ONBOARDING, ACTIVE, LAPSING, LAPSED]] = (
            numbers.onboarding_ends, numbers.lapses, numbers.lapses_further, numbers.leaves,
        )  # fmt: skip
        here = people.join_day <= moment.day
        moves = here & (draw("stage", moment.step) < -np.expm1(-rates * moment.step_days)[state.stage])
        state.stage += moves
        back = happened.rows[happened.clicked]
        state.stage[back[state.stage[back] != GONE]] = ACTIVE
        state.stage[bought] = ACTIVE
        if numbers.gone_per_order:
            who = np.flatnonzero(bought)
            state.stage[who[draw("gone", moment.step, who) < self._gone_per_order(draw, who)]] = GONE

    def _gone_per_order(self, draw: Draws, rows: IntArray) -> FloatArray | float:
        """Chance to be gone after an order: a trait of the contact, beta over contacts (Fader, Hardie & Lee 2005)."""
        mean, spread = self.numbers.gone_per_order, self.numbers.gone_spread
        if spread <= 0.0 or mean >= 1.0:
            return mean
        size = 1.0 / spread - 1.0
        trait: FloatArray = betaincinv(mean * size, (1.0 - mean) * size, draw("gone per order", rows=rows))
        return trait

    def _visits(self, people: People, state: State, bought: BoolArray, draw: Draws, moment: Moment) -> None:
        numbers = self.numbers
        rate = np.where(state.intent, numbers.browses_with_intent, numbers.browses)
        here = (people.join_day <= moment.day) & (state.stage != GONE)
        visits = np.flatnonzero(here & (draw("visit", moment.step) < -np.expm1(-rate * moment.step_days)))
        state.browsed[visits] = moment.step
        cart = draw("cart", moment.step, visits) / max(numbers.cart_share, 1e-12)
        left = cart < 1.0
        state.cart_usd[visits[left]] = people.basket_usd[visits[left]] * (0.5 + cart[left])
        state.cart_usd[bought] = 0.0
        state.cart_usd *= decay(4.0, moment.step_days)
        state.cart_usd[state.cart_usd < 1.0] = 0.0

    def _due(self, people: People, state: State, bought: BoolArray, moment: Moment) -> None:
        again = bought & np.isfinite(people.cycle_days)
        state.due_day[again] = moment.day + people.cycle_days[again]
        # A cycle that passed without an order starts anew after as long as the need can wait.
        missed = np.isfinite(people.cycle_days) & (moment.day > state.due_day + 2.0 * self.numbers.due_window_days)
        state.due_day[missed] += people.cycle_days[missed]
        if self.numbers.once:
            state.finished |= bought
        state.ordered[bought] = moment.step

    def _rest(self, state: State, draw: Draws, moment: Moment) -> None:
        numbers = self.numbers
        opened = _rare(draw("ticket", moment.step), numbers.ticket * moment.step_days)
        state.ticket_until[opened] = moment.step + int(np.ceil(numbers.ticket_days / moment.step_days))
        state.tickets *= decay(15.0, moment.step_days)
        state.tickets[opened] += 1.0
        if numbers.address_dies:
            dies = draw("address", moment.step)
            chance = numbers.address_dies * moment.step_days
            rows = _rare(dies, chance)
            channels = np.minimum(
                (dies[rows] / chance * state.reachable.shape[1]).astype(np.int64), state.reachable.shape[1] - 1
            )
            state.reachable[rows, channels] = False
        changed: IntArray = _rare(draw("motive", moment.step), numbers.motive_changes * moment.step_days)
        state.motive[changed] = _uniform_motive(draw, moment.step, changed)


def _rare(uniform: FloatArray, chance: float) -> IntArray:
    return np.flatnonzero(uniform < chance)


def _uniform_motive(draw: Draws, step: int, rows: IntArray) -> CodeArray:
    return pick(draw("new motive", step, rows), dict.fromkeys(MOTIVES, 1.0))
