"""A day that has been decided is read, not decided again: under limits, after facts, in other blocks, by other runs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from engine.decide.plan import Plan
from engine.errors import DataError, ParameterError
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.limits.batch import SharedLimits
from engine.limits.limit_set import load_limits
from engine.limits.quota import SqlQuota
from engine.log.join import MetricSpec, join
from engine.records.outcomes import read_outcomes
from engine.records.schema import outcome_schema
from engine.state.sends.decisions import decided_for, erase_decided
from engine.state.sends.promises import Promises
from engine.state.store import SqlState
from engine.storage.database import writing
from engine.time.localtime import instant_of
from experiments.serve.dispatch import DispatchRequest, dispatch_file
from experiments.serve.state import expire_at
from policies.peers.constant import UniformPolicy
from tests.experiments.commands import call, refused, run
from tests.experiments.serve.stateful_worlds import (
    CATALOG,
    KEY,
    LIMITS,
    NOW,
    contact_file,
    decide,
    fact_file,
    facts_of,
    limits_file,
    names,
    record,
)
from tests.postgres_server import postgres_server, postgres_url, store_url

__all__ = ["postgres_server", "postgres_url", "store_url"]

METRICS = {"bought": MetricSpec(events=("purchased",), kind="any", window_s=60)}
WITHDRAWN = {"fact": "withdrawal", "contact_id": "c0", "at": "2026-11-03T10:59:00Z", "source": "link"}


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def dispatch(folder: Path, log: str, url: str, out: str) -> Path:
    now = NOW + timedelta(minutes=5)
    dispatch_file(DispatchRequest(folder / log, None, now, folder / out, KEY, state=url, replace=False))
    return folder / out


def joined(log: Path, outcomes: Path) -> int:
    table = read_outcomes(outcomes)[0]
    return join(log, table, METRICS, NOW + timedelta(days=1), log.with_suffix(".joined.parquet")).illegal_states


@pytest.mark.parametrize("block", [64, 25])
def test_a_rerun_after_a_fact_writes_the_same_rows(store_url: str, tmp_path: Path, block: int) -> None:
    """100 contacts under limits; one withdraws; the same day again gives what was promised and what has left."""
    people = contact_file(tmp_path / "c.parquet", names(0, 100))
    record(tmp_path, store_url, facts_of(names(0, 100)))
    asked = {"state": store_url, "limits": limits_file(tmp_path), "uniform_share": 0.2, "control_share": 0.1}
    first = decide(tmp_path, people, "a.parquet", **asked)
    outcomes = dispatch(tmp_path, "a.parquet", store_url, "o.parquet")
    record(tmp_path, store_url, [WITHDRAWN])
    again = decide(tmp_path, people, "b.parquet", rows=block, **asked)
    assert rows(tmp_path / "a.parquet") == rows(tmp_path / "b.parquet")
    assert (again.decided_before, again.contacts, again.sends) == (100, 100, first.sends)
    assert (again.limited, again.held, again.suppressed) == (first.limited, first.held, first.suppressed)
    assert joined(tmp_path / "b.parquet", outcomes) == 0
    with SqlQuota(store_url) as quota:
        assert sum(quota.used("all_a_day").values()) == sum(row["action"] > 0 for row in rows(tmp_path / "a.parquet"))


def test_contacts_that_were_not_decided_for_are_decided_in_their_place(store_url: str, tmp_path: Path) -> None:
    record(tmp_path, store_url, facts_of(names(0, 60)))
    limits = limits_file(tmp_path)
    some = contact_file(tmp_path / "some.parquet", names(0, 60)[::2])
    every = contact_file(tmp_path / "every.parquet", names(0, 60))
    decide(tmp_path, some, "some.log", state=store_url, limits=limits)
    out = decide(tmp_path, every, "every.log", state=store_url, limits=limits, rows=32)
    assert out.decided_before == 30
    assert rows(tmp_path / "every.log")[::2] == rows(tmp_path / "some.log")
    assert len({row["decision_id"] for row in rows(tmp_path / "every.log")}) == 60
    sends = {row["decision_id"] for row in rows(tmp_path / "every.log") if row["state"] == "decided"}
    with SqlState(store_url) as store:
        assert set(store.states(list(sends)).values()) == {"reserved"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 5}, "seed"),
        ({"uniform_share": 0.5}, "uniform share"),
        ({"control_share": 0.5}, "control share"),
        ({"limits": LIMITS.replace("60", "61")}, "limits"),
        ({"limits": None}, "limits"),
    ],
)
def test_other_settings_for_a_decided_day_are_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    record(tmp_path, url, facts_of(names(0, 20)))
    people = contact_file(tmp_path / "c.parquet", names(0, 20))
    decide(tmp_path, people, "a.parquet", state=url, limits=limits_file(tmp_path))
    asked = {"limits": limits_file(tmp_path, change.get("limits") or LIMITS)} | change
    if asked["limits"] is not None:
        asked["limits"] = str(tmp_path / "limits.yaml")
    with pytest.raises(DataError, match=f"another {named}"):
        decide(tmp_path, people, "b.parquet", state=url, **asked)
    assert not (tmp_path / "b.parquet").exists()
    decide(tmp_path, people, "c.log", state=url, now=NOW + timedelta(days=2), **asked)


def test_a_send_without_a_record_is_not_decided_over(tmp_path: Path) -> None:
    """A store of an earlier version promised sends of this instant: neither hold nor another send may be written."""
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    record(tmp_path, url, facts_of(names(0, 20)))
    people = contact_file(tmp_path / "c.parquet", names(0, 20))
    decide(tmp_path, people, "a.parquet", state=url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in ("decided", "decided_batch"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    engine.dispose()
    with pytest.raises(DataError, match="no record of it"):
        decide(tmp_path, people, "b.parquet", state=url)
    assert not (tmp_path / "b.parquet").exists()


def test_forgotten_days_are_neither_read_nor_decided(store_url: str, tmp_path: Path) -> None:
    record(tmp_path, store_url, facts_of(names(0, 20)))
    people = contact_file(tmp_path / "c.parquet", names(0, 20))
    decide(tmp_path, people, "a.parquet", state=store_url)
    assert expire_at(store_url, NOW + timedelta(days=29)).forgotten == 0
    decide(tmp_path, people, "b.parquet", state=store_url)
    assert expire_at(store_url, NOW + timedelta(days=31)).forgotten == 20
    with pytest.raises(DataError, match="no longer keeps"):
        decide(tmp_path, people, "c.log", state=store_url)


def test_erased_contacts_leave_no_record(store_url: str, tmp_path: Path) -> None:
    record(tmp_path, store_url, facts_of(names(0, 20)))
    people = contact_file(tmp_path / "c.parquet", names(0, 20))
    decide(tmp_path, people, "a.parquet", state=store_url)
    gone = rows(tmp_path / "a.parquet")[3]
    with SqlState(store_url) as store, writing(store._engine, "erase") as connection:
        assert decided_for(connection, [gone["contact_id"]]) == {gone["decision_id"]}
        assert erase_decided(connection, [gone["contact_id"]]) == 1
        assert erase_decided(connection, [gone["contact_id"]]) == 0
        assert decided_for(connection, [gone["contact_id"]]) == set()


def test_limits_in_another_database_are_refused(tmp_path: Path) -> None:
    limits = load_limits(limits_file(tmp_path))
    with (
        SqlState(f"sqlite:///{tmp_path / 'a.sqlite'}") as state,
        SqlQuota(f"sqlite:///{tmp_path / 'b.sqlite'}") as quota,
        pytest.raises(ParameterError, match="database of the state store"),
    ):
        Plan(
            Guardrails(load_pack(), CATALOG),
            UniformPolicy(),
            "uniform",
            contact_key=KEY,
            limits=SharedLimits(limits, quota),
            promises=Promises(state),
        )


@pytest.mark.parametrize(("state", "event"), [("hold", "dispatched"), ("hold", "failed"), ("suppressed", "delivered")])
def test_outcomes_that_contradict_their_log_are_refused(tmp_path: Path, state: str, event: str) -> None:
    """A message that left for a decision that reads hold: learning would take hold for what the send was worth."""
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    record(tmp_path, url, facts_of(names(0, 30)))
    decide(tmp_path, contact_file(tmp_path / "c.parquet", names(0, 30)), "a.parquet", state=url)
    table = pq.read_table(tmp_path / "a.parquet")
    if state == "suppressed":
        named = ["suppressed" if one == "decided" else one for one in table.column("state").to_pylist()]
        place = table.schema.get_field_index("state")
        table = table.set_column(place, table.schema.field(place), pa.array(named).dictionary_encode())
        pq.write_table(table, tmp_path / "a.parquet")
    (name, *_) = [
        row["decision_id"] for row in rows(tmp_path / "a.parquet") if (row["action"] > 0) != (state == "hold")
    ]
    said = [{"decision_id": name, "event": event, "at": NOW + timedelta(minutes=1), "value_usd": None}]
    with pytest.raises(DataError, match="1 outcomes contradict"):
        join(
            tmp_path / "a.parquet",
            pa.Table.from_pylist(said, schema=outcome_schema()),
            METRICS,
            NOW + timedelta(days=1),
            tmp_path / "j.parquet",
        )
    assert not (tmp_path / "j.parquet").exists()


def test_a_used_event_id_names_its_row_on_the_command_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    first = {"fact": "event", "contact_id": "c", "at": "2026-11-01T00:00:00Z", "kind": "complaint", "event_id": "e1"}
    facts = [first | {"channel": "email"}, first | {"contact_id": "d", "channel": "email"}]
    asked = ("state", "record", "--state", url, "--create", "--facts")
    assert run(*asked, fact_file(tmp_path / "a.jsonl", facts))["new"] == 2
    other = [first | {"contact_id": "new", "event_id": "e2"}, first | {"channel": "sms"}]
    error, hint = refused(3, *asked, fact_file(tmp_path / "b.jsonl", other))
    assert "b.jsonl: row 2: event 'e1'" in error
    assert "channel 'email', here 'sms'" in error
    assert "source" in hint
    assert (
        run(*asked, fact_file(tmp_path / "c.jsonl", [other[0], first | {"channel": "sms", "source": "p"}]))["new"] == 2
    )


def test_open_ends_are_named_with_their_exit_code_and_settled_from_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    record(tmp_path, url, facts_of(names(0, 30)))
    decide(tmp_path, contact_file(tmp_path / "c.parquet", names(0, 30)), "log.parquet", state=url)
    taken = [row["decision_id"] for row in rows(tmp_path / "log.parquet") if row["state"] == "decided"][:7]
    with SqlState(url) as store:
        for name in taken:
            store.dispatch(name, (), now_at=instant_of(NOW, owner="test"))
    asked = ("dispatch", "--decisions", tmp_path / "log.parquet", "--state", url, "--now", "2026-11-03T11:05:00+00:00")
    answer = call(*asked, "--out", tmp_path / "o.parquet")
    assert answer.code == 9
    assert sorted(answer.out["unsettled_ids"]) == sorted(taken)
    assert "7 sends were taken by another run" in answer.err
    assert "tactful state settle" in answer.err
    # What the run did itself is there, and stays.
    assert answer.out["dispatched"] == len(rows(tmp_path / "o.parquet")) > 5
    settle = ("state", "settle", "--state", url, "--now", "2026-11-03T12:00:00Z")
    assert "at least one" in refused(2, *settle)[0] or "--ended" in refused(2, *settle)[0]
    assert "one of" in refused(2, *settle, "--decision", taken[0], "--ended", "lost")[0]
    assert "no send" in refused(3, *settle, "--decision", "nobody", "--ended", "failed")[0]
    (tmp_path / "bad.csv").write_text(f"decision_id,state\n{taken[0]},lost\n", encoding="utf-8")
    assert "row 1" in refused(3, *settle, "--file", tmp_path / "bad.csv")[0]
    ends = "".join(f"{name},{'failed' if at else 'dispatched'}\n" for at, name in enumerate(taken))
    (tmp_path / "ends.csv").write_text(f"decision_id,state\n{ends}", encoding="utf-8")
    settled = run(*settle, "--file", tmp_path / "ends.csv")
    assert (settled["settled"], settled["dispatched"], settled["failed"], settled["unsettled"]) == (7, 1, 6, 0)
    assert run("state", "unsettled", "--state", url)["unsettled"] == []
    last = run(*asked, "--out", tmp_path / "p.parquet")
    assert (last["settled_since"], last["dispatched"], last["unsettled"]) == (7, 0, 0)
    said = {row["decision_id"]: row["event"] for row in rows(tmp_path / "p.parquet")}
    assert said == {name: "failed" if at else "dispatched" for at, name in enumerate(taken)}
    assert run(*asked, "--out", tmp_path / "q.parquet")["settled_since"] == 0
