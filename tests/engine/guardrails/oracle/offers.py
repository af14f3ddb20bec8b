"""Rules on offers from their words: discounts, margins, first touches. Money is exact: decimals, not floats."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from tests.engine.guardrails.oracle.basic import Params, counted, last_slot
from tests.engine.guardrails.oracle.history import details_known, horizon, scoped
from tests.engine.guardrails.oracle.people import PROMOTIONAL, PURPOSES, Action, Person, Setting


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
    return any(len(counted(discounted, at, window, PURPOSES, None)) >= most for at in horizon(person, setting))


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
