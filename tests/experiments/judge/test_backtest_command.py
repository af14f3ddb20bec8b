"""`tactful backtest` on a real log, its files, and the proof that nothing learnt ever saw the side that judges it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.log.parquet import LogReader
from engine.log.selection import contact_split, time_split
from engine.records.schema import RewardSpec
from experiments.judge.backtest import BacktestRequest, prepare
from experiments.settings import BacktestConfig, compose_settings
from policies.trained import TrainedFolder
from tests.experiments.commands import result, run
from tests.logs import decision_row, small_meta, write_log

NOTHING, BEST = "always:No E-Mail", "always:Mens E-Mail"


@pytest.fixture(scope="module")
def against_nothing(hillstrom: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("backtest") / "nothing"
    return run("backtest", "--log", hillstrom, "--metric", "visit", "--out", out, "--baseline", NOTHING)


def test_learned_policy_beats_sending_nothing(against_nothing: dict[str, Any]) -> None:
    row = result(against_nothing, "vw", "dr")
    assert row["difference"]["baseline"] == NOTHING
    assert row["difference"]["low"] > 0
    assert row["verdict"] == "better"
    assert (against_nothing["launch"]["policy"], against_nothing["launch"]["verdict"]) == ("vw", "better")
    assert f"vw is better than {NOTHING}" in against_nothing["launch"]["reason"]


@pytest.mark.slow
def test_learned_policy_is_as_good_as_the_best_constant_action(hillstrom: Path, tmp_path: Path) -> None:
    out = run("backtest", "--log", hillstrom, "--metric", "visit", "--out", tmp_path, "--baseline", BEST)
    constants = {
        row["policy"]: row["value"] for row in out["results"] if row["estimator"] == "dr" and "always" in row["policy"]
    }
    assert max(constants, key=lambda name: constants[name]) == BEST
    assert result(out, "vw", "dr")["difference"]["high"] >= 0
    assert result(out, "vw", "dr")["verdict"] != "worse"


def test_every_policy_is_judged_by_every_estimator(against_nothing: dict[str, Any]) -> None:
    named = {row["policy"] for row in against_nothing["results"]}
    learned = {name for name in named if name.startswith("vw")}
    assert learned
    assert named - learned == {
        "static_segments",
        "merge_tag_blast",
        "uniform",
        "any_send",
        "learned_rule",
        "logged",
        NOTHING,
        BEST,
        "always:Womens E-Mail",
    }
    pairs = {(row["policy"], row["estimator"]) for row in against_nothing["results"]}
    skipped = {(row["policy"], row["estimator"]) for row in against_nothing["skipped"]}
    assert len(pairs) == len(against_nothing["results"])
    assert pairs | skipped == {(name, by) for name in named for by in ("ips", "clipped", "snips", "dm", "dr")}
    assert all(row["reason"] for row in against_nothing["skipped"])


def test_the_split_leaves_nothing_out(against_nothing: dict[str, Any]) -> None:
    split = against_nothing["split"]
    assert split["train_rows"] + split["evaluation_rows"] == against_nothing["log"]["rows"] == 32_000
    assert split["train_rows"] == pytest.approx(16_000, abs=400)
    assert {row["n"] for row in against_nothing["results"]} == {split["evaluation_rows"]}


def test_files(against_nothing: dict[str, Any]) -> None:
    files = {name: Path(path) for name, path in against_nothing["files"].items()}
    assert set(files) == {"report", "json", "results", "policy", "segments", "learned_rule"}
    assert json.loads(files["json"].read_text()) == against_nothing
    assert {path.name for path in files["policy"].iterdir()} == {
        *("manifest.json", "training_rows.npy", "chance.npz", "chance.vw", "held.npz", "held.vw"),
        *("money.npz", "worth.npz"),
    }
    assert not [path for path in files["report"].parent.iterdir() if path.name.endswith(".part")]
    table = pq.read_table(files["results"]).to_pandas()
    assert not table.duplicated(["policy", "estimator"]).any()
    for line, row in zip(table.to_dict("records"), against_nothing["results"], strict=True):
        assert (line["policy"], line["estimator"], line["value"]) == (row["policy"], row["estimator"], row["value"])
        if row["difference"]:
            assert line["difference_value"] == row["difference"]["value"]
        assert json.loads(line["settings"])["deciding_estimator"] == "dr"


def test_report_is_one_self_contained_page(against_nothing: dict[str, Any]) -> None:
    page = Path(against_nothing["files"]["report"]).read_text()
    assert page.startswith("<!doctype html>")
    assert not re.search(r"<script|<link|<iframe|@import|\son\w+=", page, re.IGNORECASE)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page, re.IGNORECASE)
    assert not re.search(r"url\((?!#)", page)
    assert page.count("<svg") == page.count("</svg>") >= 4
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "two pictures share an id: the second draws the shapes of the first"
    assert against_nothing["launch"]["reason"].split(":")[0] in page


@pytest.mark.parametrize("learner", ["mtr", "parts"])
def test_a_log_that_never_held_trains_no_hold(learner: str, tmp_path: Path) -> None:
    """What silence is worth it does not say, so a policy of it sends wherever it may, and says so."""
    rng, holds = np.random.default_rng(5), {}
    for name, first in (("sends", 1), ("both", 0)):
        rewards = np.where(rng.random(1500) < 0.3, 0.0, 1.0)
        log = log_with_clusters(tmp_path / f"{name}.parquet", rewards, rng.normal(size=1500), first=first)
        of = ("--log", log, "--metric", "y", f"learner={learner}", "exploration=greedy")
        trained = run("train", *of, "--out", tmp_path / f"{name}-policy")
        judged = run("backtest", *of, "--out", tmp_path / f"{name}-backtest")
        told = (" ".join(trained["said"]), " ".join(judged["log"]["notes"]))
        assert all(("held nobody" in one) == (name == "sends") for one in told)
        batch = next(iter(LogReader(log).rounds()))
        every = np.ones((batch.n, 3), dtype=np.bool_)
        for folder in (tmp_path / f"{name}-policy", tmp_path / f"{name}-backtest" / "policy"):
            holds[name, folder.name] = TrainedFolder(folder).policy().distribution(batch.context, every)[:, 0].sum()
    assert holds["sends", "sends-policy"] == holds["sends", "policy"] == 0.0


def log_with_clusters(path: Path, rewards: np.ndarray, spends: np.ndarray, first: int = 0) -> Path:
    """Decisions of 600 contacts, one minute apart; uniform over three actions, or from `first` on."""
    meta = small_meta(rewards={"y": RewardSpec(low=0, high=1)}, clustered=True)
    names = ["none", "mens", "womens"]
    rows = []
    for number, (reward, spend) in enumerate(zip(rewards, spends, strict=True)):
        action = int(np.random.default_rng(number).integers(first, 3))
        sends = (
            {"channel": "email", "send_hour": "now", "arm": names[action]}
            if action
            else dict.fromkeys(("channel", "send_hour", "arm", "send_at"))
        )
        changes = {
            "action": action,
            "action_name": names[action],
            "state": "dispatched",
            "cluster": number % 600,
            "contact_id": f"{number % 600:032x}",
            "context_spend": float(spend),
            "reward_y": float(reward),
            "propensity": 1 / (3 - first),
            "eligible": bytes([0b111 >> first << first]),
            **sends,
        }
        rows.append(decision_row(number, meta, **changes))
    return write_log(path, rows, meta)


@pytest.mark.parametrize("learner", ["mtr", "parts"])
@pytest.mark.parametrize("split", ["contact", "time"])
def test_nothing_learnt_sees_the_side_that_judges_it(split: str, learner: str, tmp_path: Path) -> None:
    """All rewards and contexts of the judging side are corrupted; what is learnt stays the same to the byte."""
    rng = np.random.default_rng(5)
    rewards, spends = rng.integers(2, size=3000), rng.normal(size=3000)
    honest = log_with_clusters(tmp_path / "honest.parquet", rewards, spends)
    reader = LogReader(honest)
    asked = [f"learner={learner}", "learner.passes=2", "segments.shrink_rows=20"]
    config = compose_settings("backtest", asked, BacktestConfig)
    _, judge = time_split(reader, 0.5) if split == "time" else contact_split(0.5, config.seed)
    judged = np.concatenate([judge.keep(block) for block in reader.rounds()])
    assert 0.4 < judged.mean() < 0.6
    # The same action-dependent lie in every corrupted row would sway any learner that saw it.
    corrupted = log_with_clusters(
        tmp_path / "corrupted.parquet", np.where(judged, 1 - rewards, rewards), np.where(judged, 1e3, spends)
    )
    swapped = log_with_clusters(
        tmp_path / "swapped.parquet", np.where(judged, rewards, 1 - rewards), np.where(judged, spends, 1e3)
    )
    learnt = [prepare(BacktestRequest(log, "y", tmp_path, split=split), config) for log in (honest, corrupted, swapped)]
    tables: list[dict[tuple[str, str], bytes]] = []
    models: list[dict[str, bytes]] = []
    segments: list[tuple[object, bytes]] = []
    for number, prepared in enumerate(learnt):
        folder = tmp_path / f"policy{number}"
        prepared.learner.export(folder)
        found = {path.name: np.load(path) for path in sorted(folder.glob("*.npz"))}
        tables.append({(file, name): one[name].tobytes() for file, one in found.items() for name in one.files})
        models.append({path.name: path.read_bytes() for path in sorted(folder.glob("*.vw"))})
        segments.append((prepared.segments.segmentation, prepared.segments._preference.tobytes()))
    assert tables[0] == tables[1]
    assert models[0] == models[1]
    assert segments[0] == segments[1]
    # The other way round the test would notice: corrupting the training side changes all three.
    assert tables[0] != tables[2]
    assert models[0] != models[2]
    assert segments[0] != segments[2]


def test_contacts_are_kept_whole_by_the_contact_split() -> None:
    cluster = np.arange(5_000, dtype=np.uint64) % 700
    train, judge = contact_split(0.3, 1)

    class Block:
        def __init__(self, values: np.ndarray) -> None:
            self.cluster = values

    kept = train.keep(Block(cluster))  # type: ignore[arg-type]
    assert (kept == ~judge.keep(Block(cluster))).all()  # type: ignore[arg-type]
    assert not set(cluster[kept]) & set(cluster[~kept])


def test_models_that_are_shared_give_the_same_figures(against_nothing: dict[str, Any]) -> None:
    """Comparisons reuse the reward models of the first evaluation; where both judge the same pair they agree."""
    again = [row for row in against_nothing["comparisons"] if row["difference"]["baseline"] == NOTHING]
    assert {row["policy"] for row in again} == {"vw", "static_segments", "any_send"}
    for row in again:
        once = result(against_nothing, row["policy"], "dr")
        assert (row["value"], row["difference"]["value"]) == (once["value"], once["difference"]["value"])
        assert row["policy"] != "vw" or row == once
