"""Inputs of the rules from contact files: places, events, consent, lists, lines; wrong values name their row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import CONSENT_BASES, EVENTS, ContactBatch
from engine.contacts.file import contact_batches
from engine.errors import DataError
from engine.features import FeatureSchema
from engine.time.localtime import instant_of
from engine.types import NOT_AN_INSTANT

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
FRESH, OLD, FUTURE = "2026-10-10T00:00:00Z", "2026-10-01T00:00:00Z", "2026-11-09T00:00:00Z"
CATALOG = Catalog(name="t", channels=("email", "sms"), hours=(9, "now"), arms=(Arm(id="a", approved=True),))
ROWS: list[dict[str, Any]] = [
    {
        "contact_id": "a",
        "country": "us",
        "state": "US-FL",
        "phone_area_code": "+1 212",
        "line_type": "mobile",
        "lists": ["minor", "employee"],
        "profiling_objection": "false",
        "motive_price": 0.25,
        "due_at": FUTURE,
        "consent_sms_promotional": "true",
        "consent_sms_promotional_at": OLD,
        "consent_sms_promotional_source": "form",
        "consent_sms_promotional_basis": "express_written",
        "consent_sms_promotional_expires_at": FUTURE,
        "sends": [
            {
                "at": OLD,
                "channel": "sms",
                "purpose": "promotional",
                "topic": "spring",
                "template": "a",
                "discount": 0.2,
            },
            {"at": FRESH, "channel": "sms", "purpose": "promotional"},
        ],
        "events": [
            {"at": FUTURE, "event": "opened", "channel": "email"},
            {"at": FUTURE, "event": "hard_bounced", "channel": "fax"},
            {"at": OLD, "event": "purchased", "category": "shoes"},
        ],
    },
    {
        "contact_id": "b",
        "time_zone": "Asia/Tokyo",
        "time_zone_at": FRESH,
        "country": "US",
        "lists": [],
        "events": [],
        "sends": [],
    },
    {"contact_id": "c", "state": "none", "phone_area_code": "none", "line_type": "none", "country": "DE"},
    {"contact_id": "d", "phone_area_code": "800", "device_time_zone": "Europe/Rome", "device_time_zone_at": FRESH},
    {"contact_id": "e"},
]


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"c.{kind}"
    names = list(dict.fromkeys(name for row in rows for name in row))
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    else:
        lines = [",".join(names)] + [",".join(_cell(row.get(name)) for name in names) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _cell(value: Any) -> str:
    if value is None:
        return ""
    shown = json.dumps(value) if isinstance(value, list) else str(value)
    return '"' + shown.replace('"', '""') + '"'


def read(path: Path) -> ContactBatch:
    (batch,) = contact_batches(path, FeatureSchema(features=()), CATALOG, NOW)
    return batch


def levels(batch: ContactBatch, name: str) -> list[str | None]:
    return [None if code < 0 else batch.levels[name][code] for code in batch.extra[name]]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_format_gives_every_input(tmp_path: Path, kind: str) -> None:
    batch = read(write(tmp_path, kind, ROWS))
    assert levels(batch, "country") == ["US", "US", "DE", None, None]
    assert levels(batch, "state") == ["FL", None, "", None, None]
    assert levels(batch, "area_state") == ["NY", None, "", None, None]  # 800 is no place
    assert levels(batch, "line_type") == ["mobile", None, "", None, None]
    assert levels(batch, "lists") == ["employee,minor", "", None, None, None]
    assert levels(batch, "profiling_objection") == ["no", None, None, None, None]
    assert batch.extra["motive_price"][0] == 0.25
    assert np.isnan(batch.extra["motive_price"][1:]).all()
    assert batch.extra["due_at"][0] == instant_of(datetime.fromisoformat(FUTURE))
    assert (batch.extra["due_at"][1:] == NOT_AN_INSTANT).all()
    zones = [None if code < 0 else batch.zones[code] for code in batch.zone_code]
    assert zones == ["America/New_York", "Asia/Tokyo", "Europe/Berlin", "Europe/Rome", None]
    assert levels(batch, "plausible_zones") == [
        "America/New_York,America/Chicago",
        None,
        "Europe/Berlin,Europe/Busingen",
        None,
        None,
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_details_of_consents_sends_and_events(tmp_path: Path, kind: str) -> None:
    batch = read(write(tmp_path, kind, ROWS))
    assert batch.extra["consent_basis"][:, 1, 0].tolist() == [CONSENT_BASES.index("express_written"), -1, -1, -1, -1]
    day = 86_400_000_000
    assert batch.extra["consent_expires_at"][0, 1, 0] - batch.extra["consent_at"][0, 1, 0] == 39 * day
    assert (batch.extra["consent_at"][1:] == np.iinfo(np.int64).min).all()
    assert [batch.levels["sent_topic"][code] if code >= 0 else None for code in batch.sent_details["sent_topic"]] == [
        "spring",
        None,
    ]
    assert batch.sent_details["sent_template"].tolist() == [0, -1]
    assert batch.sent_details["sent_discount"][0] == 0.2
    assert np.isnan(batch.sent_details["sent_discount"][1])
    events = batch.events
    assert events is not None
    assert events.known.tolist() == [True, True, False, False, False]
    # the open of tomorrow is not seen, the bounce is; oldest first
    assert [EVENTS[kind] for kind in events.kind] == ["purchased", "hard_bounced"]
    assert events.channel.tolist() == [-1, -1]
    assert events.offsets.tolist() == [0, 2, 2, 2, 2, 2]
    assert [events.categories[code] if code >= 0 else None for code in events.category] == ["shoes", None]


def test_a_file_without_them_carries_none(tmp_path: Path) -> None:
    batch = read(write(tmp_path, "csv", [{"contact_id": "a", "time_zone": "UTC"}]))
    assert batch.events is None
    assert set(batch.extra) == set()
    assert batch.zones == ("UTC",)  # not dated, but nothing speaks against it


def test_an_old_zone_is_only_one_of_several(tmp_path: Path) -> None:
    rows = [
        {"contact_id": name, "time_zone": "Asia/Tokyo", "time_zone_at": at, "state": "NY", "country": "US"}
        for name, at in (("fresh", "2026-10-04T12:00:00Z"), ("old", "2026-10-04T11:59:59Z"), ("future", FUTURE))
    ]
    batch = read(write(tmp_path, "csv", rows))
    assert [batch.zones[code] for code in batch.zone_code] == ["Asia/Tokyo", "America/New_York", "America/New_York"]
    assert levels(batch, "plausible_zones") == [None, "America/New_York,Asia/Tokyo", "America/New_York,Asia/Tokyo"]


@pytest.mark.parametrize(
    ("cell", "names"), [("vip; Minor", "minor,vip"), ('["b","a","a"]', "a,b"), ("[]", ""), ("none", ""), ("", None)]
)
def test_lists_as_text(tmp_path: Path, cell: str, names: str | None) -> None:
    batch = read(write(tmp_path, "csv", [{"contact_id": "a", "lists": cell}, {"contact_id": "b", "lists": "x"}]))
    assert levels(batch, "lists")[0] == names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"country": "UK"}, "'country' must be a country code"),
        ({"country": "US", "state": "ON"}, "'state' must be a state of the contact's country"),
        ({"phone_area_code": "12"}, "'phone_area_code' must be"),
        ({"phone_area_code": "123"}, "'phone_area_code' must be"),
        ({"device_time_zone": "Mars"}, "unknown time zone 'Mars'"),
        ({"line_type": "pigeon"}, "'line_type' must be"),
        ({"lists": '["a,b"]'}, "'lists' must be"),
        ({"lists": "[1]"}, "'lists' must be"),
        ({"profiling_objection": "perhaps"}, "'profiling_objection' must be true"),
        ({"motive_price": "1.5"}, "'motive_price' must be a probability"),
        ({"due_at": "2026-11-09"}, "'due_at' must have a UTC offset"),
        ({"consent_sms_promotional": "true", "consent_sms_promotional_basis": "hearsay"}, "basis' must be one of"),
        ({"consent_sms_promotional": "true", "consent_sms_promotional_expires_at": "soon"}, "expires_at' must"),
        ({"events": '[{"at": "2026-11-03T10:00:00Z", "event": "sneezed"}]'}, "whose `event` is none"),
        ({"events": '[{"at": "2026-11-03T10:00:00Z", "event": "complained"}]'}, "without `channel`"),
        ({"events": '[{"at": "2026-11-03T10:00:00", "event": "opened"}]'}, "no instant with a UTC"),
        ({"events": '[{"event": "opened"}]'}, "'events' cannot be read"),
        ({"events": '[{"at": "2026-11-03T10:00:00Z", "event": "opened", "chanel": "sms"}]'}, "'events' cannot be read"),
        (
            {"sends": '[{"at": "2026-11-03T10:00:00Z", "channel": "sms", "purpose": "promotional", "discount": 1}]'},
            "discount",
        ),
    ],
)
def test_a_wrong_value_is_an_error_with_its_row(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, "csv", [{"contact_id": "first"}, {"contact_id": "second"} | change]))
    assert "row 2" in str(caught.value)


def test_lists_of_structs_have_known_fields(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'channel'"):
        read(
            write(
                tmp_path, "jsonl", [{"contact_id": "a", "events": [{"at": FRESH, "event": "opened", "chanel": "sms"}]}]
            )
        )
