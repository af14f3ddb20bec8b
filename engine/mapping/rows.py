"""Turn a batch of a foreign log into rows of ours; a row that can not be turned is rejected with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.catalog import Catalog
from engine.features import MISSING, PRESENT, FeatureSpec
from engine.files.ids import SeenHashes, is_unseen, trimmed_objects
from engine.identity import contact_pseudonyms, keyed_hash
from engine.log.parquet import labels
from engine.mapping.actions import UNKNOWN, ActionReader, eligible_bits, propensity_table
from engine.mapping.cells import is_one_of, joined, numbers, text_of
from engine.mapping.dialect import expressions
from engine.mapping.expression import Expression
from engine.mapping.instants import instants_of
from engine.mapping.sources import TextBatch
from engine.mapping.spec import Feature, Key, Mapping, Reward
from engine.records import schema as records
from engine.types import NOT_AN_INSTANT, BoolArray, ByteArray, FloatArray, IntArray, KeyArray, ObjectArray

DUPLICATE: Final = "duplicate decision id"
_LONGEST_VALUE: Final = 200
NOT_ELIGIBLE: Final = "logged action outside its eligible set"


About = Literal["reward", "row", "other"]


class Reject(NamedTuple):
    """One rejected row.

    Attributes:
        row: its number, from 1.
        reason: why.
        value: the offending cell.
        decision_id: "" where it has none.
        private: whether the value may say who the person is, or what is known of them.
        about: what the reason is about (`engine.records.schema.RejectedReason`).
        action: the row's; the number of actions where the catalog does not have it, None where it cannot be told.
    """

    row: int
    reason: str
    value: str
    decision_id: str
    private: bool = True
    about: About = "row"
    action: int | None = None


class Fault(NamedTuple):
    """What is wrong with a row, in the words of `Reject`."""

    reason: str
    value: str
    private: bool
    about: About


@dataclass
class Faults:
    """The first fault of each of n rows."""

    n: int
    ok: BoolArray = field(init=False)
    first: dict[int, Fault] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ok = np.ones(self.n, dtype=np.bool_)

    def mark(
        self,
        bad: BoolArray,
        reason: str,
        values: ObjectArray | FloatArray,
        *,
        private: bool = False,
        about: About = "other",
    ) -> None:
        """Reject rows that were fine so far; the other arguments are as in `Reject`."""
        new = np.flatnonzero(bad & self.ok)
        for row in new:
            self.first[int(row)] = Fault(reason, str(values[row])[:_LONGEST_VALUE], private, about)
        self.ok[new] = False


@dataclass(frozen=True)
class RowConverter:
    """Converts batches of one log; remembers only the decision ids that it has kept.

    Attributes:
        mapping / catalog / schema: what the foreign log means, its actions, and the columns of the log that is made.
        raw: raw column -> whether it is stored as floats.
        contact_key: the key of the pseudonyms.
        seen: ids kept so far.
    """

    mapping: Mapping
    catalog: Catalog
    schema: pa.Schema
    raw: dict[str, bool]
    contact_key: str
    seen: SeenHashes

    @cached_property
    def _expressions(self) -> dict[str, Expression]:
        return expressions(self.mapping)

    @cached_property
    def _table(self) -> FloatArray | None:
        return propensity_table(self.mapping, self.catalog)

    def convert(self, batch: TextBatch) -> tuple[pa.Table, list[Reject]]:
        """The kept rows in the log's schema, and the rejected ones."""
        faults = Faults(batch.n)
        ids = self._decision_ids(batch, faults)
        available = self._available(batch, faults)
        action = self._action(batch, faults)
        propensity = self._propensity(batch, action, available, faults)
        bits = self._eligible(batch, action, available, faults)
        columns = {
            "decision_id": pa.array(ids, pa.string()),
            **self._people(batch, ids, faults),
            "decided_at": self._decided_at(batch, faults),
            **self._action_columns(action),
            "propensity": pa.array(propensity, pa.float64(), from_pandas=True),
            "eligible": _binary(bits),
            "available": pa.array(available, pa.bool_()),
            **self._features(batch, faults),
            **self._rewards(batch, available, faults),
            **self._raw(batch),
        }
        if self.mapping.decision_id is not None:
            self._drop_duplicates(ids, faults)
        kept = pa.array(faults.ok)
        arrays = [columns.get(item.name) for item in self.schema]
        full = [
            pa.nulls(batch.n, item.type) if array is None else array.cast(item.type)
            for item, array in zip(self.schema, arrays, strict=True)
        ]
        table = pa.Table.from_arrays(full, schema=pa.schema([f.with_nullable(True) for f in self.schema])).filter(kept)
        return table, self._rejects(batch, ids, action, faults)

    def _rejects(self, batch: TextBatch, ids: ObjectArray, action: IntArray, faults: Faults) -> list[Reject]:
        found = [Reject(number, reason, value, "") for number, reason, value in batch.faults]
        unknown = len(self.catalog.action_names)
        for i, (reason, value, private, about) in faults.first.items():
            of = unknown if reason.startswith(UNKNOWN) else int(action[i])
            found.append(Reject(int(batch.rows[i]), reason, value, ids[i], private, about, of))
        return sorted(found, key=lambda reject: reject.row)

    def _evaluate(self, key: str, batch: TextBatch, faults: Faults) -> FloatArray:
        expression = self._expressions[key]
        values, bad = expression.evaluate(batch.cells, batch.n)
        read = sorted(expression.columns)
        shown = joined([batch.cells[name] for name in read]) if read else batch.rows
        about: About = "reward" if key.startswith("rewards.") else "other"
        faults.mark(bad, f"{key} reads a cell that is no finite number", shown, private=True, about=about)
        return values

    def _key(self, key: Key, name: str, batch: TextBatch, faults: Faults) -> ObjectArray:
        parts = [trimmed_objects(batch.cells[column]) for column in key.names]
        cells = joined(parts)
        for part in parts:
            faults.mark(part == "", f"{name} is empty", cells, private=True)
            unseen = is_unseen(pa.array(part, pa.string()))
            faults.mark(unseen, f"{name} holds a character that no eye sees", cells, private=True)
        return cells

    def _decision_ids(self, batch: TextBatch, faults: Faults) -> ObjectArray:
        key = self.mapping.decision_id
        if key is None or (key.optional and not set(key.names) <= batch.cells.keys()):
            return np.array([str(row) for row in batch.rows], dtype=object)
        return self._key(key, "decision_id", batch, faults)

    def _people(self, batch: TextBatch, ids: ObjectArray, faults: Faults) -> dict[str, pa.Array]:
        mapping = self.mapping
        people = np.array([f"row/{i}" for i in ids], dtype=object)
        if mapping.contact is not None:
            people = self._key(mapping.contact, "contact", batch, faults)
        found = {"contact_id": pa.array(contact_pseudonyms(_hashable(people), self.contact_key), pa.string())}
        if mapping.cluster is not None:
            key = mapping.cluster
            units = people if key == "contact" else self._key(key, "cluster", batch, faults)
            hashed: KeyArray = keyed_hash(_hashable(units), f"{self.contact_key}/cluster")
            found["cluster"] = pa.array(hashed, pa.uint64())
        return found

    def _available(self, batch: TextBatch, faults: Faults) -> BoolArray:
        spec = self.mapping.availability
        if spec is None:
            return np.ones(batch.n, dtype=np.bool_)
        if spec.column is not None and spec.values:
            return is_one_of(batch.cells[spec.column], [text_of(value) for value in spec.values])
        if spec.column is not None:
            values, shown = numbers(batch.cells[spec.column])[0], batch.cells[spec.column]
        else:
            values = self._evaluate("availability.expression", batch, faults)
            shown = values
        faults.mark(~np.isfinite(values), "availability is neither true nor false", shown)
        available: BoolArray = np.isfinite(values) & (values != 0)
        return available

    def _action(self, batch: TextBatch, faults: Faults) -> IntArray:
        action, found = ActionReader(self.mapping, self.catalog).positions(batch)
        for bad, reason, values in found:
            faults.mark(bad, reason, values)
        return action

    def _propensity(self, batch: TextBatch, action: IntArray, available: BoolArray, faults: Faults) -> FloatArray:
        spec = self.mapping.propensity
        if spec.absent:
            return np.full(batch.n, np.nan)
        if self._table is not None:
            values, shown = self._table[action], None
        elif spec.column is not None:
            values, shown = numbers(batch.cells[spec.column])[0], batch.cells[spec.column]
        else:
            values, shown = self._evaluate("propensity.expression", batch, faults), None
        fits = (values > 0) & (values <= 1)
        faults.mark(available & ~fits, "propensity is not in (0, 1]", values if shown is None else shown)
        return np.where(available & fits, values, np.nan)

    def _eligible(self, batch: TextBatch, action: IntArray, available: BoolArray, faults: Faults) -> ByteArray:
        tests = {}
        if self.mapping.eligible is not None:
            for value in self.mapping.eligible.expressions:
                tests[value] = self._evaluate(f"eligible.expressions.{value}", batch, faults)
        bits = eligible_bits(self.mapping, self.catalog, batch, tests, available)
        taken = bits[np.arange(batch.n), action // 8] >> (action % 8).astype(np.uint8) & 1
        names = np.array(self.catalog.action_names, dtype=object)[action]
        faults.mark(available & (taken == 0), NOT_ELIGIBLE, names)
        return bits

    def _decided_at(self, batch: TextBatch, faults: Faults) -> pa.Array:
        spec = self.mapping.decided_at
        if spec is None:
            return pa.nulls(batch.n, records.INSTANT)
        cells = batch.cells[spec.column]
        micros, found = instants_of(spec, cells)
        for bad, reason in found:
            faults.mark(bad, reason, cells)
        return pa.array(micros, pa.int64(), mask=micros == NOT_AN_INSTANT).cast(records.INSTANT)

    def _action_columns(self, action: IntArray) -> dict[str, pa.Array]:
        catalog, n = self.catalog, len(action)
        channel, hour, arm = catalog.split(action)
        return {
            "channel": labels(channel, catalog.channels),
            "send_hour": labels(hour, [str(slot) for slot in catalog.hours]),
            "arm": labels(arm, catalog.arm_ids),
            "action_name": labels(action, catalog.action_names),
            "action": pa.array(action, pa.int32()),
            "use_case": _same(self.mapping.name, n),
            "group": _same(records.TREATMENT, n),
            "state": _same(records.DISPATCHED, n),
            "catalog_version": _same(catalog.version, n),
            "schema_version": _same(self._schema_version, n),
        }

    @cached_property
    def _schema_version(self) -> str:
        return self.mapping.schema().version

    @cached_property
    def _specs(self) -> Sequence[tuple[Feature, FeatureSpec]]:
        return tuple(zip(self.mapping.features, self.mapping.schema().features, strict=True))

    def _features(self, batch: TextBatch, faults: Faults) -> dict[str, pa.Array]:
        found: dict[str, pa.Array] = {}
        for feature, spec in self._specs:
            cells = batch.cells[feature.cells]
            markers = self.mapping.feature_defaults.missing if feature.missing is None else feature.missing
            absent = is_one_of(cells, ["", *map(text_of, markers)])
            if feature.required:
                faults.mark(absent, f"feature {spec.name!r} is missing", cells, private=True)
            convert = _numeric if spec.type == "numeric" else _categorical
            found[records.CONTEXT + spec.name] = convert(spec, cells, absent, faults)
            found[records.STATE + spec.name] = pa.array(np.where(absent, MISSING, PRESENT), pa.uint8())
        return found

    def _rewards(self, batch: TextBatch, available: BoolArray, faults: Faults) -> dict[str, pa.Array]:
        found = {}
        for name, reward in self.mapping.rewards.items():
            values = self._reward(name, reward, batch, available, faults)
            found[records.REWARD + name] = pa.array(values, pa.float64(), from_pandas=True)
        return found

    def _reward(self, name: str, reward: Reward, batch: TextBatch, available: BoolArray, faults: Faults) -> FloatArray:
        markers = [text_of(marker) for marker in reward.missing]
        shown: ObjectArray | FloatArray
        if reward.column is not None:
            cells = batch.cells[reward.column]
            values, shown = numbers(cells)[0], cells
            # What was never decided needs no outcome.
            unknown = is_one_of(cells, markers) | (~available & (cells == ""))
        else:
            values = shown = self._evaluate(f"rewards.{name}.expression", batch, faults)
            unknown = np.isnan(values) & (bool(markers) | ~available)
        no_number = ~unknown & ~np.isfinite(values)
        faults.mark(no_number, f"reward {name!r} is no finite number", shown, about="reward")
        outside = ~unknown & ((values < reward.low) | (values > reward.high))
        reason = f"reward {name!r} is outside [{reward.low:g}, {reward.high:g}]"
        faults.mark(outside, reason, shown, about="reward")
        return np.where(unknown, np.nan, values)

    def _raw(self, batch: TextBatch) -> dict[str, pa.Array]:
        found = {}
        for name, numeric in self.raw.items():
            cells = batch.cells[name]
            empty = cells == ""
            if numeric:
                found[records.RAW + name] = pa.array(numbers(cells)[0], pa.float64(), mask=empty)
            else:
                found[records.RAW + name] = pa.array(cells, pa.string(), mask=empty)
        return found

    def _drop_duplicates(self, ids: ObjectArray, faults: Faults) -> None:
        fine = np.flatnonzero(faults.ok)
        hashes = keyed_hash(ids[fine], f"{self.contact_key}/decision")
        first = np.zeros(len(hashes), dtype=np.bool_)
        first[np.unique(hashes, return_index=True)[1]] = True
        first &= ~self.seen.known(hashes)
        self.seen.add(hashes[first])
        bad = np.zeros(len(ids), dtype=np.bool_)
        bad[fine[~first]] = True
        faults.mark(bad, DUPLICATE, ids, private=True, about="row")


def _numeric(spec: FeatureSpec, cells: ObjectArray, absent: BoolArray, faults: Faults) -> pa.Array:
    values, _ = numbers(cells)
    faults.mark(~absent & ~np.isfinite(values), f"feature {spec.name!r} is no finite number", cells, private=True)
    low = -np.inf if spec.low is None else spec.low
    high = np.inf if spec.high is None else spec.high
    outside = ~absent & ((values < low) | (values > high))
    faults.mark(outside, f"feature {spec.name!r} is outside [{low:g}, {high:g}]", cells, private=True)
    return pa.array(values, pa.float64(), mask=absent)


def _categorical(spec: FeatureSpec, cells: ObjectArray, absent: BoolArray, faults: Faults) -> pa.Array:
    if spec.levels:
        faults.mark(
            ~absent & ~is_one_of(cells, spec.levels), f"feature {spec.name!r} has an unknown level", cells, private=True
        )
    codes, levels = pd.factorize(cells)
    return labels(np.where(absent, -1, codes), [str(level) for level in levels])


def _hashable(ids: ObjectArray) -> ObjectArray:
    # A row with an empty id is rejected, yet stands in its batch until the end.
    return np.where(ids == "", "-", ids).astype(object)


def _same(value: str, n: int) -> pa.Array:
    return labels(np.zeros(n, dtype=np.int64), [value])


def _binary(bits: ByteArray) -> pa.Array:
    n, width = bits.shape
    buffer = pa.py_buffer(np.ascontiguousarray(bits).tobytes())
    return pa.Array.from_buffers(pa.binary(width), n, [None, buffer]).cast(pa.binary())
