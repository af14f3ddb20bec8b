"""Stores with damaged pages or wrong values: one clear error, never a traceback, never a value taken for another."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError, StorageError
from engine.state.facts import Consent, Event, PastSend, Profile
from engine.state.sends.caps import Cap, SendRequest
from engine.state.store import SqlState
from engine.storage.database import CHECKED_BYTES
from tests.experiments.serve.stateful_worlds import CATALOG

NOW = 1_790_000_000_000_000
CAP = Cap("one", 1, 86_400)


def made(folder: Path, contacts: int = 3) -> tuple[Path, str]:
    path = folder / "s.sqlite"
    url = f"sqlite:///{path}"
    names = [f"c{at}" for at in range(contacts)]
    with SqlState(url) as state:
        state.record([Profile(name, NOW, zone="UTC", history_from_at=NOW - 9) for name in names])
        state.record([Consent(name, "email", "promotional", "withdrawn", NOW - 5) for name in names])
        state.record([PastSend(f"m{name}", name, "email", "promotional", NOW - 7) for name in names])
        state.record([Event(name, "complaint", NOW - 8, channel="email") for name in names])
    return path, url


def use(url: str) -> None:
    with SqlState(url) as state:
        state.batch(np.array(["c0", "c1"], dtype=object), CATALOG, now_at=NOW)
        state.history(np.array(["c0"], dtype=object), now_at=NOW)
        state.reserve([SendRequest("d", "c0", "email", "promotional", NOW)], [CAP], now_at=NOW, lease_s=60)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE contact SET history_from_at = 'abc'",
        "UPDATE contact SET zone = 'Mars/Base'",
        "UPDATE contact SET zone = CAST(x'ff' AS TEXT)",
        "UPDATE contact SET motive_price = 'x'",
        "UPDATE consent SET status = 'withdrown'",
        "UPDATE consent SET recorded_at = 'yesterday'",
        "UPDATE consent SET kind = 'expresss'",
        "UPDATE event SET kind = 'complaintt'",
        "UPDATE event SET at = 'x'",
        "UPDATE send SET purpose = 'promo'",
        "UPDATE send SET at = 'x'",
        "UPDATE send SET at = 1e300",
        "UPDATE send SET discount = 'x'",
        "UPDATE store SET sequence = 'x'",
        "UPDATE store SET version = 'z'",
        "DELETE FROM store",
    ],
)
def test_a_wrong_value_is_an_error_that_says_so(tmp_path: Path, change: str) -> None:
    path, url = made(tmp_path)
    use(url)
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises((DataError, StorageError)) as found:
        use(url)
    assert found.value.hint


def test_damaged_pages_are_noticed_when_the_store_is_opened(tmp_path: Path) -> None:
    """Every page but the first is damaged once; the same file is opened under a name of its own each time."""
    path, _ = made(tmp_path, contacts=200)
    content = path.read_bytes()
    for number, start in enumerate(range(4096, len(content), 4096)):
        copy = tmp_path / f"copy{number}.sqlite"
        copy.write_bytes(content[:start] + b"\x55" * 512 + content[start + 512 :])
        with pytest.raises(StorageError, match=r"damaged|malformed"):
            SqlState(f"sqlite:///{copy}")


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(b"not a database at all" * 99)
    with pytest.raises(StorageError, match="not a database"):
        SqlState(f"sqlite:///{tmp_path / 'x.sqlite'}")


def test_the_check_is_bounded() -> None:
    """A check reads the whole file: it must not take minutes on a store of many gigabytes."""
    assert CHECKED_BYTES <= 1 << 30
