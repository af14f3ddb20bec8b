"""Peers and live policies in `train`, `backtest`, `evaluate` and `decide`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.errors import ArtefactError, ConfigError, DataError
from engine.records.schema import RewardSpec
from experiments.settings import BacktestConfig, compose_settings
from tests.experiments.commands import refused, result, run
from tests.logs import decision_row, small_meta, write_log

ROWS = 400
QUICK = ("learner.passes=1", "evaluation.replicates=100")


def log_of(path: Path, first: int) -> Path:
    """Rounds in which women's offers are worth more, and more to those who spend."""
    meta = small_meta(
        rewards={"bought": RewardSpec(low=0.0, high=1.0, unit="share")}, propensity="logged", clustered=False
    )
    generator = np.random.default_rng(first)
    names, channels = ("none", "mens", "womens"), ("none", "email", "email")
    rows = []
    for number in range(first, first + ROWS):
        action, spend = int(generator.integers(3)), float(generator.random())
        chance = (0.2, 0.3, 0.4 + 0.3 * spend)[action]
        rows.append(
            decision_row(
                number,
                meta,
                action=action,
                action_name=names[action],
                arm=names[action],
                channel=channels[action],
                context_spend=spend,
                state="dispatched",
                reward_bought=float(generator.random() < chance),
            )
        )
    return write_log(path, rows, meta)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two parts without a common contact."""
    folder = tmp_path_factory.mktemp("parts")
    return log_of(folder / "one.parquet", 0), log_of(folder / "two.parquet", ROWS)


@pytest.fixture(scope="module")
def judged(logs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("judged") / "out"
    peers = "peers=[linucb,lin_ts,recovering_softmax,best_action,calendar]"
    return run("backtest", "--log", logs[0], "--metric", "bought", "--out", out, "learner=live_slots", peers, *QUICK)


def test_a_backtest_judges_peers_beside_a_live_policy(judged: dict[str, Any]) -> None:
    judged_names = {row["policy"] for row in judged["results"]}
    assert {"vw", "linucb", "lin_ts", "recovering_softmax", "best_action", "static_segments"} <= judged_names
    # VW serves slots itself: there is no compiled model to be greedy by.
    assert "vw_greedy" not in judged_names
    # Every difference has its interval.
    assert all(
        row["difference"]["low"] is not None
        for row in judged["results"]
        if row["estimator"] == "dr" and row["policy"] in ("vw", "linucb", "lin_ts")
    )


def test_your_own_choice_by_decision_is_what_is_replaced(logs: tuple[Path, Path], tmp_path: Path) -> None:
    """A column that always says one message gives the figures of that message as the baseline, to all digits."""
    rows = pq.read_table(logs[0]).column("decision_id").to_pylist()
    (tmp_path / "mine.csv").write_text("decision_id,mine\n" + "".join(f"{name},mens\n" for name in rows))
    asked = ("backtest", "--log", logs[0], "--metric", "bought", *QUICK)
    mine = ("--baseline", "column:mine@action", "--columns", tmp_path / "mine.csv")
    own = run(*asked, "--out", tmp_path / "own", *mine)
    same = run(*asked, "--out", tmp_path / "same", "--baseline", "always:mens")
    for policy in ("vw", "static_segments", "uniform"):
        gaps = [result(out, policy, "dr")["difference"] for out in (own, same)]
        assert gaps[0] == gaps[1] | {"baseline": "column:mine@action"}
    page = (tmp_path / "own" / "report.html").read_text()
    assert "your own choice (mine)" in page
    assert "--columns" in page


def test_a_column_that_is_not_there_is_refused(logs: tuple[Path, Path], tmp_path: Path) -> None:
    asked = ("backtest", "--log", logs[0], "--metric", "bought", "--out", tmp_path / "out")
    error = refused(DataError.exit_code, *asked, "--baseline", "column:mine@action")
    assert "mine" in str(error)
    assert not (tmp_path / "out").exists()


def test_a_peer_that_a_log_cannot_make_is_named(judged: dict[str, Any]) -> None:
    [missing] = [row for row in judged["skipped"] if row["policy"] == "calendar"]
    assert "days_since_send" in missing["reason"]


def test_evaluate_tunes_on_another_log(logs: tuple[Path, Path], judged: dict[str, Any]) -> None:
    tuned = [f"best_action@{logs[0]}", f"segments@{logs[0]}"]
    folder = judged["files"]["policy"]
    policies = [word for spec in (*tuned, folder) for word in ("--policy", spec)]
    output = run("evaluate", "--log", logs[1], "--metric", "bought", "--baseline", "always:none", *policies)
    for spec in (*tuned, folder):
        row = result(output, spec, "snips")
        assert row["value"] > 0.3
    # The best action of the log it was tuned on is the women's offer, as the log was made.
    alone = run("evaluate", "--log", logs[1], "--metric", "bought", "--policy", "always:womens")
    assert result(alone, "always:womens", "ips")["value"] == result(output, tuned[0], "ips")["value"]


@pytest.mark.parametrize("spec", ["best_action@{own}", "calendar@{other}", "best_action@/nowhere", "linusb@{other}"])
def test_what_cannot_be_tuned_is_refused(spec: str, logs: tuple[Path, Path]) -> None:
    named = spec.format(own=logs[1], other=logs[0])
    kind = ConfigError if spec.startswith("calendar") else DataError
    refused(kind.exit_code, "evaluate", "--log", logs[1], "--metric", "bought", "--policy", named)


def test_train_writes_live_folders_and_goes_on_from_them(logs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "policy"
    first = run("train", "--log", logs[0], "--metric", "bought", "--out", out, "learner=live_regcb", *QUICK[:1])
    assert (first["policy"], first["parity"], first["rows"]) == ("vw_live_regcb", None, ROWS)
    second = run("train", "--log", logs[1], "--metric", "bought", "--from", out, "--out", out)
    assert second["rows"] == 2 * ROWS


def test_decide_says_that_it_serves_compiled_folders(judged: dict[str, Any], tmp_path: Path) -> None:
    contacts = tmp_path / "contacts.jsonl"
    contacts.write_text('{"contact_id": "a"}\n')
    error, hint = refused(
        ArtefactError.exit_code,
        *("decide", "--policy", judged["files"]["policy"], "--contacts", contacts),
        *("--now", "2026-11-22T15:00:00+00:00", "--out", tmp_path / "out.parquet"),
    )
    assert "not compiled" in error
    assert "backtest" in hint


@pytest.mark.parametrize("peers", ["[linusb]", "[linucb,linucb]", "[vw]"])
def test_wrong_peers_are_named(peers: str) -> None:
    with pytest.raises(ConfigError, match="peers"):
        compose_settings("backtest", [f"peers={peers}"], BacktestConfig)
