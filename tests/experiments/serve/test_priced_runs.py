"""Prices in `decide`, `explain` and `simulate`: the volume of the baseline, the record, and the same for any blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.errors import ArtefactError
from engine.log.parquet import LogReader
from engine.storage.artefact import MANIFEST
from policies.peers.segments import StaticSegments
from policies.prices.baseline import kept_segments, load_baseline, named_baseline
from policies.trained import TrainedFolder
from simulator.scenario import scenario_from
from tests.experiments.commands import refused, run
from tests.experiments.conftest import Demo
from tests.experiments.simulate.small_runs import settings, small_run

NOW = "2026-09-15T14:00:00+00:00"
BUDGETS = "prices.budgets=[{name: email, messages: 30, channels: [email]}]"


def decide(demo: Demo, out: Path, *overrides: str) -> dict[str, Any]:
    return run(
        *("decide", "--policy", demo.policy, "--contacts", demo.contacts, "--now", NOW, "--out", out, *overrides)
    )


def test_by_default_the_volume_is_the_baseline_s(demo: Demo, tmp_path: Path) -> None:
    """The folder of a backtest keeps its segments; what is expected is at most what they send to the same contacts."""
    out = decide(demo, tmp_path / "d.parquet")
    (row,) = out["prices"]["rows"]
    assert out["prices"]["baseline"] == "static_segments"
    assert row["expected"] <= row["budget"] == out["prices"]["baseline_sends"]
    table = pq.read_table(tmp_path / "d.parquet")
    sent = table["action"].to_numpy() > 0
    # A send varies by chance less than a coin does.
    assert sent.sum() <= row["budget"] + 4 * np.sqrt(len(sent)) / 2
    assert decide(demo, tmp_path / "m.parquet", "prices.allow_more_volume=true")["prices"] is None


def test_kept_segments_and_their_folder_are_the_same_policy(demo: Demo) -> None:
    manifest = TrainedFolder(demo.policy).manifest
    kept = named_baseline(TrainedFolder(demo.policy))
    stored = load_baseline(demo.policy.parent / "segments", manifest.catalog, manifest.features)
    assert isinstance(kept, StaticSegments)
    assert isinstance(stored, StaticSegments)
    assert kept.preference.tobytes() == stored.preference.tobytes()
    assert kept.segmentation == stored.segmentation
    assert kept_segments(stored) == kept_segments(kept)
    other = manifest.catalog.__class__(name="other", channels=("fax",), hours=("now",), arms=manifest.catalog.arms)
    for folder in (demo.policy, demo.policy.parent / "segments"):
        with pytest.raises(ArtefactError, match="another catalog"):
            load_baseline(folder, other, manifest.features)


def test_a_damaged_folder_of_segments_is_refused(demo: Demo, tmp_path: Path) -> None:
    folder = demo.policy.parent / "segments"
    broken = tmp_path / "segments"
    broken.mkdir()
    for path in folder.iterdir():
        content = path.read_bytes()
        (broken / path.name).write_bytes(content if path.name == MANIFEST else content[:-9])
    _, hint = refused(
        7,
        *("decide", "--policy", demo.policy, "--contacts", demo.contacts, "--now", NOW),
        *("--out", tmp_path / "d.parquet", f"prices.baseline={broken}"),
    )
    assert hint


def test_a_budget_is_the_same_in_blocks_of_any_size_and_stands_in_the_record(demo: Demo, tmp_path: Path) -> None:
    outs = [decide(demo, tmp_path / f"{rows}.parquet", BUDGETS, f"block_rows={rows}") for rows in (37, 100_000)]
    assert outs[0]["prices"] == outs[1]["prices"]
    tables = [pq.read_table(tmp_path / f"{rows}.parquet") for rows in (37, 100_000)]
    assert tables[0].to_pydict() == tables[1].to_pydict()
    email, _ = outs[0]["prices"]["rows"]
    assert email["price"] > 0.0
    assert 28.0 <= email["expected"] <= 30.0
    meta = LogReader(tmp_path / "37.parquet").meta
    version = f"{TrainedFolder(demo.policy).policy().version}+{outs[0]['prices']['version']}"
    assert isinstance(meta.prices, dict)
    assert list(meta.prices) == [version] == tables[0]["policy_version"].unique().to_pylist()


def test_every_priced_decision_is_explained(demo: Demo, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    decide(demo, path, BUDGETS)
    table = pq.read_table(path).select(["decision_id", "channel", "propensity", "eligible"]).to_pylist()
    rich = [row for row in table if sum(row["eligible"]) > 20]
    for row in (next(row for row in rich if row["channel"] == name) for name in ("email", None)):
        out = run("explain", "--log", path, "--decision", row["decision_id"])
        (chosen,) = [action for action in out["actions"] if action["action"] == out["action"]]
        assert chosen["probability"] == pytest.approx(row["propensity"], abs=1e-12)
        price = out["prices"]["rows"][0]["price"]
        assert {action["price"] for action in out["actions"] if action["action"].startswith("email")} == {price}
        assert {action["price"] for action in out["actions"] if action["action"] == "hold"} == {0.0}


def test_a_budget_that_exploration_breaks_is_refused(demo: Demo, tmp_path: Path) -> None:
    asked = (
        "decide",
        "--policy",
        demo.policy,
        "--contacts",
        demo.contacts,
        "--now",
        NOW,
        "--out",
        tmp_path / "d.parquet",
    )
    message, hint = refused(2, *asked, "prices.baseline=10", "uniform_share=0.5")
    assert "at least" in message
    assert "uniform" in hint
    assert not (tmp_path / "d.parquet").exists()


def test_simulated_sends_stay_within_the_budget(tmp_path: Path) -> None:
    """4 days x 20 messages: the draws vary around it by less than a coin a message would, sqrt(80) = 9."""
    out = small_run(tmp_path / "a.parquet", "prices.baseline=20")
    sends = sum(out.sends.values())
    assert 80 - 3 * 9 <= sends <= 80 + 3 * 9
    again = small_run(tmp_path / "b.parquet", "prices.baseline=20", "block_rows=77")
    assert (again.sha256, again.prices) == (out.sha256, out.prices)
    days = LogReader(tmp_path / "a.parquet").meta.prices
    assert isinstance(days, dict)
    assert len(days) == 4
    for one in days.values():
        assert one["expected"][0] <= 20.0


def test_a_simulated_campaign_uses_what_earlier_days_left(tmp_path: Path) -> None:
    """Its last day has what the three before, drawn by chance, did not take."""
    last = scenario_from(settings().scenario).calendar.now(3).date().isoformat()
    spec = f"{{name: c, messages: 60, per: campaign, ends: '{last}'}}"
    out = small_run(tmp_path / "b.parquet", f"prices.budgets=[{spec}]")
    sends = pq.read_table(out.files["metrics"])
    by_day = np.array(sends["sends"].to_pylist()).reshape(4, -1).sum(axis=1)
    days = LogReader(tmp_path / "b.parquet").meta.prices
    assert isinstance(days, dict)
    budgets = [one["terms"][0]["budget"] for one in days.values()]
    left = 60 - np.concatenate([[0], np.cumsum(by_day)[:-1]])
    assert budgets == pytest.approx(np.maximum(left, 0) / np.array([4, 3, 2, 1]))
