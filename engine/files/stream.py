"""Text that somebody gave: unpacked where its bytes are gzip, decoded by its byte-order mark, within stated limits.

The limits keep a small file from filling the machine: what a gzip file unpacks to, and how long one line may be.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pyarrow as pa

from engine.errors import DataError, reason_of

MOST_EXPANSION: Final = 200
"""A gzip file may unpack to so many times its size ..."""
FREE_BYTES: Final = 256 << 20
"""... or to this many bytes, whichever is more."""
LONGEST_LINE: Final = 64 << 20
"""Bytes between two line ends."""
LONGEST_FIELD: Final = 16 << 20
"""Characters of one field of a CSV."""

_BUFFER_BYTES: Final = 1 << 20
_PROBE_BYTES: Final = 1 << 12
GZIP: Final = b"\x1f\x8b"
"""How every gzip file begins."""
# The longer marks first: that of UTF-32 starts like that of UTF-16.
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_NO_TEXT: Final = {
    b"PAR1": ("a Parquet file", "give it a name that ends in .parquet"),
    b"PK\x03\x04": ("a workbook or a zip archive", "save the sheet as CSV (UTF-8), or unpack the archive"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV (UTF-8)"),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "unpack it, or pack it with gzip"),
    b"BZh": ("packed with bzip2", "unpack it, or pack it with gzip"),
    b"\xfd7zXZ": ("packed with xz", "unpack it, or pack it with gzip"),
    GZIP: ("packed with gzip twice", "unpack it once"),
}


@contextmanager
def readable(path: Path, encoding: str = "utf-8") -> Iterator[None]:
    """Turn every way in which a file can be unreadable into one error.

    Raises:
        DataError: names the file, and what to do.
    """
    try:
        yield
    except UnicodeError as error:
        where = ""
        if isinstance(error, UnicodeDecodeError) and error.start < len(error.object):
            where = f": byte {error.object[error.start]:#04x} at {error.start}"
        raise DataError(
            f"{path} is no {encoding} text{where}",
            hint="set csv.encoding where a mapping reads it (for example latin-1 or cp1252), else write it anew as "
            "UTF-8: iconv -f CP1252 -t UTF-8 FILE > NEW",
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged gzip file: {error}", hint="it is truncated: copy it again") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read: {reason_of(error)}", hint="it is truncated or damaged: copy it again"
        ) from error


def require_content(path: Path) -> None:
    """Refuse what is no file, or an empty one.

    Raises:
        DataError: there is nothing to read.
    """
    if not path.is_file():
        problem = "is no file" if path.exists() else "does not exist"
        raise DataError(f"{path} {problem}", hint="check the path of the input")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", hint="an empty file is more often a failed export: export it again")


def open_text(path: Path, encoding: str = "utf-8") -> IO[str]:
    """The text of a file, line ends as they are.

    Args:
        path: plain or gzip, told by its first bytes and not by its name.
        encoding: what the text is in where no byte-order mark says otherwise.

    Raises:
        DataError: not text, or beyond the limits (also while it is read).
    """
    stream, found = _open(path, encoding)
    # newline="" leaves line ends inside quoted fields as they are.
    return io.TextIOWrapper(stream, encoding=found, newline="")


def marked_encoding(head: bytes) -> str | None:
    """The encoding that a byte-order mark names, which takes the mark away again; None where there is no mark."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _open(path: Path, encoding: str) -> tuple[io.BufferedReader, str]:
    with path.open("rb") as plain:
        packed = plain.read(len(GZIP)) == GZIP
    source: IO[bytes] = gzip.open(path) if packed else path.open("rb")  # type: ignore[assignment]  # noqa: SIM115
    most = max(FREE_BYTES, MOST_EXPANSION * path.stat().st_size) if packed else None
    stream = _buffered(_Bounded(source, path, most))
    try:
        return stream, _encoding_of(stream.peek(_PROBE_BYTES), path, encoding)
    except BaseException:
        stream.close()
        raise


def _encoding_of(head: bytes, path: Path, declared: str) -> str:
    for magic, (what, hint) in _NO_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{path} is {what}, not text", hint=hint)
    marked = marked_encoding(head)
    if marked is not None:
        return marked
    if b"\0" in head and not declared.lower().replace("_", "-").startswith(("utf-16", "utf-32")):
        raise DataError(
            f"{path} holds zero bytes: it is UTF-16 without a byte-order mark, or no text",
            hint="write it anew as UTF-8: iconv -f UTF-16LE -t UTF-8 FILE > NEW",
        )
    return declared


def _buffered(source: io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(source, _BUFFER_BYTES)


class _Bounded(io.RawIOBase):
    """Counts what passes; stops a gzip bomb and a line without end."""

    def __init__(self, source: IO[bytes], path: Path, most: int | None) -> None:
        super().__init__()
        self._source, self._path, self._most = source, path, most
        self._total = self._line = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        part = self._source.read(len(buffer))
        buffer[: len(part)] = part
        self._total += len(part)
        if self._most is not None and self._total > self._most:
            raise DataError(
                f"{self._path} unpacks to more than {self._most} bytes, {MOST_EXPANSION} times its size",
                hint="a log does not pack that small; if this one does, unpack it first",
            )
        end = max(part.rfind(b"\n"), part.rfind(b"\r"))
        self._line = self._line + len(part) if end < 0 else len(part) - end - 1
        if self._line > LONGEST_LINE:
            raise DataError(
                f"{self._path} has a line of more than {LONGEST_LINE} bytes", hint="one row a line; is it one document?"
            )
        return len(part)

    def close(self) -> None:
        self._source.close()
        super().close()
