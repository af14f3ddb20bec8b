"""The hot log on SQLite: durable, idempotent, append-only, exact; refusals leave nothing behind."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from engine.errors import ConfigError, DataError, ParameterError, StorageError
from engine.log.parquet import LogReader
from engine.log.sql import SqlLog
from engine.log.tables import DECISION, OUTCOME, sql_type
from engine.records.schema import DECISION_COLUMNS, OUTCOME_COLUMNS, RewardSpec, outcome_schema
from tests.logs import START, decision_row, decision_table, small_meta

META = small_meta()
NOW = START + timedelta(days=30)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hot.db'}"


def outcome(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {"decision_id": f"d{number:06d}", "event": "clicked", "at": START + timedelta(hours=2), **changes}


def stored(log: SqlLog, path: Path) -> pa.Table:
    log.export(path, META)
    return pq.read_table(path)


def test_the_tables_have_the_columns_of_the_records() -> None:
    for table, columns in ((DECISION, DECISION_COLUMNS), (OUTCOME, OUTCOME_COLUMNS)):
        for name, kind, nullable, meaning in columns:
            column = table.c[name]
            assert (column.nullable, column.comment) == (nullable, meaning)
            assert isinstance(column.type, type(sql_type(kind)))


def test_what_comes_out_is_what_went_in(url: str, tmp_path: Path) -> None:
    rows = [
        decision_row(0, META),
        decision_row(1, META, context_spend=None, state_spend=1, context_zip=None, state_zip=2, rule_inputs=None),
        decision_row(2, META, state="dispatched", action=0, action_name="none", channel=None, send_hour=None, arm=None),
        decision_row(3, META, propensity=1 / 7, context_spend=1e-300, seed=-(2**63), cluster=None, send_at=None),
    ]
    table = decision_table(rows, META)
    with SqlLog(url) as log:
        assert log.append(table) == 4
        assert stored(log, tmp_path / "all.parquet").to_pylist() == table.to_pylist()
        assert log.decision("d000003") == table.to_pylist()[3]
        assert log.decision("nobody") is None
        assert log.metas() == (META,)
    reader = LogReader(tmp_path / "all.parquet")
    assert reader.meta == META


def test_dicts_and_tables_are_the_same_decision(url: str) -> None:
    rows = [decision_row(number, META) for number in range(3)]
    with SqlLog(url) as log:
        assert log.append(rows[:2], META) == 2
        assert log.append(decision_table(rows, META)) == 1
        assert log.append(rows + rows, META) == 0
        elsewhere = {**rows[0], "decided_at": rows[0]["decided_at"].astimezone(timezone(timedelta(hours=5)))}
        assert log.append([elsewhere], META) == 0


def test_the_same_id_with_other_content_is_refused_whole(url: str, tmp_path: Path) -> None:
    with SqlLog(url) as log:
        log.append([decision_row(0, META)], META)
        for rows in (
            [decision_row(1, META), decision_row(0, META, propensity=0.5)],
            [decision_row(2, META), decision_row(2, META, seed=8)],
        ):
            with pytest.raises(DataError, match=r"twice with different content.*idempotency key"):
                log.append(rows, META)
        assert stored(log, tmp_path / "all.parquet").num_rows == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"propensity": 0.0}, r"`propensity` of a decision must be in \(0, 1\], got 0.0 in row 1 \(1 such rows\)"),
        ({"propensity": -0.2}, "propensity"),
        ({"propensity": 1.01}, "propensity"),
        ({"propensity": float("nan")}, "propensity"),
        ({"propensity": None}, "propensity"),
        ({"action": 3}, r"in \[0, 3\)"),
        ({"action": -1}, r"in \[0, 3\)"),
        ({"eligible": b"\x05"}, "eligible set"),
        ({"eligible": b"\x07\x00"}, "1 bytes long"),
        ({"state": "sent"}, "state"),
        ({"state": "delivered"}, "enters the log as one of"),
        ({"group": "vip"}, "group"),
        ({"catalog_version": "x"}, "catalog_version"),
        ({"schema_version": "x"}, "schema_version"),
        ({"decision_id": ""}, "decision_id"),
        ({"decision_id": None}, "nulls"),
        ({"context_spend": float("inf")}, "context_spend"),
        ({"context_spend": float("nan")}, "context_spend"),
        ({"context_zip": None}, "context_zip"),
        ({"decided_at": datetime(2026, 3, 1)}, "time zone"),
        ({"propensity": "half"}, "fit the schema"),
        ({"colour": "red"}, "unknown fields"),
    ],
)
def test_a_bad_decision_leaves_nothing(url: str, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with SqlLog(url) as log:
        with pytest.raises(DataError, match=message):
            log.append([decision_row(0, META), decision_row(1, META, **changes)], META)
        assert log.export(tmp_path / "all.parquet", META) == 0
        assert not (tmp_path / "all.parquet").exists()


def test_tables_that_do_not_fit_are_refused(url: str) -> None:
    table = decision_table([decision_row(0, META)], META)
    rewarded = small_meta(rewards={"visit": RewardSpec(low=0, high=1)})
    with SqlLog(url) as log:
        for bad, message in (
            (table.drop_columns(["seed"]), "lack the columns"),
            (table.append_column("raw_x", pa.array([1])), "unknown ones"),
            (table.replace_schema_metadata(None), "no Tactful footer"),
            (decision_table([decision_row(0, rewarded)], rewarded), "without rewards"),
        ):
            with pytest.raises(DataError, match=message):
                log.append(bad)
        with pytest.raises(ParameterError, match="`meta`"):
            log.append([decision_row(0, META)])


def test_states_go_forward_only(url: str, tmp_path: Path) -> None:
    with SqlLog(url) as log:
        log.append([decision_row(number, META) for number in range(4)], META)
        assert log.advance({"d000000": "dispatched", "d000001": "dispatched", "d000002": "suppressed"}, NOW) == 3
        assert log.advance({"d000000": "delivered", "d000001": "failed"}, NOW) == 2
        assert log.advance({"d000000": "delivered"}, NOW) == 0
        expected = {"d000000": "delivered", "d000001": "failed", "d000002": "suppressed", "d000003": "decided"}
        assert log.states([*expected, "nobody"]) == expected
        found = stored(log, tmp_path / "all.parquet")
        assert found.column("state").to_pylist() == list(expected.values())
        # The decision itself is the same as before: appending it again is still no news.
        assert log.append([decision_row(0, META)], META) == 0


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (["delivered"], "is decided and cannot become 'delivered'"),
        (["dispatched", "decided"], "is dispatched and cannot become 'decided'"),
        (["suppressed", "dispatched"], "is suppressed"),
        (["dispatched", "delivered", "failed"], "is delivered"),
        (["failed", "dispatched"], "is failed"),
        (["sent"], "cannot become 'sent'"),
    ],
)
def test_illegal_changes_are_refused_whole(url: str, path: list[str], message: str) -> None:
    with SqlLog(url) as log:
        log.append([decision_row(0, META), decision_row(1, META)], META)
        for state in path[:-1]:
            log.advance({"d000001": state}, NOW)
        with pytest.raises(DataError, match=message):
            log.advance({"d000000": "dispatched", "d000001": path[-1]}, NOW)
        assert log.states(["d000000"]) == {"d000000": "decided"}
        with pytest.raises(DataError, match="no decision 'nobody'"):
            log.advance({"nobody": "dispatched"}, NOW)
        with pytest.raises(ParameterError, match="aware"):
            log.advance({"d000000": "dispatched"}, datetime(2026, 3, 2))


def test_the_database_refuses_to_change_or_delete(url: str, tmp_path: Path) -> None:
    with SqlLog(url) as log:
        log.append([decision_row(0, META)], META)
        log.append_outcomes([outcome()])
        log.advance({"d000000": "dispatched"}, NOW)
    raw = sqlite3.connect(tmp_path / "hot.db")
    for table in ("decision", "outcome", "transition", "log_meta"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = 7"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)
    raw.close()


def test_outcomes_are_kept_once(url: str) -> None:
    given = [outcome(), outcome(value_usd=3.5), outcome(event="purchased", value_usd=3.5), outcome(1), outcome()]
    with SqlLog(url) as log:
        assert log.append_outcomes(given) == 4
        assert log.append_outcomes(pa.Table.from_pylist(given, schema=outcome_schema())) == 0
        found = pa.concat_tables(log.outcomes())
        assert found.schema == outcome_schema()
        key = ("decision_id", "event", "at", "value_usd")
        wanted = {tuple(row.get(name) for name in key) for row in given}
        assert {tuple(row[name] for name in key) for row in found.to_pylist()} == wanted
        for bad in ({"at": datetime(2026, 3, 2)}, {"at": None}, {"event": None}, {"price": 1.0}):
            with pytest.raises(DataError):
                log.append_outcomes([outcome(9), outcome(8, **bad)])
        assert sum(table.num_rows for table in log.outcomes()) == 4


def test_days_close_into_whole_files(url: str, tmp_path: Path) -> None:
    other = small_meta(source="another feature set")
    with SqlLog(url) as log:
        log.append([decision_row(number, META) for number in (0, 1, 24 * 60)], META)
        log.append([decision_row(number, other) for number in (2, 3)], other)
        with pytest.raises(ParameterError, match="over by now"):
            log.close_day(date(2026, 3, 1), tmp_path, now=datetime(2026, 3, 1, 23, 59, tzinfo=UTC))
        files = log.close_day(date(2026, 3, 1), tmp_path, now=NOW)
        assert sorted(LogReader(file).rows for file in files) == [2, 2]
        assert {LogReader(file).meta.source for file in files} == {"", "another feature set"}
        assert all(file.name.startswith("2026-03-01-") for file in files)
        log.advance({"d000000": "dispatched"}, NOW)
        assert log.close_day(date(2026, 3, 1), tmp_path, now=NOW) == files
        assert log.close_day(date(2026, 3, 9), tmp_path, now=NOW) == ()
        states = [s for file in files for s in pq.read_table(file).column("state").to_pylist()]
        assert sorted(states) == ["decided", "decided", "decided", "dispatched"]


def test_export_is_ordered_and_streams_more_than_one_chunk(url: str, tmp_path: Path) -> None:
    rows = [decision_row(number, META) for number in range(4500)]
    with SqlLog(url) as log:
        assert log.append(rows[::-1], META) == 4500
        found = stored(log, tmp_path / "all.parquet")
        assert found.column("decision_id").to_pylist() == [row["decision_id"] for row in rows]
        assert (
            log.export(
                tmp_path / "some.parquet", META, start=START + timedelta(minutes=10), end=START + timedelta(minutes=13)
            )
            == 3
        )


@pytest.mark.parametrize("bad", ["sqlite://", "sqlite:///:memory:", "mysql://u@h/d", "no url", ""])
def test_stores_that_do_not_last_are_refused(bad: str) -> None:
    with pytest.raises(ParameterError, match="`url` of SqlLog"):
        SqlLog(bad)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"tactful\[postgres\]"):
        SqlLog("postgresql://user@host/name")


def test_a_timeout_must_be_positive(url: str) -> None:
    with pytest.raises(ParameterError, match="busy_timeout_s"):
        SqlLog(url, busy_timeout_s=0)


def test_a_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot open the store "):
        SqlLog(f"sqlite:///{tmp_path / 'no' / 'hot.db'}")


def test_a_locked_store_is_a_storage_error_and_recovers(url: str, tmp_path: Path) -> None:
    with SqlLog(url, busy_timeout_s=0.05) as log:
        other = sqlite3.connect(tmp_path / "hot.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            log.append([decision_row(0, META)], META)
        assert log.states(["d000000"]) == {}  # readers are not held up
        other.execute("ROLLBACK")
        other.close()
        assert log.append([decision_row(0, META)], META) == 1


def test_a_damaged_store_is_a_storage_error(url: str, tmp_path: Path) -> None:
    (tmp_path / "hot.db").write_bytes(b"this is no database, it is a letter" * 100)
    with pytest.raises(StorageError, match="not a database"):
        SqlLog(url)


def test_every_commit_is_synced(url: str) -> None:
    with SqlLog(url) as log, log._engine.connect() as connection:
        pragmas = [connection.execute(sa.text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_killed_writers_lose_nothing_that_they_acknowledged(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "tests.kill_writers", "sql", str(tmp_path), "25", "2"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=root, check=True).stdout)
    assert found["acknowledged"] > 0
    assert found["stored"] >= found["acknowledged"]
    assert (found["lost"], found["half"], found["stateless"]) == (0, 0, 0)


FULL_DISK = """
import resource, signal, sys
from engine.errors import StorageError
from engine.log.sql import SqlLog
from tests.logs import decision_row, small_meta
meta = small_meta()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SqlLog(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
done = 0
try:
    while done < 10_000:
        log.append([decision_row(done, meta, rule_inputs=b"x" * 5000)], meta)
        done += 1
except StorageError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(done)
"""


def test_a_full_disk_is_a_storage_error_and_loses_nothing(url: str, tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, url]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=True)
    done = int(run.stdout)
    assert 0 < done < 10_000
    with SqlLog(url) as log:
        assert stored(log, tmp_path / "all.parquet").column("decision_id").to_pylist() == [
            f"d{n:06d}" for n in range(done)
        ]
        assert log.append([decision_row(done, META)], META) == 1
