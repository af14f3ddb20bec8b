"""Whole files: a Parquet file appears complete under its name or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from engine.durable import sync
from engine.errors import DataError, ParameterError, StorageError

_SERIAL: Final = itertools.count()


class ParquetFile:
    """Writes one Parquet file under a temporary name and renames it on success.

    A reader never sees half a file; a failure or a kill leaves whatever stood under the name before. Use as a context
    manager; an exception inside removes the temporary file. What a killed writer of the same name left behind is
    removed when the next one starts.

    Args:
        path: the final name; its folder must exist.
        schema: Arrow schema with footer metadata.

    Raises:
        StorageError: the folder is missing, or the disk refused a write (full, read-only ...).
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = Path(path)
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}-{next(_SERIAL)}.part")
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self._lock = -1
        self._failed = False
        self.rows = 0

    def __enter__(self) -> Self:
        with self._storage_errors():
            _remove_leftovers(self._path)
            try:
                # The lock marks the file as alive: the kernel drops it when this process dies, however it dies.
                self._lock = os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._writer = pq.ParquetWriter(self._temporary, self._schema, compression="zstd")
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
            # The error inside the block came first and says more than a failing close.
            if kind is None:
                raise
        finally:
            self._writer = None
            self._discard()

    def _publish(self) -> None:
        if self._failed:
            raise StorageError(f"{self._path} was not written: an earlier append failed")
        sync(self._temporary)
        self._temporary.replace(self._path)
        sync(self._path.parent)

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextlib.contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failed = True
            raise StorageError(
                f"cannot write {self._path}: {error}",
                hint="nothing was written under that name; free space or choose another folder",
            ) from error


def require_free(path: Path, *, replace: bool, within: Sequence[str] = ()) -> None:
    """Refuse an output that is there already, unless it is to be replaced.

    Args:
        path: a file, or a folder, which is taken where it has something in it.
        replace: whether to overwrite it was said.
        within: names that will be written in the folder, where only those matter.

    Raises:
        ParameterError: it is there, and `replace` is false.
    """
    if replace or not path.exists():
        return
    if path.is_dir() and not any((path / name).exists() for name in within or os.listdir(path)):  # noqa: PTH208
        return
    raise ParameterError(
        "out",
        "this command",
        allowed="a name that is free",
        got=str(path),
        hint="it is there already: name another one, or say --replace to overwrite it",
    )


def _remove_leftovers(path: Path) -> None:
    for name in os.listdir(path.parent):  # noqa: PTH208 (glob would read the file's own name as a pattern)
        if not (name.startswith(f".{path.name}.") and name.endswith(".part")):
            continue
        leftover = path.with_name(name)
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
