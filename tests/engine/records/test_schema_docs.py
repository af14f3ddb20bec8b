"""docs/schema.md is what the code says, and its examples of reading the eligible set are right."""

from __future__ import annotations

import re
import runpy
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.eligibility import pack
from engine.records import schema as records
from engine.records.docs import schema_markdown


def test_the_document_is_up_to_date(root: Path) -> None:
    stored = (root / "docs" / "schema.md").read_text(encoding="utf-8")
    assert stored == schema_markdown(), "run `python -m engine.records.docs docs/schema.md`"


def test_every_column_and_state_is_in_it() -> None:
    text = schema_markdown()
    for name, _, _, meaning in (*records.DECISION_COLUMNS, *records.OUTCOME_COLUMNS):
        assert re.search(rf"^\| `{name}` \|.*{re.escape(meaning)} \|$", text, re.MULTILINE)
    for state in records.STATES:
        assert f"| `{state}` |" in text


def test_the_module_writes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["engine.records.docs", str(tmp_path / "schema.md")])
    monkeypatch.delitem(sys.modules, "engine.records.docs")
    runpy.run_module("engine.records.docs", run_name="__main__")
    assert (tmp_path / "schema.md").read_text(encoding="utf-8") == schema_markdown()


@pytest.mark.parametrize("eligible", [[0, 2, 9], [0], [0, 8], list(range(10))])
def test_the_sql_example_reads_the_bit(eligible: list[int]) -> None:
    dense = np.zeros((1, 10), dtype=np.bool_)
    dense[0, eligible] = True
    statement = next(
        batch for batch in re.findall(r"```sql\n(.*?)```", schema_markdown(), re.DOTALL) if "hex(" in batch
    )
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE decision (decision_id TEXT, eligible BLOB)")
    database.execute("INSERT INTO decision VALUES ('d', ?)", (pack(dense).tobytes(),))
    assert len(database.execute(statement).fetchall()) == (9 in eligible)
    database.close()
