"""A store that something else has written to: values that cannot be are an error of ours, never a looser decision."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.errors import TactfulError
from tests.experiments.commands import call
from tests.experiments.serve.stateful_worlds import contact_file, decide, facts_of, names, record

WRONG = [
    ("contact", "zone", "Mars/Base"),
    ("contact", "zone", b"\xff\xfe"),
    ("contact", "history_from_at", "long ago"),
    ("contact", "zone_observed_at", 1e300),
    ("contact", "due_at", "soon"),
    ("contact", "motive_price", "high"),
    ("contact", "lists", b"\x00\x01"),
    ("contact", "country", 7),
    ("consent", "kind", "by telepathy"),
    ("consent", "recorded_at", "yesterday"),
    ("consent", "expires_at", b"never"),
    ("consent", "expires_at", 2.5),
    ("consent", "channel", 5),
    ("consent", "status", "perhaps"),
    ("consent", "source", b"\xff"),
    ("send", "at", "then"),
    ("send", "discount", "half"),
    ("send", "lease_until", "later"),
    ("send", "state", "dancing"),
    ("erased", "at", "now"),
]


@pytest.mark.parametrize(("table", "column", "value"), WRONG)
def test_wrong_values_block_and_have_no_traceback(table: str, column: str, value: object, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.sqlite"
    everybody = contact_file(tmp_path / "c.parquet", names(0, 5))
    record(tmp_path, url, facts_of(names(0, 5)))
    decide(tmp_path, everybody, "d.parquet", state=url)
    sends = sum(bool(row["action"]) for row in pq.read_table(tmp_path / "d.parquet").to_pylist())
    with sqlite3.connect(tmp_path / "s.sqlite") as connection:
        if table == "erased":
            connection.execute("INSERT INTO erased VALUES ('0', 0)")
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    connection.close()
    try:
        again = decide(tmp_path, everybody, "e.parquet", state=url)
    except TactfulError:
        pass
    else:
        assert sum(again.sends.values()) <= sends
    asked = ("--decisions", tmp_path / "d.parquet", "--state", url, "--now", "2026-11-03T11:30:00Z")
    answer = call("dispatch", *asked, "--out", tmp_path / "o.parquet")
    assert answer.code in (0, 2, 3, 4, 5), answer
    assert "Traceback" not in answer.err
