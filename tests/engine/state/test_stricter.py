"""A contact file beside a store: either closes, neither opens what the other closes, and what is not read is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.contacts.contacts import YES
from engine.contacts.file import contact_batches
from engine.features import FeatureSchema
from engine.identity import contact_pseudonyms
from engine.log.parquet import LogReader
from engine.state.reading.stricter import stricter
from engine.state.store import SqlState
from tests.experiments.serve.stateful_worlds import CATALOG, KEY, NOW, decide, facts_of, names, record

NOW_AT = int(NOW.timestamp()) * 1_000_000
GRANT = {
    "consent_email_promotional": "true",
    "consent_email_promotional_at": "2025-01-01T00:00:00Z",
    "consent_email_promotional_source": "form",
}
BOTH = {"email", "sms"}
HAPPENED = '[{"at": "2026-11-01T00:00:00Z", "event": %s}]'
# What a row of the file says -> the channels that are left open to promotional sends; the store leaves both open.
ROWS: dict[str, tuple[Mapping[str, str], set[str]]] = {
    "nothing": ({}, BOTH),
    "a grant": (GRANT, BOTH),
    "a refusal": ({"consent_email_promotional": "false"}, {"sms"}),
    "an empty cell": ({"consent_email_promotional": ""}, {"sms"}),
    "a grant without proof": ({"consent_email_promotional": "true"}, {"sms"}),
    "a grant without an instant": (GRANT | {"consent_email_promotional_at": ""}, {"sms"}),
    "a grant to come": (GRANT | {"consent_email_promotional_at": "2026-11-04T00:00:00Z"}, {"sms"}),
    "a grant that ended": (GRANT | {"consent_email_promotional_expires_at": "2026-11-01T00:00:00Z"}, {"sms"}),
    "a grant that will end": (
        GRANT | {"consent_email_promotional_expires_at": "2026-11-30T00:00:00Z"},
        {"email", "sms"},
    ),
    "a refusal of another purpose": ({"consent_email_transactional": "false"}, BOTH),
    "a suppression": ({"suppressed_sms": "true"}, {"email"}),
    "a suppression in other words": ({"Suppressed E-Mail": "yes"}, {"sms"}),
    "an empty suppression": ({"suppressed_sms": ""}, {"email"}),
    "no suppression": ({"suppressed_sms": "false", "Suppressed E-Mail": "false"}, BOTH),
    "an unsubscription": ({"events": HAPPENED % '"unsubscribed", "channel": "email"'}, {"sms"}),
    "an unsubscription from all": ({"events": HAPPENED % '"unsubscribed"'}, set()),
    "an opening": ({"events": HAPPENED % '"opened", "channel": "sms"'}, BOTH),
}


def csv(folder: Path, rows: list[dict[str, Any]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [['"' + str(row.get(name, "")).replace('"', '""') + '"' for name in columns] for row in rows]
    path = folder / "contacts.csv"
    path.write_text("\n".join(",".join(line) for line in [columns, *cells]) + "\n", encoding="utf-8")
    return path


def jsonl(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "contacts.jsonl"
    cells = [{name: json.loads(cell) if name == "events" else cell for name, cell in row.items()} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in cells), encoding="utf-8")
    return path


def open_to(store: SqlState, path: Path) -> set[str]:
    """The channels on which the rules of the store and the file let a promotional message go to the contact."""
    (file,) = contact_batches(path, FeatureSchema(features=()), CATALOG, NOW)
    who = contact_pseudonyms(file.contact_id, KEY)
    both, _ = stricter(store.batch(who, CATALOG, now_at=NOW_AT), file, NOW_AT)
    granted = (both.consent[0, :, 0] == YES) & (both.suppressed[0] == 0)
    return {channel for channel, free in zip(CATALOG.channels, granted, strict=True) if free}


@pytest.mark.parametrize("said", ROWS)
@pytest.mark.parametrize("write", [csv, jsonl])
def test_what_the_file_says_against_a_send_closes(tmp_path: Path, write: Any, said: str) -> None:
    row, left = ROWS[said]
    if write is jsonl and "an empty" in said:
        left = BOTH  # a row of JSON has no empty cells, only keys that it lacks
        row = {name: cell for name, cell in row.items() if cell}
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of(["c0"]))
    with SqlState.existing(url) as store:
        assert open_to(store, write(tmp_path, [{"contact_id": "c0", **row}])) == left


@pytest.mark.parametrize("closed", ["withdrawal", "suppression", "event", "none"])
@pytest.mark.parametrize("said", ROWS)
def test_what_the_store_closes_no_file_opens(tmp_path: Path, closed: str, said: str) -> None:
    facts = {
        "withdrawal": {"fact": "withdrawal"},
        "suppression": {"fact": "suppression", "reason": "opt_out"},
        "event": {"fact": "event", "kind": "unsubscribe"},
    }
    url, about = f"sqlite:///{tmp_path}/state.sqlite", {"contact_id": "c0", "at": "2026-11-02T00:00:00Z"}
    recorded = facts_of(["other" if closed == "none" else "c0"])
    record(tmp_path, url, [*recorded, *([facts[closed] | about] if closed in facts else [])])
    with SqlState.existing(url) as store:
        assert open_to(store, csv(tmp_path, [{"contact_id": "c0", **ROWS[said][0]}])) == set()


def test_of_two_ends_the_earlier_counts(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of(["c0"]))
    row = {"contact_id": "c0", **ROWS["a grant that will end"][0]}
    (file,) = contact_batches(csv(tmp_path, [row]), FeatureSchema(features=()), CATALOG, NOW)
    with SqlState.existing(url) as store:
        both, _ = stricter(store.batch(contact_pseudonyms(file.contact_id, KEY), CATALOG, now_at=NOW_AT), file, NOW_AT)
    end = int(datetime(2026, 11, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert both.extra["consent_expires_at"][0, 0, 0] == end
    assert both.extra["consent_expires_at"][0, 1, 0] > end


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from(sorted(ROWS)), min_size=1, max_size=4), st.integers(1, 4))
def test_rows_of_a_file_close_as_they_do_alone(one_store: str, tmp_path: Path, said: list[str], size: int) -> None:
    """A file whose columns are the union: what a row lacks is an empty cell there, so it closes the more."""
    rows = [{"contact_id": f"c{at}", **ROWS[name][0]} for at, name in enumerate(said)]
    found = []
    with SqlState.existing(one_store) as store:
        for rows_at_once in (size, 100):
            for write in (csv, jsonl):
                batches = contact_batches(write(tmp_path, rows), FeatureSchema(features=()), CATALOG, NOW, rows_at_once)
                parts = []
                for file in batches:
                    known = store.batch(contact_pseudonyms(file.contact_id, KEY), CATALOG, now_at=NOW_AT)
                    both, _ = stricter(known, file, NOW_AT)
                    parts.append((both.consent[:, :, 0] == YES) & (both.suppressed == 0))
                found.append(np.concatenate(parts))
    for at, name in enumerate(said):
        alone = np.array([channel in ROWS[name][1] for channel in CATALOG.channels])
        assert not (found[0][at] & ~alone).any()
        if "an empty" not in name:
            assert found[1][at].tolist() == alone.tolist()
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[3])


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("stricter")
    record(folder, f"sqlite:///{folder}/state.sqlite", facts_of(names(0, 4)))
    return f"sqlite:///{folder}/state.sqlite"


def test_decide_says_what_the_file_closes_and_what_it_does_not_look_at(tmp_path: Path) -> None:
    """Of ten contacts whom the store lets through three have left by the file; its zones and sends are not read."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of(names(0, 10)))
    sends = '[{"at": "2026-11-03T10:00:00Z", "channel": "email", "purpose": "promotional"}]'
    rows = [
        {
            "contact_id": name,
            "suppressed_email": "true" if at < 3 else "false",
            "suppressed_sms": "true" if at < 3 else "false",
            "time_zone": "UTC",
            "sends": sends if at < 4 else "[]",
        }
        for at, name in enumerate(names(0, 10))
    ]
    out = decide(tmp_path, csv(tmp_path, rows), "log.parquet", state=url, rows=4)
    closed, unread = (one for one in out.warnings if "the contact file" in one)
    assert closed.startswith("the contact file closes a channel to 3 of 10 contacts to whom the state store leaves it")
    assert unread.startswith("the contact file says a time zone (10 contacts), sends (4 contacts), which")
    assert {closed, unread} <= set(LogReader(tmp_path / "log.parquet").meta.notes)
    actions = {row["contact_id"]: row["action"] for row in pq.read_table(tmp_path / "log.parquet").to_pylist()}
    who = contact_pseudonyms(np.array(names(0, 10), dtype=object), KEY)
    assert [actions[name] for name in who[:3]] == [0, 0, 0]
    assert any(actions[name] for name in who[3:])


def test_a_file_of_features_alone_says_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(tmp_path, url, facts_of(names(0, 5)))
    out = decide(tmp_path, csv(tmp_path, [{"contact_id": name} for name in names(0, 5)]), "log.parquet", state=url)
    assert not [one for one in out.warnings if "the contact file" in one]
