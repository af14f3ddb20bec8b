"""Many parts to one file whose bytes do not depend on how the parts were cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from engine.files.parquet import parquet_batches
from engine.log.parquet import conform
from engine.log.whole_file import ParquetFile

GROUP_ROWS = 16_384


def assemble(parts: Iterable[Path], schema: pa.Schema, out: Path) -> int:
    """Write the rows of parts, in their order, as one file with row groups of `GROUP_ROWS` rows.

    Dictionaries are made anew for each row group, in the order in which values appear. Memory holds one row group.

    Args:
        parts: files with the columns of the schema; further columns are left out.
        schema: with the footer of the file.
        out: its name; it appears whole or not at all.

    Returns:
        Its number of rows.

    Raises:
        StorageError: the disk refused.
    """
    with ParquetFile(out, schema) as file:
        for table in _groups(parts, schema):
            file.append(table)
        return file.rows


def _groups(parts: Iterable[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = 0
    for path in parts:
        for batch in _batches(path, schema):
            while batch.num_rows:
                head = batch.slice(0, GROUP_ROWS - rows)
                batch = batch.slice(head.num_rows)
                held.append(_plain(head, schema))
                rows += head.num_rows
                if rows == GROUP_ROWS:
                    yield _one(held, schema)
                    held, rows = [], 0
    if held:
        yield _one(held, schema)


def _batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    # A part is read and closed at once: buffers of files that wait for the collector add up over many days.
    yield from parquet_batches(path, GROUP_ROWS, schema.names)


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with its labels as strings: its dictionaries are those of its part."""
    columns = [batch.column(field.name) for field in schema]
    texts = [
        column.cast(pa.string()) if pa.types.is_dictionary(field.type) else column
        for field, column in zip(schema, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(texts, names=schema.names)


def _one(held: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    table = pa.Table.from_batches(held).combine_chunks()
    return pa.Table.from_arrays(
        [conform(table.column(field.name).combine_chunks(), field) for field in schema], schema=schema
    )
