"""Whole files: a Parquet file appears complete under its name or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError, StorageError
from engine.files.parquet import finish_schema, parquet_writer, seal
from engine.storage.parts import Part, disk_errors


class ParquetFile:
    """Writes one Parquet file under a temporary name and renames it on success.

    A reader never sees half a file; a failure or a kill leaves whatever stood under the name before. Use as a context
    manager; an exception inside removes the temporary file. What killed writers left in the folder is removed when the
    next one starts (`engine.storage.parts`).

    Args:
        path: the final name; its folder must exist.
        schema: Arrow schema with footer metadata.
        late_footer: the metadata is known only after the rows: `set_footer` gives it.

    Raises:
        StorageError: the folder is missing, or the disk refused a write (full, read-only ...).
    """

    def __init__(self, path: Path, schema: pa.Schema, *, late_footer: bool = False) -> None:
        self._path = Path(path)
        self._schema, self._late = schema, late_footer
        self._writer: pq.ParquetWriter | None = None
        self._part: Part | None = None
        self._failed = False
        self.rows = 0

    def __enter__(self) -> Self:
        with self._storage_errors():
            self._part = Part(self._path)
            try:
                self._writer = parquet_writer(self._part.path, self._schema, late=self._late)
            except BaseException:
                self._discard()
                raise
        return self

    def note(self, key: bytes, value: bytes) -> None:
        """Add to the footer what is known only once the rows are there."""
        if self._writer is not None:
            self._writer.add_key_value_metadata({key: value})

    def append(self, table: pa.Table) -> None:
        """Write one row group.

        Raises:
            DataError: the rows do not fit the schema.
            StorageError: the disk refused the write; nothing stands under the final name.
        """
        if self._writer is None:
            raise StorageError(f"{self._path} is not open for writing")
        try:
            fitting = table.cast(self._schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            self._failed = True
            raise DataError(f"rows for {self._path} do not fit its schema: {error}") from error
        with self._storage_errors():
            self._writer.write_table(fitting)
        self.rows += table.num_rows

    def set_footer(self, metadata: Mapping[bytes, bytes]) -> None:
        """Set the metadata of the schema after the rows; of a file that was opened with `late_footer`."""
        if self._writer is None:
            raise StorageError(f"{self._path} is not open for writing")
        finish_schema(self._writer, self._schema.with_metadata(dict(metadata)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self._storage_errors():
                if self._writer is not None:
                    self._writer.close()
                if kind is None:
                    self._publish()
        except StorageError:
            # The error inside the batch came first and says more than a failing close.
            if kind is None:
                raise
        finally:
            self._writer = None
            self._discard()

    def _publish(self) -> None:
        if self._failed:
            raise StorageError(f"{self._path} was not written: an earlier append failed")
        if self._part is not None:
            seal(self._part.path)
            self._part.publish()

    def _discard(self) -> None:
        if self._part is not None:
            self._part.discard()
            self._part = None

    @contextlib.contextmanager
    def _storage_errors(self) -> Iterator[None]:
        hint = "nothing was written under that name; free space or choose another folder"
        with disk_errors(f"write {self._path}", hint):
            try:
                yield
            except OSError:
                self._failed = True
                raise
