"""A store restored from an older copy is noticed, and comes back from logs and outcomes: caps hold as before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from engine.errors import DataError, ParameterError, StorageError
from engine.limits.quota import METADATA as QUOTA_TABLES
from engine.limits.quota import SqlQuota
from engine.state.store import SqlState
from engine.state.tables import METADATA
from engine.storage.database import open_database
from experiments.serve.dispatch import DispatchOutput, DispatchRequest, dispatch_file
from experiments.serve.state import rebuild_store
from tests.experiments.serve.stateful_worlds import KEY, NOW, contact_file, decide, facts_of, limits_file, names, record
from tests.postgres_server import postgres_server, postgres_url, store_url

__all__ = ["postgres_server", "postgres_url", "store_url"]

LATER = NOW + timedelta(hours=2)
TABLES = (*METADATA.sorted_tables, *QUOTA_TABLES.sorted_tables)


def copy_of(url: str) -> Callable[[], None]:
    """Keeps every row of a store; the answer puts them back, as the restore of a backup does."""
    engine = open_database(url, QUOTA_TABLES.create_all, owner="test")
    postgres = engine.dialect.name == "postgresql"
    with engine.connect() as connection:
        rows = {table: [dict(row) for row in connection.execute(sa.select(table)).mappings()] for table in TABLES}
        last = connection.exec_driver_sql("SELECT last_value FROM store_sequence").scalar_one() if postgres else 0
    engine.dispose()

    def restore() -> None:
        with engine.begin() as connection:
            for table in reversed(TABLES):
                connection.execute(sa.delete(table))
            for table in TABLES:
                if rows[table]:
                    connection.execute(sa.insert(table), rows[table])
            if postgres:
                connection.execute(sa.select(sa.func.setval("store_sequence", last)))
        engine.dispose()

    return restore


def sent(folder: Path, name: str) -> set[str]:
    return {row["contact_id"] for row in pq.read_table(folder / name).to_pylist() if row["state"] == "decided"}


def dispatch(folder: Path, url: str, out: str, log: str = "log.parquet") -> DispatchOutput:
    return dispatch_file(
        DispatchRequest(folder / log, None, NOW + timedelta(minutes=5), folder / out, KEY, state=url, replace=False)
    )


@pytest.fixture
def world(store_url: str, tmp_path: Path) -> dict[str, Any]:
    """A copy is made; then 60 of 80 contacts are decided for under limits, and their sends dispatched."""
    record(tmp_path, store_url, facts_of(names(0, 80)))
    people = contact_file(tmp_path / "c.parquet", names(0, 80))
    restore = copy_of(store_url)
    asked = {"state": store_url, "limits": limits_file(tmp_path)}
    decide(tmp_path, people, "log.parquet", **asked)
    dispatch(tmp_path, store_url, "out.parquet")
    return {"url": store_url, "folder": tmp_path, "people": people, "restore": restore, "asked": asked}


def test_an_older_copy_neither_decides_nor_dispatches(world: dict[str, Any]) -> None:
    """The witnesses: a file beside an SQLite store, one among the logs, and the footers of logs."""
    folder, url = world["folder"], world["url"]
    world["restore"]()
    for _ in range(2):
        with pytest.raises(StorageError, match="older copy"):
            decide(folder, world["people"], "new.parquet", now=LATER, **world["asked"])
        with pytest.raises(StorageError, match="older copy"):
            dispatch(folder, url, "new.parquet")
        # The witness beside the store may have been restored with it.
        if url.startswith("sqlite"):
            Path(url.removeprefix("sqlite:///") + ".sequence").unlink()
    for witness in folder.glob(".tactful-state-*"):
        witness.unlink()
    with pytest.raises(StorageError, match="older copy"):
        dispatch(folder, url, "new.parquet")
    assert not (folder / "new.parquet").exists()


def test_a_rebuilt_store_holds_every_cap_and_limit(world: dict[str, Any]) -> None:
    folder, url = world["folder"], world["url"]
    with SqlQuota(url) as quota:
        used = quota.used("all_a_day"), quota.used("sms_a_day")
    with SqlState(url) as store:
        before = store.mark()
    world["restore"]()
    rebuilt = rebuild_store(url, [folder / "log.parquet"], [folder / "out.parquet"], LATER)
    assert rebuilt.decisions == 80
    assert rebuilt.sends == {"dispatched": len(sent(folder, "log.parquet"))}
    assert rebuilt.unsettled == 0
    assert "opt-outs" in rebuilt.said[0]
    with SqlQuota(url) as quota:
        assert (quota.used("all_a_day"), quota.used("sms_a_day")) == used
    with SqlState(url) as store:
        assert store.mark().sequence > before.sequence
    # Nobody is sent to twice: not by the same log, not by the same run, not by the next one.
    assert dispatch(folder, url, "again.parquet").dispatched == 0
    again = decide(folder, world["people"], "same.parquet", **world["asked"])
    assert again.decided_before == 80
    assert pq.read_table(folder / "same.parquet").equals(pq.read_table(folder / "log.parquet"))
    decide(folder, world["people"], "next.parquet", now=LATER, state=url)
    assert not sent(folder, "log.parquet") & sent(folder, "next.parquet")
    # Once more changes nothing.
    twice = rebuild_store(url, [folder / "log.parquet"], [folder / "out.parquet"], LATER)
    assert (twice.decisions, twice.sends, twice.limits) == (0, {}, ())


def test_an_outcome_with_a_slip_is_said(world: dict[str, Any]) -> None:
    """A state with a slip says nothing of its send, which counts as taken; that must not happen in silence."""
    folder, url = world["folder"], world["url"]
    (name, *_) = sent(folder, "log.parquet")
    lines = ["decision_id,event,at", f"{name},faild,2026-11-03T11:30:00Z", f"{name},opened,2026-11-03T11:40:00Z"]
    (folder / "slip.csv").write_text("\n".join(lines) + "\n")
    world["restore"]()
    said = rebuild_store(url, [folder / "log.parquet"], [folder / "slip.csv"], LATER).said
    assert [one for one in said if "faild" in one] == ["the event 'faild' (1 row) is not read: did you mean 'failed'?"]
    assert not [one for one in said if "opened" in one]


def test_due_sends_without_an_outcome_count_and_wait_to_be_settled(world: dict[str, Any]) -> None:
    """Only the sender knows whether they left, so they are not sent again."""
    folder, url = world["folder"], world["url"]
    world["restore"]()
    rebuilt = rebuild_store(url, [folder / "log.parquet"], [], LATER)
    assert rebuilt.sends == {"dispatching": rebuilt.unsettled}
    out = dispatch(folder, url, "again.parquet")
    assert (out.dispatched, out.unsettled) == (0, len(sent(folder, "log.parquet")))
    decide(folder, world["people"], "next.parquet", now=LATER, state=url)
    assert not sent(folder, "log.parquet") & sent(folder, "next.parquet")


def test_an_empty_store_is_rebuilt_and_another_one_refused(world: dict[str, Any], tmp_path: Path) -> None:
    folder = world["folder"]
    new = f"sqlite:///{tmp_path / 'new.sqlite'}"
    rebuilt = rebuild_store(new, [folder / "log.parquet"], [folder / "out.parquet"], LATER, create=True)
    assert rebuilt.decisions == 80
    assert dispatch(folder, new, "again.parquet").dispatched == 0
    other = f"sqlite:///{tmp_path / 'other.sqlite'}"
    record(tmp_path, other, facts_of(names(0, 3)))
    with pytest.raises(DataError, match="are of the stores"):
        rebuild_store(other, [folder / "log.parquet"], [], LATER)


def test_a_store_that_stands_in_anothers_place_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    record(tmp_path, url, facts_of(names(0, 3)))
    (tmp_path / "s.sqlite").unlink()
    with pytest.raises(StorageError, match="another one than"):
        record(tmp_path, url, facts_of(names(0, 3)))
    (tmp_path / "s.sqlite.sequence").write_text("nothing", encoding="utf-8")
    with pytest.raises(StorageError, match="does not say"):
        record(tmp_path, url, facts_of(names(0, 3)))


def test_an_outcome_file_of_another_run_is_not_overwritten(world: dict[str, Any]) -> None:
    folder, url = world["folder"], world["url"]
    before = (folder / "out.parquet").read_bytes()
    same = dispatch(folder, url, "out.parquet")
    assert (same.finished, same.unsettled) == (True, 0)
    with pytest.raises(ParameterError, match="a name that is free"):
        dispatch_file(
            DispatchRequest(folder / "log.parquet", None, LATER, folder / "out.parquet", KEY, state=url, replace=False)
        )
    assert (folder / "out.parquet").read_bytes() == before
