"""What the guardrail rules read beyond consent, zones and sends, from the world: only what the pack at hand reads.

What never changes is made once per batch; the rest comes from the state and from what the sender has learnt. Events are
the last known order, the last known reaction and the last support case of each contact; a bounce or a complaint arrives
as a suppression, which closes the channel at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, OTHER_CHANNEL, SENT_DETAIL, UNKNOWN, Events
from engine.guardrails.rules.topic_cap import TOPIC
from engine.time.localtime import DAY_US
from engine.types import NOT_AN_INSTANT, BoolArray, CodeArray, IntArray
from simulator.people.people import NEVER, People
from simulator.people.register import Register, records_of
from simulator.world.observe import Observer
from simulator.world.response import Moment
from simulator.world.state import State

_NAMES: Final[dict[str, Callable[[Arm], str]]] = {
    "sent_template": lambda arm: arm.id,
    "sent_category": lambda arm: arm.category,
    "sent_topic": lambda arm: str(arm.attributes.get(TOPIC, "")),
}


@dataclass(frozen=True)
class Further:
    """Optional fields of `engine.contacts.contacts.ContactBatch`, for some rows."""

    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    sent_details: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    events: Events | None = None


NOTHING_FURTHER: Final = Further()


class Inputs:
    """Further inputs of one batch.

    Args:
        reads: names that the pack's rules read (`Guardrails.extra_inputs`).
        register: what is on record.
        people: the batch.
        catalog: catalog of the sends.
        observer: for what is only estimated.
        start_at: first instant of the world, microseconds.
    """

    def __init__(
        self,
        reads: tuple[str, ...],
        register: Register,
        people: People,
        catalog: Catalog,
        observer: Observer,
        start_at: int,
    ) -> None:
        self._reads = frozenset(reads)
        self._people = people
        records = records_of(register, people, catalog.channels, start_at, self._reads)
        self._fixed = dict(records.columns)
        if "motive_price" in self._reads:
            self._fixed["motive_price"] = observer.price_motive()
        self._details, sent_levels = _sent_tables(catalog, self._reads)
        self._levels = records.levels | sent_levels

    def of(
        self, state: State, moment: Moment, rows: IntArray, sent_arms: NDArray[np.int16], known: BoolArray
    ) -> Further:
        """The inputs of some rows.

        Args:
            state: state of the batch.
            moment: the step.
            rows: (m,) rows.
            sent_arms: (s,) arms of their remembered sends.
            known: (m,) whether their history is known.
        """
        if not self._reads:
            return NOTHING_FURTHER
        extra = {name: column[rows] for name, column in self._fixed.items()}
        if "consent_at" in extra:
            extra["consent_at"] = _withdrawn(extra["consent_at"], state.withdrew[rows], moment)
        if "due_at" in self._reads:
            extra["due_at"] = _due_at(state.due_day[rows], moment)
        details = {name: table[sent_arms] for name, table in self._details.items()}
        events = self._events(state, moment, rows, known) if "events" in self._reads else None
        return Further(extra, details, self._levels, events)

    def _events(self, state: State, moment: Moment, rows: IntArray, known: BoolArray) -> Events:
        """At most four per contact, each dated to the end of its step, so that it follows the sends of that step."""
        until = state.ticket_until[rows]
        last = np.minimum(until, moment.step - 1)
        kinds = ("purchased", "opened", "ticket_opened", "ticket_closed")
        steps = np.stack([state.known.ordered[rows], state.known.engaged[rows], last, until], axis=1)
        at = _end_of(steps, moment)
        # A case was opened before it could be closed.
        at[:, 2] -= 1
        there = (steps != -NEVER) & known[:, None]
        there[:, 2] = (until != -NEVER) & known
        there[:, 3] &= until < moment.step
        order = np.argsort(np.where(there, at, np.iinfo(np.int64).max), axis=1, kind="stable")
        at, there = np.take_along_axis(at, order, axis=1), np.take_along_axis(there, order, axis=1)
        kind = np.array([EVENTS.index(name) for name in kinds], dtype=np.int32)[order][there]
        category = np.repeat(self._people.category[rows][:, None], len(kinds), axis=1)[there]
        return Events(
            offsets=np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64),
            at=at[there],
            kind=kind,
            channel=np.full(len(kind), OTHER_CHANNEL, dtype=np.int32),
            category=np.where(kind == EVENTS.index("purchased"), category, UNKNOWN).astype(np.int32),
            categories=self._people.categories,
            known=known,
        )


def _end_of(steps: CodeArray | IntArray, moment: Moment) -> IntArray:
    """The last instant before the step after."""
    step_us = round(moment.step_days * DAY_US)
    end: IntArray = moment.now_at + (steps.astype(np.int64) + 1 - moment.step) * step_us - 1
    return end


def _withdrawn(given_at: IntArray, withdrew: CodeArray, moment: Moment) -> IntArray:
    """Instants of consent records with those of withdrawals put in; only promotional permissions are withdrawn."""
    gone = withdrew != -NEVER
    given_at[..., 0] = np.where(gone, _end_of(np.where(gone, withdrew - 1, 0), moment), given_at[..., 0])
    return given_at


def _due_at(due_day: NDArray[np.float64], moment: Moment) -> IntArray:
    known = np.isfinite(due_day)
    away = np.where(known, due_day, moment.day) - moment.day
    return np.where(known, moment.now_at + np.rint(away * DAY_US).astype(np.int64), NOT_AN_INSTANT)


def _sent_tables(catalog: Catalog, reads: frozenset[str]) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]]]:
    """(K,) by arm of each detail that is read, and the levels of the coded ones."""
    tables: dict[str, NDArray[Any]] = {}
    levels: dict[str, tuple[str, ...]] = {}
    for name in reads:
        if name == f"{SENT_DETAIL}discount":
            tables[name] = np.array([arm.discount_depth for arm in catalog.arms])
        elif name in _NAMES:
            named = [_NAMES[name](arm) for arm in catalog.arms]
            levels[name] = tuple(dict.fromkeys(one for one in named if one))
            codes = [levels[name].index(one) if one else UNKNOWN for one in named]
            tables[name] = np.array(codes, dtype=np.int32)
    return tables, levels
