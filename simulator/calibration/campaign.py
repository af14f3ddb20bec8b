"""The campaign figures: opens, clicks, orders, bounces, opt-outs and complaints of messages to a whole list.

Measured on the newsletter scenario: one e-mail a week (GetResponse: nearly half of all senders), at other frequencies
for the curve of fatigue, one SMS and two pushes a week; and the best frequency over half a year.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from engine.numeric.matmul import matmul
from engine.types import FloatArray
from simulator.calibration.fit import Changes, Free, Goal, fit
from simulator.calibration.programme import Programme, Sums, run_programme
from simulator.calibration.targets.published import Published
from simulator.people.people import DEVICES, contact_ids
from simulator.scenario import load_scenario, merged

SCENARIO: Final = "newsletter"
DAYS_PER_MONTH: Final = 30.4
Measure = Callable[[Changes, int, int], dict[str, float]]
HALF_YEAR: Final = 182.0
# What e-mails add is a small difference of large values: the best frequency needs more contacts than shares do.
VALUED: Final = 4
# A permission is one draw per contact: shares need many.
APP_USERS: Final = 20_000
MONTHLY: Final = (2.0, 4.0, 5.5, 7.0, 8.5, 10.0, 14.0)

# Free numbers, from where an earlier fit left them, and the figures that they are fitted to. No number of one channel
# moves a figure of another, so each channel is fitted by itself.
EMAIL: Final = (
    Free(("response", "seen", "email"), 0.725, "share"),
    Free(("population", "unread", "email"), 0.54, "share"),
    Free(("response", "click", "email"), 0.0474, "share"),
    Free(("response", "order", "email"), 0.0526, "share"),
    Free(("response", "hard_bounce", "email"), 0.00258, "share"),
    Free(("response", "soft_bounce", "email"), 0.00611, "share"),
    Free(("response", "unsubscribe", "email"), 0.0024, "share"),
    Free(("response", "complaint", "email"), 0.000115, "share"),
    Free(("response", "fatigue_drop", "email"), 0.396),
    Free(("response", "fatigue_bend", "email"), 1.03),
)
SMS: Final = (
    Free(("response", "click", "sms"), 0.0732, "share"),
    Free(("response", "order", "sms"), 0.253, "share"),
    Free(("response", "unsubscribe", "sms"), 0.00821, "share"),
)
PUSH: Final = (Free(("response", "click", "push"), 0.1, "share"),)
EMAIL_IDS: Final = (
    "email_open_omnisend_2022",
    "email_opened_of_six_campaign_monitor_2014",
    "email_click_omnisend_2022",
    "email_order_per_click_omnisend_2022",
    "email_order_per_send_omnisend_2022",
    "email_hard_bounce_mailchimp_2019",
    "email_soft_bounce_mailchimp_2019",
    "email_unsubscribe_mailchimp_2019",
    "email_complaint_mailchimp_2018",
    "email_open_by_frequency_2",
    "email_open_by_frequency_3",
    "email_open_by_frequency_15",
    "email_hour_effect_biz_genius",
)
SMS_IDS: Final = ("sms_click_klaviyo_2026", "sms_order_good_klaviyo", "sms_unsubscribe_good_klaviyo")
PUSH_IDS: Final = ("push_open_batch_2025",)
REACH_IDS: Final = ("push_opt_in_batch_2025", "push_opt_in_android_batch_2025", "push_opt_in_ios_batch_2025")
LEVEL_IDS: Final = (*EMAIL_IDS, *SMS_IDS, *PUSH_IDS, *REACH_IDS)
FREQUENCY_IDS: Final = (
    "email_optimum_zhang_2017",
    "email_profit_at_4_zhang_2017",
    "email_profit_at_10_zhang_2017",
)
# What is lost by too few is not reached: docs/calibration.md says why.
FITTED_FREQUENCY_IDS: Final = ("email_optimum_zhang_2017", "email_profit_at_10_zhang_2017")
IRRITATION: Final = Free(("dynamics", "irritation"), 0.0008)


def goals_of(published: Published, ids: tuple[str, ...]) -> tuple[Goal, ...]:
    """Goals from published figures; the moment of a goal has the figure's id.

    Raises:
        ConfigError: a figure that is no target.
    """
    targets = {target.id: target for target in published.targets()}
    studies = {figure.id: published.studies[figure.study].source for figure in published.figures}
    return tuple(
        Goal(one, one, targets[one].value, targets[one].tolerance, targets[one].unit, studies[one]) for one in ids
    )


def level_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """The figures of `LEVEL_IDS` under a scenario's changes."""
    channels = (email_moments, sms_moments, push_moments, _opt_in)
    return {name: value for of in channels for name, value in of(changes, contacts, seed).items()}


