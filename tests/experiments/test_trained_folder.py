"""train -> evaluate with the folder as SPEC; damaged and foreign folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.experiments.commands import refused, result, run
from tests.experiments.conftest import Demo


@pytest.fixture(scope="module")
def trained(hillstrom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "policy"
    out = run("train", "--log", hillstrom, "--metric", "visit", "--out", folder, "learner.passes=2")
    assert (out["metric"], out["rows"], out["actions"], out["folder"]) == ("visit", 32_000, 3, str(folder))
    assert 0 <= out["parity"] <= 1e-5
    return folder


def test_a_folder_is_a_policy(trained: Path, hillstrom: Path, tmp_path: Path) -> None:
    out = run(
        *("evaluate", "--log", hillstrom, "--policy", trained, "--policy", "always:No E-Mail", "--metric", "visit"),
        *("--baseline", "uniform", "--out", tmp_path / "report"),
    )
    assert {row["policy"] for row in out["results"]} == {str(trained), "always:No E-Mail"}
    assert result(out, str(trained), "snips")["verdict"] == "better"
    assert set(out["files"]) == {"report", "json", "results"}
    assert all(Path(path).is_file() for path in out["files"].values())


def test_the_same_command_makes_the_same_policy(trained: Path, hillstrom: Path, tmp_path: Path) -> None:
    run("train", "--log", hillstrom, "--metric", "visit", "--out", tmp_path / "again", "learner.passes=2")
    for name in ("model.vw", "tables.npz", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained / name).read_bytes()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["model.vw", "tables.npz", "manifest.json"])
def test_a_damaged_folder_is_refused(name: str, damage: Callable[[Path], None], demo: Demo, tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(demo.policy, folder)
    damage(folder / name)
    error, hint = refused(
        7, "evaluate", "--log", demo.log, "--policy", folder, "--metric", "margin", "--estimator", "ips"
    )
    assert str(folder) in error
    assert hint
    asked = ("decide", "--policy", folder, "--contacts", demo.contacts, "--now", "2026-09-15T14:00:00Z")
    refused(7, *asked, "--out", tmp_path / "decisions.parquet")
    assert not (tmp_path / "decisions.parquet").exists()


def test_a_policy_of_another_catalog_is_refused(trained: Path, demo: Demo) -> None:
    error, hint = refused(
        3, "evaluate", "--log", demo.log, "--policy", trained, "--metric", "margin", "--estimator", "ips"
    )
    assert "other actions" in error
    assert "catalog" in hint


def test_a_failed_training_leaves_the_policy_as_it_was(trained: Path, hillstrom: Path) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    refused(3, "train", "--log", hillstrom, "--metric", "visits", "--out", trained)
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before
