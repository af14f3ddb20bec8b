"""The size of contact files, by hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.contacts.file import has_at_least

LINES = b"contact_id\n1\n2\n3\n"


@pytest.mark.parametrize(("name", "rows"), [("c.csv", 4), ("c.csv.gz", 4), ("c.jsonl", 4), ("c.parquet", 3)])
def test_by_hand(tmp_path: Path, name: str, rows: int) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"contact_id": ["1", "2", "3"]}), path)
    else:
        path.write_bytes(gzip.compress(LINES) if path.suffix == ".gz" else LINES)
    assert has_at_least(path, rows)
    assert not has_at_least(path, rows + 1)


@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "c.parquet"])
def test_what_cannot_be_read_is_not_large(tmp_path: Path, name: str) -> None:
    assert not has_at_least(tmp_path / name, 1)
    (tmp_path / name).write_bytes(b"\x1f\x8b junk")
    assert not has_at_least(tmp_path / name, 1)
