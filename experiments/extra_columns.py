"""A log with further columns from a side file, joined by decision id: how policies computed elsewhere are judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa

from engine import records
from engine.disk.given import Given
from engine.disk.parts import scratch_folder
from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.log.whole_file import ParquetFile

KEY = "decision_id"


@contextmanager
def with_columns(log: Given, columns: Path | None) -> Iterator[LogReader]:
    """The log, with the side file's columns as `raw_NAME`.

    Args:
        log: a log in our schema.
        columns: CSV or Parquet with a `decision_id` column, one row per decision of the log; None for the log as it is.

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
        _write_joined(reader, side, path, columns)
        yield LogReader(path)


def _side_table(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={KEY: str})
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="give a CSV or Parquet file") from error
    if KEY not in frame.columns:
        raise DataError(f"{path} has no column {KEY!r}", hint="the log's decision ids say which row is whose")
    repeated = frame[KEY][frame[KEY].duplicated()]
    if len(repeated):
        raise DataError(f"{path} repeats the decision {repeated.iloc[0]!r} ({len(repeated)} such rows)")
    return frame.set_index(frame[KEY].astype(str)).drop(columns=KEY)


def _write_joined(reader: LogReader, side: pd.DataFrame, path: Path, source: Path) -> None:
    names = {name: records.RAW + str(name) for name in side.columns}
    taken = sorted(set(names.values()) & set(reader.schema.names))
    if taken:
        raise DataError(f"{source} repeats the columns {taken} of the log", hint="rename them")
    tables = (_joined(batch, side, names, source) for batch in reader.batches())
    first = next(tables)
    schema = first.schema.with_metadata(reader.schema.metadata)
    with ParquetFile(path, schema) as writer:
        writer.append(first)
        for table in tables:
            writer.append(table)


def _joined(batch: pa.RecordBatch, side: pd.DataFrame, names: dict[str, str], source: Path) -> pa.Table:
    ids = pd.Index(batch.column(KEY).to_pylist())
    found = side.index.get_indexer(ids)
    if (found < 0).any():
        missing = ids[found < 0]
        raise DataError(
            f"{source} has no row for decision {missing[0]!r} ({len(missing)} such decisions in a block)",
            hint="every decision of the log needs its row",
        )
    table = pa.Table.from_batches([batch])
    for name, stored in names.items():
        table = table.append_column(stored, pa.array(side[name].to_numpy()[found]))
    return table
