"""Files and folders that appear whole, and what dead writers leave."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.storage import parts
from engine.storage.parts import new_file, new_folder, remove_leftovers, scratch_folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write_folder(place: Path, text: str) -> None:
    with new_folder(place) as part:
        (part / "a").write_text(text)
        (part / "deep").mkdir()
        (part / "deep" / "b").write_text(text)


def killed(work: Callable[[], None]) -> None:
    """Run in a process of its own that ends by SIGKILL."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(params=[True, False], ids=["one step", "two steps"])
def one_step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With the system's exchange, and as where it has none."""
    if not request.param:
        monkeypatch.setattr(parts, "_exchange_call", lambda one, other: errno.EINVAL)
    return bool(request.param)


def test_a_folder_takes_the_place_of_another(tmp_path: Path, one_step: bool) -> None:
    place = tmp_path / "o"
    write_folder(place, "old")
    write_folder(place, "new")
    assert (place / "deep" / "b").read_text() == "new"
    assert names(tmp_path) == ["o"]


def test_a_failure_leaves_what_stood_there(tmp_path: Path, one_step: bool) -> None:
    place = tmp_path / "o"
    write_folder(place, "old")

    def fail() -> None:
        with new_folder(place) as part:
            (part / "a").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert (place / "a").read_text() == "old"
    assert names(tmp_path) == ["o"]


def test_the_exchange_is_refused_for_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError):
        parts.exchanged(tmp_path / "a", tmp_path / "b")


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with new_file(tmp_path / "f") as part:
            part.write_text(text)
    assert (tmp_path / "f").read_text() == "new"
    assert names(tmp_path) == ["f"]


def test_the_folder_is_there_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after every call that touches the disk, a whole folder stands under the name."""
    place = tmp_path / "o"
    write_folder(place, "old")
    seen: list[str] = []

    def watched(call: Callable[..., object]) -> Callable[..., object]:
        def look(*arguments: object, **named: object) -> object:
            seen.append((place / "a").read_text() + (place / "deep" / "b").read_text())
            result = call(*arguments, **named)
            seen.append((place / "a").read_text() + (place / "deep" / "b").read_text())
            return result

        return look

    for module, name in ((os, "fsync"), (os, "rename"), (os, "replace"), (os, "unlink"), (parts, "exchanged")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    write_folder(place, "new")
    assert set(seen) == {"oldold", "newnew"}
    assert seen == sorted(seen, reverse=True)


def test_what_a_killed_writer_leaves_is_removed_by_the_next_one(tmp_path: Path) -> None:
    def folder() -> None:
        with new_folder(tmp_path / "o") as part:
            (part / "a").write_text("half")
            die()

    def file() -> None:
        with new_file(tmp_path / "f") as part:
            part.write_text("half")
            die()

    killed(folder)
    assert len(names(tmp_path)) == 1
    killed(file)
    assert len(names(tmp_path)) == 1  # the second one's own
    with new_file(tmp_path / "another") as part:
        part.write_text("whole")
    assert names(tmp_path) == ["another"]


def test_what_stood_aside_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no exchange, a kill between the two renames leaves none; the next writer puts it back."""
    place = tmp_path / "o"
    write_folder(place, "old")
    monkeypatch.setattr(parts, "_exchange_call", lambda one, other: errno.EINVAL)
    real = Path.rename

    def once(path: Path, target: Path) -> Path:
        moved = real(path, target)
        die()
        return moved

    def between() -> None:
        Path.rename = once  # type: ignore[method-assign]
        write_folder(place, "new")

    killed(between)
    assert not place.exists()
    remove_leftovers(tmp_path)
    assert (place / "a").read_text() == "old"
    assert names(tmp_path) == ["o"]


def test_leftovers_of_earlier_versions_are_settled(tmp_path: Path) -> None:
    """The half-written folder goes; a folder that was moved aside goes back to an empty place, else it goes too."""
    (tmp_path / ".o.part.abcd_123").mkdir()
    (tmp_path / ".swp.old.x1").mkdir()
    (tmp_path / ".swp.old.x1" / "swp").mkdir()
    (tmp_path / ".swp.old.x1" / "swp" / "a").write_text("only one")
    (tmp_path / "o").mkdir()
    (tmp_path / ".o.old.x2" / "o").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["o", "swp"]
    assert (tmp_path / "swp" / "a").read_text() == "only one"


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with new_folder(tmp_path / "o") as part, new_file(tmp_path / "f"):
            (part / "a").write_text("at work")
            os.write(writer, b"x")
            signal.pause()
        os._exit(0)
    os.read(reader, 1)
    before = names(tmp_path)
    assert len(before) == 2
    remove_leftovers(tmp_path)
    assert names(tmp_path) == before
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_other_hidden_files_are_not_ours(tmp_path: Path) -> None:
    kept = [".bashrc", ".x.part", ".part", ".x.1.part", "x.1-0.part", ".x.1-0.partial", ".lock", ".x.1-0.PART"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept)


def test_scratch_is_private_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def work() -> None:
        with scratch_folder() as folder:
            (folder / "data").write_text("x")
            die()

    killed(work)
    assert len(names(tmp_path)) == 1
    with scratch_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == []


def test_writers_beside_each_other_take_nothing_from_each_other(tmp_path: Path) -> None:
    """Every writer looks for leftovers while the others are just making their entries."""
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for turn in range(150):
                    with new_file(tmp_path / f"f{number}-{turn % 3}") as part:
                        part.write_text("whole")
                    with new_folder(tmp_path / f"o{number}") as part:
                        (part / "a").write_text("whole")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert len(names(tmp_path)) == 4 * 4


def test_an_entry_that_a_cleaner_takes_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the making of an entry and its lock a cleaner finds it without one, and removes it."""
    real = parts._created
    for name, make in (("f", new_file), ("o", new_folder)):
        taken: list[Path] = []

        def created(path: Path, folder: bool, mode: int, taken: list[Path] = taken) -> int:
            descriptor = real(path, folder, mode)
            if not taken:
                taken.append(path)
                remove_leftovers(tmp_path)
            return descriptor

        with monkeypatch.context() as patched:
            patched.setattr(parts, "_created", created)
            with make(tmp_path / name) as part:
                assert part not in taken
                (part if name == "f" else part / "a").write_text("whole")
    assert names(tmp_path) == ["f", "o"]
