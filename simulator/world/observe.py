"""What the policy sees: noisy, dated, sometimes missing observations of the contacts, in the scenario's feature schema.

Nothing here reads a latent without noise, and nothing that has not arrived yet. Each feature has one function below;
a schema may use any of them, and the scenario's own `fields` by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np

from engine.errors import ConfigError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.time.localtime import DAY_US, FARTHEST_SLOT_US
from engine.types import BoolArray, ByteArray, CodeArray, FloatArray, IntArray
from simulator.numbers import SHARE, number, table
from simulator.people.people import DEVICES, MOTIVES, NEVER, People, pick
from simulator.world.response import Moment
from simulator.world.state import State

QUARTERS: Final = ("night", "morning", "afternoon", "evening")
SCOPES: Final = ("none", "transactional", "promotional", "both")
SHOWN_STAGES: Final = ("onboarding", "active", "replenishment", "renewal", "lapsing", "lapsed")


class Observation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How well the sender sees.

    Attributes:
        missing: feature -> share of contacts for whom it is never known.
        stale: share of contacts whose feed is older than allowed, drawn anew each week.
        right: share of contacts whose motive, category and preferred channel are read right.
        intent_noise: spread of the intent score.
        unknown_history: share of contacts for whom nobody knows what was sent.
        objective: the campaign's objective, a level of the feature of that name.
    """

    missing: dict[str, Annotated[float, number("share", "assumed", "incomplete profiles", **SHARE)]] = table(
        {
            "motive": 0.2,
            "channel_preference": 0.3,
            "product_affinity": 0.1,
            "region": 0.02,
            "purchase_intent": 0.05,
        }
    )
    stale: Annotated[float, number("share", "assumed", "feeds that lag", **SHARE)] = 0.02
    right: Annotated[float, number("share", "assumed", "classifiers and forms are wrong at times", **SHARE)] = 0.75
    intent_noise: Annotated[float, number("1", "assumed", "intent scores are noisy", ge=0.0)] = 0.15
    unknown_history: Annotated[float, number("share", "assumed", "records that were lost", **SHARE)] = 0.003
    objective: str = "sell"


