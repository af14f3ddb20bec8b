"""A log with further columns from a side file, joined by decision id: how policies computed elsewhere are judged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from engine.errors import DataError, TactfulError
from engine.files.ids import ids_of
from engine.files.tables import table_batches
from engine.log.parquet import LogReader
from engine.log.whole_file import ParquetFile
from engine.records import schema as records
from engine.storage.given import Given
from engine.storage.parts import scratch_folder

KEY = "decision_id"
_BLOCK_ROWS = 65_536


@contextmanager
def with_columns(log: Given, columns: Path | None) -> Iterator[LogReader]:
    """The log, with the side file's columns as `raw_NAME`.

    Args:
        log: a log in our schema.
        columns: CSV, JSON lines or Parquet with a `decision_id` column, one row per decision of the log; None for the
            log as it is.

    Raises:
        DataError: no key, repeated keys, decisions without a row, or names that the log already has.
    """
    reader = LogReader(log)
    if columns is None:
        yield reader
        return
    side = _side_table(columns)
    with scratch_folder() as folder:
        path = folder / "log.parquet"
        try:
            _write_joined(reader, side, path, columns)
            yield LogReader(path)
        except TactfulError as error:
            # Nobody has heard of the joined file; its rows are the log's.
            error.rename(str(path), f"{reader.path} with {columns}")
            raise


@dataclass(frozen=True)
class _Side:
    """The side file: which row is whose, and the columns."""

    ids: pd.Index[Any]
    columns: dict[str, pa.Array]


def _side_table(path: Path) -> _Side:
    blocks = [pa.table(columns) for columns, _ in table_batches(path, _BLOCK_ROWS)]
    if not blocks or KEY not in blocks[0].schema.names:
        raise DataError(f"{path} has no column {KEY!r}", hint="the log's decision ids say which row is whose")
    try:
        table = pa.concat_tables(blocks, promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        raise DataError(f"{path} mixes kinds of values in one column: {error}") from error
    keys = ids_of(_whole(table, KEY), KEY, source=str(path))
    if keys.null_count:
        raise DataError(f"{path} has {keys.null_count} rows without a {KEY!r}", hint="every row is one decision's")
    ids = pd.Index(keys.to_pylist(), dtype=object)
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise DataError(f"{path} repeats the decision {repeated[0]!r} ({len(repeated)} such rows)")
    return _Side(ids, {name: _typed(_whole(table, name)) for name in table.schema.names if name != KEY})


def _whole(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return pa.array([], column.type) if column.num_chunks == 0 else column.combine_chunks()


def _typed(column: pa.Array) -> pa.Array:
    """The texts of a CSV as numbers where each of them is one."""
    if pa.types.is_string(column.type):
        for kind in (pa.int64(), pa.float64()):
            with contextlib.suppress(pa.ArrowInvalid):
                return column.cast(kind)
    return column


def _write_joined(reader: LogReader, side: _Side, path: Path, source: Path) -> None:
    names = {name: records.RAW + name for name in side.columns}
    kept = set(reader.schema.names)
    # A name finds the log's own column first, so the side file's would never be read.
    taken = [name for name in names if kept & {name, records.RAW + name, records.CONTEXT + name}]
    if taken:
        raise DataError(f"{source} repeats the columns {taken} of the log", hint="rename them")
    tables = (_joined(batch, side, names, source) for batch in reader.batches())
    first = next(tables)
    schema = first.schema.with_metadata(reader.schema.metadata)
    with ParquetFile(path, schema) as writer:
        writer.append(first)
        for table in tables:
            writer.append(table)


def _joined(batch: pa.RecordBatch, side: _Side, names: dict[str, str], source: Path) -> pa.Table:
    ids = pd.Index(batch.column(KEY).to_pylist())
    found = side.ids.get_indexer(ids)
    if (found < 0).any():
        missing = ids[found < 0]
        raise DataError(
            f"{source} has no row for decision {missing[0]!r} ({len(missing)} such decisions in a block)",
            hint="every decision of the log needs its row",
        )
    own = dict(zip(batch.schema.names, batch.columns, strict=True))
    rows = pa.array(found)
    return pa.table(own | {stored: side.columns[name].take(rows) for name, stored in names.items()})
