"""Lint a pack: what is wrong with it before anybody sends with it.

A pack that the layer accepts can still be looser than the law, contradict itself, or hold rules that never fire.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from engine.catalog import Catalog
from engine.guardrails.lint.contradictions import contradictions
from engine.guardrails.lint.flaws import ERROR, Flaw, Linted, warning
from engine.guardrails.lint.legal import looser_than_law
from engine.guardrails.lint.reach import never_fires
from engine.guardrails.lint.shape import NO_DATE, usable_rules
from engine.guardrails.pack import RuleEntry

OLD_DAYS: Final = 365


def lint_pack(
    data: Any,
    *,
    today: dt.date,
    reference: tuple[RuleEntry, ...] = (),
    catalog: Catalog | None = None,
    part: bool = False,
    packages: tuple[str, ...] = (),
) -> tuple[Flaw, ...]:
    """Every flaw of a pack, errors first; no flaws: clean.

    Args:
        data: what yaml decoded to; it may be anything.
        today: provenance is judged against it.
        reference: the legal entries that no number may be looser than (`engine.guardrails.lint.legal`).
        catalog: with it, rules that cannot reach any of its actions are found.
        part: the data is a fragment that holds nothing but `rules`; what only a whole pack must have is not asked for.
        packages: packages from which the pack may import rules of its own.
    """
    flaws: list[Flaw] = []
    pack, rules = usable_rules(data, flaws.append, part=part, packages=packages)
    margin_s = 600 if pack is None else pack.latency_margin_s
    for one in rules:
        flaws += provenance(one, today)
    flaws += contradictions(rules, margin_s, catalog)
    flaws += never_fires(rules, catalog)
    flaws += looser_than_law(rules, reference, whole=not part)
    return tuple(sorted(dict.fromkeys(flaws), key=lambda flaw: flaw.level != ERROR))


def provenance(one: Linted, today: dt.date) -> list[Flaw]:
    """Dates and confidence that need another look."""
    found, entry = [], one.entry
    if entry.checked_on > today:
        found.append(warning("provenance", one.where, f"checked_on {entry.checked_on} lies in the future of {today}"))
    if (today - entry.checked_on).days > OLD_DAYS and entry.checked_on != NO_DATE:
        hint = "read the source again and write today's date"
        found.append(warning("provenance", one.where, f"checked_on {entry.checked_on} is older than a year", hint))
    if entry.kind == "legal" and entry.confidence == "-":
        hint = "V read in the source, S in a secondary source, M not verified"
        found.append(warning("provenance", one.where, "a legal number without a confidence", hint))
    return found
