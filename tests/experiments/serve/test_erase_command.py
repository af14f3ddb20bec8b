"""`tactful erase`: no byte of any place names the person afterwards, everybody else stays, and it is on record."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from engine.erasure import stores
from engine.errors import StorageError
from engine.identity import contact_pseudonyms, pseudonyms
from engine.log.parquet import LogReader
from engine.log.sql import SqlLog
from engine.log.whole_file import ParquetFile
from engine.records.outcomes import read_outcomes
from engine.records.schema import outcome_schema
from engine.state.facts import Suppression
from engine.state.store import SqlState
from tests.experiments.commands import call, refused, run, screen
from tests.experiments.serve.stateful_worlds import CATALOG, KEY, NOW, contact_file, decide, facts_of, record
from tests.logs import START, decision_row, small_meta
from tests.postgres_server import postgres_server, postgres_url, store_url

__all__ = ["postgres_server", "postgres_url", "store_url"]

WHO, OTHERS = "anna.rossi@example.org", [f"person-{n}@example.org" for n in range(40)]
EVERYBODY = [*OTHERS[:20], WHO, *OTHERS[20:]]
NOW_AT = int(NOW.timestamp()) * 1_000_000


def name_of(contact: str) -> str:
    return str(contact_pseudonyms(np.array([contact], dtype=object), KEY)[0])


def needles() -> list[bytes]:
    """Everything by which the person may be known, as bytes."""
    imported = str(pseudonyms(np.array([WHO], dtype=object), KEY)[0])
    return [WHO.encode(), name_of(WHO).encode(), imported.encode(), bytes.fromhex(name_of(WHO))]


def bytes_with_person(folder: Path) -> list[str]:
    """Files of which some byte sequence, unpacked where it is packed, names the person."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        raw = path.read_bytes()
        if raw.startswith(b"\x1f\x8b"):
            raw += gzip.decompress(raw)
        if raw.startswith(b"PAR1"):
            raw += json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
        if raw.startswith(b"SQLite format 3"):
            raw += records_of(path)
        if any(needle in raw for needle in needles()):
            found.append(path.name)
    return found


