"""`tactful demo`: the whole loop, deterministic, its estimates beside what then happened in its world."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from engine.contacts.file import contact_batches
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.log.parquet import LogReader
from experiments.demo import (
    KNOWN_DAYS,
    LIVE_DAYS,
    LOG_DAYS,
    SILENCE,
    LivePolicy,
    demo_config,
    sentences,
    shipped_features,
)
from experiments.judge.backtest import BacktestOutput
from experiments.judge.launch.recommend import Launch
from experiments.simulate.outcomes import contact_table
from simulator.rollout import PolicyActor, play
from simulator.scenario import scenario_from
from simulator.world.world import World
from tests.experiments.commands import strict_json, validate
from tests.experiments.conftest import Demo

OTHER = "made-by-another-process"


def without_paths(value: Any, folder: Path) -> Any:
    """The same object with the folder's name taken out of every string."""
    return json.loads(json.dumps(value).replace(str(folder), "FOLDER"))


def test_every_file_is_there(demo: Demo) -> None:
    out = demo.out
    assert out["folder"] == str(demo.folder)
    assert {path.name for path in demo.folder.iterdir()} == {
        *("log.parquet", "log.outcomes.parquet", "log.metrics.parquet", "log.metrics.json", "log.curves.svg"),
        *("backtest", "live.svg", "result.txt", "result.json", "fresh_contacts.parquet", "decisions.parquet"),
    }
    assert json.loads((demo.folder / "backtest" / "report.json").read_text()) == out["backtest"]
    assert out["decisions"]["contacts"] == pq.read_metadata(demo.folder / "decisions.parquet").num_rows
    assert json.loads((demo.folder / "result.json").read_text())["live"] == out["live"]


def test_everything_says_that_it_is_simulated(demo: Demo) -> None:
    for name in ("live.svg", "log.curves.svg"):
        assert not re.search(r"https?://(?!www\.w3\.org)", (demo.folder / name).read_text())
    for name in ("result.txt", "log.metrics.json", "result.json", "backtest/report.html"):
        assert "SIMULATED" in (demo.folder / name).read_text(), name
    assert "SIMULATED" in LogReader(demo.log).meta.notes[0]
    assert any("SIMULATED" in line for line in demo.out["said"])
    assert any("SIMULATED" in note for note in demo.out["backtest"]["log"]["notes"])


def test_the_log_is_todays_segments_with_a_randomised_slice(demo: Demo) -> None:
    """Given the contact's state, a send of the segments has at least the half, any other its share of the slice."""
    log = pq.read_table(demo.log, columns=["group", "propensity", "policy_version", "eligible"]).to_pandas()
    assert set(log["group"]) == {"treatment"}
    assert log["policy_version"].str.fullmatch(r"segments-[0-9a-f]{12}, 0\.5 at random").all()
    choices = log["eligible"].map(lambda packed: sum(byte.bit_count() for byte in packed))
    assert ((log["propensity"] - 0.5 / choices).abs().lt(1e-12) | (log["propensity"] >= 0.5)).all()


def test_propensities_fit_the_log(demo: Demo) -> None:
    """The mean weight of holding is 1 within 4.5 standard errors by contact, over all days."""
    log = pq.read_table(demo.log, columns=["action", "propensity", "cluster"]).to_pandas()
    weight = ((log["action"] == 0) / log["propensity"]).groupby(log["cluster"]).agg(["sum", "count"])
    mean = weight["sum"].sum() / weight["count"].sum()
    error = ((weight["sum"] - mean * weight["count"]) ** 2).sum() ** 0.5 / weight["count"].sum()
    assert abs(mean - 1.0) < 4.5 * error


def test_live_is_common_luck_and_adds_up(demo: Demo) -> None:
    live = demo.out["live"]
    assert set(live) == {"vw", "static_segments", SILENCE}
    segments = live["static_segments"]
    assert segments["difference"] is None
    assert segments["verdict"] == ""
    assert live[SILENCE]["sends"] == 0
    for name in ("vw", SILENCE):
        row = live[name]
        assert row["difference"] == pytest.approx(row["live"] - segments["live"], abs=1e-12)
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        # The same people and luck: the difference is known better than two independent values would be.
        assert row["difference_high"] - row["difference"] < 1.96 * (row["live_stderr"] + segments["live_stderr"])
        expected = "better" if row["difference_low"] > 0 else "worse" if row["difference_high"] < 0 else "no difference"
        assert row["verdict"] == expected
    assert KNOWN_DAYS < LOG_DAYS < LIVE_DAYS == demo.out["live_days"]
    assert demo.out["live_contacts"] == 2000


