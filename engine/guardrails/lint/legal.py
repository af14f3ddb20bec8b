"""Lint: numbers that are looser than the law.

Asked of the rules themselves: a pack is looser than a legal entry where it leaves an action to a made-up contact from
whom that entry removes it. Only contacts about whom everything is known are tried, so that a missing column is no law.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import ConfigError, ParameterError
from engine.guardrails.judging import judge, removed
from engine.guardrails.lint.flaws import Flaw, Linted, error, warning
from engine.guardrails.lint.params import weeks
from engine.guardrails.lint.probes import (
    NOON,
    calm,
    contacts_of,
    ideal_contacts,
    probe_catalog,
    week_of_scenes,
    wronged_people,
)
from engine.guardrails.pack import RuleEntry, read_pack
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Scene
from engine.time.localtime import datetime_of
from engine.types import BoolArray

FULL_PACK: Final = "full"
LEGAL: Final = "legal"
_MARGIN_S: Final = 0


def legal_reference() -> tuple[RuleEntry, ...]:
    """The legal entries that ship: those of the full pack.

    Raises:
        ConfigError: the shipped file is damaged.
    """
    return _legal(read_pack(FULL_PACK)["rules"])


def _legal(rules: list[object]) -> tuple[RuleEntry, ...]:
    try:
        entries = msgspec.convert(rules, tuple[RuleEntry, ...])
    except (msgspec.ValidationError, ParameterError) as failure:
        raise ConfigError(f"the legal reference is damaged: {failure}", hint="it ships in conf/guardrails") from failure
    return tuple(entry for entry in entries if entry.kind == LEGAL)


def looser_than_law(rules: Sequence[Linted], reference: Sequence[RuleEntry], *, whole: bool) -> list[Flaw]:
    """Legal entries that the pack does not hold.

    Args:
        rules: the pack's.
        reference: legal entries.
        whole: whether to miss legal rules of which the pack has nothing at all.
    """
    held = [(one.entry.rule, one.entry.params) for one in rules]
    open_ones = [entry for entry in reference if (entry.rule, entry.params) not in held]
    found = []
    for entry in open_ones:
        near = [one for one in rules if one.entry.rule == entry.rule]
        if not near and not whole:
            continue
        example = _counterexample(entry, rules)
        if example is None:
            continue
        if near:
            where = ", ".join(one.where for one in near)
            text = f"looser than the legal {entry.id} ({entry.jurisdiction}): {example}"
            found.append(error("looser-than-law", where, text, f"{entry.id}: {entry.source}"))
        else:
            text = f"no rule {entry.rule!r} for the legal {entry.id} ({entry.jurisdiction}): {example}"
            found.append(warning("law-missing", "pack", text, f"{entry.id}: {entry.source}"))
    return found


def _counterexample(entry: RuleEntry, rules: Sequence[Linted]) -> str | None:
    """Words for the first contact to whom the pack leaves what the entry removes."""
    try:
        law = make_rule(entry.rule, entry.params)
    except ConfigError as failure:
        raise ConfigError(f"the legal reference {entry.id}: {failure.message}", hint=failure.hint) from failure
    board = probe_catalog([*rules, Linted(entry, law)])
    by_hour = any(True for _ in weeks(entry.params))
    for scene in _scenes(board, by_hour=by_hour):
        loose = ~removed(judge(law, scene), scene.contacts.n, board).dense()
        for one in rules:
            if not loose.any():
                break
            if by_hour and not any(True for _ in weeks(one.entry.params)):
                continue
            loose &= removed(judge(one.rule, scene), scene.contacts.n, board).dense()
        if loose.any():
            return _said(loose, scene)
    return None


def _scenes(board: Catalog, *, by_hour: bool) -> Iterator[Scene]:
    if by_hour:
        yield from week_of_scenes(board, ideal_contacts(board), _MARGIN_S)
    else:
        yield Scene(board, contacts_of(wronged_people(), board, NOON), NOON, _MARGIN_S, calm(board))


def _said(loose: BoolArray, scene: Scene) -> str:
    row, action = (int(position) for position in np.argwhere(loose)[0])
    name = scene.catalog.action_names[action].replace("|", " / ")
    at = datetime_of(scene.now_at).strftime("%a %H:%M")
    return f"it leaves {name} at local {at} to a contact {scene.contacts.contact_id[row]}"