def records_of(path: Path) -> bytes:
    """The records of decisions that a store keeps, unpacked."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        packed = connection.execute("SELECT record FROM decided_batch").fetchall() if "decided_batch" in tables else []
    rows = [pa.ipc.open_stream(record).read_all().to_pylist() for (record,) in packed]
    return json.dumps(rows, default=str).encode()


def world(folder: Path, url: str) -> dict[str, Path]:
    """A store, a log decided on it, outcomes of its sends, rejects, contacts and facts in every form."""
    record(folder, url, facts_of(EVERYBODY))
    contacts = contact_file(folder / "contacts.parquet", EVERYBODY)
    decide(folder, contacts, "log.parquet", state=url)
    ids = pq.read_table(folder / "log.parquet", columns=["decision_id"])["decision_id"].to_pylist()
    columns = [
        pa.array(ids),
        pa.array(["opened"] * len(ids)).dictionary_encode(),
        pa.array([NOW_AT] * len(ids)).cast(pa.timestamp("us", tz="UTC")),
        pa.nulls(len(ids), pa.float64()),
    ]
    outcomes = pa.Table.from_arrays(columns, names=outcome_schema().names).cast(outcome_schema())
    with ParquetFile(folder / "outcomes.parquet", outcome_schema()) as file:
        file.append(outcomes)
    lines = [f"{name},opened,2026-11-03T12:00:00Z,\r\n" for name in ids]
    (folder / "outcomes.csv").write_bytes(("decision_id,event,at,value_usd\r\n" + "".join(lines)).encode())
    rejects = ["row,reason,value,decision_id", f"7,bad,{WHO},", f'8,worse,"it is {WHO}, really",', "9,bad,else,"]
    (folder / "old.parquet.rejects.csv").write_text("\n".join(rejects) + "\n")
    with gzip.open(folder / "contacts.csv.gz", "wt") as file:
        file.write(f'"contact_id";note\n{WHO};"two\nlines; quoted"\n{OTHERS[0]};"two\nlines"\n')
    return {"log": folder / "log.parquet", "outcomes": folder / "outcomes.parquet"}


def test_nothing_of_the_person_is_left_and_everybody_else_stays(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    url = f"sqlite:///{data}/state.sqlite"
    places = world(data, url)
    places["log"].chmod(0o640)
    before = pq.read_table(places["log"])
    happened = read_outcomes(places["outcomes"])[0].num_rows
    footer = pq.read_schema(places["log"]).metadata
    marked = (LogReader(places["log"]).mark, LogReader(places["log"]).settings)
    assert None not in marked
    assert len(bytes_with_person(data)) >= 6
    answer = call(
        *("erase", WHO, "--state", url, "--files", data, "--record", tmp_path / "act.json"),
        *("--requested-by", "the privacy desk", "--reason", "article 17"),
    )
    assert answer.code == 0, answer.err
    assert bytes_with_person(tmp_path) == []
    out = answer.out
    assert (out["persons"], out["found"], out["clean"]) == (1, True, True)
    assert {place["kind"] for place in out["places"]} == {"state", "log", "outcomes", "table", "text", "rejects"}
    removed = {Path(place["place"]).name: place["removed"] for place in out["places"]}
    assert removed["log.parquet"] == removed["outcomes.parquet"] == removed["outcomes.csv"] == 1
    assert (removed["old.parquet.rejects.csv"], removed["contacts.csv.gz"], removed["facts.jsonl"]) == (2, 1, 3)
    after = pq.read_table(places["log"])
    assert after.schema.equals(before.schema)
    assert after.to_pylist() == [row for row in before.to_pylist() if row["contact_id"] != name_of(WHO)]
    assert pq.read_schema(places["log"]).metadata == footer
    assert (LogReader(places["log"]).mark, LogReader(places["log"]).settings) == marked
    assert LogReader(places["log"]).rows == 40
    assert stat.S_IMODE(places["log"].stat().st_mode) == 0o640
    assert read_outcomes(places["outcomes"])[0].num_rows == happened - 1
    assert (data / "outcomes.csv").read_bytes().count(b"\r\n") == 41
    with gzip.open(data / "contacts.csv.gz", "rt") as file:
        assert file.read() == f'"contact_id";note\n{OTHERS[0]};"two\nlines"\n'
    assert (data / "old.parquet.rejects.csv").read_text() == "row,reason,value,decision_id\n9,bad,else,\n"
    kept = json.loads((tmp_path / "act.json").read_text())
    assert (kept["requested_by"], kept["reason"], kept["clean"]) == ("the privacy desk", "article 17", True)
    with stores.ErasableStore(url) as store:
        (act,) = store.acts()
    assert act["tool"].startswith("tactful ")
    rows = {"contact": 1, "consent": 2, "send": 1, "send_step": 1, "decided": 1, "decided_batch": 1, "spelling": 1}
    assert act["rows"] == rows | {name: count for name, count in act["rows"].items() if name == "send_lock"}
    assert act["clean"] is True
    again = run("erase", WHO, "--state", url, "--files", data)
    assert (again["found"], again["clean"], again["removed"]) == (False, True, 0)
    assert again["places"] == [{**out["places"][-1], "removed": 0, "note": "not found"}]
    assert "nobody was found: ids are taken as their source" in screen("erase", WHO, "--state", url, "--files", data)


def test_who_was_erased_gets_nothing_when_imported_again(store_url: str, tmp_path: Path) -> None:
    contacts = contact_file(tmp_path / "c.parquet", EVERYBODY)
    record(tmp_path, store_url, facts_of(EVERYBODY))
    run("erase", name_of(WHO), OTHERS[3], "--state", store_url)
    record(tmp_path, store_url, facts_of(EVERYBODY))
    decide(tmp_path, contacts, "log.parquet", state=store_url)
    rows = pq.read_table(tmp_path / "log.parquet").to_pylist()
    sent = {row["contact_id"] for row in rows if row["action"]}
    assert len(sent) > 20
    assert not sent & {name_of(WHO), name_of(OTHERS[3])}
    batch_of = np.array([name_of(WHO), name_of(OTHERS[0])], dtype=object)
    with SqlState(store_url) as store:
        assert store.batch(batch_of, CATALOG, now_at=NOW_AT).suppressed.tolist() == [[1, 1], [0, 0]]
        # An old lift is none; one after the erasure, for this reason and all channels, is an act of its own.
        far = NOW_AT + 10**15
        store.record([Suppression(name_of(WHO), None, "erased", 1_000_000_000_000_000, lifted=True)])
        store.record([Suppression(name_of(WHO), None, "opt_out", far, lifted=True)])
        assert store.batch(batch_of, CATALOG, now_at=far).suppressed.tolist() == [[1, 1], [0, 0]]
        store.record([Suppression(name_of(WHO), None, "erased", far, lifted=True)])
        assert store.batch(batch_of, CATALOG, now_at=far).suppressed.tolist() == [[0, 0], [0, 0]]


def test_postgresql_files_hold_nothing_of_the_person(postgres_url: str, tmp_path: Path) -> None:
    record(tmp_path, postgres_url, facts_of(EVERYBODY))
    contacts = contact_file(tmp_path / "c.parquet", EVERYBODY)
    decide(tmp_path, contacts, "log.parquet", state=postgres_url)
    out = run("erase", WHO, "--state", postgres_url)
    assert [place["removed"] > 0 for place in out["places"]] == [True]
    with SqlState(postgres_url) as store, store._engine.connect() as connection:
        for name in sa.inspect(connection).get_table_names():
            folder = connection.execute(sa.text("SHOW data_directory")).scalar_one()
            path = connection.execute(sa.text(f"SELECT pg_relation_filepath('{name}')")).scalar_one()
            if name in ("contact", "consent", "send", "send_step", "send_lock"):
                connection.execute(sa.text("CHECKPOINT"))
                raw = Path(folder, path).read_bytes()
                assert name_of(WHO).encode() not in raw, name
                assert name_of(OTHERS[0]).encode() in raw or name == "send_step", name


def test_the_hot_log_loses_the_person_and_stays_append_only(store_url: str) -> None:
    meta = small_meta()
    rows = [decision_row(number, meta) for number in range(4)]
    who = rows[2]["contact_id"]
    with SqlLog(store_url) as log:
        log.append(rows, meta)
        log.advance({"d000002": "dispatched", "d000001": "dispatched"}, START)
        log.append_outcomes([{"decision_id": f"d{n:06d}", "event": "clicked", "at": START} for n in (1, 2)])
    out = run("erase", who, "--hot-log", store_url)
    assert [(place["kind"], place["removed"]) for place in out["places"]] == [("hot log", 3)]
    with SqlLog(store_url) as log:
        assert log.decision("d000002") is None
        assert log.decision("d000001") is not None
        assert sum(part.num_rows for part in log.outcomes()) == 1
        for statement in ("DELETE FROM decision", "DELETE FROM outcome", "UPDATE decision SET propensity = 1"):
            with log._engine.begin() as connection, pytest.raises(sa.exc.DBAPIError, match="append-only"):
                connection.execute(sa.text(statement))
        log._engine.dispose()
        with log._engine.begin() as connection, pytest.raises(sa.exc.DBAPIError, match="append-only"):
            connection.execute(sa.text("DELETE FROM transition"))


def test_the_bytes_of_a_hot_log_are_gone(tmp_path: Path) -> None:
    meta = small_meta()
    rows = [decision_row(number, meta) for number in range(500)]
    with SqlLog(f"sqlite:///{tmp_path}/hot.db") as log:
        log.append(rows, meta)
        log.append_outcomes([{"decision_id": f"d{n:06d}", "event": "clicked", "at": START} for n in range(500)])
    who = rows[333]["contact_id"]
    run("erase", who, "--hot-log", f"sqlite:///{tmp_path}/hot.db")
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert who.encode() not in raw
    assert b"d000333" not in raw
    assert b"d000332" in raw


def test_an_erasure_that_was_cut_short_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in three places: the person gets nothing from the first moment, and the rerun finds what is left."""
    data = tmp_path / "data"
    data.mkdir()
    url = f"sqlite:///{data}/state.sqlite"
    world(data, url)
    asked = ("erase", WHO, "--state", url, "--files", data)

    def full(*_: Any, **__: Any) -> None:
        raise StorageError("cut short")

    with monkeypatch.context() as patch:
        patch.setattr("engine.erasure.files._without_dictionaries", full)
        assert call(*asked).code == 3
    with SqlState(url) as store:
        assert store.erased([name_of(WHO)]) == {name_of(WHO)}
    with monkeypatch.context() as patch:
        patch.setattr(stores.ErasableStore, "erase", full)
        refused(5, *asked)
    with monkeypatch.context() as patch:
        patch.setattr(stores.ErasableStore, "finish", full)
        refused(5, *asked)
    assert run(*asked)["clean"] is True
    assert bytes_with_person(data) == []
    with stores.ErasableStore(url) as store:
        assert {act["clean"] for act in store.acts()} == {True}


