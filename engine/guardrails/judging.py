"""One rule on one scene, and the union of what many rules remove.

Rows that lack an input of a rule are removed before the rule sees them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import CORE_INPUTS, ContactBatch
from engine.eligibility import Eligibility
from engine.guardrails.rule import Cell, Finding, Rule, Scene, Verdict, purpose_mask
from engine.types import PURPOSES, BoolArray


def judge(rule: Rule, scene: Scene) -> Verdict:
    """A rule's verdict; everything in its scope is removed from contacts that lack an input of the rule.

    Core inputs have a value for "unknown" that rules judge themselves. Of further columns a rule only sees rows that
    have them all where the column is of objects; where a missing value is a number (a code below 0, NaN, no events) the
    rule is shown all rows, for speed, and what it says of those that lack something is written over.
    """
    lacking = lacking_rows(rule, scene.contacts)
    absent = not all(scene.contacts.has(name) for name in further_inputs(rule))
    if not absent and not lacking.any():
        return rule.verdict(scene)
    scope = purpose_mask(rule.applies_to)[:, None, None]
    if absent or lacking.all():
        return Verdict(channel_hour=np.repeat(scope[None], scene.contacts.n, axis=0))
    if any(_of_objects(scene.contacts, name) for name in further_inputs(rule)):
        return _judge_some(rule, scene, lacking)
    with np.errstate(invalid="ignore"):
        seen = rule.verdict(scene)
    by_hour = scope & lacking[:, None, None, None]
    kept = ~lacking
    if seen.channel_hour is not None:
        by_hour = by_hour | (seen.channel_hour & kept[:, None, None, None])
    by_arm = None if seen.channel_arm is None else seen.channel_arm & kept[:, None, None]
    return Verdict(by_arm, by_hour)


def _judge_some(rule: Rule, scene: Scene, lacking: BoolArray) -> Verdict:
    scope = purpose_mask(rule.applies_to)[:, None, None]
    seen = rule.verdict(replace(scene, contacts=scene.contacts.take(~lacking)))
    by_hour = np.broadcast_to(scope, (len(lacking), *scope.shape)) & lacking[:, None, None, None]
    if seen.channel_hour is not None:
        by_hour = np.broadcast_to(by_hour, (len(lacking), len(PURPOSES), *seen.channel_hour.shape[2:])).copy()
        by_hour[~lacking] = seen.channel_hour
    by_arm = None
    if seen.channel_arm is not None:
        by_arm = np.zeros((len(lacking), *seen.channel_arm.shape[1:]), dtype=np.bool_)
        by_arm[~lacking] = seen.channel_arm
    return Verdict(by_arm, by_hour)


def _of_objects(contacts: ContactBatch, name: str) -> bool:
    return name in contacts.extra and contacts.extra[name].dtype == object


def further_inputs(rule: Rule) -> tuple[str, ...]:
    """What a rule reads beyond the core inputs."""
    return tuple(name for name in rule.reads if name not in CORE_INPUTS)


def lacking_rows(rule: Rule, contacts: ContactBatch) -> BoolArray:
    """(n,) contacts without a value in a further column that the rule reads; all of them where the column is absent."""
    lacking = np.zeros(contacts.n, dtype=np.bool_)
    for name in further_inputs(rule):
        lacking |= _missing(contacts, name)
    return lacking


def _missing(contacts: ContactBatch, name: str) -> BoolArray:
    if not contacts.has(name):
        return np.ones(contacts.n, dtype=np.bool_)
    if name in contacts.sent_details:
        return ~contacts.history_known
    if name == "events" and contacts.events is not None:
        return ~contacts.events.known
    column = contacts.extra[name]
    if name in contacts.levels and column.dtype != object:
        absent: BoolArray = column < 0
        return absent
    if column.dtype == object:
        return np.array([value is None for value in column], dtype=np.bool_)
    if np.issubdtype(column.dtype, np.floating):
        nan: BoolArray = np.isnan(column)
        return nan
    return np.zeros(contacts.n, dtype=np.bool_)


def removed(verdict: Verdict, n: int, catalog: Catalog) -> Eligibility:
    """What a verdict leaves, as an eligibility of full shape."""
    channels, hours, arms = catalog.shape
    by_arm = False if verdict.channel_arm is None else verdict.channel_arm
    by_hour = False if verdict.channel_hour is None else verdict.channel_hour
    return Eligibility(
        ~np.broadcast_to(by_arm, (n, channels, arms)),
        ~np.broadcast_to(by_hour, (n, len(PURPOSES), channels, hours)),
        catalog.purpose_codes,
    )


def findings(rule: Rule, scene: Scene) -> list[tuple[int, Finding]]:
    """(action, finding) of every action that a rule removed for the one contact of the scene."""
    catalog = scene.catalog
    absent = tuple(name for name in further_inputs(rule) if _missing(scene.contacts, name)[0])
    verdict = judge(rule, scene)
    actions = np.flatnonzero(~removed(verdict, 1, catalog).dense()[0])
    known: dict[tuple[int, ...], Finding] = {}
    found = []
    for action, channel, hour, arm in zip(
        actions.tolist(), *(axis.tolist() for axis in catalog.split(actions)), strict=True
    ):
        cell = Cell(channel, hour, arm, int(catalog.purpose_codes[arm]))
        # A verdict by hour alone cannot depend on the arm beyond its purpose, one by arm alone not on the hour.
        key: tuple[int, ...] = (channel, hour, arm, 0)
        if verdict.channel_arm is None:
            key = (channel, hour, cell.purpose, 1)
        elif verdict.channel_hour is None:
            key = (channel, arm, 2)
        if key not in known:
            known[key] = _lacking(absent) if absent else rule.explain(scene, 0, cell)
        found.append((action, known[key]))
    return found


def _lacking(absent: tuple[str, ...]) -> Finding:
    names = ", ".join(absent)
    return Finding("missing", f"a value for {names}", f"the contact has no {names}, which this rule reads")


class Union:
    """Joins factors that broadcast to one full shape.

    Args:
        full: the shape of the result.
    """

    def __init__(self, full: tuple[int, ...]) -> None:
        self.full = full
        self._joined: dict[tuple[int, ...], BoolArray] = {}
        self._owned: set[tuple[int, ...]] = set()

    def add(self, factor: BoolArray | None) -> None:
        """Join a factor; the array itself is never written to. None is all false."""
        if factor is None:
            return
        shape = factor.shape
        if shape not in self._joined:
            self._joined[shape] = factor
        elif shape in self._owned:
            self._joined[shape] |= factor
        else:
            self._joined[shape] = self._joined[shape] | factor
            self._owned.add(shape)

    def result(self) -> BoolArray:
        """The full array, which belongs to the caller."""
        parts = self._folded()
        out: BoolArray = np.zeros(self.full, dtype=np.bool_)
        if len(parts) == 1:
            np.copyto(out, parts[0])
        for at, part in enumerate(parts[1:]):
            np.logical_or(part, out if at else parts[0], out=out)
        return out

    def _folded(self) -> list[BoolArray]:
        """Parts of which none is a smaller shape of another."""
        parts: list[BoolArray] = []
        for part in sorted(self._joined.values(), key=lambda one: one.size):
            within = [at for at, one in enumerate(parts) if _fits(one.shape, part.shape)]
            for at in within:
                part = part | parts[at]
            parts = [one for at, one in enumerate(parts) if at not in within] + [part]
        return parts


def _fits(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    return len(small) == len(large) and all(a in (1, b) for a, b in zip(small, large, strict=True))
