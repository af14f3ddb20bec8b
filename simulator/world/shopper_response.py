"""What a message does: the chances of being delivered, seen, clicked, ordered on, replied to, unsubscribed, complained.

With c the channel, h the local hour, a the arm, and logit(p) = log(p / (1 - p)):

    seen        = sigmoid(logit(seen_c) + affinity_c + engagement + hour_log_odds bump(kind, h) + stage + season)
                  m_c(F_c)
    click       = sigmoid(logit(click_c) + appeal(motive, arm) + category + urgency_c urgency_a + rich_c richness_a
                          + intent_click intent - novelty 2^(-days since the arm / novelty_half_life))
    order       = sigmoid(logit(order_c) + intent_order intent + due + discount_pull depth (price sensitivity - pivot))
    unsubscribe = min(unsubscribe_c (1 + pressure_slope max(G - pressure_free, 0)) 2^(-calm engagement), half)

All are per step of the chain: a click needs a seen message, an order a click, and everything a delivered one. G is the
stock over all channels, F_c that of the channel (`simulator.world.attention`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from scipy.special import expit

from engine.catalog import Arm, Catalog
from engine.errors import ParameterError
from engine.types import FloatArray, IntArray
from simulator.numbers import SHARE, number, table
from simulator.people.people import MOTIVES, STAGES, People
from simulator.world.attention import attention, hour_table
from simulator.world.response import Cells, Chances, Moment
from simulator.world.state import State

_MAILCHIMP = "Mailchimp, all industries, October 2019"


PerChannel = dict[str, float]


class ShopperResponse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Numbers of the response; per channel by name, for the average contact outside of any special state."""

    seen: dict[
        str,
        Annotated[float, number("share", "published", f"e-mail: {_MAILCHIMP}; SMS and push assumed", gt=0.0, lt=1.0)],
    ] = table(
        {
            "email": 0.2,
            "sms": 0.9,
            "push": 0.6,
        }
    )
    click: dict[
        str, Annotated[float, number("share of seen", "published", "see docs/calibration.md", gt=0.0, lt=1.0)]
    ] = table(
        {
            "email": 0.11,
            "sms": 0.07,
            "push": 0.055,
        }
    )
    order: dict[
        str,
        Annotated[
            float, number("share of clicks", "published", "Omnisend H1 2022 (6.7 %); Klaviyo bands", gt=0.0, lt=1.0)
        ],
    ] = table(
        {
            "email": 0.055,
            "sms": 0.12,
            "push": 0.04,
        }
    )
    hard_bounce: dict[str, Annotated[float, number("share of sends", "published", _MAILCHIMP, **SHARE)]] = table(
        {
            "email": 0.004,
            "sms": 0.005,
            "push": 0.0,
        }
    )
    soft_bounce: dict[str, Annotated[float, number("share of sends", "published", _MAILCHIMP, **SHARE)]] = table(
        {
            "email": 0.0061,
            "sms": 0.01,
            "push": 0.02,
        }
    )
    unsubscribe: dict[
        str,
        Annotated[
            float,
            number(
                "share of delivered",
                "published",
                f"e-mail: {_MAILCHIMP}; SMS: Klaviyo's good band; push assumed",
                **SHARE,
            ),
        ],
    ] = table(
        {
            "email": 0.0022,
            "sms": 0.009,
            "push": 0.002,
        }
    )
    complaint: dict[str, Annotated[float, number("share of delivered", "published", "Mailchimp 2018", **SHARE)]] = (
        table(
            {
                "email": 0.00012,
                "sms": 0.0001,
                "push": 0.0,
            }
        )
    )
    reply: dict[str, Annotated[float, number("share of delivered", "assumed", "people rarely answer", **SHARE)]] = (
        table(
            {
                "email": 0.001,
                "sms": 0.006,
                "push": 0.0,
            }
        )
    )
    fatigue_drop: dict[
        str,
        Annotated[
            float,
            number(
                "1 / message", "fitted", "e-mail: GetResponse opens by newsletters per week; push: HeartSteps", ge=0.0
            ),
        ],
    ] = table(
        {
            "email": 0.5,
            "sms": 0.15,
            "push": 0.04,
        }
    )
    fatigue_bend: dict[str, Annotated[float, number("1 / message", "fitted", "as fatigue_drop")]] = table(
        {
            "email": 1.5,
            "sms": 0.0,
            "push": 0.0,
        }
    )
    appeal: Annotated[
        float, number("log odds", "assumed", "order of hillstrom's content x segment effects", ge=0.0)
    ] = 0.3
    mismatch: Annotated[float, number("log odds", "assumed", "content for another motive", le=0.0)] = -0.1
    category_match: Annotated[
        float, number("log odds", "fitted", "hillstrom: own category against the other", ge=0.0)
    ] = 0.4
    category_mismatch: Annotated[
        float, number("log odds", "fitted", "hillstrom: own category against the other", le=0.0)
    ] = -0.4
    content: dict[
        str,
        dict[str, Annotated[float, number("log odds", "fitted", "arm -> category of the contact, see the scenario")]],
    ] = {}
    urgency: dict[str, Annotated[float, number("log odds", "assumed", "urgent news fits fast channels")]] = table(
        {
            "email": 0.0,
            "sms": 0.3,
            "push": 0.2,
        }
    )
    richness: dict[str, Annotated[float, number("log odds", "assumed", "long content fits e-mail")]] = table(
        {
            "email": 0.1,
            "sms": -0.2,
            "push": -0.1,
        }
    )
    hour_log_odds: Annotated[
        float, number("log odds", "assumed", "own habit strong, whole list weak (+-10 %)", ge=0.0)
    ] = 0.5
    intent_click: Annotated[float, number("log odds", "assumed", "who looks for something clicks", ge=0.0)] = 0.3
    intent_order: Annotated[float, number("log odds", "assumed", "and buys", ge=0.0)] = 0.6
    due_order: Annotated[float, number("log odds", "assumed", "near a due day, see the scenario", ge=0.0)] = 0.8
    due_window_days: Annotated[float, number("days", "assumed", "how near", gt=0.0)] = 7.0
    discount_pull: Annotated[
        float, number("log odds / share", "assumed", "per unit of depth at full sensitivity", ge=0.0)
    ] = 4.0
    discount_pivot: Annotated[
        float, number("1", "assumed", "sensitivity below which a discount only costs trust", **SHARE)
    ] = 0.3
    novelty: Annotated[
        float, number("log odds", "published", "recovering difference, Yancey & Settles 2020 (shape)", ge=0.0)
    ] = 0.2
    novelty_half_life_days: Annotated[float, number("days", "published", "Yancey & Settles 2020: 15 days", gt=0.0)] = (
        15.0
    )
    stage_attention: dict[
        str, Annotated[float, number("log odds", "assumed", "new contacts read more, lapsed ones less")]
    ] = table(
        {
            "onboarding": 0.5,
            "active": 0.0,
            "lapsing": -0.4,
            "lapsed": -0.9,
            "gone": -30.0,
        }
    )
    pressure_free: Annotated[float, number("messages", "assumed", "stock that annoys nobody", ge=0.0)] = 1.0
    pressure_slope: Annotated[
        float, number("1 / message", "assumed", "hazard doubles above two a week (swept)", ge=0.0)
    ] = 0.35
    calm: Annotated[float, number("1", "assumed", "engaged contacts leave less often", ge=0.0)] = 0.4

    def __post_init__(self) -> None:
        if set(self.stage_attention) != set(STAGES):
            raise ParameterError(
                "stage_attention", "ShopperResponse", allowed=f"exactly {STAGES}", got=sorted(self.stage_attention)
            )

    def bind(self, catalog: Catalog) -> BoundShopperResponse:
        """The response over a catalog's channels and arms.

        Raises:
            ParameterError: a channel without numbers, or an arm with attributes that mean nothing here.
        """
        return BoundShopperResponse(self, catalog)


