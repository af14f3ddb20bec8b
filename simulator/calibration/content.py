"""Content by purchase history: Hillstrom's test played in a world, and measured by the estimator of the real test.

One e-mail with men's merchandise, one with women's, or none, a third of the customers each; the outcome is a visit
within two weeks. An order of the scenario is a visit, with a message or without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from engine.types import HOLD
from simulator.calibration.fit import Changes, Free, Goal, fit
from simulator.calibration.targets.neyman import SegmentEffects, segment_effects
from simulator.scenario import Scenario, load_scenario
from simulator.world.world import World

SCENARIO: Final = "hillstrom"
DAYS: Final = 14
ARMS: Final = ("no e-mail", "men's e-mail", "women's e-mail")
# Levels of the scenario's categories, in the order of `simulator.calibration.targets.hillstrom.HISTORIES`.
HISTORIES: Final = ("mens", "womens", "both")
SOURCE: Final = "Hillstrom 2008 (randomised), recomputed by simulator.calibration.targets.hillstrom"
ERRORS: Final = 2.0

# Five numbers for three base rates and six effects: customers who bought both come and react more than the others,
# men's e-mail works for everybody alike, and women's not for those who bought men's only.
FREE: Final = (
    Free(("population", "order_rate_per_day"), 0.008),
    Free(("population", "order_rate_by", "category", "both"), 1.9),
    Free(("response", "click", "email"), 0.45, "share"),
    Free(("response", "content", "womens", "mens"), -2.5, "plain"),
    Free(("population", "engagement_by", "category", "both"), 1.0, "plain"),
)


def goals(effects: SegmentEffects) -> tuple[Goal, ...]:
    """Base rates and effects on visits, within two standard errors of the real test.

    Args:
        effects: `simulator.calibration.targets.hillstrom.hillstrom_effects` of the published file.
    """
    values = moments_of(effects)
    visit = effects.outcomes.index("visit")
    errors = np.column_stack([effects.mean_se[:, 0, visit], effects.effect_se[:, :, visit]])
    return tuple(
        Goal(name, name, value, ERRORS * float(error), "share", SOURCE)
        for (name, value), error in zip(values.items(), errors.ravel(), strict=True)
    )


def moments_of(effects: SegmentEffects) -> dict[str, float]:
    """Share of visits without e-mail and effects of both e-mails on it, by purchase history."""
    visit = effects.outcomes.index("visit")
    found: dict[str, float] = {}
    for row, history in enumerate(HISTORIES):
        found[f"visit_{history}_none"] = float(effects.mean[row, 0, visit])
        for arm, name in enumerate(("mens_mail", "womens_mail")):
            found[f"visit_{history}_{name}"] = float(effects.effect[row, arm, visit])
    return found


def simulate_test(scenario: Scenario, contacts: int, seed: int) -> SegmentEffects:
    """Play the test three times, each arm once for everybody: the same contacts with the same luck.

    So a difference of means is one of the same contacts, and has less noise than a draw of the arm would leave.
    """
    visited, category = [], []
    for arm in range(len(ARMS)):
        world = World(scenario, contacts, seed)
        came = np.zeros(contacts, dtype=np.bool_)
        for day in range(DAYS):
            happened = world.advance(np.full(contacts, arm if day == 0 else HOLD, dtype=np.int32))
            came |= happened.ordered | happened.organic
        visited.append(came)
        category.append(world.people.category.astype(np.int64))
    return segment_effects(
        np.concatenate(category),
        np.repeat(np.arange(len(ARMS)), contacts),
        np.concatenate(visited)[:, None].astype(np.float64),
        segments=HISTORIES,
        arms=ARMS,
        outcomes=("visit",),
    )


def content_moments(changes: Changes, contacts: int, seed: int) -> dict[str, float]:
    """Base rates and effects under a scenario's changes."""
    return moments_of(simulate_test(load_scenario(SCENARIO, changes), contacts, seed))


def fit_content(
    effects: SegmentEffects, contacts: int, seed: int, say: Callable[[str], None] = lambda _: None
) -> tuple[Changes, Changes]:
    """Fit base rates, level and content to the real test.

    Returns:
        The numbers of the test, and those that a shop scenario takes over: what the own category adds and another one
        costs, over both e-mails together.
    """
    say("content: visits by purchase history and e-mail")
    found = fit(FREE, goals(effects), lambda changes: content_moments(changes, contacts, seed), trials=36, say=say)
    half = float(f"{own_category(effects) / 2.0:.2g}")
    return found.changes, {"response": {"category_match": half, "category_mismatch": -half}}


def own_category(effects: SegmentEffects) -> float:
    """Log ratio of the effect of the own category's e-mail to that of the other, among who bought one category only.

    Means of men's and women's, weighted by their inverse variances: the ratio of clicks, which are rare, so that it is
    nearly one of odds.
    """
    visit = effects.outcomes.index("visit")
    effect, weight = effects.effect[:2, :, visit], effects.effect_se[:2, :, visit] ** -2.0
    own = np.eye(2, dtype=np.bool_)
    means = [float((effect[of] * weight[of]).sum() / weight[of].sum()) for of in (own, ~own)]
    return float(np.log(means[0] / means[1]))
