"""Logs whose rows contradict themselves or each other are refused before anybody reads them to learn or to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, LogFormatError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.log.structure import Structure, accept, require_sound, structure_of
from engine.records.schema import RewardSpec
from policies.horizon.panel import WholeLogs
from tests.logs import decision_row, small_meta, write_log

META = small_meta(rewards={"y": RewardSpec(low=0, high=1)}, clustered=True)
GOOD: dict[str, Any] = {"state": "dispatched", "reward_y": 1.0}
REMOVED = {"eligible": b"\x05"}
NOT_DRAWN = {"available": False, "propensity": None}


def log_of(path: Path, *changes: dict[str, Any], first: int = 0) -> LogReader:
    rows = [decision_row(first + i, META, **{**GOOD, **change}) for i, change in enumerate(changes)]
    return LogReader(write_log(path, rows, META, group_rows=3))


CASES: dict[str, tuple[tuple[dict[str, Any], ...], tuple[int, int, int]]] = {
    "sound": (({}, {}, {}, {}, {}), (0, 0, 0)),
    "repeated next to each other": (({}, {"decision_id": "d000000"}, {}), (1, 0, 0)),
    "repeated in another row group": (({}, {}, {}, {}, {"decision_id": "d000000"}), (1, 0, 0)),
    "three times": (({}, {"decision_id": "d000000"}, {"decision_id": "d000000"}), (2, 0, 0)),
    "repeated in control": (({}, {**NOT_DRAWN, "decision_id": "d000000"}), (1, 0, 0)),
    "not eligible": (({}, REMOVED, {}, REMOVED), (0, 2, 0)),
    "not eligible, not handed over": (({**REMOVED, "state": "decided"}, {}), (0, 1, 0)),
    "hold not eligible": (({"action": 0, "action_name": "none", "eligible": b"\x06"},), (0, 1, 0)),
    "nothing eligible": (({"eligible": b"\x00"},), (0, 1, 0)),
    "control may hold anything": (({**NOT_DRAWN, **REMOVED}, {}), (0, 0, 0)),
    "no propensity": (({"propensity": None}, {}), (0, 0, 1)),
    "a propensity above 1, not handed over": (({"propensity": 1.5, "state": "failed"},), (0, 0, 1)),
    "a propensity of 0, not handed over": (({"propensity": 0.0, "state": "decided"},), (0, 0, 1)),
    "all at once": (({"propensity": None}, {**REMOVED, "decision_id": "d000000"}), (1, 1, 1)),
}


@pytest.mark.parametrize("held", [1, 2, 8_000_000])
@pytest.mark.parametrize("case", CASES)
def test_what_is_counted(case: str, held: int, tmp_path: Path) -> None:
    changes, expected = CASES[case]
    found = structure_of([log_of(tmp_path / "log.parquet", *changes)], held)
    assert found == Structure(len(changes), *expected)
    assert len(found.faults) == sum(count > 0 for count in expected)


@pytest.mark.parametrize("case", [case for case, (_, counts) in CASES.items() if any(counts)])
def test_nobody_reads_them_to_learn_or_to_judge(case: str, tmp_path: Path) -> None:
    reader = log_of(tmp_path / "log.parquet", *CASES[case][0])
    with pytest.raises(DataError, match="nothing can be learnt from"):
        require_sound(reader)
    with pytest.raises(DataError, match="rows"):
        next(iter(Selection(reader, "y")))
    with pytest.raises(DataError, match="rows"):
        next(iter(WholeLogs([reader], "y", ())))
    accept(reader)
    # Whoever accepts the faults reads every row that was drawn and dispatched, faulty or not.
    used = [{**GOOD, "available": True, **change} for change in CASES[case][0]]
    used = [row for row in used if row["available"] and row["state"] == "dispatched"]
    assert sum(batch.n for batch in Selection(reader, "y")) == len(used)


def test_a_usable_row_with_an_impossible_propensity_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogFormatError, match="outside"):
        require_sound(log_of(tmp_path / "log.parquet", {}, {"propensity": 1.5}))


def test_logs_that_are_read_together_are_compared(tmp_path: Path) -> None:
    one, other = log_of(tmp_path / "1.parquet", {}, {}, {}), log_of(tmp_path / "2.parquet", {}, {}, first=2)
    for reader in (one, other):
        require_sound(reader)
    with pytest.raises(DataError, match="1 of 5 rows repeat the decision id") as caught:
        require_sound(one, other)
    assert "1.parquet" in caught.value.message
    assert "2.parquet" in caught.value.message
    with pytest.raises(DataError, match="3 of 6 rows repeat"):
        require_sound(one, LogReader(one.path))
    with pytest.raises(DataError, match="repeat"):
        next(iter(WholeLogs([one, other], "y", ())))
    require_sound(one, log_of(tmp_path / "3.parquet", {}, {}, first=3))


def test_logs_without_propensities_need_none(tmp_path: Path) -> None:
    meta = small_meta(rewards={"y": RewardSpec(low=0, high=1)}, propensity="absent")
    rows = [decision_row(i, meta, **{**GOOD, "propensity": None}) for i in range(3)]
    reader = LogReader(write_log(tmp_path / "log.parquet", rows, meta))
    require_sound(reader)
    assert structure_of([reader]) == Structure(3, 0, 0, 0)