def test_a_reader_that_holds_the_store_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_BUSY_S", 0.3)
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of(EVERYBODY))
    holder = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)
    holder.execute("BEGIN")
    holder.execute("SELECT count(*) FROM contact").fetchone()
    error, hint = refused(5, "erase", WHO, "--state", url)
    assert "again" in hint + error
    holder.execute("COMMIT")
    holder.close()
    run("erase", WHO, "--state", url)
    (tmp_path / "facts.jsonl").unlink()
    assert bytes_with_person(tmp_path) == []


def test_dispatch_goes_on_for_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log still has the send of the erased person: it is suppressed, and stops nobody else's."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    places = world(tmp_path, url)
    sends = [row for row in pq.read_table(places["log"]).to_pylist() if row["action"]]
    who = sends[0]["contact_id"]
    run("erase", who, "--state", url)
    asked = ("dispatch", "--decisions", places["log"], "--state", url, "--now", "2026-11-03T11:30:00Z")
    out = run(*asked, "--out", tmp_path / "o.parquet")
    assert out["dispatched"] == len(sends) - 1
    assert out["suppressed"] == 1


def test_what_cannot_be_cleaned_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "letter.html").write_text(f"<p>Dear {WHO}</p>")
    (tmp_path / "notes.csv").write_text(f"contact_id,note\nx,asked by {WHO}\n")
    contact_file(tmp_path / "a.parquet", EVERYBODY)
    os.link(tmp_path / "a.parquet", tmp_path / "b.parquet")
    answer = call("erase", WHO, "--files", tmp_path)
    assert answer.code == 3
    assert answer.out["clean"] is False
    notes = {Path(place["place"]).name: place["note"] for place in answer.out["places"]}
    assert set(notes) >= {"letter.html", "notes.csv"}
    assert "hard links" in " ".join(notes.values())
    assert WHO not in json.dumps(answer.out)
    assert "Traceback" not in answer.err


