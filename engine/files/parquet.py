"""Parquet that notices damage: every page carries a checksum, and the file as a whole carries a digest.

Checksums of pages leave out what stands between the pages (page headers, the footer with its schema, statistics and
metadata), and there a flipped bit can change values without an error. So a file of ours also carries a seal: the
SHA-256 of all its other bytes, in a gap between the last page and the footer. Other readers of Parquet find their way
by the offsets in the footer and do not see the gap. A file that others wrote has no seal and is read with the
checksums that it has.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError

_MAGIC: Final = b"PAR1"
_SEAL: Final = b"TACTFUL\x01"
_SEAL_BYTES: Final = len(_SEAL) + hashlib.sha256().digest_size
_TAIL_BYTES: Final = 8  # length of the footer, little-endian, and the magic bytes
_PART_BYTES: Final = 1 << 20

# What Arrow raises for damaged bytes, beside its own errors: a name that is no UTF-8, a size beyond memory.
UNREADABLE: Final = (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError)


@contextmanager
def damage_named(path: Path, kind: type[DataError] = DataError) -> Iterator[None]:
    """Turn whatever damaged bytes make Arrow raise into one error of this kind that names the file.

    Raises:
        DataError: the file is missing, damaged or of another format.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise kind(f"{path} does not exist", hint="check the path") from error
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise kind(
            f"{path} is no readable Parquet file: {reason}",
            hint="it is empty, truncated or damaged, or of another format: copy it again, or write it again",
        ) from error


def parquet_writer(path: Path, schema: pa.Schema, *, late: bool = False) -> pq.ParquetWriter:
    """A writer whose pages carry checksums; `seal` the file once it is closed.

    Args:
        path: the file.
        schema: what its rows look like.
        late: the schema is stored by `finish_schema`, with metadata that is known only after the rows.
    """
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True, store_schema=not late)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a whole table with checksums and a seal, straight under its name."""
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table)
    seal(path)


def open_parquet(path: Path, kind: type[DataError] = DataError) -> pq.ParquetFile:
    """Open a file for reading with verification: of the seal at once, where it has one, of each page as it is read.

    Raises:
        DataError: missing, damaged or of another format.
    """
    with damage_named(path, kind):
        _check_seal(path, kind)
        return pq.ParquetFile(path, page_checksum_verification=True)


def read_parquet(path: Path, columns: Sequence[str] | None = None, **filters: Any) -> pa.Table:
    """Read a whole file with verification.

    Args:
        path: the file.
        columns: to read; all where None.
        filters: `filters` of `pyarrow.parquet.read_table`.

    Raises:
        DataError: missing, damaged or of another format.
    """
    with damage_named(path):
        _check_seal(path, DataError)
        return pq.read_table(path, columns=columns, page_checksum_verification=True, **filters)


def parquet_batches(path: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Batches of at most `rows` rows of a file, with verification, in flat memory.

    Raises:
        DataError: missing, damaged or of another format.
    """
    with open_parquet(path) as file:
        batches = file.iter_batches(batch_size=rows, columns=columns)
        while True:
            with damage_named(path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def finish_schema(writer: pq.ParquetWriter, schema: pa.Schema) -> None:
    """Store the schema with its metadata after the rows, as Arrow itself stores it before them."""
    stored = base64.b64encode(schema.serialize())
    writer.add_key_value_metadata({**(schema.metadata or {}), b"ARROW:schema": stored})


def seal(path: Path) -> None:
    """Put the digest of a finished file into the gap before its footer.

    Raises:
        OSError: the disk refused it.
    """
    with path.open("r+b") as file:
        start = _footer_start(file)
        if start is None:
            raise OSError(f"{path} has no Parquet footer")
        file.seek(start)
        footer = file.read()
        digest = _digest(file, start, footer)
        file.seek(start)
        file.write(_SEAL + digest + footer)


def _check_seal(path: Path, kind: type[DataError]) -> None:
    with path.open("rb") as file:
        start = _footer_start(file)
        if start is None or start < _SEAL_BYTES:
            return
        file.seek(start - _SEAL_BYTES)
        found = file.read(_SEAL_BYTES)
        if not found.startswith(_SEAL):
            return
        if _digest(file, start - _SEAL_BYTES, file.read()) != found[len(_SEAL) :]:
            raise kind(
                f"{path} is damaged: its bytes are not those that were written",
                hint="copy it again from where it was made, or make it again; nothing of it was read",
            )


def _digest(file: IO[bytes], end: int, footer: bytes) -> bytes:
    """The SHA-256 of the bytes before `end` and of the footer."""
    digest = hashlib.sha256()
    file.seek(0)
    left = end
    while left and (part := file.read(min(left, _PART_BYTES))):
        digest.update(part)
        left -= len(part)
    digest.update(footer)
    return digest.digest()


def _footer_start(file: IO[bytes]) -> int | None:
    """Where the footer starts, or None where the file does not end like Parquet."""
    size = file.seek(0, 2)
    if size < _TAIL_BYTES:
        return None
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    start = size - _TAIL_BYTES - int.from_bytes(tail[:4], "little")
    return start if tail[4:] == _MAGIC and start >= 0 else None
