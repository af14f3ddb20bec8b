"""Lint: rules, or parts of rules, that can never fire, and names that nothing has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import resources

from engine.catalog import Catalog
from engine.errors import ParameterError
from engine.guardrails.known_names import known_params
from engine.guardrails.lint.flaws import Flaw, Linted, did_you_mean, error, warning
from engine.guardrails.lint.params import mappings, named
from engine.guardrails.lint.probes import STATES

_LIMIT = re.compile(r"max|max_.*|floor_usd")
_COUNTRY = re.compile(r"^([A-Z]{2})\t", re.MULTILINE)


def never_fires(rules: Sequence[Linted], catalog: Catalog | None) -> list[Flaw]:
    """Caps of null, names of states and countries that do not exist, and what no action of the catalog can meet."""
    found: list[Flaw] = []
    for one in rules:
        found += _no_caps(one)
        found += _unknown_places(one)
        if catalog is not None:
            found += _out_of_reach(one, catalog)
    return found


def _no_caps(one: Linted) -> Iterator[Flaw]:
    """A limit of null is none; a rule of nothing else removes nothing."""
    limits = [
        (f"{path}.{key}", number)
        for path, numbers in mappings(one.entry.params)
        for key, number in numbers.items()
        if _LIMIT.fullmatch(str(key))
    ]
    empty = [path for path, number in limits if number is None]
    if empty and len(empty) == len(limits):
        hint = "null is no cap; write 0 for never, or take the rule out"
        yield error("never-fires", one.where, "every limit of the rule is null, so it never fires", hint)
        return
    for path in empty:
        # One of several limits of a rule may be left open on purpose; an entry of a list of caps has no other use.
        if path.endswith("].max"):
            yield warning("never-fires", one.where, f"{path} is null, which is no cap", "0 is never")


def _unknown_places(one: Linted) -> Iterator[Flaw]:
    for kinds, known, what in (
        (("states", "state"), STATES, "state"),
        (("countries", "country"), countries(), "country"),
    ):
        for path, names in named(one.entry.params, kinds):
            for name in sorted(set(names) - set(known) - {"", "*", "any"}):
                near = did_you_mean(name.upper(), known) if what == "state" else "ISO 3166 alpha-2, like US"
                yield error("never-fires", one.where, f"{path}: no contact can be of the {what} {name!r}", near)
        # Tables by place: every key of such a mapping is one.
        for path, table in mappings(one.entry.params):
            if path.rpartition(".")[2] in kinds:
                for name in sorted(set(map(str, table)) - set(known) - {"", "*", "any"}):
                    yield error("never-fires", one.where, f"{path}: no contact can be of the {what} {name!r}")


def _out_of_reach(one: Linted, catalog: Catalog) -> Iterator[Flaw]:
    purposes = {arm.purpose for arm in catalog.arms}
    if not purposes & set(one.rule.applies_to):
        text = f"applies to {', '.join(one.rule.applies_to)}, but the catalog {catalog.name!r} has no such arm"
        yield error("never-fires", one.where, text)
    try:
        if ":" not in one.entry.rule:
            known_params(one.entry.params, catalog, one.entry.rule)
    except ParameterError as failure:
        yield error("unknown-name", one.where, failure.message, failure.hint)
        return
    lists = list(named(one.entry.params, ("channels", "channel")))
    dead = [path for path, names in lists if not set(names) & set(catalog.channels)]
    every = [path for path, numbers in mappings(one.entry.params) if "max" in numbers]
    if dead and len(dead) >= max(len(every), len(lists)):
        yield error("never-fires", one.where, f"no channel that it names is in the catalog {catalog.name!r}")
        return
    for path, names in lists:
        for name in sorted(set(names) - set(catalog.channels) - {"*"}):
            text = f"{path}: the catalog {catalog.name!r} has no channel {name!r}"
            yield warning("never-fires", one.where, text, did_you_mean(name, catalog.channels))
    for path, names in named(one.entry.params, ("arms", "arm", "templates", "template")):
        for name in sorted(set(names) - _templates(catalog) - {"*"}):
            text = f"{path}: the catalog {catalog.name!r} has no arm {name!r}"
            yield warning("never-fires", one.where, text, did_you_mean(name, catalog.arm_ids))


def _templates(catalog: Catalog) -> set[str]:
    return {name for arm in catalog.arms for name in (arm.id, str(arm.attributes.get("template", arm.id)))}


@lru_cache(maxsize=1)
def countries() -> frozenset[str]:
    """ISO 3166 alpha-2 codes, from the tz database's own table."""
    table = (resources.files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8")
    return frozenset(_COUNTRY.findall(table))
