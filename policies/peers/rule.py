"""A practice that people can read: rules from attributes to actions, the first match wins.

    name: our practice
    rules:
      - when: {lifecycle: lapsed}
        then: email@9/discount
      - when: {days_since_order: {from: 30, below: 90}, tier: [gold, silver]}
        then: [push@18/news, email@9/news]
    otherwise: hold

A contact gets the first action of the list that may be sent to it, else hold. Segments that were tuned on a log are
written in the same form (`segments_rule`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import yaml

from engine.catalog import Catalog, catalog_from
from engine.content.eligibility import refuse_modular
from engine.errors import DataError, TactfulError
from engine.features import MISSING, PRESENT, STALE, Column, ContextBatch, FeatureSchema, FeatureSpec, schema_from
from engine.files.documents import load_yaml
from engine.names import did_you_mean
from engine.types import HOLD, BoolArray, FloatArray
from policies.exploring.exploration import one_hot_best
from policies.peers.segmentation import Cut, Segmentation
from policies.peers.segments import StaticSegments

# Words for a value that is not there, or too old. A level of the same name is meant by `{is: [missing]}`.
_STATES: Final = {"missing": MISSING, "stale": STALE}


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"start": "from"}):
    """Numbers from `start` on (`from` in yaml) that lie below `below`; null is unbounded."""

    start: float | None = None
    below: float | None = None

    def met(self, column: Column) -> BoolArray:
        """(n,) whether each value meets the condition."""
        met: BoolArray = column.state == PRESENT
        if self.start is not None:
            met = met & (column.values >= self.start)
        return met if self.below is None else met & (column.values < self.below)

    def words(self, feature: str) -> str:
        """The condition in words."""
        if self.start is None:
            return f"{feature} known" if self.below is None else f"{feature} below {self.below:g}"
        return (
            f"{feature} {self.start:g} or more" if self.below is None else f"{feature} {self.start:g} to {self.below:g}"
        )


class Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"only": "is", "no": "not"}):
    """Levels by their names alone: these (`is` in yaml), or every level but these (`not`)."""

    only: tuple[str, ...] | None = None
    no: tuple[str, ...] = ()

    def met(self, column: Column) -> BoolArray:
        """(n,) whether each value meets the condition."""
        met: BoolArray = (column.state == PRESENT) & ~_is_any(column, self.no)
        return met if self.only is None else met & _is_any(column, self.only)

    def words(self, feature: str) -> str:
        """The condition in words."""
        if self.only is not None:
            return f"{feature} {' or '.join(self.only)}"
        return f"{feature} other than {', '.join(self.no)}" if self.no else f"{feature} known"


class Values(msgspec.Struct, frozen=True):
    """One of these levels or numbers, or a word for a value that is not there."""

    values: tuple[Any, ...]

    def met(self, column: Column) -> BoolArray:
        """(n,) whether each value meets the condition; what is not there meets none but its own word."""
        there = [value for value in self.values if value not in _STATES]
        absent = np.isin(column.state, [_STATES[value] for value in self.values if value in _STATES])
        met: BoolArray = ((column.state == PRESENT) & _is_any(column, there)) | absent
        return met

    def words(self, feature: str) -> str:
        """The condition in words."""
        return f"{feature} {' or '.join(f'{one:g}' if isinstance(one, float) else str(one) for one in self.values)}"


Condition = Range | Levels | Values


class Clause(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a rule: all conditions of `when` hold -> the first action of `then` that may be sent."""

    then: str | tuple[str, ...]
    when: dict[str, Any] = {}


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole rule, as its yaml says.

    Attributes:
        rules: in order; the first one that matches a contact decides.
        otherwise: action, or actions, of the contacts that none matches.
        name: what it is called in reports.
        catalog / features: the actions and the attributes, as plain data; only a rule that is to decide for contacts
            needs them, as no log says them then.
    """

    rules: tuple[Clause, ...]
    otherwise: str | tuple[str, ...] = "hold"
    name: str = "practice"
    catalog: dict[str, Any] = {}
    features: dict[str, Any] = {}


class RulePolicy:
    """A rule over a catalog's actions.

    Args:
        rule: as read.
        catalog / schema: of the decisions.

    Raises:
        DataError: an unknown action, feature or level, or a condition that its feature cannot meet.
    """

    def __init__(self, rule: Rule, catalog: Catalog, schema: FeatureSchema) -> None:
        refuse_modular(catalog, "a file of rules")
        self.rule, self.name, self.catalog, self.schema = rule, rule.name, catalog, schema
        specs = {spec.name: spec for spec in schema.features}
        for number, clause in enumerate(rule.rules, 1):
            for feature, wanted in clause.when.items():
                where = f"rule {number} of {rule.name!r}"
                if feature not in specs:
                    hint = f"{did_you_mean(feature, specs)}the log knows {', '.join(specs)}"
                    raise DataError(f"{where} names the unknown attribute {feature!r}", hint=hint)
                _require(specs[feature], wanted, where)
        self._conditions = [
            [(feature, _read(wanted)) for feature, wanted in clause.when.items()] for clause in rule.rules
        ]
        thens = [*(clause.then for clause in rule.rules), rule.otherwise]
        self._preference = np.stack([_preference(then, catalog) for then in thens])

    def matched(self, context: ContextBatch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(n,) number of the rule that decides each row, from 0 on; the number of rules where none matches."""
        found = np.full(context.n, len(self._conditions), dtype=np.int64)
        # The rules of segments ask the same few things over and over.
        known: dict[tuple[str, Condition], BoolArray] = {}
        for number, conditions in reversed(list(enumerate(self._conditions))):
            met = np.ones(context.n, dtype=np.bool_)
            for asked in conditions:
                if asked not in known:
                    known[asked] = asked[1].met(context.columns[asked[0]])
                met &= known[asked]
            found[met] = number
        return found

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give one-hot probabilities, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return one_hot_best(self._preference[self.matched(context)], eligible)


