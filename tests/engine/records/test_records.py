"""Records: the footer and what a reader refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError, LogFormatError, ParameterError
from engine.log.parquet import LogReader
from engine.records import schema as records
from engine.records.schema import FOOTER_KEY, LogMeta, RewardSpec, log_schema, meta_of
from tests.logs import decision_row, decision_table, small_meta, write_log
from tests.strategies import NAMES, catalogs, schemas

METAS = st.builds(
    LogMeta,
    catalog=catalogs(),
    features=schemas(),
    rewards=st.dictionaries(NAMES, st.builds(RewardSpec, low=st.floats(-9, 0), high=st.floats(1, 9)), max_size=2),
    propensity=st.sampled_from(["logged", "absent"]),
    notes=st.lists(NAMES, max_size=2).map(tuple),
    pack=st.none() | st.dictionaries(NAMES, st.integers()),
)


@given(METAS)
def test_the_footer_survives(meta: LogMeta) -> None:
    schema = log_schema(meta)
    assert meta_of(schema, source="a test") == meta
    assert [name for name, *_ in records.DECISION_COLUMNS] == schema.names[: len(records.DECISION_COLUMNS)]
    assert {records.REWARD + name for name in meta.rewards} <= set(schema.names)


def test_the_log_file_keeps_its_meta(tmp_path: Path) -> None:
    meta = small_meta(notes=("SIMULATED",))
    path = write_log(tmp_path / "log.parquet", [decision_row(0, meta)], meta)
    assert LogReader(path).meta == meta
    assert LogReader(path).rows == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"low": 1.0, "high": 1.0}, "below high"),
        ({"low": float("nan"), "high": 1.0}, "finite"),
        ({"low": 0.0, "high": float("inf")}, "finite"),
    ],
)
def test_a_range_without_width_or_end_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        RewardSpec(**fields)


def _footer(**changes: Any) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(small_meta()), **changes})


@pytest.mark.parametrize(
    ("footer", "message"),
    [
        (None, "no Tactful footer"),
        (b"{", "cannot be read"),
        (b"[]", "cannot be read"),
        (_footer(propensity="guessed"), "cannot be read"),
        (_footer(colour="red"), "cannot be read"),
        (_footer(version=2), "schema version 2, this Tactful reads up to 1"),
        (_footer(version=2, colour="red"), "schema version 2"),
    ],
)
def test_a_foreign_damaged_or_newer_footer_is_refused(footer: bytes | None, message: str) -> None:
    schema = pa.schema([("a", pa.int32())], metadata=None if footer is None else {FOOTER_KEY: footer})
    with pytest.raises(LogFormatError, match=message):
        meta_of(schema, source="x.parquet")


def _rewrite(path: Path, change: Any) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def _with(name: str, values: pa.Array) -> Any:
    return lambda t: t.set_column(t.schema.get_field_index(name), name, values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["propensity"]), r"lacks the columns \['propensity'\]"),
        (lambda t: t.slice(0, 0), "holds no rows"),
        (lambda t: t.replace_schema_metadata(None), "no Tactful footer"),
        (_with("action", pa.array([1, 3], pa.int32())), r"outside \[0, 3\)"),
        (_with("action", pa.array([1, None], pa.int32())), "1 nulls"),
        (_with("propensity", pa.array([0.5, 0.0])), r"outside \(0, 1\]"),
        (_with("propensity", pa.array([0.5, -0.1])), r"outside \(0, 1\]"),
        (_with("propensity", pa.array([0.5, 1.5])), r"outside \(0, 1\]"),
        (_with("propensity", pa.array(["half", "x"])), "'propensity'"),
        (_with("eligible", pa.array([b"\7", b"\7\0"])), "1 bytes long"),
        (_with("decided_at", pa.array([0, 1], pa.timestamp("us"))), "time zone"),
        (_with("state", pa.array(["dispatched", None])), "1 nulls"),
    ],
)
def test_rows_that_break_the_schema_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    meta = small_meta()
    rows = [decision_row(number, meta, state="dispatched") for number in range(2)]
    path = write_log(tmp_path / "log.parquet", rows, meta)
    assert sum(batch.n for batch in LogReader(path).rounds()) == 2
    _rewrite(path, change)
    with pytest.raises(LogFormatError, match=message):
        list(LogReader(path).rounds())


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -5, -200])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    meta = small_meta()
    path = write_log(tmp_path / "log.parquet", [decision_row(0, meta)], meta)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LogFormatError, match="no readable Parquet file"):
        LogReader(path)


def test_a_missing_file_and_a_missing_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(LogFormatError, match=r"none\.parquet does not exist"):
        LogReader(tmp_path / "none.parquet")
    meta = small_meta()
    reader = LogReader(write_log(tmp_path / "log.parquet", [decision_row(0, meta)], meta))
    assert reader.column("spend") == "context_spend"
    assert reader.column("action") == "action"
    with pytest.raises(DataError, match="no column 'colour'"):
        reader.column("colour")
    with pytest.raises(DataError, match="no metric 'visit'"):
        list(reader.rounds(rewards=["visit"]))


def test_a_log_that_pandas_wrote_again_reads_the_same(tmp_path: Path) -> None:
    """Pandas turns strings into large strings, labels into small codes and whole null columns into numbers."""
    meta = small_meta()
    rows = [decision_row(number, meta, context_zip=None, state_zip=1) for number in range(3)]
    path = write_log(tmp_path / "log.parquet", rows, meta)
    before = [batch.context.columns["zip"].state.tolist() for batch in LogReader(path).rounds()]
    schema = pq.read_schema(path)
    again = pa.Table.from_pandas(pq.read_table(path).to_pandas(), preserve_index=False)
    pq.write_table(again.replace_schema_metadata(schema.metadata), tmp_path / "again.parquet")
    batch = next(LogReader(tmp_path / "again.parquet").rounds())
    assert [batch.context.columns["zip"].state.tolist()] == before
    assert batch.decision_id.tolist() == [row["decision_id"] for row in rows]
    assert batch.cluster.dtype == "uint64"


def test_the_table_of_a_test_fits_the_schema() -> None:
    meta = small_meta()
    assert decision_table([decision_row(0, meta)], meta).schema == log_schema(meta)


def test_a_damaged_row_group_is_refused(tmp_path: Path) -> None:
    """The footer is whole, the pages are not: zeros in the middle of the file."""
    meta = small_meta()
    path = write_log(tmp_path / "log.parquet", [decision_row(number, meta) for number in range(5000)], meta)
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    with pytest.raises(LogFormatError, match=r"is damaged"):
        list(LogReader(path).rounds())
