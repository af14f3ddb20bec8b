"""Outcome files: three formats, one table; bad rows are named, repeats counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from engine.records.outcomes import OutcomeReport, check_outcomes, read_outcomes
from engine.records.schema import outcome_schema

ROWS = [
    {"decision_id": "007", "event": "clicked", "at": "2026-03-01T10:00:00+01:00"},
    {"decision_id": "007", "event": "purchased", "at": "2026-03-01T10:00:00.5Z", "value_usd": 12.25},
    {"decision_id": "b", "event": "clicked", "at": "2026-03-01 10:00:00+00:00"},
    {"decision_id": "007", "event": "clicked", "at": "2026-03-01T09:00:00Z"},
]
"""Rows 0 and 3 are the same instant, so row 3 is a repeat."""


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"outcomes.{kind}"
    if kind == "csv":
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pandas(pd.DataFrame(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "ndjson"])
def test_every_format_gives_the_same_table(tmp_path: Path, kind: str) -> None:
    table, report = read_outcomes(write(tmp_path, kind, ROWS))
    assert report == OutcomeReport(rows_read=4, rows_kept=3, duplicates=1, duplicate_rows=(3,))
    assert table.schema == outcome_schema()
    assert table.column("decision_id").to_pylist() == ["007", "007", "b"]
    assert table.column("value_usd").to_pylist() == [None, 12.25, None]
    assert table.column("at").to_pylist()[:2] == [
        datetime(2026, 3, 1, 9, tzinfo=UTC),
        datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC),
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at": "2026-03-01T10:00:00"}, r"`at` of .* with a time zone, got '2026-03-01T10:00:00' in row 1 .*offset"),
        ({"at": "2026-03-01"}, "time zone"),
        ({"at": "yesterday"}, "time zone"),
        ({"at": "2026-13-01T10:00:00Z"}, "time zone"),
        ({"at": ""}, "time zone"),
        ({"decision_id": ""}, "`decision_id` .* non-empty"),
        ({"event": ""}, "`event` .* non-empty"),
        ({"colour": "red"}, r"unknown ones \['colour'\]"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_outcomes(write(tmp_path, kind, [ROWS[0], {**ROWS[1], **changes}]))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "12,5", "many", "NaN"])
def test_values_in_text_must_be_finite_numbers(tmp_path: Path, value: str) -> None:
    path = tmp_path / "outcomes.csv"
    path.write_text(f'decision_id,event,at,value_usd\na,bought,2026-03-01T10:00:00Z,"{value}"\n')
    with pytest.raises(DataError, match="finite number or null, got"):
        read_outcomes(path)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_missing_columns_are_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=r"lacks the columns \['at', 'event'\]"):
        read_outcomes(write(tmp_path, kind, [{"decision_id": "a"}]))


def _columns(**changes: pa.Array) -> pa.Table:
    columns = {
        "decision_id": pa.array(["a"]),
        "event": pa.array(["x"]),
        "at": pa.array([1_700_000_000 * 10**9], pa.timestamp("ns", "UTC")),
    }
    return pa.table({**columns, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at": pa.array([0], pa.timestamp("us"))}, "timestamps without one.*offset"),
        ({"at": pa.array([None], pa.timestamp("us", "UTC"))}, "time zone"),
        ({"at": pa.array([1_700_000_000])}, "got int64"),
        ({"decision_id": pa.array([7])}, "must be text"),
        ({"decision_id": pa.array([None], pa.string())}, "non-empty"),
        ({"event": pa.array([True])}, "must be text"),
        ({"value_usd": pa.array([float("inf")])}, "finite"),
        ({"value_usd": pa.array([float("nan")])}, "finite"),
        ({"value_usd": pa.array([True])}, "got bool"),
    ],
)
def test_columns_of_the_wrong_kind_are_refused(changes: dict[str, pa.Array], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_outcomes(_columns(**changes), source="a table")


def test_numbers_of_any_kind_become_floats() -> None:
    for values in ([3], [Decimal("3.00")], [3.0], ["3"], [" 3.0 "]):
        table, _ = check_outcomes(_columns(value_usd=pa.array(values)), source="a table")
        assert table.column("value_usd").to_pylist() == [3.0]
    table, _ = check_outcomes(_columns(value_usd=pa.nulls(1)), source="a table")
    assert table.column("value_usd").to_pylist() == [None]


@pytest.mark.parametrize(
    ("name", "content"), [("x.csv", b""), ("x.parquet", b"PAR1"), ("x.jsonl", b"{"), ("x.txt", b"")]
)
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"is empty|no readable Parquet|no JSON object|no known ending"):
        read_outcomes(tmp_path / name)
    with pytest.raises(DataError, match=r"does not exist|no outcome file"):
        read_outcomes(tmp_path / f"other{name}")


def test_an_empty_table_is_an_empty_table() -> None:
    table, report = check_outcomes(outcome_schema().empty_table(), source="a table")
    assert (table.num_rows, report) == (0, OutcomeReport(0, 0, 0, ()))


NOW_AT = 1_700_000_000_000_000
OUTCOMES = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from(["x", "y"]),
    st.integers(NOW_AT, NOW_AT + 2),
    st.sampled_from([None, 0.0, 1.5]),
)


@given(st.lists(OUTCOMES, max_size=20))
def test_what_is_kept_is_every_different_row_in_order(rows: list[tuple[str, str, int, float | None]]) -> None:
    columns = list(zip(*rows, strict=True)) or [[], [], [], []]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, outcome_schema(), strict=True)]
    table, report = check_outcomes(pa.Table.from_arrays(arrays, schema=outcome_schema()), source="a test")
    kept = [tuple(row.values()) for row in table.to_pylist()]
    again = [tuple(row.values()) for row in pa.Table.from_arrays(arrays, schema=outcome_schema()).to_pylist()]
    assert kept == list(dict.fromkeys(again))
    assert report.rows_read == report.rows_kept + report.duplicates == len(rows)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Failed", "failed"),
        ("SUPPRESSED", "suppressed"),
        (" delivered ", "delivered"),
        ("\uff26ailed", "failed"),
        ("faild", "faild"),
        ("Purchased", "Purchased"),
    ],
)
def test_states_are_read_in_any_spelling(tmp_path: Path, kind: str, written: str, meant: str) -> None:
    """Other events are left as they are, and so is a slip, which the join counts."""
    table, _ = read_outcomes(write(tmp_path, kind, [{**ROWS[0], "event": written}, ROWS[1]]))
    assert table.schema == outcome_schema()
    assert table["event"].to_pylist() == [meant, ROWS[1]["event"]]


def test_one_state_in_two_spellings_is_one_outcome() -> None:
    one = {"decision_id": "a", "event": "failed", "at": datetime(2026, 3, 1, tzinfo=UTC), "value_usd": None}
    given = pa.Table.from_pylist([one, {**one, "event": "Failed"}], schema=outcome_schema())
    table, report = check_outcomes(given, source="a table")
    assert (table["event"].to_pylist(), report.duplicates) == (["failed"], 1)
