"""Lint, first part: is this a pack at all? Unknown keys, wrong types, numbers out of range, missing provenance.

Keys are held against the JSON schema of packs (`lint.schema`), types and ranges against the structs themselves. One
flaw does not hide the next: what is wrong is left out, and the rest is looked at.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from engine.errors import ConfigError, ParameterError, shown
from engine.guardrails.layer import REQUIRED_RULE
from engine.guardrails.lint.flaws import Flaw, Linted, did_you_mean, error
from engine.guardrails.lint.schema import pack_schema
from engine.guardrails.pack import Pack, RuleEntry
from engine.guardrails.registry import make_rule, shipped_rules

PACK: Final = "pack"
PROVENANCE: Final = ("kind", "jurisdiction", "source", "checked_on")
NO_DATE: Final = dt.date.min
_STAND_INS: Final = {"kind": "eng", "jurisdiction": "any", "source": "none given", "checked_on": NO_DATE}
_REFERENCE = re.compile(r"#/\$defs/(.*)")

Report = Callable[[Flaw], None]
Schema = Mapping[str, Any]
T = TypeVar("T")


def usable_rules(
    data: Any, report: Report, *, part: bool = False, packages: tuple[str, ...] = ()
) -> tuple[Pack | None, tuple[Linted, ...]]:
    """The pack's head and the entries that can be used; everything else is reported.

    Args:
        data: what yaml decoded to.
        report: takes each flaw.
        part: whether the data is a fragment with nothing but `rules`.
        packages: packages from which rules may be imported.
    """
    if not isinstance(data, dict):
        report(error("shape", PACK, f"a pack is a mapping, got {shown(data)}"))
        return None, ()
    schema = pack_schema()["$defs"]
    head = _known_keys(data, schema["Pack"], schema, PACK, report)
    rules = head.pop("rules", None)
    if not isinstance(rules, list):
        report(error("shape", PACK, "`rules` must be a list of rule entries"))
        rules = []
    if part:
        head = {"name": "part", "version": "0", **head}
    pack = _converted({**head, "rules": []}, Pack, PACK, report)
    linted = [_linted(raw, position, schema, report, packages) for position, raw in enumerate(rules)]
    found = tuple(one for one in linted if one is not None)
    _check_whole(rules, report, part=part)
    return pack, found


def _check_whole(rules: list[Any], report: Report, *, part: bool) -> None:
    named = [raw for raw in rules if isinstance(raw, dict)]
    ids = [raw.get("id") for raw in named]
    for repeated in sorted({str(name) for name in ids if name is not None and ids.count(name) > 1}):
        report(error("duplicate", repeated, "the id stands more than once in the pack", "ids must be unique"))
    if part:
        return
    if not rules:
        report(error("empty", PACK, "the pack has no rules, so the layer will not start"))
    elif not any(raw.get("rule") == REQUIRED_RULE for raw in named):
        hint = "nothing may be sent without a consent record; add the rule back"
        report(error("consent", PACK, f"the pack has no {REQUIRED_RULE!r} rule, so the layer will not start", hint))


def _linted(raw: Any, position: int, schema: Schema, report: Report, packages: tuple[str, ...]) -> Linted | None:
    if not isinstance(raw, dict):
        report(error("shape", f"rules[{position}]", f"a rule entry is a mapping, got {shown(raw)}"))
        return None
    where = str(raw.get("id") or f"rules[{position}]")
    name = raw.get("rule")
    shipped = isinstance(name, str) and name in shipped_rules()
    if isinstance(name, str) and not shipped and ":" not in name:
        report(error("unknown-rule", where, f"unknown rule {name!r}", did_you_mean(name, shipped_rules())))
        _known_keys(raw, schema["rule_of_your_own"], schema, where, report)
        return None
    shape = schema[f"rule_{name}"] if shipped else schema["rule_of_your_own"]
    clean = _without_holes(_known_keys(raw, shape, schema, where, report), where, report)
    entry = _converted(clean, RuleEntry, where, report)
    if entry is None:
        return None
    try:
        return Linted(entry, make_rule(entry.rule, entry.params, packages))
    except ConfigError as failure:
        report(error("params", where, failure.message, failure.hint))
        return None


def _without_holes(raw: dict[str, Any], where: str, report: Report) -> dict[str, Any]:
    """The entry with stand-ins for what must be there and is not, reported, so that the rest can be looked at."""
    clean = dict(raw)
    for key in PROVENANCE:
        value = clean.get(key)
        if value is None or (isinstance(value, str) and not value.strip()):
            hint = "a number without its source cannot be checked by anybody"
            report(error("provenance", where, f"`{key}` is missing", hint))
            clean[key] = _STAND_INS[key]
    missing = clean.get("on_missing", "block")
    if missing != "block":
        hint = "a missing input always blocks; there is no other way"
        report(error("on-missing", where, f"`on_missing` must be 'block', got {missing!r}", hint))
        clean["on_missing"] = "block"
    return clean


def _converted(data: dict[str, Any], kind: type[T], where: str, report: Report) -> T | None:
    try:
        return msgspec.convert(data, kind)
    except (msgspec.ValidationError, ParameterError) as failure:
        report(error("shape", where, str(failure)))
        return None


def _known_keys(value: Any, node: Schema, schema: Schema, where: str, report: Report) -> Any:
    """The value without keys that its schema does not know; each of them is reported."""
    node = _resolved(node, value, schema)
    if isinstance(value, dict):
        known, others = node.get("properties", {}), node.get("additionalProperties", True)
        kept = {}
        for key, item in value.items():
            path = f"{where}.{key}"
            if key in known:
                kept[key] = _known_keys(item, known[key], schema, path, report)
            elif others is False:
                report(error("unknown-key", where, f"unknown key {key!r}", did_you_mean(str(key), known)))
            else:
                kept[key] = _known_keys(item, others if isinstance(others, dict) else {}, schema, path, report)
        return kept
    if isinstance(value, list) and isinstance(node.get("items"), dict):
        return [
            _known_keys(item, node["items"], schema, f"{where}[{position}]", report)
            for position, item in enumerate(value)
        ]
    return value


def _resolved(node: Schema, value: Any, schema: Schema) -> Schema:
    """Follow references, and of alternatives take the one that fits the kind of value."""
    while True:
        found = _REFERENCE.fullmatch(node.get("$ref", ""))
        if found is not None:
            node = schema[found[1]]
        elif "anyOf" in node:
            wanted = "object" if isinstance(value, dict) else "array"
            fits = [
                one for one in (_resolved(one, value, schema) for one in node["anyOf"]) if one.get("type") == wanted
            ]
            # Of two shapes nobody can say which was meant; the structs will tell.
            node = fits[0] if len(fits) == 1 else {}
        else:
            return node
