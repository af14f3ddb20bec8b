"""Parquet of ours notices damage: a flipped bit is an error or changes nothing, wherever it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError, LogFormatError, StorageError
from engine.files.parquet import open_parquet, parquet_batches, read_parquet, write_parquet
from engine.log.parquet import LogReader
from engine.log.whole_file import ParquetFile
from engine.records import schema as records
from engine.records.outcomes import read_outcomes
from experiments.report.files import write_table


def _table(rows: int = 300) -> pa.Table:
    rng = np.random.default_rng(5)
    labels = pa.array(rng.choice(["email", "sms"], rows)).dictionary_encode()
    return pa.table(
        {
            "id": [f"d{i}" for i in range(rows)],
            "value": rng.normal(size=rows),
            "label": labels,
            "bits": pa.array([b"\x07"] * rows),
        }
    )


def _outcomes(rows: int = 60) -> pa.Table:
    return pa.table(
        {
            "decision_id": [f"d{i}" for i in range(rows)],
            "event": pa.array(["delivered", "purchased"] * (rows // 2)).dictionary_encode(),
            "at": pa.array(range(1_700_000_000_000_000, 1_700_000_000_000_000 + rows), pa.int64()),
            "value_usd": [None, 12.5] * (rows // 2),
        }
    ).cast(records.outcome_schema())


def _flips(size: int, count: int) -> list[tuple[int, int]]:
    """Random places, and every bit of the last bytes, where the footer is."""
    rng = np.random.default_rng(9)
    places = list(zip(rng.integers(0, size, count).tolist(), rng.integers(0, 8, count).tolist(), strict=True))
    return places + [(offset, bit) for offset in range(size - 50, size) for bit in range(8)]


def _flipped(content: bytes, offset: int, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[offset] ^= 1 << bit
    return bytes(damaged)


def test_no_flipped_bit_gives_other_data(tmp_path: Path) -> None:
    path, damaged = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_parquet(path, _table())
    content = path.read_bytes()
    errors = 0
    flips = _flips(len(content), 600)
    for offset, bit in flips:
        damaged.write_bytes(_flipped(content, offset, bit))
        try:
            found = read_parquet(damaged)
        except DataError:
            errors += 1
        else:
            assert found.equals(_table()), (offset, bit)
    assert errors > len(flips) * 0.9


def test_page_headers_that_checksums_leave_out_are_sealed(tmp_path: Path) -> None:
    """Checksums cover the page alone, and a flip in the header of a dictionary's page can change values."""
    path, damaged = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_parquet(path, _table(20))
    content = path.read_bytes()
    meta = pq.read_metadata(path)
    starts = [meta.row_group(0).column(i).dictionary_page_offset for i in range(meta.num_columns)]
    for start in [start for start in starts if start is not None]:
        for offset in range(start, start + 24):
            for bit in range(8):
                damaged.write_bytes(_flipped(content, offset, bit))
                with pytest.raises(DataError):
                    read_parquet(damaged)


def test_a_flipped_outcome_is_never_another_outcome(tmp_path: Path) -> None:
    path, damaged = tmp_path / "o.parquet", tmp_path / "p.parquet"
    with ParquetFile(path, records.outcome_schema()) as file:
        file.append(_outcomes())
    content, (right, _) = path.read_bytes(), read_outcomes(path)
    for offset, bit in _flips(len(content), 200):
        damaged.write_bytes(_flipped(content, offset, bit))
        try:
            found, _ = read_outcomes(damaged)
        except DataError:
            continue
        assert found.equals(right), (offset, bit)


@pytest.mark.parametrize("where", [-1, -5, -9, -60, -300, 4, 40])
def test_a_damaged_log_is_one_error_line(tmp_path: Path, where: int) -> None:
    path = tmp_path / "log.parquet"
    with ParquetFile(path, _table().schema) as file:
        file.append(_table())
    path.write_bytes(_flipped(path.read_bytes(), len(path.read_bytes()) + where if where < 0 else where, 3))
    with pytest.raises(LogFormatError, match=r"damaged|no readable Parquet") as caught:
        LogReader(path)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_other_readers_read_our_files(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, _table())
    assert pq.read_table(path).equals(_table())
    assert pd.read_parquet(path)["id"].tolist() == _table().column("id").to_pylist()


def test_files_of_others_are_read_with_the_checksums_that_they_have(tmp_path: Path) -> None:
    plain, checked = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(_table(), plain)
    pq.write_table(_table(), checked, write_page_checksum=True, compression="none", use_dictionary=False)
    assert read_parquet(plain).equals(_table())
    content = checked.read_bytes()
    where = content.index(np.float64(_table()["value"][7].as_py()).tobytes())
    checked.write_bytes(_flipped(content, where, 0))
    with pytest.raises(DataError, match=r"[Cc]hecksum|CRC"):
        read_parquet(checked)


def test_every_writer_of_ours_seals(tmp_path: Path) -> None:
    log, table = tmp_path / "l.parquet", tmp_path / "t.parquet"
    with ParquetFile(log, _table().schema) as file:
        file.append(_table())
    write_table(table, _table().to_pandas())
    for path in (log, table):
        assert b"TACTFUL\x01" in path.read_bytes()
        path.write_bytes(_flipped(path.read_bytes(), 20, 0))
        with pytest.raises(DataError, match="damaged"):
            open_parquet(path)


def test_keys_of_the_footer_may_come_last(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with ParquetFile(path, _table().schema, late_footer=True) as file:
        file.append(_table())
        file.set_footer({b"k": b"late"})
    assert read_parquet(path).equals(_table())
    assert read_parquet(path).schema == _table().schema
    for schema in (pq.read_schema(path), pq.read_table(path).schema, open_parquet(path).schema_arrow):
        assert schema.metadata == {b"k": b"late"}
    with pytest.raises(StorageError, match="not open"):
        file.set_footer({b"k": b"later"})


def test_batches_name_the_file_where_a_page_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(_table(5000), path, write_page_checksum=True)
    path.write_bytes(_flipped(path.read_bytes(), 600, 1))
    with pytest.raises(DataError, match=r"a\.parquet is no readable"):
        list(parquet_batches(path, 100))
