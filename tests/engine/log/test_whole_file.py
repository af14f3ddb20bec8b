"""Whole Parquet files: complete under their name or not at all, whatever happens to the writer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError, StorageError
from engine.log.parquet import ParquetFile

SCHEMA = pa.schema([pa.field("n", pa.int64(), nullable=False)])
WRITER = """
import sys, pathlib, time
import pyarrow as pa
from engine.log.parquet import ParquetFile
path, stop = pathlib.Path(sys.argv[1]), sys.argv[2]
schema = pa.schema([pa.field("n", pa.int64(), nullable=False)])
def stage(name):
    print(name, flush=True)
    if name == stop:
        time.sleep(60)
with ParquetFile(path, schema) as file:
    stage("open")
    for part in range(5):
        file.append(pa.table({"n": list(range(part * 10_000, (part + 1) * 10_000))}, schema=schema))
        stage(f"part{part}")
stage("done")
"""


def numbers(count: int) -> pa.Table:
    return pa.table({"n": list(range(count))}, schema=SCHEMA)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def parts(folder: Path) -> list[str]:
    return [name for name in names(folder) if name.endswith(".part")]


def _start(path: Path, stop: str, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), stop]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )


def _kill_at(path: Path, stop: str, root: Path) -> None:
    with _start(path, stop, root) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == stop:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("stop", ["open", "part4"])
def test_a_writer_killed_at_any_stage_leaves_the_old_file(tmp_path: Path, root: Path, stop: str) -> None:
    path = tmp_path / "log.parquet"
    with ParquetFile(path, SCHEMA) as file:
        file.append(numbers(3))
    _kill_at(path, stop, root)
    assert pq.read_table(path).num_rows == 3
    assert len(parts(tmp_path)) == 1
    with ParquetFile(path, SCHEMA) as file:
        assert len(parts(tmp_path)) == 1  # the dead writer's is gone, this writer's is there
        file.append(numbers(4))
    assert pq.read_table(path).num_rows == 4
    assert parts(tmp_path) == []


def test_a_writer_killed_after_the_end_has_written_everything(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "log.parquet"
    _kill_at(path, "done", root)
    assert pq.read_table(path).column("n").to_pylist() == list(range(50_000))
    assert parts(tmp_path) == []


def test_a_writer_killed_at_any_moment_leaves_all_or_nothing(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "tests.kill_writers", "parquet", str(tmp_path), "30", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    found = json.loads(done.stdout)
    assert found["old"] + found["new"] == 30
    assert (found["damaged"], found["lost"], found["left"]) == (0, 0, ["log.parquet"])


def test_a_reader_beside_the_writer_sees_whole_files_only(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "log.parquet"
    with ParquetFile(path, SCHEMA) as file:
        file.append(numbers(1))
    seen = set()
    with _start(path, "", root) as process:
        while process.poll() is None:
            # One handle, as the log's reader has: `read_table` of a path opens it twice and may meet two files.
            seen.add(pq.ParquetFile(path).read().num_rows)
    seen.add(pq.ParquetFile(path).read().num_rows)
    assert seen == {1, 50_000}


def test_a_living_writer_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    with ParquetFile(path, SCHEMA) as first:
        first.append(numbers(1))
        with ParquetFile(path, SCHEMA) as second:
            assert len(parts(tmp_path)) == 2
            second.append(numbers(2))
        assert pq.read_table(path).num_rows == 2
    assert pq.read_table(path).num_rows == 1


def test_leftovers_of_every_name_are_removed(tmp_path: Path) -> None:
    for name in (".a.parquet.1-0.part", ".[x].parquet.1-0.part", ".b.parquet.1-0.part", ".b.parquet.part"):
        (tmp_path / name).write_bytes(b"half")
    for name in ("a.parquet", "[x].parquet"):
        with ParquetFile(tmp_path / name, SCHEMA) as file:
            file.append(numbers(1))
    assert parts(tmp_path) == [".b.parquet.part"]  # not of our naming


def test_an_exception_inside_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with ParquetFile(tmp_path / "x.parquet", SCHEMA) as file:
            file.append(numbers(1))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "table", [pa.table({"m": [1]}), pa.table({"n": ["x"]}), pa.table({"n": pa.array([None], pa.int64())})]
)
def test_rows_that_do_not_fit_leave_nothing(tmp_path: Path, table: pa.Table) -> None:
    def write() -> None:
        with ParquetFile(tmp_path / "x.parquet", SCHEMA) as file:
            file.append(numbers(1))
            file.append(table)

    with pytest.raises(DataError, match="do not fit"):
        write()
    assert names(tmp_path) == []


def test_a_failure_that_the_caller_swallowed_still_writes_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with ParquetFile(tmp_path / "x.parquet", SCHEMA) as file:
            with contextlib.suppress(DataError):
                file.append(pa.table({"m": [1]}))
            file.append(numbers(1))

    with pytest.raises(StorageError, match="earlier append failed"):
        write()
    assert names(tmp_path) == []


def test_a_missing_folder_and_a_closed_file_are_storage_errors(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"), ParquetFile(tmp_path / "no" / "x.parquet", SCHEMA):
        pass
    file = ParquetFile(tmp_path / "x.parquet", SCHEMA)
    with pytest.raises(StorageError, match="not open"):
        file.append(numbers(1))
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(StorageError, match="cannot write"), ParquetFile(tmp_path / "folder.parquet", SCHEMA) as file:
        file.append(numbers(1))
    assert parts(tmp_path) == []


FULL_DISK = """
import os, pathlib, resource, signal, sys
import pyarrow as pa
from engine.errors import StorageError
from engine.log.parquet import ParquetFile
path = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
schema = pa.schema([("b", pa.binary())])
try:
    with ParquetFile(path, schema) as file:
        for _ in range(10):
            file.append(pa.table({"b": [os.urandom(10_000)]}, schema=schema))
except StorageError as error:
    print("refused", os.listdir(path.parent), "too large" in str(error))
"""


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "x.parquet")]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=True
    )
    assert done.stdout.strip() == "refused [] True"
