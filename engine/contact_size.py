"""Whether a contact file is large, without reading it into memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_CHUNK = 1 << 20


def has_at_least(path: Path, rows: int) -> bool:
    """True if the contact file has `rows` rows or more; false for one that cannot be read, reading it will say why.

    Parquet says it in its footer; of text files the lines are counted, a heading included, and no further than needed.
    """
    try:
        if path.suffix == ".parquet":
            return bool(pq.read_metadata(path).num_rows >= rows)
        lines = 0
        with path.open("rb") as stored:
            file = gzip.GzipFile(fileobj=stored) if path.suffix == ".gz" else stored
            while lines < rows and (chunk := file.read(_CHUNK)):
                lines += chunk.count(b"\n")
    except (OSError, EOFError, pa.ArrowException):
        return False
    return lines >= rows
