"""`tactful erase` finds a person under every spelling that the readers of contact and fact files accept."""

from __future__ import annotations

import gzip
import json
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from engine.identity import contact_pseudonyms
from engine.state.facts import Event, Suppression
from engine.state.sends.decisions import packed
from engine.state.store import SqlState
from engine.state.tables import DECIDED_BATCH
from tests.experiments.commands import call, run
from tests.experiments.serve.stateful_worlds import KEY, NOW, contact_file, decide, facts_of, record
from tests.postgres_server import postgres_server, postgres_url, store_url

__all__ = ["postgres_server", "postgres_url", "store_url"]

WHO, OTHER = "jürgen.k@example.org", "bob@example.org"
NFD = unicodedata.normalize("NFD", WHO)
NOW_AT = int(NOW.timestamp()) * 1_000_000


def jsonl(key: str, *ids: str) -> bytes:
    return "".join(json.dumps({key: name, "a": 1}) + "\n" for name in ids).encode()


def table(header: str, *ids: str, encoding: str = "utf-8") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"{header},note", *(f"{name},x" for name in ids))).encode(encoding)


REMOVED = {
    "facts.json": (jsonl("contact_id", WHO, OTHER), jsonl("contact_id", OTHER)),
    "c.jsonl": (jsonl("Contact ID", WHO, OTHER, NFD), jsonl("Contact ID", OTHER)),
    "wide.csv": (table("Contact ID", WHO, OTHER, encoding="utf-16"), table("Contact ID", OTHER, encoding="utf-16")),
    "wider.csv": (table("contact_id", WHO, OTHER, encoding="utf-32"), table("contact_id", OTHER, encoding="utf-32")),
    "apart.csv": (table("CONTACT-ID", NFD, OTHER), table("CONTACT-ID", OTHER)),
    "old.csv": (table("contact id", WHO, OTHER, encoding="latin-1"), table("contact id", OTHER)),
    "f.rejects.csv": (f'row,value\n1,"{json.dumps(WHO)[1:-1]}"\n2,x\n'.encode(), b"row,value\n2,x\n"),
    "old.rejects.csv": (table("row", WHO, OTHER, encoding="latin-1"), table("row", OTHER)),
    "blank.csv": (b"\n\n" + table("contact_id", f" {WHO}\u200b", OTHER), b"\n\n" + table("contact_id", OTHER)),
}


@pytest.mark.parametrize("name", REMOVED)
def test_rows_go_under_every_spelling(name: str, tmp_path: Path) -> None:
    before, after = REMOVED[name]
    (tmp_path / name).write_bytes(before)
    # The same person, however the command line spells the accent.
    assert run("erase", NFD, "--files", tmp_path)["clean"] is True
    assert (tmp_path / name).read_bytes() == after


def test_doubled_quotes_and_gzip_by_content(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(gzip.compress(table("contact-id", '"jo ""x"" y"', OTHER)))
    run("erase", 'jo "x" y', "--files", tmp_path)
    assert gzip.decompress((tmp_path / "c.csv").read_bytes()) == table("contact-id", OTHER)


LEFT = {
    "inside.jsonl": json.dumps({"contact_id": "bob", "note": f"friend of {WHO}"}).encode(),
    "nested.json": json.dumps({"contact_id": "bob", "x": [[{"y": [WHO]}]]}).encode(),
    "document.json": json.dumps([{"contact_id": WHO}, {"contact_id": "bob"}], indent=0).encode(),
    "quoted.csv": b'contact_id,note\nbob,"{""friend"": ""j\\u00fcrgen.k@example.org""}"\n',
    "old.csv": table("contact_id", "müller", encoding="latin-1"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_stays_is_not_clean(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(LEFT[name])
    answer = call("erase", WHO, "--files", tmp_path)
    assert (answer.code, answer.out["clean"]) == (3, False)
    assert (tmp_path / name).read_bytes() == LEFT[name]


def test_an_archive_is_not_clean(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.csv", table("contact_id", WHO))
    assert call("erase", WHO, "--files", tmp_path).code == 3


@pytest.mark.parametrize("value", [f"friend of {WHO}", [f"of {WHO}"], {"a": [{"b": NFD}]}, f"of {WHO}".encode()])
def test_a_name_inside_a_value_of_parquet_is_not_clean(value: object, tmp_path: Path) -> None:
    pq.write_table(pa.table({"contact_id": ["bob"], "note": [value]}), tmp_path / "c.parquet", compression="zstd")
    answer = call("erase", WHO, "--files", tmp_path)
    assert (answer.code, answer.out["places"][0]["note"]) == (3, "columns note still name a person")
    assert call("erase", "somebody@example.org", "--files", tmp_path).code == 0


def test_a_fact_and_a_contact_are_one_person_under_both_forms(tmp_path: Path) -> None:
    """The refusal is written with the accent apart, the contact with it composed: nothing is sent."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    stop = {"fact": "suppression", "contact_id": NFD, "reason": "opt_out", "at": "2026-10-01T00:00:00Z", "source": "x"}
    everybody = [WHO, *(f"p{number}@example.org" for number in range(20))]
    record(tmp_path, url, [*facts_of(everybody), stop])
    decide(tmp_path, contact_file(tmp_path / "c.parquet", everybody), "log.parquet", state=url)
    rows = {row["contact_id"]: row["action"] for row in pq.read_table(tmp_path / "log.parquet").to_pylist()}
    assert rows.pop(str(contact_pseudonyms(np.array([WHO], dtype=object), KEY)[0])) == 0
    assert sum(action > 0 for action in rows.values()) > 5
    assert run("erase", NFD, "--files", tmp_path / "c.parquet")["removed"] == 1


def test_texts_of_other_contacts_in_a_store_are_not_clean(store_url: str, tmp_path: Path) -> None:
    record(tmp_path, store_url, facts_of([WHO, OTHER]))
    assert call("erase", OTHER, "--state", store_url).code == 0
    with SqlState(store_url) as store:
        store.record([Suppression("0" * 32, None, f"asked by {WHO}", NOW_AT)])
        store.record([Event("0" * 32, "open", NOW_AT, source="x", event_id=f"for-{WHO}")])
    answer = call("erase", WHO, "--state", store_url)
    assert answer.code == 3
    note = answer.out["places"][0]["note"]
    assert "event.event_id, suppression.reason of other contacts" in note
    assert WHO not in json.dumps(answer.out, ensure_ascii=False)


def test_a_record_of_decisions_that_names_the_person_is_not_clean(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of([OTHER]))
    decide(tmp_path, contact_file(tmp_path / "c.parquet", [OTHER]), "log.parquet", state=url)
    assert call("erase", WHO, "--state", url).code == 0
    with SqlState(url) as store, store._engine.begin() as connection:
        kept = pa.ipc.open_stream(connection.execute(sa.select(DECIDED_BATCH.c.record)).scalar_one()).read_all()
        noted = kept.append_column("note", pa.array([[f"of {WHO}"]] * kept.num_rows))
        connection.execute(sa.update(DECIDED_BATCH).values(record=packed(noted)))
    answer = call("erase", WHO, "--state", url)
    assert (answer.code, "decided_batch.record" in answer.out["places"][0]["note"]) == (3, True)


def test_a_footer_that_names_the_person_is_not_clean(tmp_path: Path) -> None:
    rows = pa.table({"contact_id": ["bob"]}).replace_schema_metadata({"from": json.dumps(f"{WHO}.csv")})
    pq.write_table(rows, tmp_path / "c.parquet")
    assert call("erase", WHO, "--files", tmp_path).code == 3
