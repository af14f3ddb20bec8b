"""Files of facts: names are understood, and nothing that stands in a file is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError
from engine.state.fact_file import COLUMNS, MAKERS, fact_batches
from engine.state.facts import UNKNOWN_KIND, Consent, Event, Fact

AT = "2026-11-01T00:00:00Z"
CONSENT: dict[str, Any] = {
    "fact": "consent",
    "contact_id": "c",
    "at": AT,
    "channel": "sms",
    "purpose": "promotional",
    "source": "form",
}

UNDATED = {name: value for name, value in CONSENT.items() if name != "at"}
STOP: dict[str, Any] = {"fact": "suppression", "contact_id": "c", "at": AT, "reason": "opt_out"}


def facts(folder: Path, *rows: dict[str, Any]) -> list[Fact]:
    path = folder / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [fact for _, block in fact_batches(path, "key", 100) for fact in block]


def test_every_kind_has_its_columns() -> None:
    assert COLUMNS.keys() == MAKERS.keys()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (CONSENT | {"expires": AT}, r"no fact has a column 'expires'.*did you mean 'expires_at'"),
        (CONSENT | {"note": "x"}, "no fact has a column 'note'"),
        (CONSENT | {"until_at": AT}, r"row 1: a consent has no 'until_at'.*a consent has channel.*expires_at"),
        (CONSENT | {"fact": "withdrawal", "expires_at": AT}, "a withdrawal has no 'expires_at'"),
        (
            CONSENT | {"expires_at": AT},
            r"row 1: `expires_at` of Consent must be after its start, 2026-11-01T.*got '2026-11-01T.*leave it empty",
        ),
        (STOP | {"until_at": AT}, r"row 1: `until_at` of Suppression must be after its start.*leave it empty"),
        (STOP | {"until_at": "2026-10-31T23:59:59Z"}, "got '2026-10-31T23:59:59"),
        (UNDATED | {"fact": "withdrawal"}, r"`recorded_at` of Consent must be .* got None .hint: say when .*`at`"),
        (UNDATED | {"fact": "denial"}, r"got None .hint: say when .*`at`"),
        (CONSENT | {"purpose": "marketing"}, r"got 'marketing' .hint: .*marketing is promotional"),
        (CONSENT | {"fact": "withdrawal", "purpose": "marketing"}, r"hint: .*marketing is promotional"),
        (CONSENT | {"fact": "consnet"}, r"fact 'consnet' is none of.*did you mean 'consent'"),
        (CONSENT | {"At ": AT}, "the columns 'at' and 'At' have the same name"),
        (CONSENT | {"purpose": "promotonal"}, r"row 1: .*did you mean 'promotional'"),
        ({"fact": "event", "contact_id": "c", "at": AT, "kind": "unsubscrib"}, "did you mean 'unsubscribe'"),
    ],
)
def test_what_would_be_dropped_is_refused_with_the_nearest_name(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        facts(tmp_path, row)


def test_an_empty_cell_in_a_column_of_another_fact_is_nothing(tmp_path: Path) -> None:
    event = {"fact": "event", "contact_id": "c", "at": AT, "kind": "open", "channel": "sms"}
    assert [type(fact) for fact in facts(tmp_path, CONSENT, event)] == [Consent, Event]


def test_names_of_columns_and_facts_are_understood(tmp_path: Path) -> None:
    row = {f" {name.upper()}": value for name, value in CONSENT.items()} | {
        " FACT": "Consent",
        "Expires-At": "2026-12-01T00:00:00Z",
    }
    (fact,) = facts(tmp_path, row)
    assert isinstance(fact, Consent)
    assert (fact.channel, fact.purpose, fact.expires_at is not None) == ("sms", "promotional", True)


def test_a_consent_that_does_not_say_how_it_was_given_is_of_unknown_kind(tmp_path: Path) -> None:
    (fact,) = facts(tmp_path, CONSENT)
    assert isinstance(fact, Consent)
    assert fact.kind == UNKNOWN_KIND


@pytest.mark.parametrize("name", ["optout_channel_upper_case.jsonl"])
def test_an_opt_out_of_an_upper_case_channel_is_one_of_the_channel(shared_data: Path, name: str) -> None:
    listed = [fact for _, block in fact_batches(shared_data / "faults" / name, "key", 100) for fact in block]
    assert listed[-1].channel == "sms"  # type: ignore[union-attr]


def test_a_misspelt_end_of_consent_is_refused(shared_data: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'expires_at'"):
        list(fact_batches(shared_data / "faults" / "consent_end_misspelt.jsonl", "key", 100))
