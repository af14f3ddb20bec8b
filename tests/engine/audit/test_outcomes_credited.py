"""Outcomes that no reward counts are said, in the join's report, in the footer and by the audit: no silent zeros."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.audit.audit import audit_log
from engine.audit.checks.credited import contradictory, credited, misspelt, uncredited
from engine.audit.rule import AuditRule
from engine.log.join import JoinReport, MetricSpec, join
from engine.log.parquet import LogReader
from engine.records.outcomes import read_outcomes
from engine.records.schema import outcome_schema
from tests.logs import START, decision_row, small_meta, write_log

HOUR = 3600.0
META = small_meta()
METRICS = {
    "order": MetricSpec(events=("purchased",), kind="any", window_s=HOUR),
    "spend": MetricSpec(events=("purchased",), kind="sum", window_s=HOUR, high=1e6),
    "click": MetricSpec(events=("clicked",), kind="any", window_s=HOUR),
}
NOW = START + timedelta(days=1)
FOOT = "did you mean 'purchased'?"


def outcome(number: int, event: str, after_s: float = 60.0, value: float | None = 5.0) -> dict[str, Any]:
    at = START + timedelta(minutes=number, seconds=after_s)
    return {"decision_id": f"d{number:06d}", "event": event, "at": at, "value_usd": value}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [decision_row(number, META, state="dispatched") for number in range(6)]
    return write_log(tmp_path_factory.mktemp("credited") / "log.parquet", rows, META)


def joined(log: Path, rows: Sequence[dict[str, Any]], out: Path) -> tuple[JoinReport, LogReader]:
    given = pa.Table.from_pylist(list(rows), schema=outcome_schema())
    return join(log, given, METRICS, NOW, out), LogReader(out)


FINE = [outcome(0, "purchased"), outcome(1, "clicked")]


@pytest.mark.parametrize(
    ("rows", "verdict", "said"),
    [
        (FINE, "pass", []),
        ([], "n/a", ["no outcomes were given"]),
        ([outcome(0, "dispatched")], "n/a", ["or reports of the dispatch alone: every reward is 0"]),
        ([outcome(0, "PURCHASED"), outcome(1, "PURCHASED")], "fail", ["2 are of events that no metric reads", FOOT]),
        ([*FINE, outcome(2, "Purchased ")], "fail", [FOOT]),
        ([*FINE, outcome(2, "purchase")], "fail", [FOOT]),
        ([*FINE, outcome(2, "bought")], "warn", ["no metric reads the event 'bought' (1 row): name it in a metric"]),
        ([*FINE, outcome(2, "faild")], "fail", ["no metric reads the event 'faild' (1 row); did you mean 'failed'?"]),
        ([*FINE, outcome(2, "mailed")], "warn", ["no metric reads the event 'mailed' (1 row): name it in a metric"]),
        ([*FINE, outcome(2, " Failed ")], "pass", []),
        ([outcome(0, "bought")], "fail", ["1 are of events that no metric reads ('bought')"]),
        ([{**outcome(0, "purchased"), "decision_id": "x"}], "fail", ["1 name no decision of this log"]),
        ([outcome(0, "purchased", 2 * HOUR)], "fail", ["1 lie outside the window of every metric that reads them"]),
        ([outcome(0, "purchased", 48 * HOUR)], "fail", ["1 lie after the join's now"]),
        ([outcome(0, "purchased", -5)], "fail", ["1 lie before their decision"]),
        ([outcome(0, "purchased")], "warn", ["metric 'click' counted none of the outcomes: its reward is 0 in every"]),
        (
            [outcome(0, "purchased", value=None), outcome(1, "clicked")],
            "fail",
            ["metric 'spend' sums value_usd, and none of its 1 outcomes has one"],
        ),
        (
            [*FINE, *(outcome(at, "purchased", value=None) for at in range(2, 5))],
            "warn",
            ["metric 'spend' sums value_usd, and 3 of its 4 outcomes have none: they add 0"],
        ),
        ([outcome(0, "purchased", value=0.0), outcome(1, "clicked")], "pass", []),
        (
            [*FINE, *({**outcome(at, "purchased"), "decision_id": f"x{at}"} for at in range(3))],
            "warn",
            ["3 of 5 outcomes name no decision of this log"],
        ),
        ([*FINE, outcome(2, "bounced"), outcome(3, "opened")], "pass", []),
    ],
)
def test_what_no_reward_counts_is_said_and_kept(
    log: Path, tmp_path: Path, rows: list[dict[str, Any]], verdict: str, said: list[str]
) -> None:
    report, reader = joined(log, rows, tmp_path / "joined.parquet")
    sentences = uncredited(report.joined)
    for part in said:
        assert any(part in sentence for sentence in sentences), sentences
    assert bool(sentences) == bool(said)
    assert reader.meta.notes == sentences
    assert reader.meta.joined == (report.joined,)
    found = credited(reader.meta)
    assert found.verdict == verdict
    assert all(sentence in found.what for sentence in sentences)
    # The figures add up: every outcome is somewhere.
    one = report.joined
    parts = (one.without_decision, one.after_now, one.before_decision, one.late, one.credited)
    assert one.given <= sum(parts) + sum(one.unread.values())


def test_the_audit_fails_and_other_tools_keep_what_it_reads(log: Path, tmp_path: Path) -> None:
    joined(log, [outcome(0, "PURCHASED")], tmp_path / "joined.parquet")
    pq.write_table(pq.read_table(tmp_path / "joined.parquet"), tmp_path / "again.parquet")
    for name in ("joined", "again"):
        found = audit_log(LogReader(tmp_path / f"{name}.parquet"), AuditRule())
        assert "outcomes_credited" in [one.check for one in found.failed]
    fine = [outcome(0, "purchased"), outcome(1, "clicked")]
    joined(log, fine, tmp_path / "fine.parquet")
    assert "outcomes_credited" not in [
        one.check for one in audit_log(LogReader(tmp_path / "fine.parquet"), AuditRule()).failed
    ]


def test_a_log_that_was_never_joined_is_not_asked(log: Path) -> None:
    assert credited(LogReader(log).meta).verdict == "n/a"


def test_a_second_join_adds_to_the_first(log: Path, tmp_path: Path) -> None:
    joined(log, FINE, tmp_path / "one.parquet")
    second = {"opened": MetricSpec(events=("opened",), kind="any", window_s=HOUR)}
    given = pa.Table.from_pylist([outcome(0, "OPENED")], schema=outcome_schema())
    join(tmp_path / "one.parquet", given, second, NOW, tmp_path / "two.parquet")
    meta = LogReader(tmp_path / "two.parquet").meta
    assert isinstance(meta.joined, tuple)
    assert [one.credited for one in meta.joined] == [2, 0]
    assert credited(meta).verdict == "fail"


@pytest.mark.parametrize(
    ("event", "meant"),
    [
        ("PURCHASED", "purchased"),
        ("\uff30urchased", "purchased"),
        ("purchase-d", "purchased"),
        ("purchsed", "purchased"),
        ("unsubscribe", "unsubscribed"),
        ("delivered", None),
        ("faild", "failed"),
        ("suppresed", "suppressed"),
        ("Dispached", "dispatched"),
        ("undelivered", "delivered"),
        ("mailed", None),
        ("called", None),
        ("declined", None),
        ("processed", None),
        ("deferred", None),
        ("hard_bounced", None),
        ("opened", None),
        ("\u8cfc\u5165", None),
    ],
)
def test_the_nearest_event_is_named(event: str, meant: str | None) -> None:
    found = misspelt([event], ["purchased", "unsubscribed"])
    assert found == ({} if meant is None else {event: meant})


def test_the_upper_case_export_is_no_silent_zero(shared_data: Path, tmp_path: Path) -> None:
    """Credited after its names are understood, or said and failing."""
    outcomes, _ = read_outcomes(shared_data / "faults" / "event_name_upper_case.csv")
    ids = sorted(set(outcomes["decision_id"].to_pylist()))
    at = outcomes["at"][0].as_py() - timedelta(minutes=10)
    rows = [
        decision_row(number, META, state="dispatched", decision_id=name, decided_at=at)
        for number, name in enumerate(ids)
    ]
    log = write_log(tmp_path / "log.parquet", rows, META)
    report = join(log, outcomes, METRICS, at + timedelta(days=1), tmp_path / "out.parquet")
    found = credited(LogReader(tmp_path / "out.parquet").meta)
    assert report.joined.credited == 2 or (found.verdict == "fail" and FOOT in found.what)


def test_sends_that_are_taken_back_are_said(log: Path, tmp_path: Path) -> None:
    """Two were dispatched, and of one a later report says that it was held back; a third was never handed over."""
    rows = [outcome(at, "dispatched") for at in (0, 1)] + [outcome(at, "suppressed", 120.0) for at in (1, 2)]
    decided = [decision_row(number, META, state="decided") for number in range(6)]
    day = write_log(tmp_path / "decided.parquet", decided, META)
    report, reader = joined(day, [*FINE, *rows, outcome(2, "delivered", 180.0)], tmp_path / "joined.parquet")
    assert (report.taken_back, report.illegal_states, report.unusable) == (2, 1, 5)
    states = pa.Table.from_batches(list(reader.batches()))["state"].to_pylist()
    assert states == ["dispatched", "suppressed", "suppressed", "decided", "decided", "decided"]
    said = contradictory(report.illegal_states, report.taken_back)
    assert [sentence.split(" ", 1)[0] for sentence in said] == ["2", "1"]
    assert contradictory(0, 0) == ()
