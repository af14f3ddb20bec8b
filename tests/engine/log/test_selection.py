"""Which rounds of a log are used: usable rows with a known metric, on one side of a split, with counts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection, contact_split, count, time_split
from engine.records.schema import RewardSpec
from tests.logs import START, decision_row, small_meta, write_log

HELD = {"channel": None, "send_hour": None, "arm": None, "send_at": None, "action": 0, "action_name": "none"}


def log_of(path: Path, *changes: dict[str, Any], rows: int = 0) -> LogReader:
    """One row for each change, or `rows` plain ones; every row dispatched, its reward 1."""
    meta = small_meta(rewards={"y": RewardSpec(low=0, high=1)}, clustered=True)
    plain = {"state": "dispatched", "reward_y": 1.0}
    each = changes or ({},) * rows
    lines = [decision_row(i, meta, **{**plain, **change}) for i, change in enumerate(each)]
    return LogReader(write_log(path, lines, meta, group_rows=7))


def used(selection: Selection) -> list[str]:
    return [str(name) for batch in selection for name in batch.decision_id]


def test_only_dispatched_available_rows_of_known_reward(tmp_path: Path) -> None:
    reader = log_of(
        tmp_path / "log.parquet",
        {},
        {"available": False, "propensity": None},
        {"reward_y": None},
        {"state": "decided"},
        {"state": "failed"},
        {"state": "suppressed"},
        {"state": "delivered"},
        {**HELD, "reward_y": 0.0},
    )
    assert used(Selection(reader, "y")) == ["d000000", "d000006", "d000007"]
    counts = count(reader, "y")
    assert (counts.rows, counts.contacts) == (8, 8)
    assert counts.dropped == {"unavailable_or_not_dispatched": 4, "no_outcome": 1}
    assert counts.rows - sum(counts.dropped.values()) == 3


def test_a_selection_can_be_read_again(tmp_path: Path) -> None:
    selection = Selection(log_of(tmp_path / "log.parquet", rows=30), "y")
    assert used(selection) == used(selection)
    assert len(used(selection)) == 30


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_contact_sides_are_a_partition_by_cluster(fraction: float, tmp_path: Path) -> None:
    reader = log_of(tmp_path / "log.parquet", *({"cluster": i % 97} for i in range(400)))
    train, judge = contact_split(fraction, 3)
    sides = [set(used(Selection(reader, "y", side=side))) for side in (train, judge)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 400
    clusters = [{int(name[1:]) % 97 for name in side} for side in sides]
    assert not clusters[0] & clusters[1]
    # 97 clusters: five standard deviations of a fair draw.
    assert abs(len(clusters[0]) / 97 - fraction) < 5 * np.sqrt(fraction * (1 - fraction) / 97)


def test_another_seed_is_another_split(tmp_path: Path) -> None:
    reader = log_of(tmp_path / "log.parquet", rows=200)
    first, again, other = (used(Selection(reader, "y", side=contact_split(0.5, seed)[0])) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5, 0.99])
def test_the_past_trains(fraction: float, tmp_path: Path) -> None:
    reader = log_of(tmp_path / "log.parquet", rows=100)
    train, judge = time_split(reader, fraction)
    past, future = (used(Selection(reader, "y", side=side)) for side in (train, judge))
    assert past + future == [f"d{i:06d}" for i in range(100)]
    assert abs(len(past) - 100 * fraction) <= 1


def test_rows_of_one_instant_stay_together(tmp_path: Path) -> None:
    """Three waves: a share inside the second wave trains on the first alone."""
    waves = [{"decided_at": datetime(2026, 3, 1 + i // 20, tzinfo=UTC)} for i in range(60)]
    train, judge = time_split(log_of(tmp_path / "log.parquet", *waves), 0.5)
    reader = LogReader(tmp_path / "log.parquet")
    assert used(Selection(reader, "y", side=train)) == [f"d{i:06d}" for i in range(20)]
    assert len(used(Selection(reader, "y", side=judge))) == 40


def test_a_split_by_time_needs_times(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="decided_at"):
        time_split(log_of(tmp_path / "null.parquet", {}, {"decided_at": None}), 0.5)
    with pytest.raises(DataError, match="same instant"):
        time_split(log_of(tmp_path / "same.parquet", *({"decided_at": START},) * 5), 0.5)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_both_sides_need_rows(fraction: float, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="train_fraction"):
        contact_split(fraction, 0)
    with pytest.raises(ParameterError, match="train_fraction"):
        time_split(log_of(tmp_path / "log.parquet", rows=5), fraction)


def test_an_unknown_metric_is_refused(tmp_path: Path) -> None:
    reader = log_of(tmp_path / "log.parquet", rows=3)
    with pytest.raises(DataError, match="nothing"):
        count(reader, "nothing")
    with pytest.raises(DataError, match="nothing"):
        list(Selection(reader, "nothing"))