class BoundShopperResponse:
    """`ShopperResponse` as arrays by position on the catalog's axes.

    Attributes:
        hour_moves_seen_only: only the chance of being seen depends on the hour, and it does not depend on the arm; a
            response that says so is judged by (channel, hour) and (channel, arm) in place of every action.
    """

    hour_moves_seen_only = True

    def __init__(self, numbers: ShopperResponse, catalog: Catalog) -> None:
        self.numbers = numbers
        per = {
            name: _per_channel(getattr(numbers, name), name, catalog)
            for name in (
                "seen", "click", "order", "hard_bounce", "soft_bounce", "unsubscribe", "complaint", "reply",
                "fatigue_drop", "fatigue_bend", "urgency", "richness",
            )
        }  # fmt: skip
        self._logit = {name: np.log(per[name] / (1.0 - per[name])) for name in ("seen", "click", "order")}
        self._per = per
        arms = catalog.arms
        self._motive = np.array([_motive(arm) for arm in arms], dtype=np.int64)
        self._urgency = np.array([_attribute(arm, "urgency") for arm in arms])
        self._richness = np.array([_attribute(arm, "richness") for arm in arms])
        self._depth = np.array([arm.discount_depth for arm in arms])
        self._arm_category = tuple(arm.category for arm in arms)
        unknown = set(numbers.content) - {arm.id for arm in arms}
        if unknown:
            raise ParameterError(
                "content", "ShopperResponse", allowed=f"arms of {catalog.arm_ids}", got=sorted(unknown)
            )
        self._by_category = tuple(numbers.content.get(arm.id, {}) for arm in arms)
        self._stage = np.array([numbers.stage_attention[stage] for stage in STAGES])
        self._hours = numbers.hour_log_odds * hour_table()
        # Log odds of content by (arm, channel): what depends on neither the contact nor the step.
        self._content = np.outer(self._urgency, per["urgency"]) + np.outer(self._richness, per["richness"])

    def chances(self, people: People, state: State, cells: Cells, moment: Moment) -> Chances:
        """See the module's equations.

        Args:
            people / state: people and state of the batch.
            cells: m messages.
            moment: the step.
        """
        numbers, per, rows, channel, arm = self.numbers, self._per, cells.rows, cells.channel, cells.arm
        engagement, intent = people.engagement[rows], state.intent[rows]
        seen = expit(
            self._logit["seen"][channel]
            + people.affinity[rows, channel]
            + engagement
            + self._hours[people.hour_kind[rows], cells.hour]
            + self._stage[state.stage[rows]]
            + moment.attention
        ) * attention(state.fatigue[rows, channel], per["fatigue_drop"][channel], per["fatigue_bend"][channel])
        since = (moment.step - state.arm_step[rows, arm]) * moment.step_days
        stale = numbers.novelty * np.exp2(-np.minimum(since, 4000.0) / numbers.novelty_half_life_days)
        click = expit(
            self._logit["click"][channel]
            + self._content[arm, channel]
            + self._appeal(people, state, rows, arm)
            + numbers.intent_click * intent
            - stale
        )
        due = np.abs(state.due_day[rows] - moment.day) <= numbers.due_window_days
        pull = self._depth[arm] * numbers.discount_pull * (people.price_sensitivity[rows] - numbers.discount_pivot)
        order = (
            expit(self._logit["order"][channel] + numbers.intent_order * intent + numbers.due_order * due + pull)
            * ~state.finished[rows]
        )
        annoyed = 1.0 + numbers.pressure_slope * np.maximum(state.pressure[rows] - numbers.pressure_free, 0.0)
        leave = annoyed * np.exp2(-numbers.calm * engagement)
        works = state.reachable[rows, channel]
        return Chances(
            hard_bounced=np.where(works, per["hard_bounce"][channel], 1.0),
            soft_bounced=np.where(works, per["soft_bounce"][channel], 0.0),
            seen=seen,
            clicked=click,
            ordered=order,
            replied=per["reply"][channel],
            unsubscribed=np.minimum(per["unsubscribe"][channel] * leave, 0.5),
            complained=np.minimum(per["complaint"][channel] * leave, 0.5),
        )

    def _appeal(self, people: People, state: State, rows: IntArray, arm: IntArray) -> FloatArray:
        numbers = self.numbers
        speaks_to = self._motive[arm]
        motive = np.where(speaks_to == state.motive[rows], numbers.appeal, numbers.mismatch) * (speaks_to >= 0)
        category = self._category_table(people.categories)[arm, people.category[rows]]
        appeal: FloatArray = motive + category
        return appeal

    def _category_table(self, categories: tuple[str, ...]) -> FloatArray:
        """(K, categories) log odds of an arm for a contact of a category."""
        numbers = self.numbers
        out = np.zeros((len(self._arm_category), len(categories)))
        for arm, own in enumerate(self._arm_category):
            for position, name in enumerate(categories):
                if own in categories:
                    out[arm, position] = numbers.category_match if own == name else numbers.category_mismatch
                out[arm, position] += self._by_category[arm].get(name, 0.0)
        return out


def _per_channel(values: PerChannel, name: str, catalog: Catalog) -> FloatArray:
    missing = [channel for channel in catalog.channels if channel not in values]
    if missing:
        raise ParameterError(
            name, "ShopperResponse", allowed=f"with every channel of the catalog {catalog.channels}", got=sorted(values)
        )
    return np.array([values[channel] for channel in catalog.channels], dtype=np.float64)


def _motive(arm: Arm) -> int:
    """Position of the motive that an arm speaks to; -1 where it speaks to none."""
    named = arm.attributes.get("motive", "")
    if named and named not in MOTIVES:
        raise ParameterError("attributes.motive", f"arm {arm.id!r}", allowed=f"one of {MOTIVES}", got=named)
    return MOTIVES.index(str(named)) if named else -1


def _attribute(arm: Arm, name: str) -> float:
    value = arm.attributes.get(name, 0.0)
    if not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ParameterError(f"attributes.{name}", f"arm {arm.id!r}", allowed="a number in [0, 1]", got=value)
    return float(value)
