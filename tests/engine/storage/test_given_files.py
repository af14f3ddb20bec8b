"""What people name as inputs: files, folders and globs."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import DataError, ParameterError
from engine.storage.given import files_of, named, options


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.parquet", "a.parquet", ".hidden.parquet", "notes.txt", "C.PARQUET", "deep/d.parquet"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(*given: object) -> list[str]:
    return [path.name for path in files_of(list(map(str, given)), what="log", endings=(".parquet",))]


def test_folders_globs_and_files_are_taken_together(folder: Path) -> None:
    assert names(folder) == ["C.PARQUET", "a.parquet", "b.parquet"]
    assert names(folder / "*.parquet") == ["a.parquet", "b.parquet"]
    assert names(folder / "**" / "*.parquet") == ["a.parquet", "b.parquet", "d.parquet"]
    assert names(folder / "deep", folder / "a.parquet") == ["a.parquet", "d.parquet"]
    assert names(folder / "b.parquet", folder / "a.parquet") == names(folder / "a.parquet", folder / "b.parquet")


def test_a_name_that_exists_is_no_glob(tmp_path: Path) -> None:
    (tmp_path / "[x].parquet").write_text("1")
    (tmp_path / "x.parquet").write_text("2")
    assert names(tmp_path / "[x].parquet") == ["[x].parquet"]


def test_one_file_twice_is_refused_however_it_is_named(folder: Path) -> None:
    (folder / "link.parquet").symlink_to(folder / "a.parquet")
    a = folder / "a.parquet"
    for given in ([a, a], [a, folder / "deep" / ".." / "a.parquet"], [folder], [folder / "link.parquet", a]):
        with pytest.raises(DataError, match=r"a\.parquet"):
            names(*given)
    with pytest.raises(DataError, match="twice"):
        names(a, a)


def test_nothing_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given, said in ((tmp_path / "empty", "holds no log files"), (folder / "*.csv", "no log file matches")):
        with pytest.raises(DataError, match=said):
            names(given)
    with pytest.raises(ParameterError):
        names()
    # A single name that is not there is left to its reader's own words.
    assert names(folder / "none.parquet") == ["none.parquet"]


def test_sentences_and_options() -> None:
    assert [named(list("abcde"[:count])) for count in (1, 2, 3, 5)] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 2 more",
    ]
    assert options("--log", ["a b", "c"]) == "--log 'a b' --log c"
