"""No log is learnt from or judged on that contradicts itself, and no policy on rows that it learnt from, unawares."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.log.selection import Selection, contact_split
from engine.records.schema import RewardSpec
from experiments.judge import learnt_rows
from experiments.judge.learnt_rows import MARK
from experiments.judge.promotion import Signature, promote
from experiments.judge.promotion_gate import PromoteConfig
from experiments.settings import compose_settings
from policies.trained import TrainedFolder, export_learner
from tests.experiments.commands import call, refused, run
from tests.logs import decision_row, small_meta, write_log

META = small_meta(rewards={"y": RewardSpec(low=0, high=1)}, clustered=True)
LIGHT = ("evaluation.folds=2", "evaluation.replicates=100")


def rows_of(first: int, count: int, **changes: Any) -> list[dict[str, Any]]:
    """Uniform decisions over hold and two arms; the second arm is better."""
    rng = np.random.default_rng(first)
    names = {
        0: ("none", None, None, None),
        1: ("mens", "email", "now", "mens"),
        2: ("womens", "email", "now", "womens"),
    }
    rows = []
    for i in range(first, first + count):
        action = int(rng.integers(3))
        name, channel, hour, arm = names[action]
        reward = float(rng.random() < (0.2, 0.3, 0.6)[action])
        row = decision_row(i, META, action=action, action_name=name, channel=channel, send_hour=hour, arm=arm)
        rows.append({**row, "state": "dispatched", "reward_y": reward, **changes})
    return rows


def log_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    return write_log(path, rows, META)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learnt")


@pytest.fixture(scope="module")
def log(place: Path) -> Path:
    return log_of(place / "log.parquet", rows_of(0, 600))


@pytest.fixture(scope="module")
def policy(place: Path, log: Path) -> Path:
    run("train", "--log", log, "--metric", "y", "--out", place / "policy", "learner=mtr")
    return place / "policy"


MENS = {"action": 1, "action_name": "mens", "channel": "email", "send_hour": "now", "arm": "mens"}
SPOILT = {
    "repeated ids": [*rows_of(0, 300), *rows_of(290, 10)],
    "an action that was not eligible": [*rows_of(0, 299), *rows_of(299, 1, **MENS, eligible=b"\x05")],
    "a drawn row without a propensity": [*rows_of(0, 299), *rows_of(299, 1, propensity=None, state="failed")],
}
COMMANDS: dict[str, tuple[object, ...]] = {
    "evaluate": ("--metric", "y", "--policy", "uniform", "--estimator", "ips"),
    "evaluate a model": ("--metric", "y", "--policy", "always:mens", "--estimator", "dr", *LIGHT),
    "ablate": ("--metric", "y", "--out", "OUT"),
    "train": ("--metric", "y", "--out", "OUT"),
    "backtest": ("--metric", "y", "--out", "OUT"),
    "plan": ("--metric", "y", "--policy", "uniform", "--difference", 0.1),
    "monitor": ("--metric", "y"),
    "promote": ("--metric", "y", "--policy", "POLICY", "--live", "OUT"),
}


@pytest.mark.parametrize("fault", SPOILT)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reads_a_log_that_contradicts_itself(command: str, fault: str, policy: Path, tmp_path: Path) -> None:
    log = log_of(tmp_path / "spoilt.parquet", SPOILT[fault])
    names = {"OUT": tmp_path / "out", "POLICY": policy}
    arguments = [names.get(one, one) if isinstance(one, str) else one for one in COMMANDS[command]]
    error, hint = refused(3, command.split(maxsplit=1)[0], "--log", log, *arguments)
    assert "spoilt.parquet" in error
    assert "audit" in hint
    assert not (tmp_path / "out").exists()


def test_logs_that_share_decisions_are_not_watched_together(log: Path, place: Path) -> None:
    other = log_of(place / "overlapping.parquet", rows_of(599, 50))
    error, _ = refused(3, "monitor", "--log", log, "--log", other, "--metric", "y")
    assert "decision 'd000599' stands in" in error


def evaluated(log: Path, policy: Path, *more: object) -> Any:
    return call("evaluate", "--log", log, "--metric", "y", "--policy", policy, "--estimator", "snips", *more)


def again(log: Path, path: Path) -> Path:
    """The same decisions in another file: joined anew, in another order, with other rewards."""
    table = pq.read_table(log)
    order = np.arange(table.num_rows)[::-1]
    position = table.schema.get_field_index("reward_y")
    other = table.set_column(position, table.schema.field(position), [1.0 - table["reward_y"].to_numpy()])
    pq.write_table(other.take(order), path)
    return path


def test_a_policy_is_not_judged_on_what_it_learnt_from(log: Path, policy: Path, place: Path) -> None:
    for name, judge, shared in (
        ("itself", log, 600),
        ("joined again", again(log, place / "again.parquet"), 600),
        ("a part", log_of(place / "part.parquet", rows_of(0, 600)[100:140]), 40),
        ("one row", log_of(place / "one.parquet", [*rows_of(0, 600)[-1:], *rows_of(2000, 300)]), 1),
    ):
        answer = evaluated(judge, policy)
        assert answer.code == 3, name
        assert f"learnt from {shared} of the rows" in answer.out["error"], name
        assert "--override-learnt REASON" in answer.out["hint"]
    as_baseline = call("evaluate", "--log", log, "--metric", "y", "--policy", "uniform", "--baseline", policy)
    assert as_baseline.code == 3
    planned = call("plan", "--log", log, "--metric", "y", "--policy", policy, "--difference", 0.1)
    assert planned.code == 3


def test_an_override_marks_every_output(log: Path, policy: Path, tmp_path: Path) -> None:
    out = evaluated(log, policy, "--policy", "uniform", "--override-learnt", "to show it", "--out", tmp_path / "o").out
    said = f"{MARK} (600 rows): to show it"
    rows = {row["policy"]: row for row in out["results"]}
    assert any(said in note for note in rows[str(policy)]["notes"])
    assert not any(said in note for note in rows["uniform"]["notes"])
    assert any(said in note for note in out["log"]["notes"])
    assert said in (tmp_path / "o" / "report.html").read_text()
    assert said in (tmp_path / "o" / "report.json").read_text()
    assert said in str(pq.read_table(tmp_path / "o" / "results.parquet").to_pylist())
    planned = run(
        *("plan", "--log", log, "--metric", "y", "--policy", policy, "--difference", 0.1),
        *("--override-learnt", "to show it"),
    )
    assert any(said in note for note in planned["notes"])
    assert refused(2, "evaluate", "--log", log, "--metric", "y", "--policy", policy, "--override-learnt", " ")


def test_other_rows_judge_it_without_a_word(policy: Path, place: Path) -> None:
    """Also rows of other logs that have the same ids: there they are numbers of other contacts."""
    later = log_of(place / "later.parquet", rows_of(3000, 300))
    others = [{**row, "cluster": row["cluster"] - 10**6} for row in rows_of(0, 300)]
    for judge in (later, log_of(place / "others.parquet", others)):
        answer = evaluated(judge, policy)
        assert (answer.code, answer.out["log"]["notes"]) == (0, [])


def test_learning_on_adds_rows(policy: Path, place: Path) -> None:
    second = log_of(place / "second.parquet", rows_of(600, 400))
    run("train", "--log", second, "--metric", "y", "--out", place / "on", "--from", policy)
    record = TrainedFolder(place / "on").training_rows()
    assert record is not None
    assert len(record) == 1000
    span = TrainedFolder(place / "on").manifest.source["learnt_from"]
    assert span["first_at"] == int(datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp() * 1e6)
    for judge in (place / "log.parquet", second):
        assert evaluated(judge, place / "on").code == 3


def test_the_folder_of_a_backtest_knows_its_side(place: Path, log: Path) -> None:
    run("backtest", "--log", log, "--metric", "y", "--out", place / "backtest", "peers=[]")
    folder = place / "backtest" / "policy"
    record = TrainedFolder(folder).training_rows()
    assert record is not None
    reader = LogReader(log)
    train, judge = (Selection(reader, "y", side=side, context=False) for side in contact_split(0.5, 0))
    sizes = [sum(block.n for block in side) for side in (train, judge)]
    assert (len(record), record.shared(train), record.shared(judge)) == (sizes[0], sizes[0], 0)
    assert f"from {sizes[0]} of the rows" in evaluated(log, folder).out["error"]


def test_a_promotion_of_rows_without_instants_is_by_the_rows_alone(place: Path) -> None:
    undated = log_of(place / "undated.parquet", rows_of(0, 400, decided_at=None))
    run("train", "--log", undated, "--metric", "y", "--out", place / "undated")
    config = compose_settings("promote", ["audit.explained=[null,null]"], PromoteConfig)
    asked = (place / "undated", place / "live", undated, "y")
    signed = Signature("me", datetime(2026, 4, 1, tzinfo=UTC))
    with pytest.raises(DataError, match="learnt from 400 of the rows"):
        promote(*asked, config, signed)
    kept = compose_settings("promote", ["learnt_rows=keep", "estimator=snips"], PromoteConfig)
    assert any(MARK in note for note in promote(*asked, kept, signed).notes)


def test_a_folder_that_does_not_say_is_judged_with_a_note(place: Path, policy: Path, log: Path) -> None:
    assert learnt_rows.marked(["uniform", "logged"], LogReader(log), "y", None) == {}
    silent = place / "silent"
    export_learner(TrainedFolder(policy).learner(), silent)
    [said] = learnt_rows.marked([str(silent)], LogReader(log), "y", None).values()
    assert "does not say which rows it learnt from" in said
    known = TrainedFolder(policy).training_rows()
    assert known is not None
    assert len(known) == 600
