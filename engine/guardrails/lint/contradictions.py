"""Lint: numbers of a pack that contradict each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.guardrails.hours.weekly import week_table
from engine.guardrails.judging import judge, removed
from engine.guardrails.lint.flaws import Flaw, Linted, error
from engine.guardrails.lint.params import mappings, weeks
from engine.guardrails.lint.probes import ideal_contacts, probe_catalog, week_of_scenes
from engine.guardrails.rules.frequency import Cap, FrequencyRule
from engine.types import BoolArray

# Thresholds of one brake must rise in this order.
_RISING: Final = ("release", "warn", "slow", "stop", "hard")
_PER = re.compile(r"(.*)_per_(\d+d|day|week|month)")
_DAYS: Final = {"day": 1, "week": 7, "month": 30}
_DAY_S: Final = 86_400


def contradictions(rules: Sequence[Linted], margin_s: int, catalog: Catalog | None) -> list[Flaw]:
    """Minima above maxima, thresholds out of order, caps that undo each other, hours that never open."""
    found: list[Flaw] = []
    for one in rules:
        found += _ranges(one)
        found += _windows(one, margin_s)
    found += _caps(rules)
    found += _never_opens(rules, margin_s, catalog)
    return found


def _ranges(one: Linted) -> Iterator[Flaw]:
    for path, numbers in mappings(one.entry.params):
        for low_name, high_name in _pairs(numbers):
            low, high = numbers[low_name], numbers[high_name]
            if _number(low) and _number(high) and low > high:
                text = f"{path}: {low_name} = {low} is above {high_name} = {high}"
                yield error("contradiction", one.where, text)


def _pairs(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names of numbers of which the first must not exceed the second."""
    pairs = []
    for name in map(str, numbers):
        words = name.split("_")
        for low, high in (("min", "max"), ("low", "high")):
            other = "_".join(high if word == low else word for word in words)
            if other != name and other in numbers:
                pairs.append((name, other))
        step = next((word for word in _RISING if word in words), None)
        for later in _RISING[_RISING.index(step) + 1 :] if step else ():
            other = "_".join(later if word == step else word for word in words)
            if other in numbers:
                pairs.append((name, other))
    return [*pairs, *_longer(numbers)]


def _longer(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs like max_per_day and max_per_7d: the shorter span, then the longer one."""
    spans = [(found[1], _days(found[2]), found[0]) for found in map(_PER.fullmatch, map(str, numbers)) if found]
    return [(a, b) for what, days, a in spans for other, more, b in spans if what == other and days < more]


def _days(text: str) -> int:
    return _DAYS[text] if text in _DAYS else int(text.removesuffix("d"))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _caps(rules: Sequence[Linted]) -> Iterator[Flaw]:
    """A cap of more sends in a shorter window than another allows in a longer one can never be reached."""
    caps = [
        (one.where, cap, one.rule)
        for one in rules
        if isinstance(one.rule, FrequencyRule)
        for cap in one.rule.caps
        if cap.max is not None
    ]
    for where, short, rule in caps:
        for other, long, long_rule in caps:
            if short.window_s < long.window_s and _within(short, long) and (short.max or 0) > (long.max or 0):
                if not (
                    set(rule.applies_to) <= set(long_rule.applies_to) and set(rule.counts) <= set(long_rule.counts)
                ):
                    continue
                text = f"{_said(short)} can never be reached: {other} allows {_said(long)}"
                yield error("contradiction", where, text, "one of the two is a mistake")


def _within(inner: Cap, outer: Cap) -> bool:
    """Whether every send that one cap counts counts towards the other as well."""
    if outer.channels is None:
        return True
    return inner.channels is not None and set(inner.channels) <= set(outer.channels)


def _said(cap: Cap) -> str:
    scope = "all channels" if cap.channels is None else ", ".join(cap.channels)
    window = f"{cap.window_s // _DAY_S} d" if cap.window_s % _DAY_S == 0 else f"{cap.window_s} s"
    return f"{cap.max} per {window} on {scope}"


def _windows(one: Linted, margin_s: int) -> Iterator[Flaw]:
    """Weekly tables without a window, or whose windows are all shorter than a send may be late."""
    for path, spec in weeks(one.entry.params):
        table = week_table({str(days): tuple(windows) for days, windows in spec.items()})
        if not table.any():
            yield error("never-opens", one.where, f"{path} has no window at all: nothing may ever be sent")
        elif not _holds(table, margin_s // 60 + 1):
            text = f"{path} has no window longer than the latency margin of {margin_s} s: no send is ever inside"
            yield error("never-opens", one.where, text)


def _holds(table: BoolArray, minutes: int) -> bool:
    """Whether so many minutes on end are open somewhere in the week, over its end as well."""
    twice = np.concatenate([table, table]).astype(np.int64)
    sums = np.concatenate([[0], np.cumsum(twice)])
    return bool((sums[minutes:] - sums[:-minutes] == minutes).any())


def _never_opens(rules: Sequence[Linted], margin_s: int, catalog: Catalog | None) -> Iterator[Flaw]:
    """Hours that leave nothing: entries that open each by itself, but never together.

    Judged by the rules themselves: a contact about whom everything is known and nothing is wrong, in every state, at
    every half hour of a week.
    """
    hours = [one for one in rules if any(True for _ in weeks(one.entry.params))]
    if not hours:
        return
    board = probe_catalog(rules, catalog)
    people = ideal_contacts(board)
    opened: dict[str, BoolArray] = {}
    together: BoolArray | None = None
    for scene in week_of_scenes(board, people, margin_s):
        whole: BoolArray | None = None
        for one in hours:
            left = removed(judge(one.rule, scene), scene.contacts.n, board).dense()
            opened[one.where] = left | opened.get(one.where, False)
            whole = left if whole is None else whole & left
        together = whole if together is None or whole is None else together | whole
    if together is None:
        return
    each = np.logical_and.reduce([opened[one.where] for one in hours])
    yield from _closed(hours, each & ~together, people.extra["state"], people.levels["state"], board)


def _closed(
    hours: Sequence[Linted], closed: BoolArray, states: Any, levels: tuple[str, ...], board: Catalog
) -> Iterator[Flaw]:
    channel, _, _ = board.split(np.arange(board.k))
    names = ", ".join(one.where for one in hours)
    for position, name in enumerate(board.channels):
        rows = np.flatnonzero(closed[:, channel == position].any(axis=1))
        if len(rows):
            where = sorted({levels[states[row]] or "no state" for row in rows})
            shown = "every state" if len(where) == len(set(levels)) else ", ".join(where)
            text = f"the windows of {names} never open together on {name} for contacts of {shown}"
            yield error("never-opens", names, text, "each opens by itself, but not at the same time")