def email_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """The figures of `EMAIL_IDS`: one e-mail a week, and the opens at two, three and fifteen."""

    def run(programme: Programme, more: dict[str, Any] | None = None) -> Sums:
        return run_programme(load_scenario(SCENARIO, merged(changes, more or {})), programme, contacts, seed)

    weekly = run(Programme("email", 1.0))
    # Fifteen a week need more than one step a day.
    thrice = {"calendar": {"step_hours": 8.0}}
    often = {2: run(Programme("email", 2.0)), 3: run(Programme("email", 3.0))}
    often[15] = run(Programme("email", 15.0, days=28.0), thrice)
    opens = {per_week: sums.rate("seen", "delivered") for per_week, sums in often.items()}
    by_hour = weekly.by_hour[:, 1] / weekly.by_hour[:, 0]
    return {
        "email_open_omnisend_2022": weekly.rate("seen", "delivered"),
        "email_opened_of_six_campaign_monitor_2014": float(np.nanmean(1.0 - weekly.unopened)),
        "email_click_omnisend_2022": weekly.rate("clicked", "delivered"),
        "email_order_per_click_omnisend_2022": weekly.rate("ordered", "clicked"),
        "email_order_per_send_omnisend_2022": weekly.rate("ordered", "sent"),
        "email_hard_bounce_mailchimp_2019": weekly.rate("hard_bounced", "sent"),
        "email_soft_bounce_mailchimp_2019": weekly.rate("soft_bounced", "sent"),
        "email_unsubscribe_mailchimp_2019": weekly.rate("unsubscribed", "delivered"),
        "email_complaint_mailchimp_2018": weekly.rate("complained", "delivered"),
        **{
            f"email_open_by_frequency_{per_week}": share / weekly.rate("seen", "delivered")
            for per_week, share in opens.items()
        },
        # The slot farthest from the mean, as a share of it; the sign does not matter to the claim.
        "email_hour_effect_biz_genius": float(np.abs(by_hour / by_hour.mean() - 1.0).max()),
    }


def sms_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """The figures of `SMS_IDS`: one SMS a week."""
    sms = run_programme(load_scenario(SCENARIO, changes), Programme("sms", 1.0), contacts, seed)
    return {
        "sms_click_klaviyo_2026": sms.rate("clicked", "delivered"),
        "sms_order_good_klaviyo": sms.rate("ordered", "delivered"),
        "sms_unsubscribe_good_klaviyo": sms.rate("unsubscribed", "delivered"),
    }


def push_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """The figures of `PUSH_IDS`: two pushes a week."""
    push = run_programme(load_scenario(SCENARIO, changes), Programme("push", 2.0), contacts, seed)
    return {"push_open_batch_2025": push.rate("clicked", "delivered")}


def _opt_in(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """Share of app users with a push permission; who reads on a desktop has no app."""
    scenario = load_scenario(SCENARIO, changes)
    people = scenario.population.people(contact_ids(0, max(contacts, APP_USERS)), scenario.catalog, seed)
    push = people.consent[:, scenario.catalog.channels.index("push"), 0]
    devices = {name: (push >= 0) & (people.device == DEVICES.index(name)) for name in ("android", "ios")}
    both = devices["android"] | devices["ios"]
    return {
        "push_opt_in_batch_2025": float(push[both].mean()),
        "push_opt_in_android_batch_2025": float(push[devices["android"]].mean()),
        "push_opt_in_ios_batch_2025": float(push[devices["ios"]].mean()),
    }


def frequency_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """The best number of e-mails a month, and what others leave of the value that e-mails add.

    Values are those of half a year, over what contacts are worth without any message: the publication speaks of the
    profit of a retailer whose sales were largely made by mail, which a shop with orders of its own cannot match.
    `VALUED` times as many contacts are simulated.
    """
    scenario = load_scenario(SCENARIO, changes)

    def value(per_month: float) -> float:
        programme = Programme("email", per_month * 7.0 / DAYS_PER_MONTH, warm_up_days=0.0, days=HALF_YEAR)
        return run_programme(scenario, programme, VALUED * contacts, seed).reward_usd

    nothing = value(0.0)
    added = np.array([value(per_month) - nothing for per_month in MONTHLY])
    best, at_4, at_10 = value_curve(np.array(MONTHLY), added)
    return {
        "email_optimum_zhang_2017": best,
        "email_profit_at_4_zhang_2017": at_4,
        "email_profit_at_10_zhang_2017": at_10,
    }


def value_curve(per_month: FloatArray, added: FloatArray) -> tuple[float, float, float]:
    """Where the value that e-mails add is highest, and the shares of it at 4 and at 10 a month.

    Through the values goes a curve a sqrt(f) + b f + c f^2: nothing is added by nothing, returns diminish, and harm
    grows with the square of the pressure. Its peak has a third of the noise of a cubic's.

    Args:
        per_month: (m,) numbers of e-mails a month, rising.
        added: (m,) USD over what contacts are worth without any.
    """

    def terms(at: FloatArray) -> FloatArray:
        return np.column_stack([np.sqrt(at), at, at**2])

    weights = np.linalg.lstsq(terms(per_month), added, rcond=None)[0]
    fine = np.linspace(per_month[0], per_month[-1], 1201)
    curve = matmul(terms(fine), weights)
    at_4, at_10 = matmul(terms(np.array([4.0, 10.0])), weights) / curve.max()
    return float(fine[np.argmax(curve)]), float(at_4), float(at_10)


def fit_campaign(
    published: Published,
    contacts: int,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
    taken: Changes | None = None,
) -> Changes:
    """Fit the levels channel by channel, then the irritation that puts the best frequency where it was published.

    Args:
        published: the figures.
        contacts / seed: size and seed of the simulated worlds.
        say: told the progress.
        taken: numbers that were fitted elsewhere; they stay as they are.

    Returns:
        All numbers, those that were taken over included.
    """
    found = dict(taken or {})
    for channel, free, ids, measure in (
        ("e-mail", EMAIL, EMAIL_IDS, email_moments),
        ("SMS", SMS, SMS_IDS, sms_moments),
        ("push", PUSH, PUSH_IDS, push_moments),
        ("frequency", (IRRITATION,), FITTED_FREQUENCY_IDS, frequency_moments),
    ):
        say(f"campaign: {channel}")

        def moments(changes: Changes, measure: Measure = measure, so_far: Changes = found) -> dict[str, float]:
            return measure(merged(so_far, changes), contacts, seed)

        trials = 6 if free == (IRRITATION,) else 44
        found = merged(found, fit(free, goals_of(published, ids), moments, trials=trials, say=say).changes)
    return found
