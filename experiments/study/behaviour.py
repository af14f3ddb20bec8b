"""What a policy learns to do in the simulator: silence, channel, hour, content and frequency, each as one contrast.

A policy is learnt from decisions that were taken at random (mostly holds, the rest even over the eligible actions) and
judged on other contacts of the same world, on the last day on which something could be sent to them: one row a contact,
so rows are independent. Contrasts are differences of two means over contacts, or of a paired change of one feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.contacts.key import SIMULATED_KEY
from engine.decide.plan import Plan
from engine.errors import LearnError
from engine.features import PRESENT, Column, ContextBatch
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray, IntArray
from experiments.simulate.outcomes import scenario_metrics
from experiments.study.simulated_rounds import GAIN, Step, decided_step
from policies.exploring.config import ExplorationConfig
from policies.peers.constant import UniformPolicy
from policies.registry import begin
from policies.vw.arguments import VwConfig
from policies.vw.scoring.compiled import CompiledPolicy
from simulator.people.people import HOUR_KINDS, MOTIVES
from simulator.scenario import Scenario, load_scenario
from simulator.world.happened import reported
from simulator.world.world import World

FREE: Final = {"guardrails": "permission"}
_NONE: Final = {"sms": 0.0, "push": 0.0}
EMAIL_ONLY: Final[dict[str, Any]] = {
    **FREE,
    "population": {"reach": {"email": 0.95, **_NONE}, "reach_by_device": {"push": {"android": 0.0, "ios": 0.0}}},
}
# At this price a text pays only where an order is likely.
DEAR_SMS: Final[dict[str, Any]] = {**FREE, "money": {"send_cost_usd": {"email": 0.0004, "sms": 0.6, "push": 0.0}}}
# More than any message brings.
WORTHLESS: Final[dict[str, Any]] = {**FREE, "money": {"send_cost_usd": {"email": 1.0, "sms": 1.0, "push": 1.0}}}
_LOGGED: Final = ("clicked", "opened", "unsubscribed", "complained", "revenue", "send_cost")
Z95: Final = 1.959963984540054


@dataclass(frozen=True)
class Sizes:
    """How much is learnt from and judged on.

    Attributes:
        contacts / days: size of the log.
        judged: other contacts.
        reward: name in `experiments.study.simulated_rounds`: what is learnt from. The expected gain of a message shows
            on a small log what takes a long one by drawn orders.
        learner: how to learn.
    """

    contacts: int = 3000
    days: int = 12
    judged: int = 2000
    reward: str = GAIN
    learner: VwConfig = field(default_factory=lambda: VwConfig(learning_rate=0.05, passes=4))


@dataclass(frozen=True)
class Sparse:
    """Hold with a probability, else even over the eligible actions: leaves contacts room, and explores every action."""

    hold: float = 0.7
    name: str = "sparse"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) the mixture; hold must be eligible.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        mixed: FloatArray = (1.0 - self.hold) * UniformPolicy().distribution(context, eligible)
        mixed[:, HOLD] += self.hold
        return mixed


@dataclass(frozen=True)
class Learnt:
    """A learnt policy with the contacts on whom it is judged.

    Attributes:
        scenario: scenario of both.
        policy: as it would be served.
        world: world of the judged contacts, after their days.
        rows: (m,) rows of the world, one for each contact to whom something could be sent.
        context / eligible: what was known of these rows on that day, and what they might get.
    """

    scenario: Scenario
    policy: CompiledPolicy
    world: World
    rows: IntArray
    context: ContextBatch
    eligible: BoolArray

    def explored_by(self, exploration: ExplorationConfig) -> FloatArray:
        """(m, k) distribution of the learnt scores under another exploration."""
        return replace(self.policy, exploration=exploration).distribution(self.context, self.eligible)

    def served(self, context: ContextBatch | None = None) -> FloatArray:
        """(m, k) the distribution as it would be served."""
        return self.policy.distribution(self.context if context is None else context, self.eligible)


@dataclass(frozen=True)
class Contrast:
    """A difference with its 95 % interval.

    Attributes:
        first / second: the two means.
        value / low / high: first - second.
        contacts: that it rests on.
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    contacts: int


