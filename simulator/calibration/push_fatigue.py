"""The fatigue of pushes: HeartSteps played in a world, and measured by the estimator that measured the real trial.

Five decisions a day for 42 days; a contact is available at 80 % of them, and of these 60 % get a push. The outcome of a
decision is log(0.5 + steps), as published: in the scenario an order is a walk and its value the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from engine.types import HOLD
from simulator.calibration.campaign import goals_of
from simulator.calibration.fit import Changes, Free, Goal, fit
from simulator.calibration.targets.heartsteps import Trial, fatigue_effect
from simulator.calibration.targets.published import Published
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

SCENARIO: Final = "heartsteps"
DAYS: Final = 42
AVAILABLE: Final = 0.8
SENT: Final = 0.6

# How fast attention ends: it falls in a straight line with the stock (bend = - drop), so that one number meets the line
# and its end. How many follow a suggestion that they saw is set in the scenario, for level and fall can stand in for
# each other: higher, faster effects give the same line. The half-life of the stock is that of every channel.
FREE: Final = (Free(("response", "fatigue_drop", "push"), 0.06, tied={("response", "fatigue_bend", "push"): -1.0}),)
IDS: Final = ("push_effect_average", "push_effect_day_0", "push_effect_slope", "push_effect_zero_day")


def goals(published: Published) -> tuple[Goal, ...]:
    """The published line within one standard error where there is one, which is half of what the figures claim."""
    errors = {figure.id: figure.se for figure in published.figures}
    return tuple(replace(goal, tolerance=errors[goal.id] or goal.tolerance) for goal in goals_of(published, IDS))


def simulate_trial(scenario: Scenario, contacts: int, seed: int) -> Trial:
    """Play the trial: rows are steps x contacts, in the order of time; there is no control from before the decision.

    Args:
        scenario: with one channel and one arm.
        contacts: number of contacts.
        seed: seed of the world.
    """
    world = World(scenario, contacts, seed)
    steps = round(DAYS / scenario.step_days)
    shape = (steps, contacts)
    available, treated, outcome = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape)
    for step in range(steps):
        available[step] = world.draw("available", step) < AVAILABLE
        treated[step] = available[step] & (world.draw("decision", step) < SENT)
        happened = world.advance(np.where(treated[step], 1, HOLD).astype(np.int32))
        outcome[step] = np.log(0.5 + happened.order_usd + happened.organic_usd)
    day = np.floor((np.arange(steps) + 0.5) * scenario.step_days)
    return Trial(
        day=np.repeat(day, contacts),
        user=np.tile(np.arange(contacts), steps),
        treated=treated.ravel(),
        probability=np.where(available, SENT, 0.0).ravel(),
        available=available.ravel(),
        outcome=outcome.ravel(),
        before=np.zeros(steps * contacts),
    )


def push_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """The figures of `IDS` under a scenario's changes; the day on which the line is 0 is NaN where it does not fall."""
    trial = simulate_trial(load_scenario(SCENARIO, changes), contacts, seed)
    effect = fatigue_effect(trial.day, trial.user, trial.treated, trial.probability, trial.available, trial.outcome)
    return {
        "push_effect_average": effect.average,
        "push_effect_day_0": effect.day_0,
        "push_effect_slope": effect.slope,
        "push_effect_zero_day": effect.zero_day,
    }


def fit_push(published: Published, contacts: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Changes:
    """Fit the fatigue of pushes to the published line."""
    say("push: the effect of a suggestion over 42 days")
    return fit(
        FREE, goals(published), lambda changes: push_moments(changes, contacts, seed), trials=16, say=say
    ).changes
