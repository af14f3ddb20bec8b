"""A URL under which no store stands is an error; a new store is made only where somebody asks for it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from engine.errors import DataError, ParameterError, StorageError
from engine.state.store import SqlState
from engine.storage.database import file_of, require_store
from tests.experiments.cli.test_bad_input import listing
from tests.experiments.commands import refused, run
from tests.experiments.serve.stateful_worlds import contact_file, decide, fact_file, facts_of, names, record
from tests.postgres_server import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    return fact_file(tmp_path / "facts.jsonl", facts_of(names(0, 2)))


def test_a_mistyped_url_makes_no_store(facts: Path, tmp_path: Path) -> None:
    before = listing(tmp_path)
    url = f"sqlite:///{tmp_path}/sate.sqlite"
    error, hint = refused(3, "state", "record", "--state", url, "--facts", facts)
    assert "sate.sqlite" in error
    assert "--create" in hint
    refused(3, "state", "expire", "--state", url, "--now", "2026-11-03T12:00:00Z")
    assert listing(tmp_path) == before
    run("state", "record", "--state", url, "--facts", facts, "--create")
    assert run("state", "record", "--state", url, "--facts", facts)["known"] == 6
    assert run("state", "record", "--state", url, "--facts", facts, "--create")["known"] == 6


def test_decide_and_dispatch_make_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contacts = contact_file(tmp_path / "c.parquet", names(0, 2))
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of(names(0, 2)))
    decide(tmp_path, contacts, "d.parquet", state=url)
    wrong = f"sqlite:///{tmp_path}/State.sqlite"
    with pytest.raises(DataError, match="no store"):
        decide(tmp_path, contacts, "e.parquet", state=wrong)
    asked = ("dispatch", "--decisions", tmp_path / "d.parquet", "--now", "2026-11-03T11:30:00Z", "--state", wrong)
    monkeypatch.delenv("TACTFUL_CONTACT_KEY")
    assert "no store" in refused(3, *asked, "--out", tmp_path / "o.parquet")[0]
    assert not (tmp_path / "State.sqlite").exists()
    assert not (tmp_path / "e.parquet").exists()


def test_a_foreign_database_stays_as_it_is(tmp_path: Path, facts: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    with sqlite3.connect(tmp_path / "foreign.sqlite") as connection:
        connection.execute("CREATE TABLE song (name TEXT)")
    connection.close()
    before = listing(tmp_path)
    for name in ("empty", "foreign"):
        refused(3, "state", "record", "--state", f"sqlite:///{tmp_path}/{name}.sqlite", "--facts", facts)
    assert listing(tmp_path) == before


def test_a_server_without_our_tables(postgres_url: str, facts: Path) -> None:
    with pytest.raises(DataError, match="no store"):
        SqlState.existing(postgres_url)
    run("state", "record", "--state", postgres_url, "--facts", facts, "--create")
    with SqlState.existing(postgres_url) as store:
        assert store.key_fingerprint() is not None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hidden@h:port/x",
        "postgresql://u:hidden@h:99999/x",
        "postgresql://u:hidden@h:-1/x",
        "postgresql://u:hidden@[::1/x",
        "mysql://u:hidden@h/x",
        "nonsense",
        "",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "sqlite://host/file.sqlite",
        "sqlite:///a\0b",
        "sqlite:file.sqlite",
    ],
)
def test_urls_that_cannot_be(url: str, facts: Path, tmp_path: Path) -> None:
    """One kind of error for all of them, and a password is not repeated."""
    error, hint = refused(2, "state", "record", "--state", url, "--facts", facts, "--create")
    assert "hidden" not in error + hint
    for ask in (lambda: file_of(url, owner="t"), lambda: require_store(url, "contact", owner="t", hint="")):
        with pytest.raises(ParameterError):
            ask()


def test_a_server_that_is_not_there(tmp_path: Path, facts: Path) -> None:
    pytest.importorskip("psycopg")
    url = f"postgresql://u@/x?host={tmp_path}"
    with pytest.raises(StorageError):
        SqlState.existing(url)
    refused(5, "state", "record", "--state", url, "--facts", facts)


def test_a_folder_and_a_file_that_is_no_database(tmp_path: Path, facts: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database, " * 100)
    for name in ("text.sqlite", ""):
        for more in ((), ("--create",)):
            refused(5, "state", "record", "--state", f"sqlite:///{tmp_path}/{name}", "--facts", facts, *more)
    refused(5, "state", "record", "--state", f"sqlite:///{tmp_path}/no/s.sqlite", "--facts", facts, "--create")
