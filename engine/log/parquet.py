"""The cold log: whole Parquet files. A file appears complete under its name or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.content.eligibility import is_modular, packed_width
from engine.errors import DataError, LogFormatError
from engine.features import Column, ContextBatch
from engine.identity import keyed_hash
from engine.log.columns import conform, instants, labels
from engine.log.file import ENDINGS, LogFile
from engine.log.several import in_order, refuse_repeats, together
from engine.log.whole_file import ParquetFile
from engine.names import did_you_mean
from engine.records import schema as records
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.records.schema import LogMeta
from engine.state.sequence import Mark
from engine.storage.given import Given, files_of, named
from engine.time.localtime import DAY_US
from engine.types import NOT_AN_INSTANT, CodeArray, FloatArray, KeyArray, ObjectArray

__all__ = [
    "LogReader",
    "ParquetFile",
    "conform",
    "context_arrays",
    "context_of",
    "instants",
    "labels",
]

# Few decisions that repeat a contact may agree by chance.
_FEW_REPEATS: Final = 20
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


class LogReader:
    """Reads a log, of one file or several, in canonical chunks of `CHUNK_ROWS` rows, in flat memory.

    Several files are one log: in the order of their first decisions, each action read by its name under one catalog
    that knows the actions of all (`engine.log.action_names`), no decision twice.

    Attributes:
        paths: the files, in the order in which they are read.
        path: their names, for sentences.
        meta: the footer; of several files what holds of all of them (`engine.log.several`).
        schema: Arrow schema with the footer.
        rows: number of rows of all files.

    Args:
        given: a Parquet file with a footer of ours, a folder of such files, a glob, or several of these.

    Raises:
        LogFormatError: a missing, empty or truncated file, one without a footer of ours, or files that do not belong
            together.
        DataError: a file or a decision that is there twice.
    """

    def __init__(self, given: Given) -> None:
        files = [LogFile(path) for path in files_of(given, what="log", endings=ENDINGS)]
        self._files = files if len(files) == 1 else in_order(files)
        self.paths: tuple[Path, ...] = tuple(file.path for file in self._files)
        self.path: str = named(self.paths)
        self.meta: LogMeta = self._files[0].meta if len(files) == 1 else together(self._files)
        for file in self._files:
            file.read_under(self.meta.catalog)
        self.schema: pa.Schema = self._files[0].schema
        if len(files) > 1:
            self.schema = self.schema.with_metadata(records.log_schema(self.meta).metadata)
            refuse_repeats(self._files)
        self.rows: int = sum(file.rows for file in self._files)

    @property
    def mark(self) -> Mark | None:
        """The newest change of the state store among the decisions; None where there was no store.

        Raises:
            LogFormatError: a footer that cannot be read, or files of different stores.
        """
        marks = [mark for file in self._files if (mark := file.mark) is not None]
        if len({mark.store_id for mark in marks}) > 1:
            raise LogFormatError(
                f"{self.path} were decided with different state stores", hint="give those of one store"
            )
        return max(marks, key=lambda mark: mark.sequence, default=None)

    @property
    def settings(self) -> bytes | None:
        """All that the decisions of the first file depended on besides contact and instant, as JSON.

        None where there was no store.
        """
        return self._files[0].settings

    def column(self, name: str) -> str:
        """The stored name of a column given as `name`, `raw_name` or `context_name`, tried in this order.

        Raises:
            DataError: no such column.
        """
        for candidate in (name, records.RAW + name, records.CONTEXT + name):
            if candidate in self.schema.names:
                return candidate
        raw = [one.removeprefix(records.RAW) for one in self.schema.names if one.startswith(records.RAW)]
        features = list(self.meta.features.names)
        near = did_you_mean(name.removeprefix(records.RAW), (*raw, *features))
        raise DataError(
            f"{self.path} has no column {name!r}",
            hint=f"{near}raw columns: {', '.join(raw) or 'none'}; features: {', '.join(features) or 'none'}",
        )

    def require_metric(self, metric: str, *, hint: str = "") -> None:
        """Refuse a metric that the log does not have.

        Raises:
            DataError: with the nearest one, all of them, and what the caller adds.
        """
        known = sorted(self.meta.rewards)
        if metric not in known:
            said = f"{did_you_mean(metric, known)}the log knows: {', '.join(known) or 'none'}"
            raise DataError(f"{self.path} has no metric {metric!r}", hint=f"{said}{hint}")

    def can_hold(self) -> bool:
        """Whether hold was eligible in any row: logs of others may never have held."""
        if is_modular(self.meta.catalog):
            return True
        width = packed_width(self.meta.catalog)
        return any(
            (_bits(batch.column("eligible"), width, self.path)[:, 0] & 1).any() for batch in self.batches(["eligible"])
        )

    @cached_property
    def contacts(self) -> int:
        """Number of distinct contacts; memory grows by at most 16 bytes per contact."""
        return _distinct(_contact_keys(batch) for batch in self.batches(["contact_id"]))

    @cached_property
    def days(self) -> float | None:
        """Days from the first decision to the last; None where some decision has no instant."""
        low, high = np.inf, -np.inf
        for batch in self.batches(["decided_at"]):
            at = instants(batch.column("decided_at"))
            if not len(at):
                continue
            if (at == NOT_AN_INSTANT).any():
                return None
            low, high = min(low, float(at.min())), max(high, float(at.max()))
        return (high - low) / DAY_US if high >= low else None

    @cached_property
    def assigned(self) -> bool:
        """Whether each contact got the same action in all of its decisions, and contacts come up more than once.

        Then the contact was assigned to a group, and what happened to it in all is what the groups differ in.
        """
        if self.rows - self.contacts < _FEW_REPEATS:
            return False
        return self.contacts == _distinct(
            _contact_keys(batch) + np.asarray(batch.column("action"), dtype=np.uint64) * _ODD
            for batch in self.batches(["contact_id", "action"])
        )

    @cached_property
    def clustered(self) -> bool:
        """Whether decisions depend on each other: the log declares clusters, or contacts come up more than once.

        Where contacts repeat and no cluster is declared, the contact is the cluster.
        """
        return self.meta.clustered or self.contacts < self.rows

    def rounds(
        self, *, rewards: Sequence[str] = (), extra: Sequence[str] = (), context: bool = True
    ) -> Iterator[RoundBatch]:
        """Batches of at most `CHUNK_ROWS` rounds, in file order, in arrays that no reader can write to.

        Args:
            rewards: metrics to read.
            extra: stored names of further columns to read as they are.
            context: False leaves the context empty and is faster.

        Raises:
            DataError: unknown metric.
            LogFormatError: a row group that cannot be decoded, or rows that break the schema.
        """
        for metric in rewards:
            self.require_metric(metric)
        wanted = ["decision_id", "cluster", "decided_at", "action", "propensity", "eligible", "available", "state"]
        if context:
            for name in self.meta.features.names:
                wanted += [records.CONTEXT + name, records.STATE + name]
        wanted += [records.REWARD + metric for metric in rewards]
        wanted += [name for name in extra if name not in wanted]
        if self.clustered and not self.meta.clustered and "contact_id" not in wanted:
            wanted.append("contact_id")
        for chunk, batch in enumerate(self.batches(wanted)):
            yield self._block(chunk, batch, rewards, extra, context).sealed()

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Arrow batches cut at multiples of `CHUNK_ROWS` rows, whatever the files and their row groups.

        Raises:
            LogFormatError: a row group that cannot be decoded, or rows that break the schema.
        """
        held: list[pa.RecordBatch] = []
        rows = 0
        wanted = list(self.schema.names if columns is None else columns)
        for batch in (batch for file in self._files for batch in file.batches(wanted)):
            while batch.num_rows:
                head = batch.slice(0, CHUNK_ROWS - rows)
                batch = batch.slice(head.num_rows)
                held.append(head)
                rows += head.num_rows
                if rows == CHUNK_ROWS:
                    yield _one(held)
                    held, rows = [], 0
        if held:
            yield _one(held)

    def _block(
        self, chunk: int, batch: pa.RecordBatch, rewards: Sequence[str], extra: Sequence[str], context: bool
    ) -> RoundBatch:
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
        return RoundBatch(
            chunk=chunk,
            decision_id=ids,
            context=context_of(batch, self.meta) if context else ContextBatch(self.meta.features, {}, len(ids)),
            action=action,
            propensity=propensity,
            eligible=_bits(batch.column("eligible"), packed_width(self.meta.catalog), self.path),
            k=k,
            cluster=self._clusters(batch, ids),
            rewards={metric: _floats(batch, records.REWARD + metric) for metric in rewards},
            usable=usable,
            decided_at=instants(batch.column("decided_at")),
            extra={name: batch.column(name).to_numpy(zero_copy_only=False) for name in extra},
            modular=self.meta.catalog if is_modular(self.meta.catalog) else None,
        )

    def _clusters(self, batch: pa.RecordBatch, ids: ObjectArray) -> KeyArray:
        """(n,) the declared clusters; where none is, contacts that come up more than once, else each row its own."""
        stored = batch.column("cluster")
        if stored.null_count == 0:
            return np.asarray(stored.to_numpy(zero_copy_only=False), dtype=np.uint64)
        given = np.asarray(stored.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.uint64)
        by_contact = self.clustered and not self.meta.clustered
        own = _contact_keys(batch) if by_contact else keyed_hash(ids, "cluster")
        return np.where(np.asarray(stored.is_null()), own, given)


