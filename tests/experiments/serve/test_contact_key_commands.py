"""The contact key as commands find it: never public, never printed, and refused where log or store has another."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.contacts.key import KEY_FILE, fingerprint
from engine.identity import pseudonyms
from engine.log.parquet import LogReader
from engine.state.store import SqlState
from tests.experiments.cli.test_bad_input import Place
from tests.experiments.commands import call, refused, run
from tests.experiments.serve.stateful_worlds import (
    CATALOG,
    KEY,
    contact_file,
    decide,
    fact_file,
    facts_of,
    names,
    record,
)
from tests.postgres_server import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

GOOD = "f3 9a heron c1 blue 77"
OTHER = "0b 44 stone 9e green 12"


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("TACTFUL_CONTACT_KEY")
    return monkeypatch


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_import_makes_a_key_and_says_where(place: Place, no_key: pytest.MonkeyPatch) -> None:
    answer = call(*place.importing())
    said = answer.out["contact_key"]
    path = place.folder / KEY_FILE
    assert said["file"] == str(path)
    assert (said["source"], said["created"]) == ("file", True)
    assert f"made a new contact key: {path}" in answer.err
    key = path.read_text().strip()
    assert said["fingerprint"] == fingerprint(key) == LogReader(place.out).meta.contact_key
    assert key not in json.dumps(answer.out) + answer.err
    assert key.encode() not in place.out.read_bytes()
    first = pq.read_table(place.out)["contact_id"].to_pylist()
    assert not {str(one) for one in pseudonyms(pq.read_table(place.out)["decision_id"].to_numpy(), "tactful")} & {
        *first
    }
    again = run(*place.importing(), "--replace")
    assert again["contact_key"]["created"] is False
    assert pq.read_table(place.out)["contact_id"].to_pylist() == first


def test_a_key_by_option_and_by_variable(place: Place, no_key: pytest.MonkeyPatch) -> None:
    (place.folder / "k").write_text(GOOD)
    by_option = run(*place.importing(), "--contact-key-file", place.folder / "k")["contact_key"]
    no_key.setenv("TACTFUL_CONTACT_KEY_FILE", str(place.folder / "k"))
    assert run(*place.importing(), "--replace")["contact_key"] == by_option
    no_key.delenv("TACTFUL_CONTACT_KEY_FILE")
    no_key.setenv("TACTFUL_CONTACT_KEY", GOOD)
    by_variable = run(*place.importing(), "--replace")["contact_key"]
    assert (by_variable["source"], by_variable["file"]) == ("environment", None)
    assert by_variable["fingerprint"] == by_option["fingerprint"]
    assert not (place.folder / KEY_FILE).exists()


@pytest.mark.parametrize("key", ["tactful", "demo", "short", "changeme-changeme", ""])
def test_weak_keys_stop_a_command_before_it_works(key: str, place: Place, no_key: pytest.MonkeyPatch) -> None:
    no_key.setenv("TACTFUL_CONTACT_KEY", key)
    refused(4, *place.importing())
    assert not place.out.exists()


def test_the_store_keeps_its_key_beside_it_and_refuses_another(tmp_path: Path, no_key: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    facts = fact_file(tmp_path / "f.jsonl", facts_of(names(0, 3)))
    recording = ("state", "record", "--state", url, "--facts", facts)
    made = run(*recording, "--create")["contact_key"]
    assert made["file"] == str(tmp_path / KEY_FILE)
    with SqlState(url) as store:
        assert store.key_fingerprint() == made["fingerprint"]
    assert run(*recording)["contact_key"] == {**made, "created": False}
    no_key.setenv("TACTFUL_CONTACT_KEY", GOOD)
    error, hint = refused(4, *recording)
    assert made["fingerprint"] in error
    assert "stranger" in hint
    no_key.delenv("TACTFUL_CONTACT_KEY")
    (tmp_path / KEY_FILE).unlink()
    error, _ = refused(4, *recording)
    assert made["fingerprint"] in error
    assert not (tmp_path / KEY_FILE).exists(), "a new key would make strangers of all contacts"


def test_a_store_on_a_server_demands_a_key(postgres_url: str, tmp_path: Path, no_key: pytest.MonkeyPatch) -> None:
    facts = fact_file(tmp_path / "f.jsonl", facts_of(names(0, 1)))
    recording = ("state", "record", "--state", postgres_url, "--facts", facts, "--create")
    assert "needs the contact key" in refused(4, *recording)[0]
    no_key.setenv("TACTFUL_CONTACT_KEY", GOOD)
    run(*recording)
    no_key.setenv("TACTFUL_CONTACT_KEY", OTHER)
    assert fingerprint(GOOD) in refused(4, *recording)[0]


def test_decide_on_a_store_of_another_key_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of(names(0, 5)))
    contacts = contact_file(tmp_path / "c.parquet", names(0, 5))
    decide(tmp_path, contacts, "d.parquet", state=url)
    assert LogReader(tmp_path / "d.parquet").meta.contact_key == fingerprint(KEY)
    with SqlState(url) as store:
        with pytest.raises(Exception, match="another key every contact is a stranger"):
            store.use_key(OTHER)
        assert store.key_fingerprint() == fingerprint(KEY)


def test_dispatch_and_join_refuse_another_key_than_the_log(tmp_path: Path, no_key: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of(names(0, 5)))
    contacts = contact_file(tmp_path / "c.parquet", names(0, 5))
    decide(tmp_path, contacts, "d.parquet", state=url)
    log, out = tmp_path / "d.parquet", tmp_path / "o.parquet"
    dispatching = ("dispatch", "--decisions", log, "--now", "2026-11-03T11:30:00Z", "--out", out)
    assert fingerprint(KEY) in refused(4, *dispatching, "--contacts", contacts)[0]
    no_key.setenv("TACTFUL_CONTACT_KEY", GOOD)
    for more in (("--contacts", contacts), ("--state", url)):
        error, _ = refused(4, *dispatching, *more)
        assert fingerprint(KEY) in error
        assert not out.exists()
    joining = (
        "join",
        "--log",
        log,
        "--outcomes",
        out,
        "--now",
        "2026-11-04T00:00:00Z",
        "--out",
        tmp_path / "j.parquet",
    )
    assert fingerprint(KEY) in refused(4, *joining)[0]
    no_key.delenv("TACTFUL_CONTACT_KEY")
    done = run(*dispatching, "--state", url)
    assert done["contact_key"] is None
    assert done["decisions"] == 5
    assert CATALOG.k == 5


def test_simulated_people_have_a_fixed_key(no_key: pytest.MonkeyPatch) -> None:
    from experiments.cli.contact_keys import key_of_simulation

    assert key_of_simulation() == "tactful"
