"""Contact and fact files as people export them: padded, semicolons, UTF-16, spreadsheets' ids, depth."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.catalog import Catalog, one_axis_catalog
from engine.contacts.contacts import ContactBatch
from engine.contacts.file import contact_batches
from engine.errors import DataError
from engine.features import FeatureSchema
from engine.state.fact_file import fact_batches

NOW = datetime(2026, 6, 16, 9, tzinfo=UTC)
CATALOG: Catalog = one_axis_catalog("c", ["a"])
CHANNEL = CATALOG.channels[0]
TEXT = f'contact_id , time_zone, suppressed_{CHANNEL}, sends\nc1,Europe/Berlin,true,"[]"\n c2 , Asia/Tokyo ,false,\n'


def _read(path: Path) -> ContactBatch:
    (batch,) = contact_batches(path, FeatureSchema(features=()), CATALOG, NOW)
    return batch


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("packed", [False, True])
def test_exports_of_all_kinds_say_the_same(tmp_path: Path, encoding: str, delimiter: str, packed: bool) -> None:
    content = TEXT.replace(",", delimiter).encode(encoding)
    (tmp_path / "c.csv").write_bytes(gzip.compress(content) if packed else content)
    batch = _read(tmp_path / "c.csv")
    assert batch.contact_id.tolist() == ["c1", "c2"]
    assert [batch.zones[code] for code in batch.zone_code] == ["Europe/Berlin", "Asia/Tokyo"]
    assert batch.suppressed[:, 0].tolist() == [1, 0]
    assert batch.history_known.tolist() == [True, False]


def test_a_padded_heading_is_read(shared_data: Path) -> None:
    batch = _read(shared_data / "faults" / "padded_header.csv")
    assert [batch.zones[code] for code in batch.zone_code] == ["Europe/Berlin"]
    assert batch.history_known.all()


@pytest.mark.parametrize("kind", ["contact", "fact"])
@pytest.mark.parametrize("cell", ["4.91521E+11", "123.0", "u\u200b1"])
def test_damaged_ids_are_refused(tmp_path: Path, kind: str, cell: str) -> None:
    (tmp_path / "c.csv").write_text(f"contact_id,fact\nc1,profile\n{cell},profile\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"column 'contact_id' holds .* in row 2"):
        _read(tmp_path / "c.csv") if kind == "contact" else list(fact_batches(tmp_path / "c.csv", "k", 10))


def test_a_column_of_floats_holds_no_contacts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"contact_id": [1.0, 2.0]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="'contact_id' holds floats"):
        _read(tmp_path / "c.parquet")


def test_ids_that_differ_by_blanks_are_one_contact(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("contact_id,x\nc1,1\nc1\u00a0,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="must be unique, got 'c1'"):
        _read(tmp_path / "c.csv")


def test_a_damaged_event_id_of_a_fact_is_refused(tmp_path: Path) -> None:
    lines = "fact;contact_id;kind;at;event_id\nevent;c1;complaint;2026-06-01T00:00:00Z;1.5E+9\n"
    (tmp_path / "f.csv").write_text(lines)
    with pytest.raises(DataError, match="column 'event_id'"):
        list(fact_batches(tmp_path / "f.csv", "k", 10))


@pytest.mark.parametrize(
    "cell", ["[" * 100_000, '[{"at": ' + "[" * 100_000, '[{"zz": ' + "[" * 5000 + "]" * 5000 + "}]"]
)
def test_deep_cells_are_one_error(tmp_path: Path, cell: str) -> None:
    quoted = cell.replace('"', '""')
    (tmp_path / "c.csv").write_text(f'contact_id,sends\nc1,"{quoted}"\n')
    with pytest.raises(DataError, match="'sends' cannot be read in row 1"):
        _read(tmp_path / "c.csv")
