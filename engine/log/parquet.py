"""The cold log: whole Parquet files. A file appears complete under its name or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine import records
from engine.blocks.eligibility import is_modular, packed_width
from engine.errors import DataError, LogFormatError
from engine.features import Column, ContextBlock
from engine.identity import keyed_hash
from engine.log.whole_file import ParquetFile
from engine.records import LogMeta
from engine.rounds import CHUNK_ROWS, RoundBlock
from engine.state.mark import Mark
from engine.types import NOT_AN_INSTANT, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

__all__ = [
    "LogReader",
    "ParquetFile",
    "context_arrays",
    "context_of",
    "instants",
    "labels",
]


class LogReader:
    """Reads a log in canonical chunks of `CHUNK_ROWS` rows, in flat memory.

    Args:
        path: a Parquet file with a footer of ours.

    Raises:
        LogFormatError: missing, empty or truncated file, or no footer of ours.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self._file = pq.ParquetFile(self.path)
        except FileNotFoundError as error:
            raise LogFormatError(f"{self.path} does not exist", hint="make it with `tactful import`") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise LogFormatError(
                f"{self.path} is no readable Parquet file: {error}",
                hint="it is empty, truncated, or of another format; write it again",
            ) from error
        self.schema: pa.Schema = self._file.schema_arrow
        self.meta: LogMeta = records.meta_of(self.schema, source=str(self.path))
        self.rows: int = self._file.metadata.num_rows
        self._declared = records.log_schema(self.meta)
        missing = set(self._declared.names) - set(self.schema.names)
        if missing:
            raise LogFormatError(f"{self.path} lacks the columns {sorted(missing)}", hint="see docs/schema.md")
        if self.rows == 0:
            raise LogFormatError(f"{self.path} holds no rows", hint="nothing can be learnt from an empty log")

    @property
    def mark(self) -> Mark | None:
        """The newest change of the state store among the decisions; None where there was no store.

        Raises:
            LogFormatError: a footer that cannot be read.
        """
        found = (self._file.metadata.metadata or {}).get(records.MARK_KEY)
        if found is None:
            return None
        try:
            return msgspec.json.decode(found, type=Mark)
        except msgspec.MsgspecError as error:
            raise LogFormatError(f"{self.path} has a damaged footer: {error}", hint="write it again") from error

    @property
    def settings(self) -> bytes | None:
        """All that the decisions depended on besides contact and instant, as JSON; None where there was no store."""
        found: bytes | None = (self._file.metadata.metadata or {}).get(records.SETTINGS_KEY)
        return found

    def column(self, name: str) -> str:
        """The stored name of a column given as `name`, `raw_name` or `context_name`, tried in this order.

        Raises:
            DataError: no such column.
        """
        for candidate in (name, records.RAW + name, records.CONTEXT + name):
            if candidate in self.schema.names:
                return candidate
        raise DataError(
            f"{self.path} has no column {name!r}",
            hint=f"raw columns: {list(self.meta.raw_columns)}; features: {list(self.meta.features.names)}",
        )

    def can_hold(self) -> bool:
        """Whether hold was eligible in any row: logs of others may never have held."""
        if is_modular(self.meta.catalog):
            return True
        width = packed_width(self.meta.catalog)
        return any(
            (_bits(batch.column("eligible"), width, self.path)[:, 0] & 1).any() for batch in self.batches(["eligible"])
        )

    def contacts(self) -> int:
        """Number of distinct contacts; memory grows by 8 bytes per contact."""
        seen: KeyArray = np.zeros(0, dtype=np.uint64)
        for batch in self.batches(["contact_id"]):
            seen = np.union1d(seen, keyed_hash(_objects(batch, "contact_id"), "contacts"))
        return len(seen)

    def blocks(
        self, *, rewards: Sequence[str] = (), extra: Sequence[str] = (), context: bool = True
    ) -> Iterator[RoundBlock]:
        """Blocks of at most `CHUNK_ROWS` rounds, in file order.

        Args:
            rewards: metrics to read.
            extra: stored names of further columns to read as they are.
            context: False leaves the context empty and is faster.

        Raises:
            DataError: unknown metric.
            LogFormatError: a row group that cannot be decoded, or rows that break the schema.
        """
        for metric in rewards:
            if metric not in self.meta.rewards:
                raise DataError(
                    f"{self.path} has no metric {metric!r}", hint=f"the log knows: {sorted(self.meta.rewards)}"
                )
        wanted = ["decision_id", "cluster", "decided_at", "action", "propensity", "eligible", "available", "state"]
        if context:
            for name in self.meta.features.names:
                wanted += [records.CONTEXT + name, records.STATE + name]
        wanted += [records.REWARD + metric for metric in rewards]
        wanted += [name for name in extra if name not in wanted]
        for chunk, batch in enumerate(self.batches(wanted)):
            yield self._block(chunk, batch, rewards, extra, context)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Arrow batches cut at multiples of `CHUNK_ROWS` rows, whatever the row groups of the file."""
        held: list[pa.RecordBatch] = []
        rows = 0
        try:
            for batch in self._file.iter_batches(batch_size=CHUNK_ROWS, columns=columns):
                while batch.num_rows:
                    head = batch.slice(0, CHUNK_ROWS - rows)
                    batch = batch.slice(head.num_rows)
                    held.append(head)
                    rows += head.num_rows
                    if rows == CHUNK_ROWS:
                        yield self._conform(_one(held))
                        held, rows = [], 0
        except (pa.ArrowInvalid, OSError) as error:
            raise LogFormatError(f"{self.path} is damaged: {error}", hint="write the file again") from error
        if held:
            yield self._conform(_one(held))

    def _conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # Other tools keep the footer but change the types (pandas writes large strings), or leave holes.
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name, column in columns.items():
            position = self._declared.get_field_index(name)
            if position < 0:
                continue
            field = self._declared.field(position)
            try:
                columns[name] = conform(column, field)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
                raise LogFormatError(
                    f"{self.path} does not keep the schema in column {name!r}: {error}", hint="see docs/schema.md"
                ) from error
        return pa.RecordBatch.from_pydict(columns)

    def _block(
        self, chunk: int, batch: pa.RecordBatch, rewards: Sequence[str], extra: Sequence[str], context: bool
    ) -> RoundBlock:
        k = self.meta.catalog.k
        action = _numpy(batch, "action").astype(np.int32)
        if len(action) and (action.min() < 0 or action.max() >= k):
            raise LogFormatError(f"{self.path} holds actions outside [0, {k})", hint="the catalog does not fit the log")
        ids = _objects(batch, "decision_id")
        states = batch.column("state")
        allowed = np.array([s in (records.DISPATCHED, records.DELIVERED) for s in states.dictionary.to_pylist()])
        usable = _numpy(batch, "available").astype(bool) & allowed[states.indices.to_numpy(zero_copy_only=False)]
        propensity = _floats(batch, "propensity")
        wrong = usable & ((propensity <= 0) | (propensity > 1))
        if wrong.any():
            raise LogFormatError(
                f"{self.path} holds propensities outside (0, 1], {propensity[wrong][0]!r} for decision "
                f"{ids[wrong][0]!r}",
                hint="a propensity is the probability with which the logged action was drawn",
            )
        return RoundBlock(
            chunk=chunk,
            decision_id=ids,
            context=context_of(batch, self.meta) if context else ContextBlock(self.meta.features, {}, len(ids)),
            action=action,
            propensity=propensity,
            eligible=_bits(batch.column("eligible"), packed_width(self.meta.catalog), self.path),
            k=k,
            cluster=_clusters(batch.column("cluster"), ids),
            rewards={metric: _floats(batch, records.REWARD + metric) for metric in rewards},
            usable=usable,
            decided_at=instants(batch.column("decided_at")),
            extra={name: batch.column(name).to_numpy(zero_copy_only=False) for name in extra},
            modular=self.meta.catalog if is_modular(self.meta.catalog) else None,
        )


def context_of(batch: pa.RecordBatch, meta: LogMeta) -> ContextBlock:
    """The context columns of a batch of log rows."""
    columns: dict[str, Column] = {}
    for spec in meta.features.features:
        state = _numpy(batch, records.STATE + spec.name).astype(np.uint8)
        stored = batch.column(records.CONTEXT + spec.name)
        if spec.type == "numeric":
            columns[spec.name] = Column(stored.to_numpy(zero_copy_only=False), state)
        else:
            columns[spec.name] = Column(*_codes(stored, state))
    return ContextBlock(meta.features, columns, batch.num_rows)


def context_arrays(context: ContextBlock) -> dict[str, pa.Array]:
    """The stored columns of a context block, by stored name; the inverse of `context_of`."""
    arrays: dict[str, pa.Array] = {}
    for name, column in context.columns.items():
        absent = column.state != 0
        if column.levels or column.values.dtype == np.int32:
            codes = pa.array(column.values, mask=absent, type=pa.int32())
            arrays[records.CONTEXT + name] = pa.DictionaryArray.from_arrays(codes, pa.array(column.levels, pa.string()))
        else:
            arrays[records.CONTEXT + name] = pa.array(column.values, mask=absent, type=pa.float64())
        arrays[records.STATE + name] = pa.array(column.state, type=pa.uint8())
    return arrays


def labels(codes: CodeArray | IntArray, names: Sequence[str]) -> pa.DictionaryArray:
    """(n,) codes into names -> dictionary column; negative codes are null."""
    positions = np.asarray(codes, dtype=np.int32)
    masked = pa.array(positions, mask=positions < 0)
    return pa.DictionaryArray.from_arrays(masked, pa.array(list(names), pa.string()))


def instants(array: pa.Array) -> IntArray:
    """Timestamps -> (n,) int64 microseconds UTC, `NOT_AN_INSTANT` where null."""
    micros = array.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).fill_null(NOT_AN_INSTANT)
    values: IntArray = micros.to_numpy(zero_copy_only=False)
    return values


def conform(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column in the declared type, refused where it cannot be or where it has holes that the schema forbids.

    Raises:
        ValueError: nulls in a column that has none by its schema; Arrow's errors are of this kind too.
    """
    if column.null_count and not field.nullable:
        raise ValueError(f"{column.null_count} nulls in a column that may have none")
    if column.type == field.type:
        return column
    if pa.types.is_timestamp(field.type) and not pa.types.is_null(column.type):
        zone = column.type.tz if pa.types.is_timestamp(column.type) else None
        if zone is None:
            raise ValueError(f"instants must be timestamps with a time zone, got {column.type}")
    if pa.types.is_dictionary(field.type):
        return column.cast(pa.string()).dictionary_encode()
    return column.cast(field.type)


