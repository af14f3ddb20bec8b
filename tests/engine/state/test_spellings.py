"""Ids that differ in their spelling alone: a stop under one closes the others, a grant under one opens no other."""

from __future__ import annotations

import sqlite3
import unicodedata
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.contacts.contacts import YES
from engine.identity import contact_pseudonyms
from engine.state.facts import Consent, Profile
from engine.state.spellings import folded
from engine.state.store import SqlState
from experiments.serve.dispatch import DispatchRequest, dispatch_file
from experiments.serve.state import StateRecordOutput, record_file
from tests.experiments.commands import run, screen
from tests.experiments.serve.stateful_worlds import (
    CATALOG,
    KEY,
    NOW,
    contact_file,
    decide,
    fact_file,
    facts_of,
    names,
    record,
)
from tests.postgres_server import postgres_server, postgres_url, store_url

__all__ = ["postgres_server", "postgres_url", "store_url"]

KNOWN = "Zo\u00eb.Rossi@example.org"
ALIKE = (
    "zo\u00eb.rossi@example.org",
    "ZO\u00cb.ROSSI@EXAMPLE.ORG",
    "Zo\u00eb.Rossi @example.org",
    "\uff3ao\u00eb.Rossi@example.org",
)
OTHERS = ("Zoe.Rossi@example.org", "Zo\u00eb-Rossi@example.org", "Zo\u00eb.Rossi@example.com")
STOPS: dict[str, dict[str, Any]] = {
    "withdrawal": {"fact": "withdrawal"},
    "denial": {"fact": "denial", "channel": "email", "purpose": "promotional"},
    "suppression": {"fact": "suppression", "channel": "email", "reason": "opt_out"},
    "unsubscribe": {"fact": "event", "kind": "unsubscribe", "channel": "email"},
    "complaint": {"fact": "event", "kind": "complaint"},
    "reply": {"fact": "reply", "channel": "email", "text": "STOP"},
}
LONG_AGO = 1_700_000_000_000_000
NOW_AT = int(NOW.timestamp()) * 1_000_000


def pseudonym(name: str) -> str:
    return str(contact_pseudonyms(np.array([name], dtype=object), KEY)[0])


def stop(name: str, kind: str = "suppression") -> dict[str, Any]:
    return {"contact_id": name, "at": "2026-11-02T00:00:00Z", **STOPS[kind]}


def recorded(folder: Path, url: str, *facts: dict[str, Any]) -> StateRecordOutput:
    return record_file(url, fact_file(folder / "facts.jsonl", facts), KEY, create=True)


def emailed(url: str, *contacts: str) -> list[bool]:
    """Whether the store lets a promotional e-mail go to contacts."""
    with SqlState.existing(url) as store:
        who = contact_pseudonyms(np.array(contacts, dtype=object), KEY)
        batch = store.batch(who, CATALOG, now_at=NOW_AT)
    free = (batch.consent[:, 0, 0] == YES) & (batch.suppressed[:, 0] == 0)
    return [bool(one) for one in free]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("kind", STOPS)
def test_a_stop_closes_the_contact_that_is_spelt_alike(tmp_path: Path, kind: str, alike: str, first: bool) -> None:
    """Whichever of the two is recorded first."""
    url, steps = f"sqlite:///{tmp_path}/s.sqlite", [facts_of([KNOWN, "else"]), [stop(alike, kind)]]
    for facts in steps[::-1] if first else steps:
        recorded(tmp_path, url, *facts)
    assert emailed(url, KNOWN, "else") == [False, True]
    assert emailed(url, "else", alike, KNOWN, KNOWN) == [True, False, False, False]


@pytest.mark.parametrize("other", OTHERS)
def test_other_ids_are_other_contacts(tmp_path: Path, other: str) -> None:
    url = f"sqlite:///{tmp_path}/s.sqlite"
    out = recorded(tmp_path, url, *facts_of([KNOWN]), stop(other))
    assert emailed(url, KNOWN) == [True]
    assert (out.unknown_contacts, out.spelt_otherwise) == (1, 0)


def test_a_grant_opens_nothing_under_another_spelling(store_url: str, tmp_path: Path) -> None:
    recorded(tmp_path, store_url, *facts_of([KNOWN]), stop(ALIKE[0]), *facts_of([ALIKE[1]]))
    assert emailed(store_url, KNOWN, ALIKE[0], ALIKE[1], ALIKE[2]) == [False, False, False, False]
    lift = stop(KNOWN) | {"lifted": True, "at": "2026-11-03T00:00:00Z"}
    recorded(tmp_path, store_url, lift)
    assert emailed(store_url, KNOWN) == [False]  # a lift ends what is recorded under its own id
    recorded(tmp_path, store_url, lift | {"contact_id": ALIKE[0]})
    assert emailed(store_url, KNOWN, ALIKE[0], ALIKE[1]) == [True, False, True]