def learnt(name: str, changes: Mapping[str, Any], seed: int, sizes: Sizes) -> Learnt:
    """Log, learn, and find the contacts to judge on.

    Args:
        name / changes: the scenario, with keys changed.
        seed: seed of world and draws.
        sizes: how much.
    """
    scenario = load_scenario(name, dict(changes))
    log = World(scenario, sizes.contacts, seed)
    steps = _days(log, sizes.days, seed)
    metric = scenario_metrics(scenario)["margin"]
    bounds = metric.low, metric.high
    learner = begin(scenario.catalog, scenario.features, sizes.reward, bounds, sizes.learner, ExplorationConfig())
    learner.learn([_logged(step, log.n, sizes) for step in steps])
    policy = learner.policy()
    if not isinstance(policy, CompiledPolicy):
        raise LearnError(f"a {type(policy).__name__} has no scores", hint="learn a compiled policy")
    world = World(scenario, sizes.judged, seed, first=sizes.contacts)
    rows, context, eligible = _last(_days(world, sizes.days, seed))
    return Learnt(scenario, policy, world, rows, context, eligible)


def _logged(step: Step, contacts: int, sizes: Sizes) -> RoundBatch:
    """A step's decisions with what is learnt from; by parts, with all that a sender's log has beside the money."""
    rewards = {sizes.reward: step.rounds.rewards[sizes.reward]}
    if sizes.learner.parts:
        by_contact = reported(step.happened, contacts)
        rewards |= {name: by_contact[name][step.rows] for name in _LOGGED}
    return replace(step.rounds, rewards=rewards)


def _days(world: World, days: int, seed: int) -> list[Any]:
    plan = Plan(
        world.guardrails, Sparse(), "sparse", seed=seed, contact_key=SIMULATED_KEY, use_case=world.scenario.name
    )
    steps = []
    for day in range(days):
        if world.deciding().any():
            steps.append(decided_step(world, plan, day))
        else:
            world.advance(np.full(world.n, HOLD, dtype=np.int32))
    return steps


def _last(steps: Sequence[Any]) -> tuple[IntArray, ContextBatch, BoolArray]:
    """The last row of each contact with a send among its eligible actions; the days are joined newest first."""
    seen: set[int] = set()
    rows, contexts, sets = [], [], []
    for step in reversed(steps):
        eligible = step.rounds.eligible_dense()
        fresh = np.array([row not in seen for row in step.rows.tolist()], dtype=np.bool_) & eligible[:, 1:].any(axis=1)
        seen |= set(step.rows[fresh].tolist())
        rows.append(step.rows[fresh])
        contexts.append(step.rounds.context.take(fresh))
        sets.append(eligible[fresh])
    return np.concatenate(rows), _joined(contexts), np.concatenate(sets)


def _joined(contexts: Sequence[ContextBatch]) -> ContextBatch:
    """Blocks of one observer, whose levels are the same, as one."""
    first = contexts[0]
    columns = {
        name: Column(
            np.concatenate([batch.columns[name].values for batch in contexts]),
            np.concatenate([batch.columns[name].state for batch in contexts]),
            first.columns[name].levels,
        )
        for name in first.schema.names
    }
    return ContextBatch(first.schema, columns, sum(batch.n for batch in contexts))


# --- what is measured


def silence(subject: Learnt, epsilon: float) -> tuple[float, float]:
    """Share of holds of the greedy policy, and largest chance of a send under epsilon-greedy exploration."""
    greedy = subject.explored_by(ExplorationConfig(kind="greedy"))
    exploring = subject.explored_by(ExplorationConfig(kind="epsilon_greedy", epsilon=epsilon))
    return float(greedy[:, HOLD].mean()), float(1.0 - exploring[:, HOLD].min())


