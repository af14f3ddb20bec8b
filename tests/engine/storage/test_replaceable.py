"""What is never written over: devices, pipes, links, SQLite files and a command's own inputs."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import ParameterError
from engine.storage.parts import new_file
from engine.storage.replaceable import require_free, require_replaceable


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    (path.parent / "target").write_text("mine", encoding="utf-8")
    path.symlink_to("target")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def link_to_a_folder(path: Path) -> None:
    (path.parent / "folder").mkdir()
    path.symlink_to("folder")


def store(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table sends (id text)")
    connection.close()


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (pipe, "a pipe"),
        (link, "a link"),
        (dangling, "a link"),
        (link_to_a_folder, "a link"),
        (store, "SQLite"),
    ],
)
def test_what_is_no_plain_file_is_refused_with_and_without_replace(
    tmp_path: Path, make: Callable[[Path], None], why: str, replace: bool
) -> None:
    out = tmp_path / "out"
    make(out)
    before = out.lstat()
    with pytest.raises(ParameterError, match="a name that is free") as refused:
        require_free(out, replace=replace)
    assert why in refused.value.hint
    after = out.lstat()
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)


def test_files_inside_a_folder_are_looked_at_and_the_folder_may_be_a_link(tmp_path: Path) -> None:
    link_to_a_folder(tmp_path / "out")
    require_free(tmp_path / "out", replace=True, within=["report.json"])
    pipe(tmp_path / "folder" / "report.json")
    with pytest.raises(ParameterError):
        require_free(tmp_path / "out", replace=True, within=["report.json"])


def test_plain_files_and_folders_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").write_text("read", encoding="utf-8")
    for name in ("file", "folder", "new"):
        inputs = [tmp_path / "other", None, "missing", [tmp_path / "gone"]]
        require_free(tmp_path / name, replace=True, inputs=inputs, folder=name == "folder")


@pytest.mark.parametrize("way", ["itself", "hard link", "linked folder", "folder", "glob", "dots", "linked input"])
def test_an_input_is_refused_under_whatever_name(tmp_path: Path, way: str) -> None:
    given = tmp_path / "in" / "log.parquet"
    given.parent.mkdir()
    given.write_text("mine", encoding="utf-8")
    (tmp_path / "hard").hardlink_to(given)
    (tmp_path / "linked").symlink_to("in")
    (tmp_path / "soft").symlink_to(given)
    out, inputs = {
        "itself": (given, [given]),
        "hard link": (tmp_path / "hard", [[tmp_path / "none", given]]),
        "linked folder": (tmp_path / "linked" / "log.parquet", [str(given)]),
        "folder": (given, [given.parent]),
        "glob": (given, [str(tmp_path / "in" / "*.parquet")]),
        "dots": (tmp_path / "in" / ".." / "in" / "log.parquet", [given]),
        "linked input": (given, [tmp_path / "soft"]),
    }[way]
    for replace in (True, False):
        with pytest.raises(ParameterError, match="a name that is free") as refused:
            require_free(out, replace=replace, inputs=inputs)
        assert "reads it" in refused.value.hint
    assert given.read_text(encoding="utf-8") == "mine"


def test_a_folder_that_holds_an_input_is_not_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "log.parquet").write_text("mine", encoding="utf-8")
    with pytest.raises(ParameterError):
        require_replaceable(tmp_path / "out", inputs=[tmp_path / "out" / "log.parquet"])
    require_free(tmp_path / "out", replace=True, within=["report.json"], inputs=[tmp_path / "out" / "log.parquet"])


def test_a_pipe_that_came_in_between_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="no plain file"), new_file(tmp_path / "out") as part:  # noqa: PT012
        part.write_text("ours", encoding="utf-8")
        pipe(tmp_path / "out")
    assert stat.S_ISFIFO((tmp_path / "out").stat().st_mode)
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
