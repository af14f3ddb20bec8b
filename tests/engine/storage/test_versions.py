"""engine/storage/versions.py: versions, the pointer, the history, and what a fault leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ArtefactError, StorageError
from engine.storage import versions
from engine.storage.artefact import MANIFEST, publish
from engine.storage.versions import LiveFolder, changing, history, read_pointer, served_folder, version_folder

KIND = "test"


def made(folder: Path, number: int) -> Path:
    publish(
        folder, KIND, {"number": number}, lambda part: (part / "a.bin").write_bytes(bytes(range(256)) * 40) and None
    )
    return folder


def promote(live: Path, folder: Path, **entry: Any) -> str:
    with changing(live) as open_folder:
        version = open_folder.keep(folder, KIND)
        open_folder.switch(version, "promoted", entry)
    return version


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A live folder that serves the first of two policies."""
    first, second = made(tmp_path / "one", 1), made(tmp_path / "two", 2)
    promote(tmp_path / "live", first, who="me")
    return tmp_path / "live", first, second


def events(live: Path) -> list[str]:
    return [line["event"] for line in history(live)]


def test_the_pointer_says_what_serves(two):
    live, first, second = two
    assert (served_folder(live) / "a.bin").read_bytes() == (first / "a.bin").read_bytes()
    assert served_folder(first) == first
    old = served_folder(live)
    version = promote(live, second)
    assert served_folder(live) == version_folder(live, version) != old
    assert (old / MANIFEST).is_file(), "versions stay where they are"
    assert [line["sequence"] for line in history(live)] == [1, 2]
    assert history(live)[0]["who"] == "me"


def test_rolling_back_is_a_line_and_a_pointer(two):
    live, _, second = two
    first = read_pointer(live).version
    promote(live, second)
    with changing(live) as folder:
        folder.switch(first, "rolled back", {})
    assert read_pointer(live).version == first
    assert events(live) == ["promoted", "promoted", "rolled back"]


def test_unknown_version(two):
    with changing(two[0]) as folder, pytest.raises(ArtefactError):
        folder.switch("0" * 16, "promoted", {})
    assert events(two[0]) == ["promoted"]


def damage_pointer(live: Path) -> None:
    data = json.loads((live / "live.json").read_text())
    (live / "live.json").write_text(json.dumps({**data, "version": "0" * 16}))


def damage_history(live: Path) -> None:
    text = (live / "history.jsonl").read_text()
    (live / "history.jsonl").write_text(text.replace('"me"', '"you"'))


def drop_line(live: Path) -> None:
    lines = (live / "history.jsonl").read_text().splitlines(keepends=True)
    (live / "history.jsonl").write_text("".join(lines[1:]))


def test_a_pointer_that_was_changed_is_refused(two):
    damage_pointer(two[0])
    with pytest.raises(ArtefactError):
        served_folder(two[0])


@pytest.mark.parametrize("damage", [damage_history, drop_line])
def test_a_history_that_was_changed_is_refused(two, damage):
    live, _, second = two
    promote(live, second)
    before = read_pointer(live)
    damage(live)
    with pytest.raises(ArtefactError, match="not what was written"):
        promote(live, second)
    assert read_pointer(live) == before


def test_a_missing_version_is_not_served(two):
    shutil.rmtree(served_folder(two[0]))
    with pytest.raises(ArtefactError):
        served_folder(two[0])


def test_a_damaged_copy_is_made_anew(two):
    live, first, _ = two
    (served_folder(live) / "a.bin").write_bytes(b"broken")
    promote(live, first)
    assert (served_folder(live) / "a.bin").read_bytes() == (first / "a.bin").read_bytes()


def test_a_damaged_policy_is_not_kept(two):
    live, _, second = two
    (second / "a.bin").write_bytes(b"broken")
    with pytest.raises(ArtefactError):
        promote(live, second)
    assert events(live) == ["promoted"]


@pytest.mark.parametrize("call", ["copyfile", "sync", "fsync", "replace", "mkdir"])
def test_a_full_disk_leaves_the_live_version(two, monkeypatch, call):
    """Whichever write fails, the same version serves, and the next change goes through."""
    live, _, second = two

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        owner = {"copyfile": versions.shutil, "sync": versions, "fsync": versions.os}.get(call, Path)
        patched.setattr(owner, call, full)
        before = read_pointer(live)
        with pytest.raises(StorageError):
            promote(live, second)
        assert read_pointer(live) == before
    promote(live, second)
    assert read_pointer(live).sequence == 2
    assert events(live)[-1] == "promoted"
    assert [path.name for path in (live / "versions").iterdir() if path.name.startswith(".")] == []


def test_a_change_that_died_before_the_pointer_did_not_happen(two, monkeypatch):
    live, _, second = two
    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(LiveFolder, "_point", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                promote(live, second)
        assert read_pointer(live).sequence == 1
    promote(live, second)
    assert events(live) == ["promoted", "promoted", "abandoned", "promoted", "abandoned", "promoted"]


def test_half_a_line_takes_no_other_with_it(two):
    live, _, second = two
    with (live / "history.jsonl").open("ab") as stream:
        stream.write(b'{"event": "promo')
    promote(live, second)
    assert events(live) == ["promoted", "promoted"]
    assert b'{"event": "promo\n' in (live / "history.jsonl").read_bytes()


def test_a_trained_folder_is_no_live_folder(two, tmp_path):
    with pytest.raises(StorageError), changing(two[1]):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError), changing(tmp_path / "file"):
        pass


def test_killed_promoters_leave_one_whole_version(two, tmp_path):
    """Two processes promote in turns and are killed at many moments; what serves is always whole, the history too."""
    live, first, second = two
    for trial in range(12):
        children = []
        for folder in (first, second):
            child = os.fork()
            if child == 0:
                try:
                    for _ in range(50):
                        promote(live, folder)
                finally:
                    os._exit(0)
            children.append(child)
        time.sleep(0.01 + 0.004 * trial)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        served = served_folder(live)
        assert versions.verified(served, KIND)["version"] == served.name
        lines = [line for line in history(live) if line["event"] == "promoted"]
        assert read_pointer(live).sequence in {line["sequence"] for line in lines}
    before = read_pointer(live).sequence
    promote(live, second)
    assert read_pointer(live) == versions.Pointer(second_version(second), before + 1)


def second_version(folder: Path) -> str:
    return str(json.loads((folder / MANIFEST).read_text())["version"])