def sms_when_urgent(subject: Learnt, urgent: float = 0.6, calm: float = 0.35) -> Contrast:
    """R6: share of texts among sends, of contacts whose purchase intent on record is high against low."""
    share = send_share(subject, _of_channel(subject.scenario.catalog, "sms"))
    can = subject.eligible[:, _of_channel(subject.scenario.catalog, "sms")].any(axis=1)
    intent = known(subject.context, "purchase_intent")
    return between(share, can & (intent >= urgent), can & (intent <= calm))


def evening_for_evening_openers(subject: Learnt) -> Contrast:
    """R7: share of sends from 17 h on, of contacts who do read in the evening against those who read at work."""
    share = send_share(subject, _from_hour(subject.scenario.catalog, 17))
    kind = subject.world.people.hour_kind[subject.rows]
    return between(share, kind == HOUR_KINDS.index("evening"), kind == HOUR_KINDS.index("work_hours"))


def evening_against_noon(subject: Learnt) -> Contrast:
    """R7: chance that a send of the learnt policy is seen by an evening opener, against the same send at 12 h.

    The volume is equal by construction: every send stays, its hour alone changes.
    """
    catalog, people = subject.scenario.catalog, subject.world.people
    own = np.flatnonzero(people.hour_kind[subject.rows] == HOUR_KINDS.index("evening"))
    probabilities = subject.served()[own]
    channel, _, arm = catalog.split(np.arange(catalog.k))
    cells = zip(channel[1:].tolist(), arm[1:].tolist(), strict=True)
    noon = np.array([HOLD, *(catalog.index(one, catalog.hours.index(12), other) for one, other in cells)])
    seen = _seen(subject, subject.rows[own])
    sends = probabilities[:, 1:].sum(axis=1)
    chosen = (probabilities * seen).sum(axis=1) / sends
    moved = (probabilities * seen[:, noon]).sum(axis=1) / sends
    return paired(chosen, moved)


def discounts_for_the_price_motive(subject: Learnt) -> Contrast:
    """R8: share of discount arms among sends, of contacts who are moved by prices against all others."""
    share = send_share(subject, _discounts(subject.scenario.catalog))
    price = subject.world.people.motive[subject.rows] == MOTIVES.index("price")
    return between(share, price, ~price)


def silence_by_ignored_sends(subject: Learnt, grid: Sequence[float] = tuple(range(9))) -> FloatArray:
    """R9: (len(grid), m) chance of a hold of every contact, were its unopened streak as the grid says."""
    return np.stack([subject.served(changed(subject.context, "unopened_streak", value))[:, HOLD] for value in grid])


