"""Peers and live policies in simulated runs: tuned once, or learning from day to day."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.errors import ConfigError, LearnError
from policies.trained import TrainedFolder
from tests.experiments.simulate.small_runs import LEARNS, small_run

TUNED = ("tuning.contacts=200", "tuning.days=4", "scenario.attribution_window_days=1", "contacts=200", "days=3")


@pytest.mark.parametrize("policy", ["send_time"])
def test_a_rule_is_tuned_on_a_slice(policy: str, tmp_path: Path) -> None:
    output = small_run(tmp_path / "run.parquet", f"policy={policy}", *TUNED)
    assert output.policy == policy
    assert sum(output.sends.values()) > 0
    assert "policy" not in output.files


@pytest.mark.parametrize(("policy", "extra"), [("linucb", ()), ("vw", ("learner=live_regcb",))])
def test_what_learns_goes_on_from_day_to_day(policy: str, extra: tuple[str, ...], tmp_path: Path) -> None:
    few = ("contacts=120", "explore_share=0.1")
    learns = (*LEARNS, *extra, *few, f"policy={policy}")
    output = small_run(tmp_path / "run.parquet", *learns)
    folder = Path(output.files["policy"])
    assert TrainedFolder(folder).manifest.learns_as == policy
    assert len(set(pq.read_table(output.log)["policy_version"].to_pylist())) > 1
    on = small_run(tmp_path / "on.parquet", *learns, f"start={folder}", "seed=2")
    assert TrainedFolder(Path(on.files["policy"])).manifest.rounds > TrainedFolder(folder).manifest.rounds
    other = "lin_ts" if policy == "linucb" else "linucb"
    with pytest.raises(ConfigError, match=f"was learnt by {policy}"):
        small_run(tmp_path / "other.parquet", *learns, f"start={folder}", f"policy={other}")


def test_relative_differences_need_good_counts(tmp_path: Path) -> None:
    with pytest.raises(LearnError, match="at least 0"):
        small_run(tmp_path / "run.parquet", "policy=recovering_softmax", *TUNED)
