"""Never A with B, and A not within a while after B (catalogue F9): pairs of arms, categories or topics.

Every send of B counts, whatever its purpose, and so does one of which nobody knows whether it was B: without a
template, category or topic where the pair names one. A send of B that is planned for later closes A too, where it is
less than the window away. By arm, so judged at every planned instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import numpy as np

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.errors import ParameterError
from engine.guardrails.history.bounds import NEVER, alone, arms_in, require_purposes, require_window, rows_of
from engine.guardrails.history.spans import ALWAYS, Spans, first_clear, reached, spans_of
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.guardrails.rules.cooldown import template_of
from engine.guardrails.rules.topic_cap import TOPIC
from engine.names import may_mean
from engine.types import MICROSECONDS_PER_S, BoolArray, IntArray

EVER: Final = "ever"
_COLUMNS: Final = {"arm": "sent_template", "category": "sent_category", "topic": "sent_topic"}


class Which(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arms by exactly one of: id, category, topic."""

    arm: str | None = None
    category: str | None = None
    topic: str | None = None

    def __post_init__(self) -> None:
        named = [field for field in _COLUMNS if getattr(self, field) is not None]
        if len(named) != 1 or not getattr(self, named[0]):
            raise ParameterError("which", "sequence", allowed=f"exactly one of {tuple(_COLUMNS)}", got=named)

    @property
    def field(self) -> str:
        return next(field for field in _COLUMNS if getattr(self, field) is not None)

    @property
    def name(self) -> str:
        name: str = getattr(self, self.field)
        return name

    @property
    def column(self) -> str:
        """The detail of sends that tells whether a send is one of these."""
        return _COLUMNS[self.field]

    def fits(self, arm: Arm, catalog: Catalog) -> bool:
        return self._of(arm) in may_mean(self.name, self._known(catalog))

    def is_one(self, level: str, catalog: Catalog) -> bool:
        """Whether a send that carries a name is, or may be, one of these."""
        names = {self.name, *may_mean(self.name, self._known(catalog))}
        others = self._known(catalog)
        if self.field == "arm":
            # A log may write the template's name where it should write the arm's id.
            names |= {template_of(arm) for arm in catalog.arms if arm.id in names} - {*catalog.arm_ids}
            others |= {template_of(arm) for arm in catalog.arms}
        return not names.isdisjoint(may_mean(level, others | names))

    def levels(self, catalog: Catalog, contacts: ContactBatch) -> BoolArray:
        """(L + 1,) which levels of the column are these, or may be: what has no level, the last one, may be any."""
        found = (self.is_one(level, catalog) or not level.strip() for level in contacts.levels[self.column])
        return np.array([*found, True], dtype=np.bool_)

    def _of(self, arm: Arm) -> str:
        return str({"arm": arm.id, "category": arm.category, "topic": arm.attributes.get(TOPIC, "")}[self.field])

    def _known(self, catalog: Catalog) -> set[str]:
        return {self._of(arm) for arm in catalog.arms} - {""}

    def __str__(self) -> str:
        return f"{self.field} {self.name!r}"


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`a` is not sent within `window_s` seconds after `b`.

    Attributes:
        a: what is held.
        b: what holds it.
        window_s: seconds; a send of b exactly that long ago no longer counts. "ever": never again after b. Null: off.
        both_ways: whether b is held by a as well.
    """

    a: Which
    b: Which
    window_s: int | Literal["ever"] | None
    both_ways: bool = False

    def __post_init__(self) -> None:
        if self.window_s != EVER:
            require_window("sequence", "window_s", self.window_s)


@dataclass(frozen=True)
class _Ban:
    held: Which
    by: Which
    window_s: int | str

    def spans(self, rows: IntArray, at: IntArray) -> Spans:
        """When A is closed by sends of B (m,)."""
        if isinstance(self.window_s, str):
            return Spans(rows, np.full_like(at, ALWAYS), np.full_like(at, NEVER))
        return spans_of(rows, at, 1, self.window_s * MICROSECONDS_PER_S)


class SequenceRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Removes arms that must not follow what was sent.

    Attributes:
        pairs: all of them hold.
        applies_to: purposes that are held.
    """

    pairs: tuple[Pair, ...]
    applies_to: tuple[str, ...] = ("promotional",)

    def __post_init__(self) -> None:
        require_purposes("sequence", applies_to=self.applies_to)

    @property
    def reads(self) -> tuple[str, ...]:
        columns = {ban.by.column for ban in self._bans()}
        return ("sends", *sorted(columns)) if columns else ()

    def _bans(self) -> Iterator[_Ban]:
        for pair in self.pairs:
            if pair.window_s is None:
                continue
            yield _Ban(pair.a, pair.b, pair.window_s)
            if pair.both_ways:
                yield _Ban(pair.b, pair.a, pair.window_s)

    def verdict(self, scene: Scene) -> Verdict:
        """One look-up of all sends per pair whose A the catalog has."""
        if not scene.contacts.n:
            return Verdict()
        in_scope = arms_in(scene, self.applies_to)
        closed: BoolArray | None = None
        for ban in self._bans():
            held = in_scope & np.array([ban.held.fits(arm, scene.catalog) for arm in scene.catalog.arms])
            if not held.any():
                continue
            spans = _spans(scene, ban)
            rows = np.unique(spans.groups[reached(scene, spans.groups, spans)])
            if len(rows):
                if closed is None:
                    closed = np.zeros((scene.contacts.n, len(held)), dtype=np.bool_)
                closed[rows] |= held
        return Verdict() if closed is None else Verdict(channel_arm=closed[:, None, :])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        """The pair that holds longest."""
        one, arm = alone(scene, row), scene.catalog.arms[cell.arm]
        held: list[tuple[int, _Ban]] = []
        pairs: list[tuple[int, int]] = []
        for ban in self._bans():
            if not ban.held.fits(arm, scene.catalog):
                continue
            spans = _spans(one, ban)
            held += [(int(end), ban) for end in spans.end[reached(one, spans.groups, spans)]]
            pairs += spans.pairs()
        _, ban = max(held, key=lambda pair: pair[0])
        while_s = "ever" if ban.window_s == EVER else f"within {ban.window_s} s"
        reason = f"{ban.held} may not be sent {while_s} after {ban.by}, nor as close before one that is planned"
        limit = {"not_after": str(ban.by), "window_s": ban.window_s}
        return Finding(str(ban.by), limit, reason, first_clear(one, pairs))


def _spans(scene: Scene, ban: _Ban) -> Spans:
    """Give the spans, by contact, in which A is closed."""
    contacts = scene.contacts
    sends = np.flatnonzero(ban.by.levels(scene.catalog, contacts)[contacts.sent_details[ban.by.column]])
    return ban.spans(rows_of(contacts.sent_offsets, sends), contacts.sent_at[sends])


RULE = SequenceRule