def read_rule(path: Path, catalog: Catalog | None = None, schema: FeatureSchema | None = None) -> RulePolicy:
    """The policy of a yaml file.

    Args:
        path: of the file.
        catalog / schema: of the decisions; without them those that the file holds.

    Raises:
        DataError: no such file, no yaml, another form, or names that the catalog or the schema does not know.
    """
    try:
        rule = msgspec.convert(load_yaml(path.read_text(encoding="utf-8")), Rule)
        if not rule.rules and rule.otherwise == "hold":
            raise DataError("it has no rules", hint="give `rules`, or `otherwise` for everybody")
        if catalog is None or schema is None:
            if not rule.catalog or not rule.features:
                hint = "add both, as the segments.yaml of a backtest has them"
                raise DataError("it decides for contacts only with its `catalog` and its `features`", hint=hint)
            catalog, schema = catalog_from(rule.catalog), schema_from(rule.features)
        return RulePolicy(rule, catalog, schema)
    except (OSError, UnicodeDecodeError, msgspec.ValidationError, yaml.YAMLError) as error:
        hint = "a list `rules` of `when: {attribute: value}` and `then: ACTION`, and `otherwise: ACTION`"
        raise DataError(f"{path} is no rule: {error}", hint=hint) from error
    except TactfulError as error:
        raise DataError(f"{path}: {error.message}", hint=error.hint) from error


def segments_rule(segments: StaticSegments, catalog: Catalog, schema: FeatureSchema, name: str) -> Rule:
    """The rule of tuned segments, one clause per segment, which `RulePolicy` decides by as they do.

    Args:
        segments: tuned on a log.
        catalog / schema: its actions and attributes.
        name: of the rule.
    """
    known = {"catalog": catalog.to_builtins(), "features": msgspec.to_builtins(schema)}
    clauses = [
        # Ties go to the lower index, as in `one_hot_best`.
        Clause(when=when, then=tuple(catalog.action_names[action] for action in np.argsort(-ranks, kind="stable")))
        for when, ranks in zip(segment_conditions(segments.segmentation), segments.preference, strict=True)
    ]
    if len(clauses) == 1:
        return Rule(rules=(), otherwise=clauses[0].then, name=name, **known)
    return Rule(rules=tuple(clauses), name=name, **known)


def segment_conditions(segmentation: Segmentation) -> list[dict[str, Any]]:
    """What each segment asks of its contacts, in the order of the segments' numbers."""
    names = [cut.feature for cut in segmentation.cuts]
    cells = [[_condition(cut, cell) for cell in range(cut.cells)] for cut in segmentation.cuts]
    return [dict(zip(names, chosen, strict=True)) for chosen in product(*cells)]


