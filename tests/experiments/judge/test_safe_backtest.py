"""A safe policy from a backtest to a promoted folder, and what a backtest advises where its log cannot say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.log.parquet import LogReader
from engine.log.selection import Selection
from policies.trained import TrainedFolder
from policies.wrappers.safe import SafePolicy
from tests.experiments.commands import refused, run
from tests.experiments.simulate.small_runs import small_run

SAFE = (
    *("learner=parts", "learner.parts.safety=segments", "learner.parts.bags=4", "learner.parts.smooth=false"),
    *("learner.parts.ridges=[30.0]", "learner.parts.worth_ridges=[300.0]", "exploration=greedy"),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "log.parquet"
    small_run(path, "policy=uniform", "contacts=600", "days=6")
    return path


@pytest.fixture(scope="module")
def judged(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("judged") / "backtest"
    return run("backtest", "--log", log, "--metric", "margin", "--out", out, *SAFE), out


def test_a_log_that_cannot_say_never_advises_silence(judged: tuple[dict[str, Any], Path]) -> None:
    """Money on 3,600 decisions tells nothing apart; the page, the sentence and the JSON leave things as they are."""
    answer, out = judged
    assert answer["launch"]["verdict"] == "insufficient"
    assert answer["launch"]["policy"] == "logged"
    assert "stay with logged" in answer["launch"]["reason"]
    page = (out / "report.html").read_text()
    assert "in place of what the log did?" in page
    assert "Stay with what the log did" in page
    assert "today&#39;s segments" not in page
    assert "is what the log supports" not in page
    assert "Nothing should change" in page


def test_the_tuned_segments_are_a_rule_that_is_read_and_judged_again(
    judged: tuple[dict[str, Any], Path], log: Path, tmp_path: Path
) -> None:
    """Its table counts every decision once, and its file decides as the segments do, here to the last digit."""
    answer, out = judged
    assert sum(row["share"] for row in answer["segments"]) == pytest.approx(1.0)
    shares = [row["share"] for row in answer["segments"]]
    assert shares == sorted(shares, reverse=True)
    assert "Segments tuned on this log: who gets what" in (out / "report.html").read_text()
    rule, of = out / "segments.yaml", ("--log", log, "--metric", "margin")
    again = run("backtest", *of, "--out", tmp_path / "again", "--practice", rule, *SAFE)
    by = {row["policy"]: row for row in again["results"] if row["estimator"] == "ips"}
    assert by[str(rule)]["value"] == by["static_segments"]["value"]
    assert by["vw"]["difference"]["baseline"] == str(rule)
    assert "your rule (segments.yaml)" in (tmp_path / "again" / "report.html").read_text()
    assert any("decides for nobody" in note for note in again["log"]["notes"])
    assert not any("decides for nobody" in note for note in answer["log"]["notes"])
    alone = run("evaluate", *of, "--policy", rule, "--estimator", "ips")
    assert alone["results"][0]["policy"] == str(rule)


def test_a_practice_that_cannot_be_is_refused_before_any_work(log: Path, tmp_path: Path) -> None:
    rule = tmp_path / "rule.yaml"
    rule.write_text("rules: [{when: {nobody_has_this: 3}, then: hold}]")
    asked = ("backtest", "--log", log, "--metric", "margin", "--out", tmp_path / "out")
    for code, more, said in (
        (3, ("--practice", rule), "nobody_has_this"),
        (2, ("--practice", rule, "--baseline", "uniform"), "left out"),
        (2, ("--practice", tmp_path / "rule.txt"), "file of rules"),
    ):
        assert said in refused(code, *asked, *more)[0]
    assert not (tmp_path / "out").exists()


def test_the_policy_of_a_backtest_is_safe_and_says_so(judged: tuple[dict[str, Any], Path], log: Path) -> None:
    trained = TrainedFolder(judged[1] / "policy")
    policy = trained.scored()
    assert isinstance(policy, SafePolicy)
    assert any("The practice is segments by" in said for said in trained.manifest.parts["said"])
    for batch in Selection(LogReader(log), "margin"):
        eligible = batch.eligible_dense()
        chosen, kept = policy.distribution(batch.context, eligible), policy.kept(batch.context, eligible)
        np.testing.assert_array_equal(chosen[kept], policy.practice.distribution(batch.context, eligible)[kept])


def test_it_decides_and_is_explained(judged: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    served = (f"policy={judged[1] / 'policy'}", "prices.allow_more_volume=true")
    small_run(tmp_path / "live.parquet", *served, "contacts=60", "days=2", "seed=5")
    decision = pq.read_table(tmp_path / "live.parquet").column("decision_id")[0].as_py()
    told = run("explain", "--log", tmp_path / "live.parquet", "--decision", decision, "--policy", judged[1] / "policy")
    assert any("today's practice stays unless" in note for note in told["notes"])
    assert sum(row["probability"] for row in told["actions"]) == pytest.approx(1.0)


def test_a_wrong_setting_is_refused_before_any_work(log: Path, tmp_path: Path) -> None:
    asked = ("--log", log, "--metric", "margin", "--out", tmp_path / "no", *SAFE)
    error, hint = refused(4, "backtest", *asked, "learner.parts.bags=2")
    assert "at least 4 with safety=segments" in f"{error} {hint}"
    assert not (tmp_path / "no").exists()
    error, hint = refused(4, "train", *asked, "learner.parts.safety=segment")
    assert "safety" in f"{error} {hint}"
