"""Identifiers: trimmed, and refused where a float or a spreadsheet wrote them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError
from engine.files.ids import composed, ids_of, is_float, plain_id, trimmed
from engine.log.parquet import LogReader
from engine.mapping.dialect import load_mapping
from engine.mapping.importer import import_log
from engine.records.outcomes import check_outcomes


@pytest.mark.parametrize(
    "damaged",
    ["1.23E+11", "4.91521e11", "4,91521E+11", "1E+11", "1e-05", "123.0", "123.00", "123,0", "-1.5E+3", "+1.0"],
)
def test_floats_are_no_ids(damaged: str) -> None:
    with pytest.raises(DataError, match="spreadsheet"):
        ids_of(pa.array(["a", f" {damaged} "]), "contact_id", source="f.csv")


@pytest.mark.parametrize("right", ["12e4", "1E11", "123", "a.0", "1.2.0", "12.5", "e+1", "7f3e-12", "007", "1-2"])
def test_ids_that_only_look_odd(right: str) -> None:
    assert not is_float(pa.array([right])).any()


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0", "\ufeff", "\u200b", "\u3000", "\x00", "\x1f", "\u2028"])
def test_blanks_around_an_id_are_no_part_of_it(blank: str) -> None:
    assert trimmed(pa.array([blank, f"{blank}u 1{blank}", None])).to_pylist() == [None, "u 1", None]


def test_accents_are_composed_as_python_composes_them() -> None:
    """Every letter of the planes in use, alone and apart from its accents, with nulls and plain texts between."""
    letters = [chr(code) for code in range(0x20, 0x30000) if not 0xD800 <= code < 0xE000]
    apart = [f"u{unicodedata.normalize('NFD', letter)}1" for letter in letters]
    given = [*letters, None, "", "plain", *apart]
    wanted = [text if text is None else unicodedata.normalize("NFC", text) for text in given]
    assert composed(pa.array(given, pa.string())).to_pylist() == wanted


@pytest.mark.parametrize("unseen", ["u\x001", "u\u200b1", "u\t1", "u\u202e1", "u\ufeff1"])
def test_unseen_characters_inside_are_refused(unseen: str) -> None:
    with pytest.raises(DataError, match="no eye sees"):
        ids_of(pa.array([unseen]), "contact_id", source="f.csv")


@pytest.mark.parametrize("column", [pa.array([1.5, None]), pa.array([[1]]), pa.array([True])])
def test_columns_that_hold_no_ids(column: pa.Array) -> None:
    with pytest.raises(DataError, match=r"no ids|must hold ids"):
        ids_of(column, "contact_id", source="f.parquet")


def test_integers_are_ids() -> None:
    assert ids_of(pa.array([491521000000, None]), "contact_id", source="f").to_pylist() == ["491521000000", None]


def test_a_damaged_decision_id_of_an_outcome_is_refused() -> None:
    table = pa.table({"decision_id": ["d1", "1.5E+9"], "event": ["x", "x"], "at": ["2026-01-01T00:00:00Z"] * 2})
    with pytest.raises(DataError, match=r"'1\.5E\+9' in row 1"):
        check_outcomes(table, source="o.csv")


def test_a_spreadsheet_that_made_one_contact_of_all_is_refused(tmp_path: Path, shared_data: Path) -> None:
    faults = shared_data / "faults"
    with pytest.raises(DataError, match=r"'user', the contact, holds '4\.91521E\+11'.*spreadsheet"):
        import_log(
            load_mapping(faults / "map_plain.yaml"),
            faults / "contacts_sci.csv",
            tmp_path / "o.parquet",
            contact_key="k",
        )
    assert not (tmp_path / "o.parquet").exists()


MAPPING = """
name: shop
catalog: {channel: {constant: email}, arm: {column: variant, values: [A, B]}}
propensity: {constant: 1/2}
contact: {column: user}
decision_id: {column: id}
rewards: {spend: {column: spend, low: 0, high: 100}}
"""


def test_a_column_of_floats_is_no_contact(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MAPPING)
    table = {"id": ["a", "b"], "user": [1.0, None], "variant": ["A", "B"], "spend": [1.0, 2.0]}
    pq.write_table(pa.table(table), tmp_path / "l.parquet")
    with pytest.raises(DataError, match="'user', the contact, holds floats"):
        import_log(load_mapping(tmp_path / "m.yaml"), tmp_path / "l.parquet", tmp_path / "o.parquet", contact_key="k")


def test_import_trims_ids_and_rejects_unseen_characters(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MAPPING)
    (tmp_path / "l.csv").write_text("id,user,variant,spend\na,u1,A,1\nb, u1 ,B,2\nc,u\u200b1,A,3\n a,u2,B,4\n")
    report = import_log(load_mapping(tmp_path / "m.yaml"), tmp_path / "l.csv", tmp_path / "o.parquet", contact_key="k")
    assert report.reasons == {"contact holds a character that no eye sees": 1, "duplicate decision id": 1}
    assert LogReader(tmp_path / "o.parquet").contacts == 1


def test_accents_are_composed_and_ascii_stays() -> None:
    """The order of two marks and their form are the program's that wrote the id, not the person's."""
    apart = ["ju\u0308rgen", " u\u0308\u0304 ", "\u212b", "anna@example.org", "\ufb01"]
    whole = ["j\u00fcrgen", "\u01d6", "\u00c5", "anna@example.org", "\ufb01"]
    assert ids_of(pa.array(apart), "contact_id", source="x").to_pylist() == whole
    assert ids_of(pa.array(apart).dictionary_encode(), "contact_id", source="x").to_pylist() == whole
    assert [plain_id(name) for name in apart] == whole


def test_one_id_is_trimmed_as_a_column_is() -> None:
    texts = [f"{chr(code)} u1{chr(code)}" for code in (*range(0x3100), 0xFEFF, 0xFFFD, 0xE000)]
    assert [plain_id(text) for text in texts] == trimmed(pa.array(texts)).to_pylist()