def test_unknown_contacts_are_said(store_url: str, tmp_path: Path) -> None:
    out = recorded(tmp_path, store_url, *facts_of(["ann", "Bob"]), stop("ann"), stop("bob"), stop("quentin"))
    assert (out.unknown_contacts, out.spelt_otherwise) == (2, 1)
    near = pseudonym("Bob")[:8]
    assert out.unknown_shown == {"b***b (3 characters)": near, "q***n (7 characters)": None}
    unknown, alike = out.warnings
    assert unknown.startswith("the store knows nothing else of 2 of 3 contacts whose opt-outs, refusals or bounces are")
    assert f"b***b (3 characters) (spelt like the known {near}), q***n (7 characters)" in unknown
    assert alike.startswith("1 of them differ from a known contact")
    assert "quentin" not in "".join(out.warnings)
    assert not recorded(tmp_path, store_url, stop("ann")).warnings
    assert not recorded(tmp_path, store_url, *facts_of(["quentin"])).warnings
    assert not recorded(tmp_path, store_url, stop("quentin", "withdrawal")).warnings


def test_the_command_says_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.sqlite"
    recorded(tmp_path, url, *facts_of(["ann"]))
    facts = fact_file(tmp_path / "more.jsonl", [stop("Ann")])
    (tmp_path / "key").write_text(KEY)
    asked = ("state", "record", "--state", url, "--facts", facts, "--contact-key-file", tmp_path / "key")
    out = run(*asked)
    assert (out["unknown_contacts"], out["spelt_otherwise"]) == (1, 1)
    assert out["unknown_shown"] == {"A***n (3 characters)": pseudonym("ann")[:8]}
    assert "warning: the store knows nothing else of 1 of 1 contacts" in " ".join(screen(*asked).split())


def dispatched(folder: Path, log: str, url: str) -> int:
    request = DispatchRequest(folder / log, None, NOW + timedelta(minutes=5), folder / "out.parquet", KEY, state=url)
    return dispatch_file(request).dispatched


def old_store(folder: Path, *ids: str) -> str:
    """A store of the version before spellings were kept, whose ids were not composed."""
    url = f"sqlite:///{folder}/old.sqlite"
    with SqlState(url) as store:
        store.use_key(KEY)
        for name in ids:
            who = pseudonym(name)
            profile = Profile(who, LONG_AGO, zone="UTC", history_from_at=LONG_AGO)
            purpose = ("promotional", "granted", LONG_AGO, "form")
            store.record([profile, *(Consent(who, channel, *purpose) for channel in CATALOG.channels)])
    connection = sqlite3.connect(folder / "old.sqlite")
    with connection:
        connection.execute("DROP TABLE spelling")
        connection.execute("UPDATE store SET version = 2")
    connection.close()
    return url


def test_an_old_store_is_found_under_composed_ids(tmp_path: Path) -> None:
    """Recorded decomposed by an earlier version; decided, stopped and sent under the composed form."""
    apart = unicodedata.normalize("NFD", KNOWN)
    url = old_store(tmp_path, apart, *names(0, 30))
    people = contact_file(tmp_path / "c.parquet", [KNOWN])
    runs = [decide(tmp_path, people, f"log{at}.parquet", state=url, seed=at, use_case=f"u{at}") for at in range(8)]
    sent = [at for at, one in enumerate(runs) if one.sends]
    assert sent
    assert emailed(url, KNOWN) == emailed(url, apart) == [True]
    assert dispatched(tmp_path, f"log{sent[0]}.parquet", url) == 1
    out = recorded(tmp_path, url, stop(KNOWN, "withdrawal"))
    assert out.unknown_contacts == 0
    assert emailed(url, KNOWN) == emailed(url, apart) == [False]


def test_a_stop_of_an_old_store_holds_under_the_composed_id(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", KNOWN)
    url = old_store(tmp_path, apart)
    with SqlState.existing(url) as store:
        store.record([Consent(pseudonym(apart), None, None, "withdrawn", 1_750_000_000_000_000)])
    recorded(tmp_path, url, *facts_of([KNOWN]))
    assert emailed(url, KNOWN) == [False]


def test_a_stop_between_decide_and_dispatch_holds_under_another_spelling(tmp_path: Path) -> None:
    """The contacts of the store were never spelt out to this version but by the decision."""
    url = old_store(tmp_path, *names(0, 40))
    decided = decide(tmp_path, contact_file(tmp_path / "c.parquet", names(0, 40)), "log.parquet", state=url)
    assert sum(decided.sends.values()) > 20
    recorded(tmp_path, url, *(stop(name.upper(), "withdrawal") for name in names(0, 40)))
    assert dispatched(tmp_path, "log.parquet", url) == 0


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Ann", "aNN", True),
        ("a n n", "ann", True),
        ("stra\u00dfe", "STRASSE", True),
        ("\uff21nn", "ann", True),
        ("a\u200bnn", "ann", True),
        ("e\u0301a", "\u00c9A", True),
        ("a-nn", "ann", False),
        ("a_nn", "ann", False),
        ("ann1", "ann", False),
        ("\u0430nn", "ann", False),  # a Cyrillic letter is another letter in an id
    ],
)
def test_folding(one: str, other: str, alike: bool) -> None:
    assert (folded(one) == folded(other)) == alike
    assert folded(folded(one)) == folded(one)


def test_nothing_is_noted_twice(tmp_path: Path) -> None:
    """A run that is repeated leaves the store as it was."""
    url = f"sqlite:///{tmp_path}/s.sqlite"
    record(tmp_path, url, facts_of(names(0, 3)))
    with SqlState.existing(url) as store:
        before = store.mark()
        store.note_ids(names(0, 3), KEY)
        assert store.mark() == before
        store.note_ids(names(0, 4), KEY)
        assert store.mark().sequence == before.sequence + 1
