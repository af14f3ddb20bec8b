"""Whether a contact file is large, without reading it into memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.contact_source import ENDINGS
from engine.disk.given import Given, files_of

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
        if path.suffix == ".parquet":
            return int(pq.read_metadata(path).num_rows)
        with path.open("rb") as stored:
            file = gzip.GzipFile(fileobj=stored) if path.suffix == ".gz" else stored
            while lines < rows and (chunk := file.read(_CHUNK)):
                lines += chunk.count(b"\n")
    except (OSError, EOFError, pa.ArrowException):
        return 0
    return lines
