"""train -> evaluate with the folder as SPEC; damaged and foreign folders."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.log.training_rows import FILE, TrainingRows
from policies.trained import TrainedFolder, export_learner
from tests.experiments.commands import refused, result, run
from tests.experiments.conftest import Demo


@pytest.fixture(scope="module")
def trained(hillstrom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "policy"
    out = run("train", "--log", hillstrom, "--metric", "visit", "--out", folder, "learner=mtr", "learner.passes=2")
    assert (out["metric"], out["rows"], out["actions"], out["folder"]) == ("visit", 32_000, 3, str(folder))
    assert 0 <= out["parity"] <= 1e-5
    return folder


def test_a_folder_is_a_policy(trained: Path, hillstrom: Path, tmp_path: Path) -> None:
    out = run(
        *("evaluate", "--log", hillstrom, "--policy", trained, "--policy", "always:No E-Mail", "--metric", "visit"),
        *("--baseline", "uniform", "--out", tmp_path / "report", "--override-learnt", "a test of the folder"),
    )
    assert {row["policy"] for row in out["results"]} == {str(trained), "always:No E-Mail"}
    assert result(out, str(trained), "snips")["verdict"] == "better"
    assert set(out["files"]) == {"report", "json", "results"}
    assert all(Path(path).is_file() for path in out["files"].values())


def test_the_same_command_makes_the_same_policy(trained: Path, hillstrom: Path, tmp_path: Path) -> None:
    run(
        "train", "--log", hillstrom, "--metric", "visit", "--out", tmp_path / "again", "learner=mtr", "learner.passes=2"
    )
    for name in ("model.vw", "tables.npz", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained / name).read_bytes()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["money.npz", "chance.npz", "chance.vw", "manifest.json"])
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
    refused(3, "train", "--log", hillstrom, "--metric", "visits", "--out", trained, "--replace")
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def part_of(log: Path, rows: slice, out: Path) -> Path:
    """Some rows of a log, under its footer."""
    table = pq.read_table(log)
    pq.write_table(table.slice(rows.start, rows.stop - rows.start), out)
    return out


def test_a_folder_is_gone_on_from(demo: Demo, tmp_path: Path) -> None:
    """Monday's rows, then a log of both days: Monday's do not count again; no override may contradict the folder."""
    rows = pq.read_metadata(demo.log).num_rows
    # What was decided late has no margin yet.
    monday = part_of(demo.log, slice(0, rows // 6), tmp_path / "monday.parquet")
    tuesday = part_of(demo.log, slice(rows // 6, rows), tmp_path / "tuesday.parquet")
    asked = ("train", "--metric", "margin", "--override-audit", "parts of a log")
    quick = ("learner=bag", "exploration=bag", "learner.passes=1")
    first = run(*asked, "--log", monday, "--out", tmp_path / "first", *quick)
    alone = run(*asked, "--log", tuesday, "--from", tmp_path / "first", "--out", tmp_path / "alone")
    both = run(*asked, "--log", demo.log, "--from", tmp_path / "first", "--out", tmp_path / "both")
    assert both["policy"] == first["policy"] == "vw_mtr_bag"
    assert both["version"] != first["version"]
    assert (first["known_rows"], alone["known_rows"], both["known_rows"]) == (0, 0, first["rows"])
    assert both["rows"] == alone["rows"] > first["rows"]
    for name in ("model.vw", FILE):
        assert (tmp_path / "both" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    _, hint = refused(2, *asked, "--log", demo.log, "--from", tmp_path / "first", "--out", tmp_path / "third", *quick)
    assert hint == "drop --from"
    assert not (tmp_path / "third").exists()


def test_rows_that_were_learnt_from_are_not_learnt_again(trained: Path, hillstrom: Path, tmp_path: Path) -> None:
    asked = ("train", "--log", hillstrom, "--metric", "visit", "--from", trained, "--out", tmp_path / "again")
    error, hint = refused(3, *asked)
    assert "every usable row" in error
    assert "later decisions" in hint
    assert not (tmp_path / "again").exists()


def test_a_folder_without_a_record_of_its_rows_is_not_gone_on_from(
    trained: Path, hillstrom: Path, tmp_path: Path
) -> None:
    """Whether rows would count twice cannot be told."""
    export_learner(TrainedFolder(trained).learner(), tmp_path / "silent")
    asked = ("train", "--log", hillstrom, "--metric", "visit", "--from", tmp_path / "silent")
    error, hint = refused(3, *asked, "--out", tmp_path / "policy")
    assert "keeps no record" in error
    assert "--from" in hint


def test_every_folder_names_the_rows_behind_it(demo: Demo, trained: Path, hillstrom: Path) -> None:
    """All of Hillstrom; of a backtest the training side alone, for the policy and the segments alike."""
    rows = TrainedFolder(trained).training_rows()
    assert rows is not None
    reader = LogReader(hillstrom)
    assert rows.shared(Selection(reader, "visit", context=False)) == len(rows) == 32_000
    policy, segments = (TrainingRows.read(demo.folder / "backtest" / name) for name in ("policy", "segments"))
    assert (policy.keys == segments.keys).all()
    used = sum(block.n for block in Selection(LogReader(demo.log), "margin", context=False))
    assert 0 < policy.shared(Selection(LogReader(demo.log), "margin", context=False)) == len(policy) < used


def test_a_folder_of_other_actions_is_not_gone_on_from(trained: Path, demo: Demo, tmp_path: Path) -> None:
    asked = ("train", "--log", demo.log, "--metric", "margin", "--from", trained)
    error, _ = refused(3, *asked, "--out", tmp_path / "policy")
    assert "other actions" in error
    assert not (tmp_path / "policy").exists()


def test_a_learner_is_chosen_for_the_log(demo: Demo, tmp_path: Path) -> None:
    """The manifest says what was tried; what is learnt with carries no search."""
    out = run(
        *("train", "--log", demo.log, "--metric", "margin", "--out", tmp_path / "policy", "learner=auto"),
        *("learner.search.estimator=ips", "learner.search.learning_rates=[0.1]", "learner.search.passes=[1]"),
        *("learner.search.pieces=2", "learner.passes=2"),
    )
    manifest = json.loads((tmp_path / "policy" / "manifest.json").read_text())
    assert manifest["config"]["search"] is None
    assert len(manifest["source"]["search"]) >= 3
    assert out["rows"] == manifest["rounds"]


def test_a_decide_reads_the_manifest_once(demo: Demo, tmp_path: Path) -> None:
    """The folder is opened once, also for the baseline that it keeps; the hook sees every file that is opened."""
    manifest, opened = str(demo.policy / "manifest.json"), []
    counting = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if counting and event == "open" and str(arguments[0]) == manifest:
            opened.append(arguments[0])

    # A hook cannot be taken away again; it only stops counting.
    sys.addaudithook(hook)
    asked = ("decide", "--policy", demo.policy, "--contacts", demo.contacts, "--now", "2026-09-15T14:00:00Z")
    out = run(*asked, "--out", tmp_path / "decisions.parquet")
    counting = False
    assert out["prices"]["baseline"] == "static_segments"
    assert len(opened) == 1
