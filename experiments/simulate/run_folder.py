"""The folder of a run that is not over: what was asked, the days that are done, a lock; and its parts as one file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from engine.errors import ConfigError, StorageError, reason_of
from engine.files.parquet import parquet_batches
from engine.log.parquet import conform
from engine.log.whole_file import ParquetFile
from experiments.report.files import make_folder, write_whole
from experiments.simulate.daily import FinishedDay

_ASKED = "asked.json"
_LOCK = "lock"


class RunFolder:
    """The parts of one run.

    Args:
        folder: folder of the parts; made where it does not exist.
        asked: everything that the bytes of the result depend on, as plain data.

    Raises:
        ConfigError: the folder holds the parts of another run.
        StorageError: the folder cannot be written, or another process works in it.
    """

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        self.folder = make_folder(folder)
        self._asked = asked
        self._lock = -1

    @contextlib.contextmanager
    def held(self) -> Iterator[RunFolder]:
        """The folder for this process alone."""
        try:
            self._lock = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StorageError(f"another process works in {self.folder}", hint="wait for it, or end it") from error
        except OSError as error:
            raise StorageError(f"cannot write {self.folder}: {reason_of(error)}", hint="give another --out") from error
        try:
            self._check()
            yield self
        finally:
            os.close(self._lock)

    def _check(self) -> None:
        path = self.folder / _ASKED
        wanted = msgspec.json.encode(self._asked, order="sorted")
        if not path.exists():
            write_whole(path, wanted)
            return
        if path.read_bytes() != wanted:
            other = _differences(msgspec.json.decode(path.read_bytes()), msgspec.json.decode(wanted))
            raise ConfigError(
                f"{self.folder} holds an unfinished run with other arguments: {', '.join(other)}",
                hint="repeat its arguments to go on, remove the folder to start anew, or give another --out",
            )

    def done(self) -> list[FinishedDay]:
        """The days that are over, without a gap."""
        found: list[FinishedDay] = []
        while (path := self._day(len(found))).exists():
            found.append(msgspec.json.decode(path.read_bytes(), type=FinishedDay))
        return found

    def commit(self, step: int, day: FinishedDay) -> None:
        """Say that a day is over: its parts are on disk.

        Raises:
            StorageError: the disk refused.
        """
        write_whole(self._day(step), msgspec.json.encode(day))

    def remove(self) -> None:
        """Remove the folder: everything in it has become part of the result."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _day(self, step: int) -> Path:
        return self.folder / f"day-{step:05d}.json"


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Names of what differs between two nested mappings."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{name} was {old!r}, is {new!r}"]
    found = []
    for key in sorted({*old, *new}):
        found += _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return found


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