def conform_to(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, in its order and types.

    Raises:
        LogFormatError: a column that does not fit.
    """
    columns = [conform(table.column(field.name).combine_chunks(), field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _one(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(parts) == 1:
        return parts[0]
    return pa.Table.from_batches(parts).unify_dictionaries().combine_chunks().to_batches()[0]


def _numpy(batch: pa.RecordBatch, name: str) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = batch.column(name).to_numpy(zero_copy_only=False)
    return values


def _floats(batch: pa.RecordBatch, name: str) -> FloatArray:
    return _numpy(batch, name).astype(np.float64)


def _objects(batch: pa.RecordBatch, name: str) -> ObjectArray:
    return _numpy(batch, name).astype(object)


def _clusters(stored: pa.Array, ids: ObjectArray) -> KeyArray:
    if stored.null_count == 0:
        return np.asarray(stored.to_numpy(zero_copy_only=False), dtype=np.uint64)
    given = np.asarray(stored.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.uint64)
    return np.where(np.asarray(stored.is_null()), keyed_hash(ids, "cluster"), given)


def _bits(array: pa.BinaryArray, width: int, path: Path) -> np.ndarray[Any, Any]:
    try:
        joined = array.cast(pa.binary(width))
    except pa.ArrowInvalid as error:
        raise LogFormatError(
            f"{path} holds eligible sets that are not {width} bytes long: {error}",
            hint="the catalog does not fit the log",
        ) from error
    raw = np.frombuffer(joined.buffers()[1], dtype=np.uint8)
    start = joined.offset * width
    return raw[start : start + len(joined) * width].reshape(len(joined), width)


def _codes(
    stored: pa.DictionaryArray, state: np.ndarray[Any, Any]
) -> tuple[CodeArray, np.ndarray[Any, Any], tuple[str, ...]]:
    codes = stored.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return codes, state, tuple(stored.dictionary.to_pylist())