class Observer:
    """Observations of one batch of contacts.

    Args:
        settings: how well the sender sees.
        schema: features to observe.
        people: the batch.
        due: kind of the population's due days, for the shown lifecycle stage.
        channels: names on the catalog's axis.

    Raises:
        ConfigError: a feature that the simulator cannot observe, or levels that the schema does not allow.
    """

    def __init__(
        self, settings: Observation, schema: FeatureSchema, people: People, due: str, channels: tuple[str, ...]
    ) -> None:
        self.settings = settings
        self.schema = schema
        self._people = people
        self._due = due
        self._draw = people.draw
        self._region = np.append(np.arange(len(people.zones)), -1).astype(np.int32)[people.zone_code]
        self._lagging: tuple[int, BoolArray] | None = None
        self._fixed = self._fixed_columns(channels)
        lacking = {spec.name: self._lacks(spec.name) for spec in schema.features}
        self._lacking = {name: lacks if lacks.any() else None for name, lacks in lacking.items()}
        unknown = [name for name in schema.names if name not in self._fixed and name not in _MOVING]
        if unknown:
            raise ConfigError(
                f"the simulator cannot observe the features {unknown}",
                hint=f"it knows {', '.join(sorted({*self._fixed, *_MOVING}))}",
            )
        for spec in schema.features:
            levels = self._fixed[spec.name][1] if spec.name in self._fixed else _MOVING_LEVELS.get(spec.name, ())
            if spec.levels and set(levels) - set(spec.levels):
                raise ConfigError(f"feature {spec.name!r} must allow the levels {levels}, it has {spec.levels}")
        self._columns = {
            name: _coded(*self._fixed[name], lacking[name]) for name in schema.names if name in self._fixed
        }

    def context(self, state: State, moment: Moment, rows: IntArray, frozen_days: float = 0.0) -> ContextBatch:
        """The context of some rows.

        Args:
            state: state of the batch.
            moment: the step.
            rows: (m,) rows that are decided for.
            frozen_days: days for which the feed of everything that moves has stood still (a fault); 0 is none.
        """
        stale = np.flatnonzero(self._stale(moment)[rows])
        view = _View(self, state, moment, rows)
        columns: dict[str, Column] = {}
        for spec in self.schema.features:
            if spec.name in self._columns:
                columns[spec.name] = self._columns[spec.name].take(rows)
                continue
            old = stale if spec.max_age_days is not None else stale[:0]
            if spec.max_age_days is not None and frozen_days > spec.max_age_days:
                old = np.arange(len(rows))
            columns[spec.name] = self._moving(spec, view, old)
        return ContextBatch(self.schema, columns, len(rows))

    def _stale(self, moment: Moment) -> BoolArray:
        """(n,) whose feed lags in this week."""
        week = moment.step // max(int(7 / moment.step_days), 1)
        if self._lagging is None or self._lagging[0] != week:
            self._lagging = week, self._draw("feed", week) < self.settings.stale
        return self._lagging[1]

    def _moving(self, spec: FeatureSpec, view: _View, stale: IntArray) -> Column:
        values = _MOVING[spec.name](view)
        levels = _MOVING_LEVELS.get(spec.name, ())
        blank = -1 if levels else np.nan
        absent = values < 0 if levels else np.isnan(values)
        lacking = self._lacking[spec.name]
        if lacking is not None:
            absent |= lacking[view.rows]
            values[absent] = blank
        shown: ByteArray = np.where(absent, np.uint8(MISSING), np.uint8(PRESENT))
        # Few rows are stale: they are written over one by one rather than looked for in every column.
        old = stale[~absent[stale]]
        shown[old] = STALE
        values[old] = blank
        return Column(values, shown, levels)

    def _fixed_columns(self, channels: tuple[str, ...]) -> dict[str, tuple[CodeArray, tuple[str, ...]]]:
        people = self._people
        liked = np.argmax(people.affinity, axis=1).astype(np.int32)
        fixed = {
            "subscription_source": (people.source, people.sources),
            "product_affinity": (self._noisy("category", people.category, people.categories), people.categories),
            "channel_preference": (self._noisy("preference", liked, channels), channels),
            "motive": (self._noisy("motive", people.motive, MOTIVES), MOTIVES),
            "device": (people.device, DEVICES),
            "region": (self._region, people.zones),
            "objective": (np.zeros(people.n, dtype=np.int32), (self.settings.objective,)),
        }
        return fixed | {name: (codes, people.levels[name]) for name, codes in people.fields.items()}

    def _noisy(self, name: str, true: CodeArray, levels: tuple[str, ...]) -> CodeArray:
        wrong = pick(self._draw(f"misread {name}"), dict.fromkeys(levels, 1.0))
        return np.where(self._draw(f"reads {name}") < self.settings.right, true, wrong).astype(np.int32)

    def price_motive(self) -> FloatArray:
        """(n,) probability of a price motive, by Bayes from the one on record and equal shares; NaN where none is."""
        codes, levels = self._fixed["motive"]
        wrong = (1.0 - self.settings.right) / len(levels)
        told = np.where(codes == levels.index("price"), self.settings.right + wrong, wrong)
        return np.where(self._lacks("motive"), np.nan, told)

    def _lacks(self, feature: str) -> BoolArray:
        """(n,) contacts of whom a feature is never known."""
        lacks: BoolArray = self._draw(f"lacks {feature}") < self.settings.missing.get(feature, 0.0)
        return lacks

    def intent_score(self, state: State, moment: Moment, rows: IntArray) -> FloatArray:
        """(m,) noisy score of intent in [0, 1]."""
        noise = 3.46 * self.settings.intent_noise * (self._draw("intent score", moment.step, rows) - 0.5)
        return np.clip(0.25 + 0.4 * state.intent[rows] + noise, 0.0, 1.0)

    def stage(self, state: State, moment: Moment, rows: IntArray) -> CodeArray:
        """(m,) positions in `SHOWN_STAGES`: what the customer database calls the contact."""
        shown = np.array([0, 1, 4, 5, 5], dtype=np.int32)[state.stage[rows]]
        near = np.abs(state.due_day[rows] - moment.day) <= 14.0
        due = SHOWN_STAGES.index("replenishment" if self._due == "cycle" else "renewal")
        return np.where(near & (shown == 1), due, shown).astype(np.int32)


