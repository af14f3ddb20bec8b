"""Whose id an event's id is: a repeat is known, another event is never lost, and old stores keep what they know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from engine.errors import DataError, StorageError
from engine.state.facts import Event, PastSend, Profile, former_event_id
from engine.state.store import SqlState
from engine.state.tables import EVENT
from engine.state.writer import KnownOtherwiseError
from engine.storage.database import open_database
from tests.experiments.serve.stateful_worlds import CATALOG

NOW = 1_790_000_000_000_000


@pytest.fixture
def state(store_url: str) -> Iterator[SqlState]:
    with SqlState(store_url) as store:
        yield store


def kinds(state: SqlState, *contacts: str) -> list[str]:
    return state.history(np.array(contacts, dtype=object), now_at=NOW).event_kind.tolist()


COMPLAINT = Event("c", "complaint", NOW - 9, event_id="e1", channel="email")


def test_an_id_of_another_contact_kind_or_source_is_another_event(state: SqlState) -> None:
    others = [
        Event("d", "complaint", NOW - 9, event_id="e1", channel="email"),
        Event("c", "click", NOW - 9, event_id="e1", channel="email"),
        Event("c", "complaint", NOW - 8, event_id="e1", channel="sms", source="provider"),
    ]
    assert state.record([COMPLAINT, *others]) == 4
    assert state.record([COMPLAINT, *others]) == 0
    assert sorted(kinds(state, "c", "d")) == ["click", "complaint", "complaint", "complaint"]


@pytest.mark.parametrize(
    "other",
    [
        Event("c", "complaint", NOW - 8, event_id="e1", channel="email"),
        Event("c", "complaint", NOW - 9, event_id="e1", channel="sms"),
        Event("c", "complaint", NOW - 9, event_id="e1"),
        Event("c", "complaint", NOW - 9, event_id="e1", channel="email", value_usd=1.0),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_other_content_under_a_known_key_is_an_error_and_nothing_is_written(
    state: SqlState, other: Event, together: bool
) -> None:
    if not together:
        state.record([COMPLAINT])
    with pytest.raises(KnownOtherwiseError, match="'e1'") as found:
        state.record([Profile("new", NOW), *([COMPLAINT] if together else []), other])
    assert found.value.position == (2 if together else 1)
    assert len(kinds(state, "c", "new")) == (0 if together else 1)
    assert not state.batch(np.array(["new"], dtype=object), CATALOG, now_at=NOW).history_known.any()


def test_a_past_send_with_other_content_is_an_error(state: SqlState) -> None:
    """Left out in silence it would not count against any cap."""
    send = PastSend("m1", "c", "email", "promotional", NOW - 5, template="a")
    assert state.record([send, send]) == 1
    assert state.record([send]) == 0
    for other in (
        PastSend("m1", "c", "sms", "promotional", NOW - 5, template="a"),
        PastSend("m1", "c", "email", "promotional", NOW - 4, template="a"),
        PastSend("m1", "c", "email", "promotional", NOW - 5, template="b"),
        PastSend("m1", "d", "email", "promotional", NOW - 5, template="a"),
    ):
        with pytest.raises(DataError, match="'m1' is known as"):
            state.record([other])
    with pytest.raises(DataError, match="'m2' is known as one with another channel"):
        state.record([PastSend("m2", "c", "email", "promotional", NOW), PastSend("m2", "c", "sms", "promotional", NOW)])


def make_old(url: str, event: Event) -> None:
    """The store as version 1 left it: an event's id alone is its key, and no table says a version."""
    with SqlState(url) as state:
        state.record([event])
    engine = open_database(url, lambda _: None, owner="test")
    with engine.begin() as connection:
        connection.execute(sa.update(EVENT).values(fact_id=former_event_id(event)))
        for table in ("send_owed", "decided", "decided_batch", "decided_run", "store"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for column in ("source", "event_id"):
            connection.exec_driver_sql(f"ALTER TABLE event DROP COLUMN {column}")
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("DROP SEQUENCE store_sequence")
    engine.dispose()


def test_a_store_of_the_first_version_is_brought_up_to_date(store_url: str) -> None:
    make_old(store_url, COMPLAINT)
    _forget_witness(store_url)
    with SqlState(store_url) as state:
        assert kinds(state, "c") == ["complaint"]
        # Its events are known by their content; another event of the same id, once dropped, is taken in.
        assert state.record([COMPLAINT]) == 0
        assert state.record([Event("d", "complaint", NOW - 9, event_id="e1", channel="email")]) == 1
        assert state.mark().sequence == 2
    with SqlState(store_url) as state:
        assert kinds(state, "c", "d") == ["complaint", "complaint"]


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store_url: str) -> None:
    with SqlState(store_url) as state:
        state.record([COMPLAINT])
    engine = open_database(store_url, lambda _: None, owner="test")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE store SET version = 4")
    engine.dispose()
    with pytest.raises(StorageError, match="schema version 4, this Tactful reads up to 3"):
        SqlState(store_url)


def _forget_witness(url: str) -> None:
    """A store of the first version had none."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///") + ".sequence").unlink()
