"""The outcome join by hand, against a plain loop, and under bad input."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import DataError, LogFormatError, ParameterError, StorageError
from engine.log.join import MetricCounts, MetricSpec, join
from engine.log.parquet import LogReader, ParquetFile
from engine.records.schema import RewardSpec, log_schema, outcome_schema
from tests.logs import START, decision_row, decision_table, small_meta, write_log

HOUR = 3600.0
META = small_meta()
METRICS = {
    "click": MetricSpec(events=("clicked",), kind="any", window_s=HOUR),
    "clicks": MetricSpec(events=("clicked", "opened"), kind="count", window_s=2 * HOUR, high=100),
    "spend": MetricSpec(events=("purchased",), kind="sum", window_s=HOUR, low=-1e6, high=1e6, unit="usd"),
}


def outcome(number: int, event: str, after_s: float, value: float | None = None) -> dict[str, Any]:
    """An outcome so many seconds after decision `number`."""
    at = START + timedelta(minutes=number, seconds=after_s)
    return {"decision_id": f"d{number:06d}", "event": event, "at": at, "value_usd": value}


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=outcome_schema())


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [decision_row(number, META, state="dispatched") for number in range(6)]
    rows[4]["state"] = "failed"
    return write_log(tmp_path_factory.mktemp("join") / "log.parquet", rows, META, group_rows=4)


def rewards(path: Path, name: str) -> list[float | None]:
    values: list[float | None] = pq.read_table(path).column(f"reward_{name}").to_pylist()
    return values


def test_the_join_by_hand(log: Path, tmp_path: Path) -> None:
    """Windows: click and spend 1 h, clicks 2 h; now = 1 h 3 min after the first decision (09:00).

    Decisions 0-3 (09:00-09:03) are matured for the 1 h metrics, 4 and 5 are not; none is for the 2 h metric.
    """
    given_rows = [
        outcome(0, "clicked", HOUR),  # exactly at the end of the window: counts
        outcome(0, "clicked", HOUR + 1),  # late for click, in time for clicks
        outcome(1, "purchased", 10, 12.5),
        outcome(1, "purchased", 20, 2.25),
        outcome(1, "purchased", 20, 2.25),  # repeat
        outcome(2, "purchased", 5),  # no value
        outcome(3, "bounced", 5),  # no metric wants it
        outcome(3, "clicked", -1),  # before the decision
        outcome(5, "clicked", 5),  # its window is still open
        outcome(2, "clicked", 3 * HOUR),  # later than now
        {**outcome(0, "clicked", 5), "decision_id": "stranger"},
    ]
    now = START + timedelta(hours=1, minutes=3)
    report = join(log, table(given_rows), METRICS, now, tmp_path / "out.parquet")
    assert rewards(tmp_path / "out.parquet", "click") == [1.0, 0.0, 0.0, 0.0, None, None]
    assert rewards(tmp_path / "out.parquet", "spend") == [0.0, 14.75, 0.0, 0.0, None, None]
    assert rewards(tmp_path / "out.parquet", "clicks") == [None] * 6
    assert (report.decisions, report.unusable, report.outcomes, report.duplicates) == (6, 1, 11, 1)
    assert (report.before_decision, report.before_decision_ids) == (1, ("d000003",))
    assert (report.without_decision, report.without_decision_ids) == (1, ("stranger",))
    assert (report.after_now, report.unused) == (1, 1)
    assert report.metrics == {
        "click": MetricCounts(credited=2, late=1, matured=4, pending=2),
        "clicks": MetricCounts(credited=3, late=0, matured=0, pending=6),
        "spend": MetricCounts(credited=3, late=0, without_value=1, matured=4, pending=2),
    }
    reader = LogReader(tmp_path / "out.parquet")
    assert reader.meta.rewards["spend"] == RewardSpec(low=-1e6, high=1e6, unit="usd")
    before = pq.read_table(log)
    assert pq.read_table(tmp_path / "out.parquet").select(before.schema.names).to_pylist() == before.to_pylist()


def plain_join(rows: Sequence[dict[str, Any]], metric: MetricSpec, now: datetime, count: int) -> list[float | None]:
    """The definition, row by row."""
    different = {tuple(row.values()): row for row in rows}.values()
    values: list[float | None] = []
    for number in range(count):
        decided = START + timedelta(minutes=number)
        window = timedelta(seconds=metric.window_s)
        own = [
            row
            for row in different
            if row["decision_id"] == f"d{number:06d}"
            and row["event"] in metric.events
            and decided <= row["at"] <= min(decided + window, now)
        ]
        amounts = [row["value_usd"] or 0.0 for row in own]
        value = {"any": float(bool(own)), "count": float(len(own)), "sum": float(sum(amounts))}[metric.kind]
        values.append(value if decided + window <= now else None)
    return values


ROW = st.builds(
    outcome,
    st.integers(0, 7),
    st.sampled_from(["clicked", "opened", "purchased", "bounced"]),
    st.sampled_from([-60.0, 0.0, 60.0, HOUR - 60, HOUR, HOUR + 60, 2 * HOUR, 3 * HOUR]),
    st.sampled_from([None, 0.25, 1.5, -2.0]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, max_size=25), st.integers(0, 400), st.randoms(use_true_random=False))
def test_the_join_is_the_definition_in_any_order(
    log: Path, tmp_path: Path, rows: list[dict[str, Any]], minutes: int, random: Any
) -> None:
    now = START + timedelta(minutes=minutes)
    report = join(log, table(rows), METRICS, now, tmp_path / "one.parquet")
    for name, metric in METRICS.items():
        assert rewards(tmp_path / "one.parquet", name) == plain_join(rows, metric, now, 6)
    shuffled = random.sample(rows, len(rows))
    again = join(log, table(shuffled), METRICS, now, tmp_path / "two.parquet")
    assert again == report
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_sums_of_many_values_do_not_depend_on_their_order(log: Path, tmp_path: Path) -> None:
    rows = [outcome(0, "purchased", i, 0.1 * (i % 7) + 1e5 * (i % 2)) for i in range(300)]
    metrics = {"spend": MetricSpec(events=("purchased",), kind="sum", window_s=HOUR, high=1e9)}
    sums = set()
    for step in (1, -1, 7):
        join(
            log,
            table(rows[::step] if step != 7 else rows[1::2] + rows[::2]),
            metrics,
            START + timedelta(days=1),
            tmp_path / "x.parquet",
        )
        sums.add(rewards(tmp_path / "x.parquet", "spend")[0])
    assert len(sums) == 1


def test_a_log_of_more_than_one_row_group_keeps_raw_columns_and_rewards(tmp_path: Path) -> None:
    meta = small_meta(rewards={"visit": RewardSpec(low=0, high=1)}, raw_columns=("note",))
    count = 70_000
    base = decision_table([decision_row(0, meta, reward_visit=1.0)], meta)
    ids = pa.array([f"d{number:06d}" for number in range(count)])
    big = pa.concat_tables([base] * 1).take(pa.array([0] * count)).set_column(0, base.schema.field(0), ids)
    schema = log_schema(meta).append(pa.field("raw_note", pa.string()))
    with ParquetFile(tmp_path / "log.parquet", schema) as file:
        file.append(pa.Table.from_arrays([*big.columns, pa.array(["n"] * count)], schema=schema))
    rows = [{**outcome(0, "clicked", 1), "decision_id": f"d{n:06d}"} for n in (0, 5000, 69_999)]
    metrics = {"click": METRICS["click"]}
    join(tmp_path / "log.parquet", table(rows), metrics, START + timedelta(days=1), tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert [n for n, value in enumerate(found.column("reward_click").to_pylist()) if value] == [0, 5000, 69_999]
    assert set(found.column("reward_visit").to_pylist()) == {1.0}
    assert set(found.column("raw_note").to_pylist()) == {"n"}
    assert set(LogReader(tmp_path / "out.parquet").meta.rewards) == {"visit", "click"}


def _fails(log: Path, out: Path, error: type[Exception], message: str, **changes: Any) -> None:
    arguments: dict[str, Any] = {
        "log_path": log,
        "outcomes": table([outcome(0, "clicked", 5)]),
        "metrics": METRICS,
        "now": START + timedelta(days=1),
        "out_path": out,
    }
    with pytest.raises(error, match=message):
        join(**{**arguments, **changes})
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"metrics": {}}, ParameterError, "at least one metric"),
        ({"now": datetime(2026, 3, 2)}, ParameterError, "aware"),
        ({"outcomes": table([outcome(0, "clicked", -5)]), "strict": True}, DataError, "1 outcomes lie before"),
        ({"outcomes": table([outcome(77, "clicked", 5)]), "strict": True}, DataError, "1 have none"),
        ({"outcomes": table([outcome(0, "purchased", 5, 1e7)])}, DataError, "metric 'spend' must be in"),
        ({"outcomes": pa.table({"decision_id": ["a"]})}, DataError, "lacks the columns"),
        ({"out_path": Path("/dev/null/x.parquet")}, StorageError, "cannot write"),
    ],
)
def test_refusals_write_nothing(
    log: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    _fails(log, tmp_path / "out.parquet", error, message, **changes)


@pytest.mark.parametrize("loss", ["refunded", "Refund", "charged-back", "send_cost"])
def test_a_loss_without_its_sign_is_no_gain(log: Path, tmp_path: Path, loss: str) -> None:
    """Refunds are often exported as positive amounts: 30 for an order and 12 paid back are 18, and never 42."""
    margin = MetricSpec(events=("purchased", loss), kind="sum", window_s=HOUR, low=-100, high=100, unit="usd")
    now = START + timedelta(days=1)
    wrong = table([outcome(0, "purchased", 5, 30.0), outcome(0, loss, 9, 12.0)])
    _fails(
        log,
        tmp_path / "out.parquet",
        DataError,
        "would add to the metric 'margin'",
        outcomes=wrong,
        metrics={"margin": margin},
    )
    right = table([outcome(0, "purchased", 5, 30.0), outcome(0, loss, 9, -12.0), outcome(1, loss, 9, 0.0)])
    join(log, right, {"margin": margin}, now, tmp_path / "out.parquet")
    assert rewards(tmp_path / "out.parquet", "margin")[:2] == [18.0, 0.0]
    # What was paid back, as a figure of its own, has no gain to add to.
    paid_back = msgspec.structs.replace(margin, events=(loss,))
    join(log, table([outcome(0, loss, 9, 12.0)]), {"paid_back": paid_back}, now, tmp_path / "paid_back.parquet")
    assert rewards(tmp_path / "paid_back.parquet", "paid_back")[0] == 12.0


def test_logs_that_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    twice = write_log(tmp_path / "twice.parquet", [decision_row(0, META), decision_row(0, META)], META)
    _fails(twice, out, DataError, "decision id twice")
    timeless = write_log(tmp_path / "timeless.parquet", [decision_row(0, META, decided_at=None)], META)
    _fails(timeless, out, DataError, "no `decided_at`")
    rewarded = small_meta(rewards={"click": RewardSpec(low=0, high=1)})
    path = write_log(tmp_path / "rewarded.parquet", [decision_row(0, rewarded)], rewarded)
    _fails(path, out, DataError, r"has the metrics \['click'\] already")
    _fails(tmp_path / "none.parquet", out, LogFormatError, "does not exist")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"events": ()}, "events"),
        ({"window_s": 0.0}, "window_s"),
        ({"window_s": float("inf")}, "window_s"),
        ({"window_s": float("nan")}, "window_s"),
        ({"low": 1.0, "high": 1.0}, "low"),
    ],
)
def test_what_is_no_metric_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=f"`{message}`"):
        MetricSpec(**{"events": ("clicked",), "kind": "any", "window_s": 1.0, **fields})


@pytest.mark.parametrize("written", ["failed", "Failed", "FAILED", " failed ", "\uff26ailed"])
def test_a_send_that_failed_is_not_usable_in_any_spelling(log: Path, tmp_path: Path, written: str) -> None:
    """Row 4 of the log has failed already; two more do."""
    given_rows = [outcome(0, written, 5), outcome(1, written, 5), outcome(2, "clicked", 5)]
    report = join(log, table(given_rows), METRICS, START + timedelta(days=1), tmp_path / "out.parquet")
    states = pq.read_table(tmp_path / "out.parquet").column("state").to_pylist()
    assert states == ["failed", "failed", "dispatched", "dispatched", "failed", "dispatched"]
    assert (report.unusable, report.joined.given, report.joined.unread) == (3, 1, {})


def test_a_metric_reads_a_state_in_any_spelling(log: Path, tmp_path: Path) -> None:
    metrics = {"arrived": MetricSpec(events=("Delivered",), kind="any", window_s=HOUR)}
    given_rows = [outcome(0, "delivered", 5), outcome(1, "DELIVERED", 5)]
    join(log, table(given_rows), metrics, START + timedelta(days=1), tmp_path / "out.parquet")
    assert rewards(tmp_path / "out.parquet", "arrived") == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