@dataclass(frozen=True)
class _View:
    """What the features below read: an observer's look at some rows in one step."""

    observer: Observer
    state: State
    moment: Moment
    rows: IntArray


def _coded(codes: CodeArray, levels: tuple[str, ...], lacking: BoolArray) -> Column:
    absent = lacking | (codes < 0)
    return Column(
        np.where(absent, -1, codes).astype(np.int32), np.where(absent, MISSING, PRESENT).astype(np.uint8), levels
    )


def _days_since(steps: CodeArray, moment: Moment) -> FloatArray:
    return np.where(steps == -NEVER, np.nan, (moment.step - steps) * moment.step_days)


def _scope(state: State, rows: IntArray) -> CodeArray:
    given = state.consent[rows] == 1
    granted = given[:, 0]
    for channel in range(1, given.shape[1]):
        granted |= given[:, channel]
    scope: CodeArray = 2 * granted[:, 0].astype(np.int32) + granted[:, 1]
    return scope


def _usual(state: State, rows: IntArray) -> CodeArray:
    counts = state.known.reactions[rows]
    best, usual = counts[:, 0].copy(), np.zeros(len(counts), dtype=np.int32)
    total = best.copy()
    # Column by column: reducing rows of four one by one takes several times as long.
    for quarter in range(1, counts.shape[1]):
        more = counts[:, quarter] > best
        np.copyto(usual, quarter, where=more)
        np.maximum(best, counts[:, quarter], out=best)
        total += counts[:, quarter]
    usual[total < 0.5] = -1
    return usual


def _week_sends(view: _View) -> FloatArray:
    now_at, step_days = view.moment.now_at, view.moment.step_days
    # One send a step at most, planned at most some two days ahead of it: older columns lie before the week.
    newest = int(np.ceil((7 * DAY_US + FARTHEST_SLOT_US) / (step_days * DAY_US))) + 1
    at = view.state.sends.newest(newest)
    within = at[view.rows] >= max(now_at - 7 * DAY_US, 1)
    counted: FloatArray = np.count_nonzero(within, axis=1).astype(np.float64)
    return counted


# Each gives an array of its own, which the observer may write to.
_MOVING: Final[dict[str, Callable[[_View], FloatArray | CodeArray]]] = {
    "days_since_engagement": lambda view: _days_since(view.state.known.engaged[view.rows], view.moment),
    "purchases_365d": lambda view: np.round(view.state.known.orders[view.rows]),
    "days_since_purchase": lambda view: _days_since(view.state.known.ordered[view.rows], view.moment),
    "spend_365d_usd": lambda view: np.round(view.state.known.spend_usd[view.rows], 2),
    "browse_depth_7d": lambda view: np.round(3.0 * view.state.known.visits[view.rows]),
    "cart_value_usd": lambda view: np.round(view.state.cart_usd[view.rows], 2),
    "days_to_renewal": lambda view: np.round(view.state.due_day[view.rows] - view.moment.day),
    "support_contacts_30d": lambda view: np.round(view.state.tickets[view.rows]),
    "lifecycle_stage": lambda view: view.observer.stage(view.state, view.moment, view.rows),
    "visits_7d": lambda view: np.round(view.state.known.visits[view.rows]),
    "purchase_intent": lambda view: view.observer.intent_score(view.state, view.moment, view.rows),
    "sends_7d": _week_sends,
    "unopened_streak": lambda view: view.state.known.unopened[view.rows].astype(np.float64),
    "consent_scope": lambda view: _scope(view.state, view.rows),
    "usual_hour": lambda view: _usual(view.state, view.rows),
}
_MOVING_LEVELS: Final[dict[str, tuple[str, ...]]] = {
    "lifecycle_stage": SHOWN_STAGES,
    "consent_scope": SCOPES,
    "usual_hour": QUARTERS,
}