def rule_yaml(rule: Rule) -> str:
    """The rule as yaml that `read_rule` reads."""
    text: str = yaml.safe_dump(msgspec.to_builtins(rule), sort_keys=False, allow_unicode=True, width=120)
    return text


def in_words(when: Mapping[str, Any]) -> str:
    """Conditions in words: `days_since_order 30 to 90, tier gold or silver`."""
    return ", ".join(_read(wanted).words(feature) for feature, wanted in when.items()) or "everybody"


def _read(wanted: Any) -> Condition:
    """A condition as its yaml says.

    Raises:
        msgspec.ValidationError: a mapping of other keys or values.
    """
    if isinstance(wanted, Mapping):
        kind: type[Range | Levels] = Levels if {"is", "not"} & wanted.keys() else Range
        return msgspec.convert(wanted, kind)
    return Values(tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,))


def _condition(cut: Cut, cell: int) -> Any:
    if cell >= cut.cells - 2:
        return "missing" if cell == cut.cells - 2 else "stale"
    if not cut.numeric:
        if cell == len(cut.levels):
            return {"not": list(cut.levels)}
        return {"is": [cut.levels[cell]]} if cut.levels[cell] in _STATES else cut.levels[cell]
    edges = [None, *cut.edges, None]
    return {name: edge for name, edge in (("from", edges[cell]), ("below", edges[cell + 1])) if edge is not None}


def _preference(then: str | tuple[str, ...], catalog: Catalog) -> FloatArray:
    """(k,) the actions in the order in which they are tried; hold behind those that are named, the rest last."""
    found = np.zeros(catalog.k)
    found[HOLD] = 1.0
    names = (then,) if isinstance(then, str) else then
    if not names:
        raise DataError("`then` names no action", hint=f"such as {catalog.action_names[-1]!r}, or 'hold'")
    for rank, name in enumerate(names):
        # A name that stands twice counts where it stands first.
        action = catalog.resolve(name)
        found[action] = max(found[action], 2.0 + len(names) - rank)
    return found


def _require(spec: FeatureSpec, wanted: Any, where: str) -> None:
    """Refuse a condition that this feature cannot meet."""
    shown, numeric = f"{where}: {spec.name} {wanted!r}", spec.type == "numeric"
    form = "{from: NUMBER, below: NUMBER}" if numeric else "{is: [LEVEL, ..]} or {not: [..]}"
    hint = f"{spec.name} is {spec.type}: {form}"
    try:
        condition = _read(wanted)
    except msgspec.ValidationError as error:
        raise DataError(f"{shown} is no condition: {error}", hint=hint) from error
    if isinstance(condition, Range):
        low = -math.inf if condition.start is None else condition.start
        high = math.inf if condition.below is None else condition.below
        if not numeric and condition != Range():
            raise DataError(f"{shown} is no condition: a level has no range", hint=hint)
        if not low < high:
            raise DataError(f"{shown} matches nobody", hint="`from` lies below `below`")
    elif isinstance(condition, Levels):
        if numeric:
            raise DataError(f"{shown} is no condition: a number has no levels", hint=hint)
        for level in (*(condition.only or ()), *condition.no):
            _require_value(spec, level, shown)
    else:
        for value in condition.values:
            if not (isinstance(value, str) and value in _STATES):
                _require_value(spec, value, shown)


def _require_value(spec: FeatureSpec, value: Any, shown: str) -> None:
    if spec.type == "numeric":
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"{shown}: {value!r} is no number", hint="a number, {from: .., below: ..}, or missing")
    elif not isinstance(value, str):
        raise DataError(f"{shown}: {value!r} is no text", hint=f"in quotes: '{value}'")
    elif spec.levels and value not in spec.levels:
        hint = f"{did_you_mean(value, spec.levels)}one of {', '.join(spec.levels)}"
        raise DataError(f"{shown}: the attribute has no level {value!r}", hint=hint)


def _is_any(column: Column, values: Sequence[Any]) -> BoolArray:
    """(n,) whether the value is one of these; of a categorical column by the names of its levels."""
    if column.values.dtype.kind == "f":
        found: BoolArray = np.isin(column.values, np.asarray(values, dtype=np.float64))
    else:
        found = np.isin(column.values, [code for code, level in enumerate(column.levels) if level in values])
    return found