def readers_first(subject: Learnt, volume: float) -> Contrast:
    """R17: at a fixed budget, share of contacts who get a send, of the tenth who engaged last against all others.

    The budget goes to the contacts whose best send is predicted to gain most over hold.
    """
    scores = subject.policy.scores(subject.context)
    sends = np.where(subject.eligible[:, 1:], scores[:, 1:], -np.inf).max(axis=1) - scores[:, HOLD]
    days = np.nan_to_num(known(subject.context, "days_since_engagement"), nan=np.inf)
    order = np.argsort(days, kind="stable")
    active = np.zeros(len(days), dtype=np.bool_)
    active[order[: len(order) // 10]] = True
    chosen = np.zeros(len(sends), dtype=np.bool_)
    chosen[np.argsort(-sends, kind="stable")[: int(volume * len(sends))]] = True
    return between(chosen.astype(np.float64), active, ~active)


def own_category(subject: Learnt) -> Contrast:
    """R19: share of arms of a category among sends, of contacts who like that category against all others."""
    catalog, people = subject.scenario.catalog, subject.world.people
    liked = np.array(people.categories, dtype=object)[people.category[subject.rows]]
    arm = catalog.split(np.arange(catalog.k))[2]
    named = {one.category for one in catalog.arms} & set(people.categories)
    of_category = np.array([one.category in named for one in catalog.arms])[arm]
    of_category[HOLD] = False
    own: BoolArray = np.isin(liked, sorted(str(name) for name in named))
    return between(send_share(subject, of_category), own, ~own)


def discounts_at_first_touch(subject: Learnt) -> Contrast:
    """R36: share of discounts among the first messages to contacts who are not moved by prices, against even choice."""
    discounts = _discounts(subject.scenario.catalog)
    first = known(subject.context, "sends_7d") == 0.0
    others = subject.world.people.motive[subject.rows] != MOTIVES.index("price")
    even = subject.eligible[:, discounts].sum(axis=1) / subject.eligible[:, 1:].sum(axis=1)
    return paired(send_share(subject, discounts)[first & others], even[first & others])


def usage_at_renewal(subject: Learnt) -> Contrast:
    """R37: total variation between the distributions of a contact with high and with low usage, all else equal."""
    high, low = (subject.served(changed(subject.context, "usage", level)) for level in ("high", "low"))
    distance = 0.5 * np.abs(high - low).sum(axis=1)
    return paired(distance, np.zeros(len(distance)))


# --- parts


def send_share(subject: Learnt, actions: BoolArray) -> FloatArray:
    """(m,) share of some actions among the sends of a contact."""
    probabilities = subject.served()
    share: FloatArray = probabilities[:, actions].sum(axis=1) / probabilities[:, 1:].sum(axis=1)
    return share


def known(context: ContextBatch, feature: str) -> FloatArray:
    """(m,) values of a numeric feature; NaN where it is not known."""
    column = context.columns[feature]
    return np.where(column.state == PRESENT, column.values, np.nan)


def changed(context: ContextBatch, feature: str, value: float | str) -> ContextBatch:
    """The same contacts, all with one value of a feature."""
    column = context.columns[feature]
    held = column.levels.index(value) if isinstance(value, str) else value
    same = Column(np.full_like(column.values, held), np.full_like(column.state, PRESENT), column.levels)
    return ContextBatch(context.schema, {**context.columns, feature: same}, context.n)


def between(values: FloatArray, first: BoolArray, second: BoolArray) -> Contrast:
    """Difference of the means of two groups of contacts (Welch's standard error, normal quantile)."""
    one, other = values[first], values[second]
    error = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    return _contrast(float(one.mean()), float(other.mean()), float(error), len(one) + len(other))


def paired(first: FloatArray, second: FloatArray) -> Contrast:
    """Mean of the differences within contacts."""
    error = (first - second).std(ddof=1) / np.sqrt(len(first))
    return _contrast(float(first.mean()), float(second.mean()), float(error), len(first))


def _contrast(first: float, second: float, error: float, contacts: int) -> Contrast:
    value = first - second
    return Contrast(first, second, value, value - Z95 * error, value + Z95 * error, contacts)


def _of_channel(catalog: Catalog, channel: str) -> BoolArray:
    found: BoolArray = catalog.split(np.arange(catalog.k))[0] == catalog.channels.index(channel)
    found[HOLD] = False
    return found


def _from_hour(catalog: Catalog, hour: int) -> BoolArray:
    late = np.array([isinstance(slot, int) and slot >= hour for slot in catalog.hours])
    found: BoolArray = late[catalog.split(np.arange(catalog.k))[1]]
    found[HOLD] = False
    return found


def _discounts(catalog: Catalog) -> BoolArray:
    deep = np.array([arm.discount_depth > 0.0 for arm in catalog.arms])
    found: BoolArray = deep[catalog.split(np.arange(catalog.k))[2]]
    found[HOLD] = False
    return found


def _seen(subject: Learnt, rows: IntArray) -> FloatArray:
    """(m, k) chance that each action of a contact is seen; 0 for hold."""
    world, k = subject.world, subject.scenario.catalog.k
    sends = np.arange(1, k)
    chances = world.chances(world.cells(np.repeat(rows, k - 1), np.tile(sends, len(rows))))
    seen = (chances.delivered * chances.seen).reshape(len(rows), k - 1)
    return np.concatenate([np.zeros((len(rows), 1)), seen], axis=1)
