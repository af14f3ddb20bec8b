"""The figures of triggered programmes: messages to contacts who did something, in place of the whole list.

Fitted on the visitors of `browse_abandonment`, three messages in the week after a visit. What the trigger explains by
itself - intent, a recent visit - is in the world already; the rest is content that fits the moment: a click, an order
and an opt-out are likelier for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.calibration.campaign import goals_of
from simulator.calibration.fit import Changes, Free, fit
from simulator.calibration.programme import Programme, Sums, run_programme
from simulator.calibration.targets.published import Published
from simulator.scenario import load_scenario

SCENARIO: Final = "browse_abandonment"
PER_WEEK: Final = 3.0
WARM_UP_DAYS: Final = 14.0
DAYS: Final = 42.0

FREE: Final = (
    Free(("response", "click", "email"), 0.17, "share"),
    Free(("response", "order", "email"), 0.24, "share"),
    Free(("response", "unsubscribe", "email"), 0.0046, "share"),
    Free(("response", "click", "sms"), 0.13, "share"),
    Free(("response", "click", "push"), 0.24, "share"),
)
IDS: Final = (
    "email_flow_click_klaviyo_2026",
    "email_flow_order_klaviyo_2026",
    "email_flow_order_per_click_omnisend_2022",
    "email_flow_unsubscribe_bsandco_2026",
    "sms_flow_click_klaviyo_2026",
    "push_flow_open_batch_2025",
)


def flow_moments(changes: Changes, contacts: int, seed: int, scenario: str = SCENARIO) -> dict[str, float]:
    """The figures of `IDS` under changes of a triggered scenario with e-mail, SMS and push."""
    world = load_scenario(scenario, changes)

    def run(channel: str) -> Sums:
        return run_programme(world, Programme(channel, PER_WEEK, WARM_UP_DAYS, DAYS), contacts, seed)

    email, sms, push = run("email"), run("sms"), run("push")
    return {
        "email_flow_click_klaviyo_2026": email.rate("clicked", "delivered"),
        "email_flow_order_klaviyo_2026": email.rate("ordered", "delivered"),
        "email_flow_order_per_click_omnisend_2022": email.rate("ordered", "clicked"),
        "email_flow_unsubscribe_bsandco_2026": email.rate("unsubscribed", "delivered"),
        "sms_flow_click_klaviyo_2026": sms.rate("clicked", "delivered"),
        "push_flow_open_batch_2025": push.rate("clicked", "delivered"),
    }


def fit_flows(published: Published, contacts: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Changes:
    """Fit what a message of a flow does beyond its trigger."""
    say("flows: clicks, orders and opt-outs of triggered messages")
    return fit(
        FREE, goals_of(published, IDS), lambda changes: flow_moments(changes, contacts, seed), trials=40, say=say
    ).changes
