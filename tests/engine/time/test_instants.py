"""Instants: the same years in every reader, and a hint of what a number that is none may be."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.file import contact_batches
from engine.errors import DataError, ParameterError, TactfulError
from engine.features import FeatureSchema
from engine.mapping.instants import OUTSIDE, instants_of
from engine.mapping.spec import DecidedAt
from engine.records.outcomes import read_outcomes
from engine.state.fact_file import fact_batches
from engine.state.facts import PastSend, Profile
from engine.time.instants import EARLIEST, END, impossible, is_possible, number_hint, value_hint
from engine.time.localtime import datetime_of, instant_of
from engine.types import NOT_AN_INSTANT

CATALOG = Catalog(name="t", channels=("email",), hours=(9,), arms=(Arm(id="a", approved=True),))
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
SERIAL, MILLIS, MICROS = "serial number of a spreadsheet", "look like milliseconds", "look like microseconds"
YEARS = "epoch seconds of these years"
# What is no instant, and a word of the hint.
NUMBERS: list[tuple[Any, str]] = [
    (46189.375, SERIAL),
    (46189, SERIAL),
    (1793700000000, MILLIS),
    (1793700000000000, MICROS),
    (25, YEARS),
    (2025, YEARS),
    (20251103, YEARS),
    (-5, YEARS),
    (0, YEARS),
    (1e300, YEARS),
]
TEXTS: list[tuple[Any, str]] = [
    ("46189.375", SERIAL),
    ("-5", YEARS),
    ("25", YEARS),
    ("1989-12-31T23:59:59Z", "wrong year"),
    ("2200-01-01T00:00:00Z", "wrong year"),
    ("9999-12-31T00:00:00Z", "has no end"),
    ("0025-11-03T00:00:00Z", "wrong year"),
]


def read(path: Path, rows: list[dict[str, Any]]) -> Any:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return next(iter(contact_batches(path, FeatureSchema(features=()), CATALOG, NOW)))


@pytest.mark.parametrize(("value", "hint"), [*NUMBERS, *TEXTS, (True, "True is no instant"), (False, "False is no")])
@pytest.mark.parametrize("column", ["as_of", "time_zone_at", "due_at", "consent_email_promotional_at"])
def test_no_column_of_contacts_takes_it(tmp_path: Path, column: str, value: Any, hint: str) -> None:
    row = {"contact_id": "a", "consent_email_promotional": "true", "time_zone": "UTC", column: value}
    with pytest.raises(DataError, match=f"'{column}'.*row 1") as caught:
        read(tmp_path / "a.jsonl", [row])
    assert hint in caught.value.hint


@pytest.mark.parametrize(("value", "hint"), [*NUMBERS, *((one, text) for one, text in TEXTS[:3])])
def test_no_entry_of_sends_takes_it(tmp_path: Path, value: Any, hint: str) -> None:
    """As a list in JSON-lines, and as the text that a CSV holds."""
    send = {"at": value, "channel": "email", "purpose": "promotional"}
    for cell in ([send], json.dumps([send])):
        with pytest.raises(DataError, match="no instant with a UTC offset in the years 1990 to 2199") as caught:
            read(tmp_path / "a.jsonl", [{"contact_id": "a", "sends": cell}])
        assert hint in caught.value.hint


TYPED = [pa.array([True]), pa.array([date(2026, 1, 1)]), pa.array([46189.375]), pa.array([25])]


@pytest.mark.parametrize("column", TYPED, ids=lambda column: str(column.type))
def test_no_typed_column_takes_it(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"contact_id": ["a"], "as_of": column}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'as_of'"):
        list(contact_batches(tmp_path / "a.parquet", FeatureSchema(features=()), CATALOG, NOW))


@pytest.mark.parametrize("year", [1970, 1989, 2200])
def test_no_typed_timestamp_of_another_year_is_taken(tmp_path: Path, year: int) -> None:
    stamps = pa.array([datetime(year, 6, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"contact_id": ["a"], "as_of": stamps}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="must be in the years 1990 to 2199"):
        list(contact_batches(tmp_path / "a.parquet", FeatureSchema(features=()), CATALOG, NOW))


@pytest.mark.parametrize(("value", "hint"), NUMBERS)
@pytest.mark.parametrize("column", ["at", "expires_at"])
def test_no_fact_takes_it(tmp_path: Path, column: str, value: Any, hint: str) -> None:
    row = {"fact": "consent", "contact_id": "a", "channel": "email", "purpose": "promotional", "source": "form"}
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps(row | {"at": "2026-01-01T00:00:00Z"} | {column: value}) + "\n")
    with pytest.raises(DataError, match=f"'{column}'") as caught:
        list(fact_batches(path, "k", 10))
    assert hint in caught.value.hint


@pytest.mark.parametrize("value", [25, -5, True, 46189, EARLIEST - 1, END, NOT_AN_INSTANT, 1.5])
def test_no_fact_in_memory_takes_it(value: Any) -> None:
    with pytest.raises(ParameterError, match="in the years 1990 to 2199"):
        PastSend("d", "c", "sms", "promotional", value)
    with pytest.raises(ParameterError, match="in the years 1990 to 2199"):
        Profile("c", EARLIEST, due_at=value)


@pytest.mark.parametrize(
    ("cell", "hint"), [("46189.375", SERIAL), ("1989-01-01T00:00:00Z", "wrong year"), ("2200-01-01T00:00:00Z", "wrong")]
)
def test_no_outcome_takes_it(tmp_path: Path, cell: str, hint: str) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_text(f'{{"decision_id": "d", "event": "opened", "at": "{cell}"}}\n')
    with pytest.raises(DataError, match="`at` of") as caught:
        read_outcomes(path)
    assert hint in caught.value.hint


def test_no_typed_outcome_takes_it(tmp_path: Path) -> None:
    long_ago = pa.array([datetime(1970, 1, 1, 12, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    for column in (pa.array([46189.375]), long_ago):
        pq.write_table(pa.table({"decision_id": ["d"], "event": ["opened"], "at": column}), tmp_path / "o.parquet")
        with pytest.raises(DataError, match="`at` of"):
            read_outcomes(tmp_path / "o.parquet")


@pytest.mark.parametrize(
    ("spec", "cell"),
    [
        (DecidedAt(column="t", format="epoch_s"), "46189.375"),
        (DecidedAt(column="t", format="epoch_s"), "1793700000000"),
        (DecidedAt(column="t", format="epoch_ms"), "1793700000"),
        (DecidedAt(column="t", format="iso"), "1970-01-02T00:00:00Z"),
        (DecidedAt(column="t", format="%d.%m.%y", time_zone="UTC"), "01.02.75"),
    ],
)
def test_no_foreign_log_takes_it(spec: DecidedAt, cell: str) -> None:
    found, faults = instants_of(spec, np.array([cell, ""], dtype=object)[:1])
    assert found.tolist() == [NOT_AN_INSTANT]
    assert [reason for bad, reason in faults if bad.any()] == [OUTSIDE]
    assert "spreadsheet" in OUTSIDE


@pytest.mark.parametrize("moment", [datetime(1989, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)])
def test_no_decision_is_taken_then(moment: datetime) -> None:
    with pytest.raises(ParameterError, match="in the years 1990 to 2199"):
        instant_of(moment)
    with pytest.raises(TactfulError, match="1990 to 2199"):
        Arm(id="a", approved=True, valid_from=moment.isoformat())


def test_the_ends_are_instants() -> None:
    assert datetime_of(EARLIEST) == datetime(1990, 1, 1, tzinfo=UTC)
    assert datetime_of(END) == datetime(2200, 1, 1, tzinfo=UTC)
    assert is_possible(EARLIEST)
    assert is_possible(np.int64(END - 1))
    assert not is_possible(END)
    assert impossible(np.array([EARLIEST - 1, EARLIEST, END - 1, END, NOT_AN_INSTANT])).tolist() == [1, 0, 0, 1, 0]


def test_what_is_right_is_read_as_before(tmp_path: Path) -> None:
    for value in (1793700000, "1793700000.5", "2026-11-03T10:00:00+01:00"):
        batch = read(tmp_path / "a.jsonl", [{"contact_id": "a", "due_at": value}])
        assert is_possible(batch.extra["due_at"][0])


def test_hints_name_the_unit() -> None:
    assert SERIAL in number_hint(46189.375)
    assert "nanoseconds" in number_hint(1.7937e18)
    assert "nothing" not in value_hint("soon")


def test_small_inputs_that_went_wrong(shared_data: Path) -> None:
    """A send dated by a spreadsheet's serial; the same contact with ISO 8601; and a zone that is an offset."""
    faults = shared_data / "faults"
    if not faults.is_dir():
        pytest.skip("the small inputs that went wrong are not beside this checkout")
    catalog = Catalog(name="t", channels=("email", "sms", "push"), hours=(9,), arms=(Arm(id="a", approved=True),))

    def batch(name: str) -> Any:
        return next(iter(contact_batches(faults / name, FeatureSchema(features=()), catalog, NOW)))

    with pytest.raises(DataError, match="no instant") as caught:
        batch("sends_excel_serial.jsonl")
    assert SERIAL in caught.value.hint
    assert datetime_of(batch("sends_iso.jsonl").sent_at[0]) == datetime(2026, 6, 16, 9, tzinfo=UTC)
    with pytest.raises(DataError, match=r"unknown time zone 'GMT\+2'") as caught:
        batch("zone_gmt_plus_2.jsonl")
    assert "Etc/" not in caught.value.hint
    assert "did you mean" not in caught.value.hint
