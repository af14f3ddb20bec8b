"""The cold log: whole Parquet files. A file appears complete under its name or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine import records
from engine.errors import DataError, LogFormatError, StorageError
from engine.features import Column, ContextBlock
from engine.identity import keyed_hash
from engine.records import LogMeta
from engine.rounds import CHUNK_ROWS, RoundBlock
from engine.types import NOT_AN_INSTANT, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray


class ParquetFile:
    """Writes one Parquet file under a temporary name and renames it on success.

    A reader never sees half a file; a failure or a kill leaves whatever stood under the name before. Use as a context
    manager; an exception inside removes the temporary file.

    Args:
        path: the final name; its folder must exist.
        schema: Arrow schema with footer metadata.

    Raises:
        StorageError: the folder is missing, or the disk refused a write (full, read-only ...).
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = Path(path)
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> Self:
        with self._storage_errors():
            self._writer = pq.ParquetWriter(self._temporary, self._schema, compression="zstd")
        return self

    def append(self, table: pa.Table) -> None:
        """Write one row group.

        Raises:
            StorageError: the disk refused the write; nothing stands under the final name.
        """
        if self._writer is None:
            raise StorageError(f"{self._path} is not open for writing")
        with self._storage_errors():
            self._writer.write_table(table.cast(self._schema))
        self.rows += table.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self._storage_errors():
                if self._writer is not None:
                    self._writer.close()
                if kind is None:
                    _sync(self._temporary)
                    self._temporary.replace(self._path)
                    _sync(self._path.parent)
        except StorageError:
            # The error inside the block came first and says more than a failing close.
            if kind is None:
                raise
        finally:
            self._writer = None
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write {self._path}: {error}",
                hint="nothing was written under that name; free space or choose another folder",
            ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        missing = set(records.log_schema(self.meta).names) - set(self.schema.names)
        if missing:
            raise LogFormatError(f"{self.path} lacks the columns {sorted(missing)}", hint="see docs/schema.md")
        if self.rows == 0:
            raise LogFormatError(f"{self.path} holds no rows", hint="nothing can be learnt from an empty log")

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
                        yield _one(held)
                        held, rows = [], 0
        except (pa.ArrowInvalid, OSError) as error:
            raise LogFormatError(f"{self.path} is damaged: {error}", hint="write the file again") from error
        if held:
            yield _one(held)

    def _block(
        self, chunk: int, batch: pa.RecordBatch, rewards: Sequence[str], extra: Sequence[str], context: bool
    ) -> RoundBlock:
        k = self.meta.catalog.k
        action = _numpy(batch, "action").astype(np.int32)
        if len(action) and (action.min() < 0 or action.max() >= k):
            raise LogFormatError(f"{self.path} holds actions outside [0, {k})", hint="the catalog does not fit the log")
        ids = _objects(batch, "decision_id")
        cluster = batch.column("cluster")
        states = batch.column("state")
        allowed = np.array([s in (records.DISPATCHED, records.DELIVERED) for s in states.dictionary.to_pylist()])
        usable = _numpy(batch, "available").astype(bool) & allowed[states.indices.to_numpy(zero_copy_only=False)]
        return RoundBlock(
            chunk=chunk,
            decision_id=ids,
            context=self._context(batch) if context else ContextBlock(self.meta.features, {}, len(ids)),
            action=action,
            propensity=_floats(batch, "propensity"),
            eligible=_bits(batch.column("eligible"), k, self.path),
            k=k,
            cluster=(
                keyed_hash(ids, "cluster")
                if cluster.null_count
                else cluster.to_numpy(zero_copy_only=False).astype(np.uint64)
            ),
            rewards={metric: _floats(batch, records.REWARD + metric) for metric in rewards},
            usable=usable,
            decided_at=instants(batch.column("decided_at")),
            extra={name: batch.column(name).to_numpy(zero_copy_only=False) for name in extra},
        )

    def _context(self, batch: pa.RecordBatch) -> ContextBlock:
        return context_of(batch, self.meta)


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


def _bits(array: pa.BinaryArray, k: int, path: Path) -> np.ndarray[Any, Any]:
    width = (k + 7) // 8
    joined = array.cast(pa.binary(width)) if len(array) else pa.array([], pa.binary(width))
    if joined.null_count:
        raise LogFormatError(f"{path} holds rows without an eligible set", hint="see docs/schema.md")
    raw = np.frombuffer(joined.buffers()[1], dtype=np.uint8)
    start = joined.offset * width
    return raw[start : start + len(joined) * width].reshape(len(joined), width)


def _codes(
    stored: pa.DictionaryArray, state: np.ndarray[Any, Any]
) -> tuple[CodeArray, np.ndarray[Any, Any], tuple[str, ...]]:
    codes = stored.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return codes, state, tuple(stored.dictionary.to_pylist())
