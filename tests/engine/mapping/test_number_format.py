"""Numbers in the marks of a country: read by the stated format, refused where the marks are in doubt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, DataError
from engine.log.parquet import LogReader
from engine.mapping.dialect import load_mapping, mapping_from
from engine.mapping.importer import import_log
from engine.mapping.number_format import OUTSIDE, Reader
from engine.mapping.spec import NumberFormat

MAPPING = {
    "name": "shop",
    "catalog": {"channel": {"constant": "email"}, "arm": {"column": "variant", "values": ["A", "B"]}},
    "propensity": {"constant": "1/2"},
    "rewards": {"spend": {"column": "spend", "low": -1e6, "high": 1e7}},
}
STYLES = [(".", ""), (".", ","), (".", " "), (".", "'"), (",", ""), (",", "."), (",", " "), (",", "'")]


def _spends(folder: Path, cells: list[str], numbers: object = None, name: str = "log.csv") -> list[float]:
    if name.endswith(".csv"):
        lines = [f'{"AB"[i % 2]};"{cell}"' for i, cell in enumerate(cells)]
        (folder / name).write_text("variant;spend\n" + "\n".join(lines) + "\n", encoding="utf-8")
    mapping = mapping_from({**MAPPING, **({} if numbers is None else {"numbers": numbers})})
    import_log(mapping, folder / name, folder / "o.parquet", contact_key="k")
    (block,) = LogReader(folder / "o.parquet").rounds(rewards=["spend"])
    return list(block.rewards["spend"])


def _written(value: float, decimal: str, thousands: str, digits: int) -> str:
    return f"{value:,.{digits}f}".replace(",", "T").replace(".", decimal).replace("T", thousands)


@pytest.mark.parametrize(("decimal", "thousands"), STYLES)
@given(st.floats(-1e6, 1e6, allow_nan=False), st.integers(0, 6))
def test_every_style_is_read_back(decimal: str, thousands: str, value: float, digits: int) -> None:
    text = _written(value, decimal, thousands, digits)
    reader = Reader(NumberFormat(decimal=decimal, thousands=thousands))  # type: ignore[arg-type]
    assert float(reader.plain(text)) == float(f"{value:.{digits}f}")


@pytest.mark.parametrize(("decimal", "thousands"), STYLES)
@pytest.mark.parametrize(("other", "group"), STYLES)
def test_a_number_in_another_style_is_never_another_number(
    decimal: str, thousands: str, other: str, group: str
) -> None:
    """1234567.25 is written so that it cannot be mistaken: read right, or not at all."""
    plain = Reader(NumberFormat(decimal=decimal, thousands=thousands)).plain(_written(1234567.25, other, group, 2))  # type: ignore[arg-type]
    assert plain.endswith(OUTSIDE) or float(plain) == 1234567.25


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("\u20ac1,234.50", 1234.5),
        ("1,234 EUR", 1234.0),
        ("-$5", -5.0),
        ("$-5", -5.0),
        ("\u22125", -5.0),
        ("12.5 %", 0.125),
        ("12,34,567.5", 1234567.5),
        ("1e3", 1000.0),
        (" 7 ", 7.0),
        ("1,23", None),
        ("1,2345", None),
        ("1.2.3", None),
        ("12,345,67", None),
        ("\u00a35", None),
        ("(5)", None),
        (".", None),
        ("%", None),
        ("\u0661", None),
        ("1" * 100, None),
    ],
)
def test_currency_percent_and_groups(text: str, right: float | None) -> None:
    reader = Reader(NumberFormat(thousands=",", currency=("\u20ac", "EUR", "$"), percent=True))
    plain = reader.plain(text)
    assert plain.endswith(OUTSIDE) if right is None else float(plain) == right


@pytest.mark.parametrize(
    "cells",
    [
        ["1.234", "0"],
        ["1.234", "12,5"],
        ["1.234", "1.234.567"],
        ["1.234", "12.50", "12,50"],
        ["-1.234"],
        ["1.234", "1234"],
    ],
)
def test_a_point_that_may_group_thousands_is_refused(tmp_path: Path, cells: list[str]) -> None:
    with pytest.raises(DataError, match=r"'-?1\.234', which may be -?1234.*numbers: \{decimal"):
        _spends(tmp_path, cells)
    assert not (tmp_path / "o.parquet").exists()


@pytest.mark.parametrize(
    "cells", [["1.234", "0.5"], ["1.234", "12.50"], ["1.234", "1.2345"], ["1.234", "1234.5"], ["0.234"]]
)
def test_a_point_that_something_shows_to_be_decimal_is_read(tmp_path: Path, cells: list[str]) -> None:
    assert _spends(tmp_path, cells) == [float(cell) for cell in cells]


def test_the_mapping_settles_what_is_in_doubt(tmp_path: Path) -> None:
    assert _spends(tmp_path, ["1.234", "0"], {"decimal": "."}) == [1.234, 0]
    assert _spends(tmp_path, ["1.234", "0"], {"decimal": ",", "thousands": "."}) == [1234, 0]
    assert _spends(tmp_path, ["12,5", "1.234,5"], {"decimal": ",", "thousands": "."}) == [12.5, 1234.5]


def test_shares_are_not_in_doubt(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("variant,p,spend\nA,1.000,1.5\n")
    mapping = mapping_from({**MAPPING, "propensity": {"column": "p"}})
    assert import_log(mapping, tmp_path / "l.csv", tmp_path / "o.parquet", contact_key="k").rows_kept == 1


def test_typed_numbers_are_numbers_whatever_the_format_of_texts(tmp_path: Path) -> None:
    table = pa.table({"variant": ["A", "B"], "spend": [1.234, 2.345]})
    pq.write_table(table, tmp_path / "l.parquet")
    for numbers in (None, {"decimal": ",", "thousands": "."}):
        assert _spends(tmp_path, [], numbers, "l.parquet") == [1.234, 2.345]
    lines = [{"variant": "A", "spend": 1.234}, {"variant": "B", "spend": "1.234"}]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert _spends(tmp_path, [], {"decimal": ",", "thousands": "."}, "l.jsonl") == [1.234, 1234.0]
    with pytest.raises(DataError, match="may be 1234"):
        _spends(tmp_path, [], None, "l.jsonl")


def test_raw_columns_in_doubt_stay_text(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("variant,spend,free,sure\nA,1,1.234,1.5\nB,2,2.345,1.234\n")
    import_log(mapping_from(MAPPING), tmp_path / "l.csv", tmp_path / "o.parquet", contact_key="k")
    schema = LogReader(tmp_path / "o.parquet").schema
    assert schema.field("raw_free").type == pa.string()
    assert schema.field("raw_sure").type == pa.float64()


@pytest.mark.parametrize(
    "numbers",
    [{"decimal": ";"}, {"decimal": ",", "thousands": ","}, {"thousands": "."}, {"currency": ["1"]}, {"marks": "."}],
)
def test_formats_that_contradict_themselves_are_refused(numbers: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"numbers|decimal|thousands|currency|marks"):
        mapping_from({**MAPPING, "numbers": numbers})


@pytest.mark.parametrize(("name", "top"), [("german_thousands.csv", 1234.0), ("semicolon_decimal_comma.csv", 12.5)])
def test_exports_of_a_german_spreadsheet(tmp_path: Path, shared_data: Path, name: str, top: float) -> None:
    faults = shared_data / "faults"
    text = (faults / "map_semi.yaml").read_text() + "numbers: {decimal: ',', thousands: '.'}\n"
    (tmp_path / "m.yaml").write_text(text)
    report = import_log(load_mapping(tmp_path / "m.yaml"), faults / name, tmp_path / "o.parquet", contact_key="k")
    (block,) = LogReader(tmp_path / "o.parquet").rounds(rewards=["spend"])
    assert report.rows_rejected == 0
    assert np.unique(block.rewards["spend"]).tolist() == [0.0, top]
