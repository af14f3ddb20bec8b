"""engine/storage/artefact.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import ArtefactError, StorageError
from engine.storage.artefact import MANIFEST, publish, sha256, verified


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_two(part: Path) -> None:
    (part / "a.bin").write_bytes(bytes(range(256)) * 10)
    (part / "b.txt").write_text("hello")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish(tmp_path / "made", "test", {"x": 1, "version": ""}, write_two)
    return tmp_path / "made"


def test_round_trip(folder):
    manifest = verified(folder, "test")
    assert manifest["x"] == 1
    assert manifest["files"] == {"a.bin": sha256(folder / "a.bin"), "b.txt": sha256(folder / "b.txt")}
    assert len(manifest["version"]) == 16
    assert names(folder.parent) == ["made"]


def test_same_content_same_version(tmp_path):
    one = publish(tmp_path / "one", "test", {"x": 1}, write_two)
    two = publish(tmp_path / "two", "test", {"x": 1}, write_two)
    three = publish(tmp_path / "three", "test", {"x": 2}, write_two)
    assert one == two != three


def test_replaced_on_success(folder):
    publish(folder, "test", {"x": 2}, lambda part: (part / "c").write_text("new") and None)
    assert verified(folder, "test")["x"] == 2
    assert names(folder) == ["c", MANIFEST]
    assert names(folder.parent) == ["made"]


def test_kept_on_failure(folder):
    def fail(part: Path) -> None:
        (part / "a.bin").write_text("half")
        raise OSError("disk full")

    with pytest.raises(StorageError, match="disk full"):
        publish(folder, "test", {"x": 2}, fail)
    assert verified(folder, "test")["x"] == 1
    assert names(folder.parent) == ["made"]


def test_missing_parent_and_foreign_folder(tmp_path):
    with pytest.raises(StorageError, match="no folder"):
        publish(tmp_path / "none" / "made", "test", {}, write_two)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(StorageError, match="no trained folder"):
        publish(tmp_path / "mine", "test", {}, write_two)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["a.bin", "b.txt", MANIFEST])
def test_damage_is_found(folder, name, damage):
    damage(folder / name)
    with pytest.raises(ArtefactError):
        verified(folder, "test")


@pytest.mark.parametrize("text", ["[]", "1", '{"files": 3}', "{}"])
def test_no_manifest(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ArtefactError, match="manifest"):
        verified(folder, "test")


def test_changed_manifest_and_wrong_kind(folder):
    with pytest.raises(ArtefactError, match="expected a 'other'"):
        verified(folder, "other")
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "x": 5}))
    with pytest.raises(ArtefactError, match="changed"):
        verified(folder, "test")
