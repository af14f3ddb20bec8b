"""The hot log on a PostgreSQL of its own; skipped where the server's binaries are not installed."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from engine.errors import DataError, StorageError
from engine.log.sql import SqlLog
from tests.logs import START, decision_row, decision_table, small_meta

META = small_meta()


def test_the_same_code_runs_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    rows = [
        decision_row(0, META),
        decision_row(1, META, context_spend=None, state_spend=1, cluster=None, rule_inputs=None),
        decision_row(2, META, propensity=1 / 7, seed=-(2**63)),
    ]
    table = decision_table(rows, META)
    with SqlLog(postgres_url) as log, SqlLog(postgres_url) as again:
        assert (log.append(table), again.append(table)) == (3, 0)
        with pytest.raises(DataError, match="different content"):
            log.append([decision_row(9, META), decision_row(0, META, seed=8)], META)
        log.export(tmp_path / "all.parquet", META)
        assert pq.read_table(tmp_path / "all.parquet").to_pylist() == table.to_pylist()
        assert log.advance({"d000000": "dispatched"}, START) == 1
        with pytest.raises(DataError, match="cannot become"):
            again.advance({"d000000": "decided"}, START)
        clicked = {"decision_id": "d000000", "event": "clicked", "at": START + timedelta(hours=1)}
        assert (log.append_outcomes([clicked, clicked]), again.append_outcomes([clicked])) == (1, 0)
        assert sum(part.num_rows for part in log.outcomes()) == 1


def test_postgresql_refuses_to_change_or_delete(postgres_url: str) -> None:
    with SqlLog(postgres_url) as log:
        log.append([decision_row(50, META)], META)
        for statement in ("DELETE FROM decision", "UPDATE decision SET propensity = 1", "TRUNCATE outcome"):
            with log._engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="append-only"):
                connection.execute(sa.text(statement))


def test_two_writers_of_one_decision_agree_or_one_is_refused(postgres_url: str) -> None:
    """Eight threads append the same id with two contents, and move one state two ways: one of each wins."""
    errors: list[str] = []
    moved: list[int] = []

    def work(number: int) -> None:
        with SqlLog(postgres_url) as log:
            try:
                log.append([decision_row(70, META, seed=number % 2)], META)
            except DataError as error:
                errors.append(str(error))
            try:
                moved.append(log.advance({"d000070": ("failed", "suppressed")[number % 2]}, START))
            except DataError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(moved) == 1
    assert len(errors) == 8
    with SqlLog(postgres_url) as log:
        assert log.states(["d000070"])["d000070"] in ("failed", "suppressed")


def test_a_server_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError, match="cannot open the store "):
        SqlLog(f"postgresql://tactful@/postgres?host={tmp_path}")
