"""`tactful remember` and `decide --history`: the same counts in a log and for the contacts of today."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.log.parquet import LogReader
from engine.records.schema import Remembered
from experiments.serve.remember import Recollection, keys_of, remember
from policies.trained import TrainedFolder
from tests.experiments.commands import refused, run
from tests.experiments.conftest import Demo

KEY = "demo"
SENDS, HITS = (f"context_memory.clicked.all.all.{what}" for what in ("sends", "hits"))


@pytest.fixture(scope="module")
def remembered(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("remembered") / "log.parquet"
    said = run("remember", "--log", demo.log, "--metric", "clicked", "--known-days", 3, "--out", out)
    assert said["sends"] > said["hits"] > 0
    assert said["kinds"]["channel"] == ["email", "sms"]
    return out


@pytest.fixture(scope="module")
def policy(remembered: Path) -> Path:
    out = remembered.parent / "policy"
    few = ("learner.parts.smooth=false", "learner.parts.ridges=[30.0]", "learner.parts.memory=true")
    run("train", "--log", remembered, "--metric", "clicked", "--out", out, *few)
    return out


def test_the_log_counts_what_was_known_before(demo: Demo, remembered: Path) -> None:
    """Some contacts, counted once more row by row; propensities differ, so sends are effective ones."""
    before, after = (pq.read_table(path) for path in (demo.log, remembered))
    assert before.select(["decision_id", "action", "propensity"]).equals(
        after.select(["decision_id", "action", "propensity"])
    )
    reader = LogReader(remembered)
    assert reader.meta.memory == Remembered(stage="clicked", known_days=3.0)
    assert set(after["schema_version"].to_pylist()) == {reader.meta.features.version}
    names = ["contact_id", "decided_at", "action", "reward_clicked", "state", "available", SENDS, HITS]
    frame = after.select(names).to_pandas()
    usable = frame["available"] & frame["state"].isin(["dispatched", "delivered"])
    known = usable & (frame["action"] > 0) & frame["reward_clicked"].notna()
    rows = frame.sample(200, random_state=1)
    for row in rows.itertuples():
        past = known & (frame["contact_id"] == row.contact_id)
        past &= frame["decided_at"] + np.timedelta64(3, "D") <= row.decided_at
        plain, hits = int(past.sum()), frame.loc[past, "reward_clicked"].sum()
        shown = frame.loc[row.Index]
        assert plain / 2.6 <= shown[SENDS] <= plain + 1e-9
        assert (shown[HITS] > 0.0) == (hits > 0.0)


def test_decisions_of_today_continue_the_counts(demo: Demo, remembered: Path, policy: Path) -> None:
    """Whoever is decided for at the instant of a logged decision has the counts that the log has there."""
    trained = TrainedFolder(policy)
    assert trained.source["memory"] == {"stage": "clicked", "known_days": 3.0}
    past = Recollection.of(demo.log, trained, KEY)
    table = pq.read_table(remembered, columns=["contact_id", "decided_at", SENDS, HITS])
    last = table.filter(pc.equal(table["decided_at"], pc.max(table["decided_at"])))
    now: datetime = last["decided_at"][0].as_py()
    found = past.memory.at(
        keys_of(last["contact_id"].to_numpy(zero_copy_only=False).astype(object)),
        np.full(last.num_rows, int(now.timestamp() * 1e6)),
    )
    for name in (SENDS, HITS):
        np.testing.assert_array_equal(found[name.removeprefix("context_")].values, last[name].to_numpy())
    assert last[HITS].to_numpy().sum() > 0.0


def test_decide_reads_the_history(demo: Demo, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contacts of a first day are decided for again: what they clicked is then in the contexts of the second."""
    monkeypatch.setenv("TACTFUL_CONTACT_KEY", "a-long-key-for-this-test-0815")
    asked = ("--policy", policy, "--contacts", demo.contacts)
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    run("decide", *asked, "--now", "2026-11-10T15:00:00+00:00", "--out", first)
    assert LogReader(first).meta.memory is msgspec.UNSET
    table = pq.read_table(first)
    ids = table.filter(pc.greater(table["action"], 0))["decision_id"].to_pylist()
    at = datetime.fromisoformat("2026-11-11T10:00:00+00:00")
    events = {
        "decision_id": 2 * ids,
        "event": ["dispatched"] * len(ids) + ["clicked"] * len(ids),
        "at": [at] * 2 * len(ids),
        "value_usd": pa.nulls(2 * len(ids), pa.float64()),
    }
    clicked = tmp_path / "clicked.parquet"
    pq.write_table(pa.table(events), clicked)
    joined = tmp_path / "joined.parquet"
    run(
        "join",
        "--log",
        first,
        "--outcomes",
        clicked,
        "--now",
        "2026-12-30T00:00:00Z",
        "--out",
        joined,
        "metrics=layers",
    )
    for now, hits in (("2026-11-12T15:00:00+00:00", 0), ("2026-11-20T15:00:00+00:00", len(ids))):
        run("decide", *asked, "--now", now, "--out", second, "--history", joined, "--replace")
        assert LogReader(second).meta.memory == Remembered(stage="clicked", known_days=3.0)
        assert pq.read_table(second)[HITS].to_numpy().sum() == hits


def test_what_cannot_be_remembered_is_refused(demo: Demo, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    asked = ("remember", "--log", demo.log, "--out", out)
    said, hint = refused(3, *asked, "--metric", "clikced", "--known-days", "3")
    assert "no metric 'clikced'" in said
    assert "clicked" in hint
    said, _ = refused(3, *asked, "--metric", "margin", "--known-days", "3")
    assert "'margin' must be 0 or 1" in said
    said, _ = refused(2, *asked, "--metric", "clicked", "--known-days", "-1")
    assert "`known_days` of memory must be finite and at least 0, got -1" in said
    said, _ = refused(
        4, "decide", "--policy", demo.policy, "--contacts", demo.contacts, "--now", "2026-12-20T15:00:00+00:00",
        "--out", out, "--history", demo.log,
    )  # fmt: skip
    assert "counts nothing of the contacts' past" in said
    assert not out.exists()


def test_remembering_twice_changes_nothing(remembered: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.parquet"
    remember(remembered, "clicked", 3.0, again)
    assert pq.read_table(again).equals(pq.read_table(remembered))
    assert LogReader(again).meta == LogReader(remembered).meta
