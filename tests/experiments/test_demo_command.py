"""`tactful demo`: the whole loop, deterministic, its estimates held against the truth of its world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.experiments.commands import result, strict_json, validate
from tests.experiments.conftest import Demo

OTHER = "made-by-another-process"


def without_paths(value: Any, folder: Path) -> Any:
    """The same object with the folder's name taken out of every string."""
    return json.loads(json.dumps(value).replace(str(folder), "FOLDER"))


def test_every_file_is_there(demo: Demo) -> None:
    out = demo.out
    assert out["folder"] == str(demo.folder)
    assert {path.name for path in demo.folder.iterdir()} == {
        *("contacts.parquet", "campaign.parquet", "outcomes.parquet", "log.parquet", "fresh_contacts.parquet"),
        *("decisions.parquet", "backtest"),
    }
    assert json.loads((demo.folder / "backtest" / "report.json").read_text()) == out["backtest"]
    assert out["decisions"]["contacts"] == pq.read_metadata(demo.folder / "decisions.parquet").num_rows
    assert any("SIMULATED" in note for note in out["backtest"]["log"]["notes"])


def test_estimates_lie_around_the_truth(demo: Demo) -> None:
    """4.5 standard errors for policies that the small log supports well; every truth within the metric's range."""
    truth = demo.out["truth"]
    assert {"vw", "static_segments", "uniform", "always:hold"} <= set(truth)
    assert all(-15 < value < 35 for value in truth.values())
    for estimator in ("ips", "snips"):
        for policy in ("uniform", "always:hold"):
            row = result(demo.out["backtest"], policy, estimator)
            assert abs(row["value"] - truth[policy]) < 4.5 * row["stderr"]


def test_another_process_makes_the_same_files(demo: Demo, tmp_path: Path, root: Path) -> None:
    """From another folder, with another hash seed: nothing may depend on either."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.cli",
            "demo",
            "--contacts",
            "2000",
            "--seed",
            "3",
            "--out",
            OTHER,
            "--json",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = strict_json(done.stdout)
    validate("demo", out)
    assert without_paths(out, Path(OTHER)) == without_paths(demo.out, demo.folder)
    for name in ("contacts", "campaign", "log", "outcomes"):
        first, second = (pq.read_table(folder / f"{name}.parquet") for folder in (demo.folder, tmp_path / OTHER))
        assert first.to_pydict() == second.to_pydict()


def test_another_seed_is_another_world(demo: Demo) -> None:
    from datetime import UTC, datetime

    from simulator.demo_world import make_contacts

    now = datetime(2026, 9, 1, 14, tzinfo=UTC)
    assert make_contacts(50, 3, now).equals(make_contacts(50, 3, now))
    assert not make_contacts(50, 4, now).equals(make_contacts(50, 3, now))


@pytest.mark.parametrize("contacts", ["999", "-1", "many"])
def test_too_few_contacts_are_refused(contacts: str, tmp_path: Path, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.cli", "demo", "--contacts", contacts, "--out", str(tmp_path / "d")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert not (tmp_path / "d").exists()
