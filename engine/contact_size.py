"""Whether a contact file is large, without reading it into memory."""

from __future__ import annotations

import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError
from engine.files.stream import open_utf8
from engine.files.tables import kind_of

_CHUNK = 1 << 20


def has_at_least(path: Path, rows: int) -> bool:
    """True if the contact file has `rows` rows or more; false for one that cannot be read, reading it will say why.

    Parquet says it in its footer; of text files the lines are counted, a heading included, and no further than needed.
    """
    try:
        if kind_of(path) == "parquet":
            # No data is read here, so nothing is verified: reading the file does that.
            return bool(pq.read_metadata(path).num_rows >= rows)
        lines = 0
        with open_utf8(path) as file:
            while lines < rows and (chunk := file.read(_CHUNK)):
                lines += chunk.count(b"\n")
    except (DataError, OSError, EOFError, UnicodeError, zlib.error, pa.ArrowException):
        return False
    return lines >= rows