def context_of(batch: pa.RecordBatch, meta: LogMeta) -> ContextBatch:
    """The context columns of a batch of log rows."""
    columns: dict[str, Column] = {}
    for spec in meta.features.features:
        state = _numpy(batch, records.STATE + spec.name).astype(np.uint8)
        stored = batch.column(records.CONTEXT + spec.name)
        if spec.type == "numeric":
            columns[spec.name] = Column(stored.to_numpy(zero_copy_only=False), state)
        else:
            columns[spec.name] = Column(*_codes(stored, state))
    return ContextBatch(meta.features, columns, batch.num_rows)


def context_arrays(context: ContextBatch) -> dict[str, pa.Array]:
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


def _distinct(keys: Iterable[KeyArray]) -> int:
    """Number of distinct keys; memory grows by at most 16 bytes for each."""
    seen: KeyArray = np.zeros(0, dtype=np.uint64)
    new: list[KeyArray] = []
    for some in keys:
        new.append(np.unique(some))
        if sum(map(len, new)) > len(seen):
            seen, new = np.unique(np.concatenate([seen, *new])), []
    return len(np.unique(np.concatenate([seen, *new])))


def _contact_keys(batch: pa.RecordBatch) -> KeyArray:
    return keyed_hash(_objects(batch, "contact_id"), "contacts")


def _bits(array: pa.BinaryArray, width: int, path: str) -> np.ndarray[Any, Any]:
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
