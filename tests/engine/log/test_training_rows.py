"""The record of the rows that a folder learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import ArtefactError
from engine.log.parquet import LogReader
from engine.log.training_rows import FILE, TrainingRows
from engine.storage.artefact import publish, verified
from tests.logs import decision_row, small_meta, write_log


def rounds(path: Path, numbers: range) -> LogReader:
    meta = small_meta()
    return LogReader(write_log(path, [decision_row(n, meta) for n in numbers], meta))


def test_a_record_knows_its_rows_and_no_others(tmp_path: Path) -> None:
    """Of rows 5 to 14 the record of 0 to 9 knows five; the five others are left."""
    learnt = TrainingRows.of(rounds(tmp_path / "a.parquet", range(10)).rounds())
    later = rounds(tmp_path / "b.parquet", range(5, 15))
    assert len(learnt) == 10
    assert learnt.shared(later.rounds()) == 5
    left = [name for batch in learnt.without(list(later.rounds())) for name in batch.decision_id]
    assert left == [f"d{n:06d}" for n in range(10, 15)]
    both = learnt | TrainingRows.of(later.rounds())
    assert len(both) == 15
    assert TrainingRows.of(()).shared(later.rounds()) == 0


def test_a_row_is_more_than_its_id(tmp_path: Path) -> None:
    """Row numbers are ids in some logs: another contact under the same number is another row."""
    meta = small_meta(clustered=True)
    rows = [decision_row(n, meta, cluster=n) for n in range(4)]
    others = [{**row, "cluster": row["cluster"] + 100} for row in rows]
    logs = [
        LogReader(write_log(tmp_path / name, each, meta)) for name, each in (("a.parquet", rows), ("b.parquet", others))
    ]
    learnt = TrainingRows.of(logs[0].rounds())
    assert (learnt.shared(logs[0].rounds()), learnt.shared(logs[1].rounds())) == (4, 0)


def test_a_record_survives_its_folder(tmp_path: Path) -> None:
    learnt = TrainingRows.of(rounds(tmp_path / "a.parquet", range(10)).rounds())
    publish(tmp_path / "folder", "kind", {}, lambda part: None, learnt)
    found = TrainingRows.read(tmp_path / "folder")
    assert (found.keys == learnt.keys).all()
    assert FILE in verified(tmp_path / "folder", "kind")["files"]
    publish(tmp_path / "silent", "kind", {}, lambda part: None)
    assert FILE not in verified(tmp_path / "silent", "kind")["files"]


@pytest.mark.parametrize("content", [b"", b"nonsense", None, np.zeros(3), np.array([2, 1], dtype=np.uint64)])
def test_a_damaged_record_is_refused(content: bytes | np.ndarray | None, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    publish(folder, "kind", {}, lambda part: None, TrainingRows.of(()))
    if content is None:
        (folder / FILE).unlink()
    elif isinstance(content, bytes):
        (folder / FILE).write_bytes(content)
    else:
        np.save(folder / FILE, content)
    with pytest.raises(ArtefactError):
        TrainingRows.read(folder)
