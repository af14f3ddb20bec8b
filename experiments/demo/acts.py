"""The two worlds of the demonstration, the log of each, and how both are judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from engine.errors import ParameterError
from engine.names import did_you_mean
from experiments.settings import BacktestConfig, compose_settings
from experiments.simulate.run_spec import SimulateConfig
from policies.parts.surrogate import STAGE_WORTH
from simulator.scenario import Scenario

LOG_DAYS: Final = 10
LIVE_DAYS: Final = 30
METRIC: Final = "margin"
# A test of this size tells complaints and unsubscribes apart no finer; finer margins would refuse every launch.
MARGINS: Final = {"complaint_rate": 0.002, "unsubscribes_per_decision": 0.004}
# Today's segments, as many teams have them: the best message for each stage of a customer's life, tuned on the log.
SEGMENTED_BY: Final = "lifecycle_stage"
# The launch decision chooses from the segments, the learned policy and silence, so every interval of the backtest is
# that of so many comparisons at once.
COMPARISONS: Final = 2


@dataclass(frozen=True)
class Act:
    """One world.

    Attributes:
        name: of its folder.
        title: as a headline.
        story: what kind of shop it is, in a sentence.
        world: its scenario, as overrides of `tactful simulate`.
    """

    name: str
    title: str
    story: str
    world: tuple[str, ...]


_REMINDER: Final = "scenario=browse_abandonment"
# What appeals to one customer, and what does not: log odds of a click (docs/simulator.md).
_DIFFER: Final = "+scenario.response={appeal: 2.0, mismatch: -0.6}"
_ALIKE: Final = "+scenario.response={appeal: 0.0, mismatch: 0.0, category_match: 0.0, category_mismatch: 0.0}"

ACTS: Final = {
    act.name: act
    for act in (
        Act(
            "differ",
            "Act one: customers who differ",
            "A reminder to visitors who left without an order. They came for different reasons: what appeals to "
            "one leaves another cold.",
            (_REMINDER, "scenario.catalog=reminder", _DIFFER),
        ),
        Act(
            "alike",
            "Act two: customers who are alike",
            "The same reminder for visitors who all read it alike: no text suits anybody better than it suits the "
            "others.",
            (_REMINDER, "scenario.catalog=reminder", _ALIKE),
        ),
    )
}


def act_named(name: str) -> Act:
    """One of the two.

    Raises:
        ParameterError: there is no such act.
    """
    if name not in ACTS:
        hint = f"{did_you_mean(name, ACTS)}without --act both are played"
        raise ParameterError("act", "demo", allowed=f"one of {', '.join(ACTS)}", got=name, hint=hint)
    return ACTS[name]


def log_config(act: Act, contacts: int, seed: int) -> SimulateConfig:
    """The test campaign: everybody gets a message, or none, at random among what the guardrails allow."""
    overrides = [
        *(*act.world, "policy=uniform", f"contacts={contacts}"),
        *(f"seed={seed}", f"days={LOG_DAYS}", f"block_rows={-(-contacts // 2)}"),
    ]
    return compose_settings("simulate", overrides, SimulateConfig)


def known_days(scenario: Scenario) -> int:
    """Days of the log whose attribution window has closed by its end: what the backtest sees."""
    return LOG_DAYS + 1 - math.ceil(scenario.spec.attribution_window_days / scenario.step_days)


def backtest_config(seed: int) -> BacktestConfig:
    """What decides, fixed before anything is seen: what clicks are worth less what messages cost, by DR."""
    overrides = [
        # Few candidates, so that the demonstration stays in its minute: lines, and two penalties to choose from.
        *("learner.parts.smooth=false", "learner.parts.ridges=[10,100]", "learner.parts.worth_ridges=[1000,10000]"),
        *(f"seed={seed}", "learner=parts", f"judged_by={STAGE_WORTH}", "deciding_estimator=dr"),
        *(f"evaluation.comparisons={COMPARISONS}", "estimators=[snips,dr]", f"segments.features=[{SEGMENTED_BY}]"),
        *(f"metric_stack.metrics.{name}.guardrail.margin={margin}" for name, margin in MARGINS.items()),
    ]
    return compose_settings("backtest", overrides, BacktestConfig)