def test_the_offline_columns_are_those_of_the_backtest(demo: Demo) -> None:
    results = {row["policy"]: row for row in demo.out["backtest"]["results"] if row["estimator"] == "dr"}
    for name, row in demo.out["live"].items():
        said = results["always:hold" if name == SILENCE else name]
        gap = said["difference"] if name != "static_segments" else dict.fromkeys(("value", "low", "high"))
        assert (row["offline"], row["offline_low"], row["offline_high"]) == (gap["value"], gap["low"], gap["high"])
        assert row["offline_verdict"] == said["verdict"]


@pytest.mark.slow
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
    for name in ("log.parquet", "log.outcomes.parquet", "live.svg", "log.curves.svg", "result.json"):
        assert (tmp_path / OTHER / name).read_bytes() == (demo.folder / name).read_bytes(), name


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


def lived(live: float, low: float | None, offline: float | None = 0.2) -> LivePolicy:
    verdict = "" if low is None else "better" if low > 0 else "worse" if low < -1 else "no difference"
    known = offline is not None
    return LivePolicy(
        offline=offline,
        offline_low=offline - 0.1 if known and offline is not None else None,
        offline_high=offline + 0.1 if known and offline is not None else None,
        offline_verdict="no difference",
        live=live,
        live_stderr=0.01,
        live_first=0.35,
        difference=None if low is None else low + 0.5,
        difference_low=low,
        difference_high=None if low is None else low + 1.0,
        verdict=verdict,
        sends=1.0,
        list_lost=0.0,
    )


SAID = {
    "no difference": (lived(0.30, -0.5), "made no difference that shows against"),
    "better": (lived(0.40, 0.1), "did better than"),
    "worse": (lived(0.10, -1.5), "did worse than"),
    "no estimate": (lived(0.30, -0.5, None), "no estimate with an interval for vw"),
}


@pytest.mark.parametrize("name", SAID)
def test_the_result_is_said_as_it_is(name: str, demo: Demo) -> None:
    row, words = SAID[name]
    judged: Any = BacktestOutput(
        log=demo.out["backtest"]["log"],
        results=(),
        launch=Launch(policy="vw", verdict="better", reason="because"),
    )
    live = {"vw": row, "static_segments": lived(0.2, None), SILENCE: lived(0.1, -1.5)}
    text = " ".join(sentences(live, judged))
    assert words in text
    best = max(live, key=lambda other: live[other].live)
    assert ("came out first" in text) == (best == "vw")
    assert "outside that interval" in text
    if name == "worse":
        assert "vw, which the log advised, brought 0.10000 USD per decision less than static_segments" in text


def test_a_contact_file_says_what_the_world_says(tmp_path: Path) -> None:
    """Read back, it gives the rules and the policy the same as the world does, but for what is stale."""
    from engine.guardrails.conditions import Conditions
    from policies.peers.constant import UniformPolicy

    scenario = scenario_from(demo_config(1000, 1).scenario)
    world = World(scenario, 300, seed=2)
    for _ in range(9):
        play(world, PolicyActor(UniformPolicy()), Conditions(killed=False))
    rows = world.deciding().nonzero()[0]
    batch = world.contacts(rows)
    pq.write_table(contact_table(world, rows), tmp_path / "c.parquet")
    (read,) = contact_batches(tmp_path / "c.parquet", shipped_features("simulated"), scenario.catalog, world.now, 1000)
    layer = Guardrails(load_pack("default"), scenario.catalog)
    ours, _ = layer.eligibility(batch, world.now)
    theirs, _ = layer.eligibility(read, world.now)
    assert (ours.dense() == theirs.dense()).all()
    assert ours.dense()[:, 1:].any()
    for name, column in batch.context.columns.items():
        other = read.context.columns[name]
        shown = column.state == 0
        assert ((other.state == 0) == shown).all(), name
        mine = pd.Series(column.values[shown])
        if column.levels:
            mine = mine.map(dict(enumerate(column.levels)))
            levels = dict(enumerate(other.levels))
            assert mine.tolist() == [levels[code] for code in other.values[shown].tolist()], name
        else:
            assert mine.tolist() == other.values[shown].tolist(), name
