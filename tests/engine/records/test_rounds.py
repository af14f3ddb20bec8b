"""Blocks of rounds: chunks at multiples of 4096 rows, usable rows, clusters, take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.identity import keyed_hash
from engine.log.parquet import LogReader, context_arrays, context_of
from engine.records.rounds import CHUNK_ROWS
from engine.records.schema import RewardSpec, log_schema
from engine.types import NOT_AN_INSTANT
from tests.logs import START, decision_row, decision_table, small_meta, write_log


@pytest.mark.parametrize("group_rows", [1000, 4096, 5000, 10_000])
def test_chunks_do_not_depend_on_row_groups(tmp_path: Path, group_rows: int) -> None:
    meta = small_meta()
    base = decision_table([decision_row(number, meta) for number in range(9000)], meta)
    pq.write_table(base, tmp_path / "log.parquet", row_group_size=group_rows)
    blocks = list(LogReader(tmp_path / "log.parquet").rounds())
    assert [block.n for block in blocks] == [CHUNK_ROWS, CHUNK_ROWS, 9000 - 2 * CHUNK_ROWS]
    assert [block.chunk for block in blocks] == [0, 1, 2]
    ids = np.concatenate([block.decision_id for block in blocks])
    assert ids.tolist() == [f"d{number:06d}" for number in range(9000)]
    spend = np.concatenate([block.context.columns["spend"].values for block in blocks])
    np.testing.assert_array_equal(spend, 0.1 * np.arange(9000))
    assert blocks[2].decided_at[0] == int(START.timestamp() * 1e6) + 2 * CHUNK_ROWS * 60_000_000


def test_levels_that_differ_by_row_group_keep_their_meaning(tmp_path: Path) -> None:
    meta = small_meta()
    names = ["Urban", "Rural", "Suburban", "Rural", "Urban"]
    rows = [decision_row(number, meta, context_zip=name) for number, name in enumerate(names)]
    path = write_log(tmp_path / "log.parquet", rows, meta, group_rows=1)
    column = next(LogReader(path).rounds()).context.columns["zip"]
    assert [column.levels[code] for code in column.values] == names


def test_only_dispatched_and_available_rows_are_usable(tmp_path: Path) -> None:
    meta = small_meta()
    states = ["decided", "dispatched", "delivered", "failed", "suppressed", "dispatched"]
    rows = [decision_row(n, meta, state=state, available=n != 5) for n, state in enumerate(states)]
    block = next(LogReader(write_log(tmp_path / "log.parquet", rows, meta)).rounds())
    assert block.usable.tolist() == [False, True, True, False, False, False]


def test_rows_without_a_cluster_stand_alone(tmp_path: Path) -> None:
    meta = small_meta()
    rows = [
        decision_row(0, meta, cluster=None),
        decision_row(1, meta, cluster=2**64 - 1),
        decision_row(2, meta, cluster=5),
    ]
    block = next(LogReader(write_log(tmp_path / "log.parquet", rows, meta)).rounds())
    own = int(keyed_hash(block.decision_id, "cluster")[0])
    assert block.cluster.tolist() == [own, 2**64 - 1, 5]


def test_absent_values_are_nan_and_not_an_instant(tmp_path: Path) -> None:
    meta = small_meta(rewards={"visit": RewardSpec(low=0, high=1)}, propensity="absent")
    row = decision_row(0, meta, propensity=None, decided_at=None, reward_visit=None, context_spend=None, state_spend=1)
    block = next(LogReader(write_log(tmp_path / "log.parquet", [row], meta)).rounds(rewards=["visit"], extra=["seed"]))
    assert np.isnan(block.propensity[0])
    assert np.isnan(block.rewards["visit"][0])
    assert np.isnan(block.context.columns["spend"].values[0])
    assert block.decided_at[0] == NOT_AN_INSTANT
    assert block.extra["seed"].tolist() == [7]


def test_take_keeps_every_column_together(tmp_path: Path) -> None:
    meta = small_meta(rewards={"visit": RewardSpec(low=0, high=99)})
    rows = [decision_row(n, meta, reward_visit=float(n), eligible=bytes([n | 3]), seed=n) for n in range(8)]
    block = next(LogReader(write_log(tmp_path / "log.parquet", rows, meta)).rounds(rewards=["visit"], extra=["seed"]))
    for chosen in (np.array([6, 1, 1]), np.arange(8) % 2 == 0, slice(3, 5)):
        taken = block.take(chosen)
        numbers = np.arange(8)[chosen]
        assert taken.n == taken.context.n == len(numbers)
        assert taken.decision_id.tolist() == [f"d{n:06d}" for n in numbers]
        assert taken.rewards["visit"].tolist() == numbers.tolist()
        assert taken.extra["seed"].tolist() == numbers.tolist()
        assert taken.cluster.tolist() == [2**64 - 1 - int(n) for n in numbers]
        np.testing.assert_array_equal(taken.eligible_dense(), block.eligible_dense()[chosen])
        np.testing.assert_array_equal(taken.context.columns["spend"].values, 0.1 * numbers)
        assert (taken.chunk, taken.k) == (0, 3)


def test_context_arrays_inverts_context_of(tmp_path: Path) -> None:
    meta = small_meta()
    rows = [
        decision_row(0, meta),
        decision_row(1, meta, context_zip=None, state_zip=2, context_spend=None, state_spend=1),
    ]
    batch = decision_table(rows, meta).to_batches()[0]
    arrays = context_arrays(context_of(batch, meta))
    schema = log_schema(meta)
    for name, array in arrays.items():
        assert array.cast(schema.field(name).type).to_pylist() == batch.column(name).to_pylist()
    again = context_of(
        pa.RecordBatch.from_pydict({**dict(zip(batch.schema.names, batch.columns, strict=True)), **arrays}), meta
    )
    assert again.columns["zip"].state.tolist() == [0, 2]
