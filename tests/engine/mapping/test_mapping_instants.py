"""Timestamps: formats by hand, clock changes, and zones that are missing or wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.mapping.instants import NAIVE, SKIPPED, UNREADABLE, check_instants, instants_of
from engine.mapping.spec import DecidedAt
from engine.types import NOT_AN_INSTANT


def read(cell: str, **keys: str) -> tuple[datetime | None, str | None]:
    spec = DecidedAt(column="t", **keys)  # type: ignore[arg-type]
    check_instants(spec)
    micros, faults = instants_of(spec, np.array([cell], dtype=object))
    reasons = [reason for mask, reason in faults if mask[0]]
    assert len(reasons) <= 1
    if micros[0] == NOT_AN_INSTANT:
        return None, reasons[0]
    assert not reasons
    return datetime.fromtimestamp(micros[0] / 1e6, tz=UTC), None


@pytest.mark.parametrize(
    ("cell", "keys", "expected"),
    [
        ("01-09-2017 19:55", {"format": "%d-%m-%Y %H:%M", "time_zone": "Asia/Kolkata"}, (2017, 9, 1, 14, 25)),
        ("2019-11-24 00:00:34+00:00", {"format": "iso"}, (2019, 11, 24, 0, 0, 34)),
        ("2024-07-01T12:00Z", {"format": "iso"}, (2024, 7, 1, 12)),
        ("2024-07-01T12:00:00+0530", {"format": "iso"}, (2024, 7, 1, 6, 30)),
        ("2024-07-01 12:00", {"format": "iso", "time_zone": "Europe/Berlin"}, (2024, 7, 1, 10)),
        ("2024-07-01", {"format": "iso", "time_zone": "Europe/Berlin"}, (2024, 6, 30, 22)),
        ("01/Jul/2024 12:00 +0200", {"format": "%d/%b/%Y %H:%M %z"}, (2024, 7, 1, 10)),
        ("1719828000", {"format": "epoch_s"}, (2024, 7, 1, 10)),
        ("1719828000000", {"format": "epoch_ms"}, (2024, 7, 1, 10)),
        ("1.5", {"format": "hours_since", "origin": "2024-07-01T10:00:00+02:00"}, (2024, 7, 1, 9, 30)),
        (
            "2024-10-27 02:30",
            {"format": "iso", "time_zone": "Europe/Berlin", "ambiguous": "earlier"},
            (2024, 10, 27, 0, 30),
        ),
        (
            "2024-10-27 02:30",
            {"format": "iso", "time_zone": "Europe/Berlin", "ambiguous": "later"},
            (2024, 10, 27, 1, 30),
        ),
    ],
)
def test_instants_by_hand(cell: str, keys: dict[str, str], expected: tuple[int, ...]) -> None:
    assert read(cell, **keys) == (datetime(*expected, tzinfo=UTC), None)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("cell", "keys", "reason"),
    [
        ("2024-07-01 12:00", {"format": "iso"}, NAIVE),
        ("", {"format": "iso"}, UNREADABLE),
        ("soon", {"format": "iso"}, UNREADABLE),
        ("2024-13-01T00:00Z", {"format": "iso"}, UNREADABLE),
        ("31-31-2017 19:55", {"format": "%d-%m-%Y %H:%M", "time_zone": "UTC"}, UNREADABLE),
        ("", {"format": "%d-%m-%Y %H:%M", "time_zone": "UTC"}, UNREADABLE),
        ("nan", {"format": "epoch_s"}, UNREADABLE),
        ("1e300", {"format": "epoch_s"}, UNREADABLE),
        ("soon", {"format": "%Y %z"}, UNREADABLE),
        ("2024-03-31 02:30", {"format": "iso", "time_zone": "Europe/Berlin"}, SKIPPED),
        ("2024-03-31 02:30", {"format": "iso", "time_zone": "Europe/Berlin", "ambiguous": "later"}, SKIPPED),
        ("2024-10-27 02:30", {"format": "iso", "time_zone": "Europe/Berlin"}, SKIPPED),
    ],
)
def test_what_is_no_instant_says_why(cell: str, keys: dict[str, str], reason: str) -> None:
    assert read(cell, **keys) == (None, reason)


def test_rows_with_and_without_offset_may_be_mixed() -> None:
    cells = np.array(["2024-07-01T12:00Z", "2024-07-01T12:00", "no"], dtype=object)
    micros, faults = instants_of(DecidedAt(column="t", format="iso", time_zone="Asia/Tokyo"), cells)
    assert (micros[0] - micros[1]) / 3.6e9 == 9
    assert micros[2] == NOT_AN_INSTANT
    assert [reason for mask, reason in faults if mask[2]] == [UNREADABLE]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"format": "%d-%m-%Y"}, "time_zone"),
        ({"format": "iso", "time_zone": "berlin"}, "Europe/Berlin"),
        ({"format": "iso", "time_zone": "America"}, "IANA"),
        ({"format": "iso", "time_zone": "../etc/passwd"}, "IANA"),
        ({"format": "iso", "time_zone": ""}, "IANA"),
        ({"format": "epoch_s", "time_zone": "UTC"}, "left out"),
        ({"format": "hours_since"}, "origin"),
        ({"format": "hours_since", "origin": "2024-01-01"}, "offset"),
        ({"format": "hours_since", "origin": "then"}, "ISO 8601"),
        ({"format": "iso", "origin": "2024-01-01T00:00Z"}, "origin"),
        ({"format": "day first"}, "format"),
    ],
)
def test_a_time_that_stays_open_is_refused(keys: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_instants(DecidedAt(column="t", **keys))  # type: ignore[arg-type]
