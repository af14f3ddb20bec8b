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
from engine.ope.estimate import Difference, Estimate
from experiments.demo.acts import ACTS, LIVE_DAYS, LOG_DAYS, backtest_config, log_config
from experiments.demo.live import SILENCE, LivePolicy
from experiments.demo.possible import Possible
from experiments.demo.run import demo as play_demo
from experiments.demo.run import shipped_features
from experiments.demo.words import Told, sentences
from experiments.judge.launch.recommend import Launch
from experiments.simulate.outcomes import contact_table
from simulator.rollout import PolicyActor, play
from simulator.scenario import scenario_from
from simulator.world.world import World
from tests.experiments.commands import run, strict_json, validate
from tests.experiments.conftest import ACT, Demo

OTHER = "made-by-another-process"


def without_paths(value: Any, folder: Path) -> Any:
    """The same object with the folder's name taken out of every string."""
    return json.loads(json.dumps(value).replace(str(folder), "FOLDER"))


def test_every_file_is_there(demo: Demo) -> None:
    out, whole = demo.out, demo.folder.parent
    assert out["folder"] == str(demo.folder)
    assert {path.name for path in demo.folder.iterdir()} == {
        *("log.parquet", "log.outcomes.parquet", "log.metrics.parquet", "log.metrics.json", "log.curves.svg"),
        *("backtest", "fresh_contacts.parquet", "decisions.parquet"),
    }
    assert {path.name for path in whole.iterdir()} == {ACT, "index.html", "story.svg", "result.txt", "result.json"}
    assert json.loads((demo.folder / "backtest" / "report.json").read_text()) == out["backtest"]
    assert out["decisions"]["contacts"] == pq.read_metadata(demo.folder / "decisions.parquet").num_rows
    assert json.loads((whole / "result.json").read_text())["acts"][ACT]["live"] == out["live"]


def test_everything_says_that_it_is_simulated(demo: Demo) -> None:
    for name in ("../story.svg", "log.curves.svg"):
        assert not re.search(r"https?://(?!www\.w3\.org)", (demo.folder / name).read_text())
    for name in ("../result.txt", "log.metrics.json", "../result.json", "backtest/report.html"):
        assert "SIMULATED" in (demo.folder / name).read_text(), name
    assert "SIMULATED" in LogReader(demo.log).meta.notes[0]
    assert any("SIMULATED" in note for note in demo.out["backtest"]["log"]["notes"])


def test_the_log_is_a_test_at_random(demo: Demo) -> None:
    """Given the contact's state, every eligible action and silence have one probability."""
    log = pq.read_table(demo.log, columns=["group", "propensity", "policy_version", "eligible"]).to_pandas()
    assert set(log["group"]) == {"treatment"}
    assert set(log["policy_version"]) == {"uniform"}
    choices = log["eligible"].map(lambda packed: sum(byte.bit_count() for byte in packed))
    assert (log["propensity"] - 1.0 / choices).abs().lt(1e-12).all()
    assert choices.max() > 5


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
    assert demo.out["live_days"] == LIVE_DAYS > LOG_DAYS


def test_the_offline_columns_are_those_of_the_backtest(demo: Demo) -> None:
    results = {row["policy"]: row for row in demo.out["backtest"]["results"] if row["estimator"] == "dr"}
    for name, row in demo.out["live"].items():
        said = results["always:hold" if name == SILENCE else name]
        gap = said["difference"] if name != "static_segments" else dict.fromkeys(("value", "low", "high"))
        assert (row["offline"], row["offline_low"], row["offline_high"]) == (gap["value"], gap["low"], gap["high"])
        assert row["offline_verdict"] == said["verdict"]


