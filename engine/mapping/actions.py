"""The catalog of a foreign log, its propensity table, and the eligible set of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.catalog import SEPARATOR, Arm, Catalog
from engine.eligibility import pack
from engine.errors import ConfigError, DataError, ParameterError
from engine.files.documents import decode_json
from engine.mapping.cells import first_groups, fraction, numbers, text_of
from engine.mapping.needs import Scan, axis_cells, held_rows
from engine.mapping.sources import Source, TextBatch, rows_of
from engine.mapping.spec import Attributes, Axis, Mapping, Scalar, ValuesFrom
from engine.names import did_you_mean
from engine.types import HOLD, BoolArray, ByteArray, FloatArray, IntArray, ObjectArray

UNKNOWN: Final = "unknown"
_TOLERANCE: Final = 1e-6
# Cells of one dense (rows, k) piece.
_DENSE_CELLS: Final = 4_000_000
_AXES: Final = ("channel", "send_hour", "arm")


def catalog_of(mapping: Mapping, source: Source, found: Scan, path: Path) -> Catalog:
    """The catalog that a mapping declares, completed by what the log and its companions hold.

    Args:
        found: what the first pass saw; its observed values fill axes that declare none.
        path: the log; companions lie beside it.

    Raises:
        DataError: an axis without values, a companion that is not there, or names that collide.
    """
    values = {name: _values(name, axis, source, found, path) for name, axis in mapping.catalog.items()}
    hold = mapping.hold
    if hold is not None and hold.axis is not None:
        held = {text_of(value) for value in hold.values}
        values[hold.axis] = [value for value in values[hold.axis] if text_of(value) not in held]
    for name, listed in values.items():
        if not listed:
            raise DataError(f"{path}: catalog.{name} has no value", hint="no row sent anything, or the column is wrong")
    try:
        return Catalog(
            name=mapping.name,
            channels=tuple(map(text_of, values["channel"])),
            hours=tuple(hour if isinstance(hour, int) else text_of(hour) for hour in values["send_hour"]),
            arms=_arms(mapping.catalog.arm, [text_of(value) for value in values["arm"]], path),
            hold_name=_hold_name(mapping),
            aliases=mapping.aliases,
        )
    except ParameterError as error:
        raise DataError(f"{path}: the actions make no catalog: {error.message}", hint="see docs/mapping.md") from error


def _hold_name(mapping: Mapping) -> str:
    if mapping.hold is None:
        return "hold"
    return mapping.hold.name or text_of(mapping.hold.values[0]) or "hold"


def _values(name: str, axis: Axis, source: Source, found: Scan, path: Path) -> list[Scalar]:
    if axis.constant is not None:
        return [axis.constant]
    if isinstance(axis.values, ValuesFrom):
        return _values_from(name, axis.values, source, found, path)
    if isinstance(axis.values, list):
        return [SEPARATOR.join(map(text_of, v)) if isinstance(v, list) else v for v in axis.values]
    return _in_order(found.observed[name] - {""})


def _values_from(name: str, spec: ValuesFrom, source: Source, found: Scan, path: Path) -> list[Scalar]:
    listed: list[str] = []
    if spec.pattern is not None:
        listed = first_groups(spec.pattern, source.columns)
        problem = f"no column of {path} matches the pattern {spec.pattern!r}"
    else:
        companion = path.parent / (spec.file or "")
        problem = f"{companion}, the companion of {path.name}, is not there"
        if companion.is_file():
            column = spec.column or ""
            listed = [row[column] for row in rows_of(companion, lambda there: _present([column], there, companion))]
    if listed:
        return _in_order(set(listed))
    if spec.fallback is None:
        raise DataError(f"{problem}, so catalog.{name} has no values", hint="add it, or a fallback to the mapping")
    return _in_order(found.observed[name] - {""}) if spec.fallback == "observed" else spec.fallback


def _present(wanted: Sequence[str], there: Sequence[str], path: Path) -> Sequence[str]:
    missing = [column for column in wanted if column not in there]
    if missing:
        raise DataError(f"{path} lacks the columns {missing}", hint=f"the file has: {', '.join(there)}")
    return wanted


def _in_order(values: set[str]) -> list[Scalar]:
    """Numbers by value, text by the alphabet."""
    texts = np.array(sorted(values), dtype=object)
    floats, bad = numbers(texts)
    order = np.arange(len(texts)) if bad.any() else np.argsort(floats, kind="stable")
    return list(texts[order])


def _arms(axis: Axis, ids: Sequence[str], path: Path) -> tuple[Arm, ...]:
    described = _described(axis.attributes, path) if axis.attributes is not None else {}
    arms = []
    for arm in ids:
        factors = arm.split(SEPARATOR) if axis.columns else []
        attributes: dict[str, str | float] = {}
        if len(factors) == len(axis.columns):
            attributes |= dict(zip(axis.columns, factors, strict=True))
        attributes |= described.get(arm, {})
        blocks = tuple(f"{name}={value}" for name, value in zip(axis.columns, factors, strict=False))
        arms.append(Arm(id=arm, blocks=blocks, approved=True, attributes=attributes))
    return tuple(arms)


def _described(spec: Attributes, path: Path) -> dict[str, dict[str, str | float]]:
    """Arm id -> its attributes; a column in which every filled cell is a number gives floats."""
    companion = path.parent / spec.file
    if not companion.is_file() and "*" in spec.file:
        companion = next(iter(sorted(path.parent.glob(spec.file))), companion)
    if not companion.is_file():
        if spec.optional:
            return {}
        raise DataError(f"{companion}, the companion of {path.name}, is not there", hint="or set optional: true")

    def wanted(there: Sequence[str]) -> Sequence[str]:
        taken = spec.columns or tuple(c for c in there if c != spec.key)
        return _present([spec.key, *taken], there, companion)

    rows = rows_of(companion, wanted)
    out: dict[str, dict[str, str | float]] = {row[spec.key]: {} for row in rows}
    for column in [name for name in (rows[0] if rows else {}) if name != spec.key]:
        cells = np.array([row[column] for row in rows], dtype=object)
        floats, bad = numbers(cells)
        for row, cell, number in zip(rows, cells, floats, strict=True):
            if cell != "":
                out[row[spec.key]][column] = str(cell) if bad.any() else float(number)
    return out


@dataclass(frozen=True)
class ActionReader:
    """Reads the action of each row.

    Attributes:
        mapping / catalog: what the log means, and its actions.
    """

    mapping: Mapping
    catalog: Catalog

    def positions(self, batch: TextBatch) -> tuple[IntArray, list[tuple[BoolArray, str, ObjectArray]]]:
        """(n,) actions, and faults as (n,) bool, reason and (n,) offending values."""
        held = held_rows(self.mapping, batch)
        action = np.zeros(batch.n, dtype=np.int64)
        faults = []
        for name, axis in self.mapping.catalog.items():
            values = _axis_values(self.catalog, name)
            action *= len(values)
            if not axis.names:
                continue
            cells = axis_cells(axis, batch)
            index = {value: position for position, value in enumerate(values)}
            position = np.array([index.get(cell, -1) for cell in cells], dtype=np.int64)
            action += np.maximum(position, 0)
            faults.append(((position < 0) & ~held, f"{UNKNOWN} {name}", cells))
        return np.where(held, HOLD, action + 1), faults


def propensity_table(mapping: Mapping, catalog: Catalog) -> FloatArray | None:
    """(k,) probability of each action where it does not depend on the row; None where it does, or is absent.

    Raises:
        ConfigError: an unknown action, an action without entry and no default, or more than 1 in total.
    """
    spec = mapping.propensity
    table = np.full(catalog.k, np.nan)
    first = HOLD if mapping.hold is not None else HOLD + 1
    if spec.constant is not None:
        table[first:] = fraction(spec.constant, owner="propensity.constant")
    elif spec.per_arm:
        _fill_table(table, mapping, catalog, first)
    else:
        return None
    total = float(table[first:].sum())
    if total > 1.0 + _TOLERANCE and mapping.eligible is None:
        raise ConfigError(
            f"`propensity` of mapping {mapping.name!r} must sum to at most 1 over {catalog.k - first} actions, "
            f"got {total:.6g}",
            hint="every action is always eligible here, so their probabilities share 1",
        )
    return table


def _fill_table(table: FloatArray, mapping: Mapping, catalog: Catalog, first: int) -> None:
    entries = dict(mapping.propensity.per_arm)
    default = entries.pop("default", None)
    if default is not None:
        table[first:] = fraction(default, owner="propensity.per_arm.default")
    for name, value in entries.items():
        try:
            action = catalog.resolve(name)
        except DataError as error:
            raise ConfigError(f"`propensity.per_arm` names an {error.message}", hint=error.hint) from error
        if action < first:
            raise ConfigError(
                "`propensity.per_arm.hold` must be left out where the mapping declares no hold", hint="add hold: ..."
            )
        table[action] = fraction(value, owner=f"propensity.per_arm.{name}")
    without = [name for name, p in zip(catalog.action_names[first:], table[first:], strict=True) if np.isnan(p)]
    if without:
        raise ConfigError(f"`propensity.per_arm` has no entry for {without[:10]}", hint="add them, or a default")


def always_eligible(mapping: Mapping, catalog: Catalog) -> BoolArray:
    """(k,) bool: every action, hold only where the log can hold."""
    row = np.ones(catalog.k, dtype=np.bool_)
    row[HOLD] = mapping.hold is not None
    return row


def eligible_bits(
    mapping: Mapping, catalog: Catalog, batch: TextBatch, tests: dict[str, FloatArray], available: BoolArray
) -> ByteArray:
    """(n, ceil(k / 8)) packed eligible sets; hold alone where nothing was available.

    Args:
        tests: value of the axis -> (n,) outcome of its expression, for a mapping that gives expressions.
        available: (n,) bool.
    """
    only_hold = np.zeros(catalog.k, dtype=np.bool_)
    only_hold[HOLD] = True
    base = always_eligible(mapping, catalog)
    out = np.where(available[:, None], pack(base[None]), pack(only_hold[None]))
    if mapping.eligible is None:
        return out
    step = max(1, _DENSE_CELLS // catalog.k)
    for start in range(0, batch.n, step):
        part = slice(start, min(start + step, batch.n))
        dense = _dense(mapping, catalog, batch, tests, part, base)
        dense[~available[part]] = only_hold
        out[part] = pack(dense)
    return out


def _dense(
    mapping: Mapping, catalog: Catalog, batch: TextBatch, tests: dict[str, FloatArray], part: slice, base: BoolArray
) -> BoolArray:
    spec = mapping.eligible
    dense = np.broadcast_to(base, (part.stop - part.start, catalog.k)).copy()
    if spec is None:
        return dense
    if spec.list_column is not None:
        return _listed(catalog, batch.cells[spec.list_column][part], spec.separator, base)
    for name, column in spec.columns.items():
        values, _ = numbers(batch.cells[column][part])
        dense[:, catalog.resolve(name)] &= values == 1
    if spec.expressions:
        position = catalog.split(np.arange(catalog.k))[_AXES.index(spec.axis)]
        names = _axis_values(catalog, spec.axis)
        for value, outcome in tests.items():
            dense[:, position == names.index(value)] &= (outcome[part] == 1)[:, None]
    return dense


def _listed(catalog: Catalog, cells: ObjectArray, separator: str, base: BoolArray) -> BoolArray:
    """Cells repeat, so each distinct list is read once."""
    rows: dict[str, BoolArray] = {}
    for cell in set(cells.tolist()):
        row = np.zeros(catalog.k, dtype=np.bool_)
        row[HOLD] = base[HOLD]
        try:
            row[[catalog.resolve(name) for name in _names_in(cell, separator) if name]] = True
        except DataError:
            # An unreadable set allows nothing, so that the row's own action rejects it.
            row[:] = False
        rows[cell] = row
    return np.array([rows[cell] for cell in cells], dtype=np.bool_).reshape(-1, catalog.k)


def _names_in(cell: str, separator: str) -> list[str]:
    if cell.startswith("["):
        try:
            return [text_of(item) for item in decode_json(cell)]
        except ValueError:
            return [cell]
    return [name.strip() for name in cell.split(separator)]


def check_eligible_names(mapping: Mapping, catalog: Catalog) -> None:
    """Refuse an eligible block that names actions or axis values which the catalog does not have.

    Raises:
        ConfigError: names the unknown one.
    """
    spec = mapping.eligible
    if spec is None:
        return
    for name in spec.columns:
        try:
            catalog.resolve(name)
        except DataError as error:
            raise ConfigError(f"`eligible.columns` names an {error.message}", hint=error.hint) from error
    unknown = [value for value in spec.expressions if value not in _axis_values(catalog, spec.axis)]
    if unknown:
        raise ConfigError(
            f"`eligible.expressions` must name values of the axis {spec.axis}, got {unknown}",
            hint=f"{did_you_mean(unknown[0], _axis_values(catalog, spec.axis))}it has: "
            f"{', '.join(_axis_values(catalog, spec.axis)[:20])}",
        )


def _axis_values(catalog: Catalog, axis: str) -> tuple[str, ...]:
    return (catalog.channels, tuple(map(str, catalog.hours)), catalog.arm_ids)[_AXES.index(axis)]
