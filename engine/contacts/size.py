"""Whether a contact file is large, without reading it into memory."""

from __future__ import annotations

import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError
from engine.files.stream import open_text
from engine.files.tables import ENDINGS, kind_of
from engine.storage.given import Given, files_of

_CHUNK = 1 << 20


def has_at_least(given: Given, rows: int) -> bool:
    """True if the contact files have `rows` rows or more; one that cannot be read has none, reading it will say why.

    Parquet says it in its footer; of text files the lines are counted, a heading included, and no further than needed.
    """
    found = 0
    for path in files_of(given, what="contact", endings=ENDINGS):
        found += _rows(path, rows - found)
        if found >= rows:
            return True
    return False


def _rows(path: Path, rows: int) -> int:
    lines = 0
    try:
        if kind_of(path) == "parquet":
            # No data is read here, so nothing is verified: reading the file does that.
            return int(pq.read_metadata(path).num_rows)
        with open_text(path) as file:
            while lines < rows and (chunk := file.read(_CHUNK)):
                lines += chunk.count("\n")
    except (DataError, OSError, EOFError, UnicodeError, zlib.error, pa.ArrowException):
        return 0
    return lines
