"""Rules on offers from their words: discounts, margins, first touches. Money is exact: decimals, not floats."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from engine.catalog import Arm, Catalog
from tests.engine.guardrails.oracle.basic import Params, counted, last_slot, slots
from tests.engine.guardrails.oracle.history import at_some, details_known, horizon, scoped, template_of
from tests.engine.guardrails.oracle.people import PROMOTIONAL, PURPOSES, Action, Person, Sent, Setting, moment


def exact(number: float) -> Decimal:
    return Decimal(str(number))


def discount(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O1: not too deep, and not too often; a send of unknown depth counts as discounted."""
    if not scoped(params, action):
        return False
    deepest, most = params["max_depth"], params["max_sends"]
    if most is not None and not details_known(person, "sent_discount"):
        return True
    depth = action.arm.discount_depth
    if depth == 0:
        return False
    if deepest is not None and depth > deepest:
        return True
    if most is None:
        return False
    window = timedelta(seconds=params["window_s"])
    discounted = [sent for sent in person.sends or () if sent.discount is None or sent.discount > 0]
    return at_some(slots(person, setting), setting, counted(discounted, PURPOSES, None), window, most)


def first_touch(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O4: no discount on a first touch, unless a price motive is more likely than tau."""
    if not scoped(params, action):
        return False
    if person.sends is None:
        return True
    motive = person.facts.get("motive_price")
    if action.arm.discount_depth == 0 or (motive is not None and motive > params["tau"]):
        return False
    counts = params.get("counts", [PROMOTIONAL])
    touches = [sent.at for sent in person.sends if sent.purpose in counts and sent.at <= setting.now]
    if not touches:
        return True
    window_s = params.get("window_s")
    return window_s is not None and last_slot(person, setting) - max(touches) >= timedelta(seconds=window_s)


def due_window(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O14: an arm with its own days waits for them, at every moment for which a decision may plan."""
    days = action.arm.attributes.get("due_within_days")
    if days is None:
        return False
    told = person.facts.get("due_at")
    due = None if told is None else moment(told)
    if due is None:
        return True
    soonest = min(horizon(person, setting))
    return soonest < due - timedelta(days=float(days)) or last_slot(person, setting) + setting.margin > due


def margin_floor(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O2: no send that loses money; a discount of which nobody knows what it leaves is one."""
    if not scoped(params, action) or params["floor_usd"] is None:
        return False
    arm, costs = action.arm, params["send_cost_usd"]
    cost, price = costs.get(action.channel, costs.get("*")), arm.attributes.get("price_usd")
    if arm.discount_depth == 0:
        if arm.margin_usd is None or cost is None:
            return False
        return exact(arm.margin_usd) - exact(cost) < exact(params["floor_usd"])
    if arm.margin_usd is None or cost is None or not isinstance(price, int | float):
        return True
    given = exact(arm.discount_depth) * exact(price)
    return exact(arm.margin_usd) - given - exact(cost) < exact(params["floor_usd"])


class Price(NamedTuple):
    """What a message says of a price: of which item or categories, how deep the discount, how many dollars are left."""

    item: str | None
    categories: set[str | None]
    depth: float | None
    dollars: Decimal | None


def _dollars(arm: Arm | None, depth: float | None) -> Decimal | None:
    list_price = None if arm is None else arm.attributes.get("price_usd")
    if depth is None or not isinstance(list_price, int | float):
        return None
    return exact(list_price) * (1 - exact(depth))


def price_of(arm: Arm) -> Price | None:
    """None where an arm shows no price."""
    if arm.discount_depth == 0 and "price_usd" not in arm.attributes:
        return None
    item = str(arm.attributes.get("item", ""))
    return Price(item, {arm.category}, arm.discount_depth, _dollars(arm, arm.discount_depth))


def prices_sent(sent: Sent, catalog: Catalog) -> list[Price]:
    """The prices that a send may have shown: of its arm, of all arms of its template, or of an arm that is gone."""
    arms = [arm for arm in catalog.arms if sent.template in (arm.id, template_of(arm))]
    if not arms:
        # An arm that is gone showed no price where it gave no discount; one that nobody knows may have.
        silent = sent.discount == 0 and bool(sent.template)
        return [] if silent else [Price(None, {sent.category}, sent.discount, None)]
    return [
        Price(
            str(arm.attributes.get("item", "")),
            {arm.category, sent.category},
            sent.discount,
            _dollars(arm, sent.discount),
        )
        for arm in arms
        if sent.discount != 0 or price_of(arm) is not None
    ]


def sticky_price(params: Params, person: Person, action: Action, setting: Setting) -> bool:
    """O5: while a price that was sent is alive, no other price for the same item."""
    if not scoped(params, action) or params["life_s"] is None:
        return False
    if not details_known(person, "sent_template", "sent_category", "sent_discount"):
        return True
    shown = price_of(action.arm)
    if shown is None:
        return False
    life = timedelta(seconds=params["life_s"])
    alive = [sent for sent in person.sends or () if at_some(slots(person, setting), setting, [sent.at], life, 1)]
    others = [price for sent in alive for price in prices_sent(sent, setting.catalog)]
    return any(_same_thing(shown, other) and _differ(shown, other) for other in others)


def _same_thing(shown: Price, other: Price) -> bool:
    """By item, where one is named; else, or where nobody knows the item that was sent, by category.

    Of what nobody knows the item, nor one of both categories, it may be the same; but an arm that is about no item and
    in no category is about nothing.
    """
    if shown.item and other.item is not None:
        return shown.item == other.item
    mine, theirs = shown.categories - {"", None}, other.categories - {"", None}
    if other.item is None and not (mine and theirs):
        return bool(shown.item or mine)
    return bool(mine & theirs)


def _differ(shown: Price, other: Price) -> bool:
    if shown.dollars is not None and other.dollars is not None:
        return abs(shown.dollars - other.dollars) >= Decimal("0.005")
    return shown.depth is None or other.depth is None or shown.depth != other.depth