@pytest.mark.slow
def test_another_process_makes_the_same_files(tmp_path: Path, root: Path) -> None:
    """From another folder, with another hash seed: nothing may depend on either."""
    asked = ("demo", "--act", ACT, "--contacts", "3000", "--seed", "3", "--out", OTHER, "--json")
    here = run(*asked[:-2], tmp_path / "here")["acts"][ACT]
    folder = tmp_path / "here" / ACT
    done = subprocess.run(
        [sys.executable, "-m", "experiments.cli", *asked],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = strict_json(done.stdout)
    validate("demo", out)
    assert without_paths(out["acts"][ACT], Path(OTHER) / ACT) == without_paths(here, folder)
    for name in (
        "log.parquet",
        "log.outcomes.parquet",
        "log.curves.svg",
        "../story.svg",
        "../index.html",
        "../result.json",
    ):
        assert (tmp_path / OTHER / ACT / name).read_bytes() == (folder / name).read_bytes(), name


def test_two_acts_in_two_processes_tell_both(tmp_path: Path) -> None:
    """Both are told and drawn, and the first is what it is when it is played alone, in this process."""
    heard: list[str] = []
    both = play_demo(tmp_path / "both", 3000, 5, heard.append, processes=2)
    alone = play_demo(tmp_path / "alone", 3000, 5, heard.append, only="differ", processes=1)
    assert list(both.acts) == list(ACTS)
    assert both.acts["differ"].said == alone.acts["differ"].said
    assert both.acts["differ"].possible == alone.acts["differ"].possible
    assert {line.split()[0] for line in heard} == set(ACTS)
    text = (tmp_path / "both" / "result.txt").read_text()
    assert all(act.title in text for act in ACTS.values())


def test_an_act_that_is_not_there_is_refused(tmp_path: Path, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.cli", "demo", "--act", "difer", "--out", str(tmp_path / "d")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "differ" in done.stderr
    assert not (tmp_path / "d" / "differ").exists()


def test_what_is_possible_bounds_what_is_true(demo: Demo) -> None:
    """Nobody does better than whoever knows all; the learned policy is judged in the very states of the log."""
    found = demo.out["possible"]
    assert found["learned"] <= found["most"]
    assert found["most"] > 0
    assert 0 < found["a_day"] < 1


def test_the_rule_names_groups_and_adds_up(demo: Demo) -> None:
    rule = demo.out["rule"]
    assert 1 <= len(rule) <= 8
    assert sum(row["share"] for row in rule) == pytest.approx(1.0)
    for row in rule:
        assert row["who"]
        assert 0 <= row["gets_share"] <= 1
    # The groups take what the model likes best for most of them, so it thinks no less of them than of the segments.
    assert sum(row["share"] * row["gain"] for row in rule) >= 0


def test_the_decision_is_fixed_before_anything_is_seen() -> None:
    """By DR on what clicks are worth; the interval is that of the two comparisons that the decision makes."""
    config = backtest_config(1)
    assert (config.deciding_estimator, config.judged_by) == ("dr", "stage_worth")
    assert config.evaluation.shared_alpha == pytest.approx(0.025)


@pytest.mark.parametrize("contacts", ["1999", "-1", "many"])
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


SAID = {
    # launched, live difference, its interval -> words
    "launched and right": ("vw", 0.5, 0.1, 0.9, "The launch brought $10,000 more"),
    "launched and wrong": ("vw", -0.5, -0.9, -0.1, "the log was wrong"),
    "saved": ("static_segments", -0.5, -0.9, -0.1, "The gate saved $10,000"),
    "cautious": ("static_segments", 0.5, 0.1, 0.9, "The gate's caution cost $10,000"),
    "luck": ("static_segments", -0.5, -1.9, 0.9, "no more than luck may make"),
    "silence": ("always:hold", -0.5, -0.9, -0.1, "Decision: silence."),
}


@pytest.mark.parametrize("name", SAID)
def test_the_result_is_said_as_it_is(name: str) -> None:
    launched, live, low, high, words = SAID[name]
    verdict = "better" if launched == "vw" else "no difference"
    told = told_of(launched, verdict, lived(live, low, high), most=0.4)
    text = " ".join(sentences(told))
    assert words in text
    assert ("misleads" in text) is False
    other = {said for _, _, _, _, said in SAID.values()} - {words}
    assert not any(
        said in text for said in other if said not in ("The gate saved $10,000", "no more than luck may make")
    )


def test_a_promise_above_what_is_possible_is_called_so() -> None:
    text = " ".join(sentences(told_of("vw", "better", lived(0.5, 0.1, 0.9), most=0.05)))
    assert "The whole interval lies above what is possible" in text


def told_of(launched: str, verdict: str, live: LivePolicy, most: float) -> Told:
    promised = Estimate(
        policy="vw",
        metric="stage_worth",
        estimator="dr",
        value=1.0,
        stderr=0.05,
        low=0.9,
        high=1.1,
        alpha=0.025,
        n=1000,
        ess=500.0,
        mean_weight=1.0,
        max_weight=9.0,
        unsupported_mass=0.0,
        difference=Difference(baseline="static_segments", value=0.2, stderr=0.05, low=0.1, high=0.3),
        verdict=verdict,
        exact=True,
        interval="delta",
    )
    true = Possible(learned=0.2, most=most, decisions=10, a_day=0.2)
    launch = Launch(policy=launched, verdict=verdict, reason="because")
    rows = {"vw": live, "static_segments": lived(None, None, None), SILENCE: lived(-0.5, -0.9, -0.1)}
    return Told(launch, promised, None, true, rows, contacts=1000)


def lived(difference: float | None, low: float | None, high: float | None) -> LivePolicy:
    verdict = "" if low is None or high is None else "better" if low > 0 else "worse" if high < 0 else "no difference"
    return LivePolicy(
        offline=None,
        offline_low=None,
        offline_high=None,
        offline_verdict="",
        live=0.3,
        live_stderr=0.01,
        live_first=0.35,
        difference=difference,
        difference_low=low,
        difference_high=high,
        month=None if difference is None else 20.0 * difference,
        verdict=verdict,
        sends=1.0,
        list_lost=0.0,
    )


def test_a_contact_file_says_what_the_world_says(tmp_path: Path) -> None:
    """Read back, it gives the rules and the policy the same as the world does, but for what is stale."""
    from engine.guardrails.conditions import Conditions
    from policies.peers.constant import UniformPolicy

    scenario = scenario_from(log_config(ACTS["differ"], 1000, 1).scenario)
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