def test_logs_that_wait_for_other_files_are_named(tmp_path: Path) -> None:
    """Nobody says that nobody was found where the log was not looked into."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    world(tmp_path, url)
    (tmp_path / "notes.csv").write_text(f"contact_id,note\nx,asked by {WHO}\n")
    answer = call("erase", WHO, "--log", tmp_path / "log.parquet", "--files", tmp_path / "notes.csv")
    assert answer.code == 3
    notes = {Path(place["place"]).name: (place["clean"], place["note"]) for place in answer.out["places"]}
    assert notes["log.parquet"][0] is False
    assert "make the other files clean" in notes["log.parquet"][1]


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    world(tmp_path, url)
    (tmp_path / "act.json").write_text("precious")
    answer = call("erase", WHO, "--state", url, "--record", tmp_path / "act.json")
    assert (answer.code, (tmp_path / "act.json").read_text()) == (2, "precious")
    assert run("erase", WHO, "--state", url, "--record", tmp_path / "new.json")["removed"] > 0


def test_a_damaged_file_stops_before_anything_is_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    url = f"sqlite:///{data}/state.sqlite"
    world(data, url)
    (data / "cut.parquet").write_bytes((data / "log.parquet").read_bytes()[:-200])
    before = {path.name: path.read_bytes() for path in data.glob("*.parquet")}
    answer = call("erase", WHO, "--state", url, "--files", data)
    assert answer.code == 3
    assert {path.name: path.read_bytes() for path in data.glob("*.parquet")} == before
    (data / "cut.parquet").unlink()
    run("erase", WHO, "--state", url, "--files", data)
    assert bytes_with_person(data) == []


def test_a_place_under_an_unknown_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    places = world(tmp_path, url)
    monkeypatch.setenv("TACTFUL_CONTACT_KEY", "0b 44 stone 9e green 12")
    for place in (("--state", url), ("--log", places["log"])):
        assert "fingerprint" in refused(4, "erase", WHO, *place)[0]
    # By the pseudonym no key is needed.
    assert run("erase", name_of(WHO), "--log", places["log"])["removed"] == 1


@pytest.mark.parametrize("more", [(), ("--state", "sqlite:///nowhere.sqlite"), ("--log", "nowhere.parquet")])
def test_nothing_given_and_nothing_there(
    more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(3 if more else 2, "erase", WHO, *more)
    refused(2, "erase", "--log", ".")
    assert list(tmp_path.iterdir()) == []


def test_ids_come_from_a_file_and_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    contact_file(tmp_path / "c.parquet", EVERYBODY)
    (tmp_path / "ids").write_text(f"{OTHERS[0]}\n\n  {OTHERS[1]} \n{OTHERS[0]}\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{OTHERS[2]}\n"))
    asked = ("erase", WHO, "--log", tmp_path / "c.parquet")
    assert (run(*asked, "--ids", tmp_path / "ids")["persons"], run(*asked, "--ids", "-")["persons"]) == (3, 2)
    assert pq.read_table(tmp_path / "c.parquet")["contact_id"].to_pylist() == OTHERS[3:]
    refused(2, *asked, "--reason", f"asked by {WHO}")


def test_sources_that_were_not_given_are_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    places = world(tmp_path, url)
    out = run("erase", WHO, "--log", places["log"])
    assert out["not_given"] == [str(tmp_path / "contacts.parquet")]


def test_two_numbers_are_two_people(tmp_path: Path) -> None:
    """A short id is matched as a whole cell of the id's column, never as a part, and never elsewhere."""
    (tmp_path / "c.csv").write_text("contact_id,age\n7,17\n17,7\n77,7\n")
    (tmp_path / "c.jsonl").write_text('{"contact_id": 7, "age": 17}\n{"contact_id": "17", "age": 7}\n')
    pq.write_table(pa.table({"contact_id": [7, 17, 77], "age": ["17", "7", "7"]}), tmp_path / "c.parquet")
    assert run("erase", "7", "--files", tmp_path)["removed"] == 3
    assert (tmp_path / "c.csv").read_text() == "contact_id,age\n17,7\n77,7\n"
    assert (tmp_path / "c.jsonl").read_text() == '{"contact_id": "17", "age": 7}\n'
    assert pq.read_table(tmp_path / "c.parquet")["contact_id"].to_pylist() == [17, 77]
