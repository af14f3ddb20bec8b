"""`tactful calibrate` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from experiments.cli.main import app
from experiments.study.calibrate import PICTURE, CalibrateOutput, CalibrateRequest, calibrate, refusal
from experiments.study.calibration_tables import DOC, with_tables
from tests.experiments.commands import refused, run, validate


def test_a_check_prints_the_table_and_fits_nothing(tmp_path: Path) -> None:
    out = run("calibrate", "heartsteps", "--check", "--contacts", 600, "--out", tmp_path)
    assert out["checked"]
    assert out["missed"] == []
    group = out["groups"]["heartsteps"]
    assert group["numbers"] == {}
    assert group["contacts"] == 600
    for row in group["moments"]:
        assert row["difference"] == pytest.approx(row["simulated"] - row["published"], abs=1e-3)
        assert row["met"] == (abs(row["difference"]) <= row["tolerance"])
    assert [path.name for path in tmp_path.iterdir()] == [PICTURE]
    assert (tmp_path / PICTURE).read_text().startswith("<svg")


@pytest.mark.slow
def test_a_fit_writes_yaml_and_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = (
        run("calibrate", "heartsteps", "--contacts", 120, "--out", tmp_path / name) for name in ("one", "two")
    )
    assert first["groups"] == second["groups"]
    numbers = first["groups"]["heartsteps"]["numbers"]
    assert numbers["response.fatigue_bend.push"] == -numbers["response.fatigue_drop.push"]
    for name in ("heartsteps.yaml", PICTURE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    written = yaml.safe_load((tmp_path / "one" / "heartsteps.yaml").read_text())
    assert written["provenance"]["command"] == "tactful calibrate heartsteps --contacts 120 --seed 1"


def test_without_data_a_fit_of_it_is_skipped_and_says_so() -> None:
    out = run("calibrate", "hillstrom", "organic")
    assert set(out["skipped"]) == {"hillstrom", "organic"}
    assert "--data" in out["skipped"]["organic"]
    assert out["groups"] == {}
    shown = CliRunner().invoke(app, ["calibrate", "organic"])
    assert shown.exit_code == 0
    assert "organic: skipped" in shown.output


def test_a_check_without_data_takes_the_stored_goals() -> None:
    out = run("calibrate", "hillstrom", "--check", "--contacts", 20000)
    assert out["skipped"] == {}
    assert out["groups"]["hillstrom"]["data"] is None
    assert out["missed"] == []


def test_with_data_the_goals_are_the_datas_own(shared_data: Path) -> None:
    out = run("calibrate", "hillstrom", "--check", "--contacts", 20000, "--data", shared_data / "hillstrom")
    assert out["groups"]["hillstrom"]["data"].startswith("hillstrom")
    assert out["missed"] == []


def test_a_missed_claim_is_an_exit_code() -> None:
    """Fifty contacts are no list: shares of them are far from any figure."""
    answer = CliRunner().invoke(app, ["calibrate", "hillstrom", "--check", "--contacts", "100", "--json"])
    assert answer.exit_code == 4
    out = json.loads(answer.stdout)
    validate("calibrate", out)
    assert out["missed"]
    assert f"claimed figures are missed: {out['missed'][0]}" in answer.stderr
    table = CliRunner().invoke(app, ["calibrate", "hillstrom", "--check", "--contacts", "100"])
    assert "NO" in table.stdout


def test_only_a_check_refuses() -> None:
    output = CalibrateOutput(checked=False, seed=1, groups={}, missed=("a",), skipped={}, files={})
    assert refusal(output) is None


def test_wrong_calls(tmp_path: Path) -> None:
    error, hint = refused(2, "calibrate", "sunspots")
    assert "sunspots" in error
    assert hint == "" or hint
    assert "no folder" in refused(3, "calibrate", "organic", "--data", tmp_path / "absent")[0]
    assert "contacts" in refused(2, "calibrate", "heartsteps", "--check", "--contacts", 0)[0]
    broken = tmp_path / "hillstrom_broken.csv"
    broken.write_text("segment,visit\nNo E-Mail,1\n")
    assert "has no column" in refused(3, "calibrate", "hillstrom", "--data", tmp_path)[0]
    there = tmp_path / "file"
    there.write_text("")
    refused(5, "calibrate", "organic", "--out", there, "--replace")


def test_nothing_is_written_without_a_folder() -> None:
    assert calibrate(CalibrateRequest(groups=("organic",))).files == {}


def test_the_tables_of_the_document_are_those_that_ship(root: Path) -> None:
    text = (root / DOC).read_text(encoding="utf-8")
    assert text == with_tables(text), "run python -m experiments.study.calibration_tables"
