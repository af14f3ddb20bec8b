"""Whole runs: the same bytes however they are cut, every policy, logs that others can use, and what is refused."""

from __future__ import annotations

import json
import multiprocessing
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from engine.decide.batch import decide_batch
from engine.errors import ConfigError, DataError, ParameterError, StorageError
from engine.guardrails.conditions import Conditions
from engine.log.parquet import LogReader
from experiments.simulate.outcomes import largest_money, scenario_metrics
from experiments.simulate.run import SimulateRequest, simulate
from experiments.simulate.run_spec import NOTE, DayPolicy, RunSpec, plan_of
from experiments.simulate.workers import Workers
from policies.peers.constant import UniformPolicy
from policies.trained import TrainedFolder
from simulator.scenario import load_scenario
from simulator.world.world import World
from tests.experiments.commands import call, refused, run
from tests.experiments.simulate.small_runs import KEY, LEARNS, files_of, settings, small_run


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learnt in the loop, in one process and one batch."""
    folder = tmp_path_factory.mktemp("learnt")
    small_run(folder / "run.parquet", *LEARNS)
    return folder


@pytest.fixture(scope="module")
def uniform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uniform")
    small_run(folder / "run.parquet", "control_share=0.2", "contacts=800", "days=6")
    return folder


@pytest.mark.parametrize("cut", ["block_rows=37", "block_rows=299", "block_rows=120 workers=2"])
def test_same_bytes_however_it_is_cut(cut: str, learnt: Path, tmp_path: Path) -> None:
    """With learning in the loop and every fault of the feed: the hardest case."""
    small_run(tmp_path / "run.parquet", *LEARNS, *cut.split())
    assert files_of(tmp_path) == files_of(learnt)
    assert set(files_of(learnt)) == {
        *("run.parquet", "run.outcomes.parquet", "run.metrics.parquet", "run.metrics.json", "run.curves.svg"),
        *("run.policy/manifest.json", "run.policy/tables.npz", "run.policy/training_rows.npy"),
    }


def test_another_seed_is_another_log(learnt: Path, tmp_path: Path) -> None:
    small_run(tmp_path / "run.parquet", *LEARNS, "seed=2")
    assert all(content != files_of(learnt)[name] for name, content in files_of(tmp_path).items())


def test_it_learns_from_what_has_matured(learnt: Path) -> None:
    """The window is a day: at the start of day 2 the days 0 and 1 are known, and the third decides by them."""
    versions = pq.read_table(learnt / "run.parquet", columns=["decided_at", "policy_version"]).to_pandas()
    by_day = versions.groupby("decided_at")["policy_version"].agg(lambda column: list(set(column)))
    assert all(len(found) == 1 for found in by_day)
    names = [found[0] for found in by_day]
    assert names[:2] == ["uniform", "uniform"]
    assert len(set(names)) == len(names) - 1
    manifest = TrainedFolder(learnt / "run.policy").manifest
    assert manifest.rounds > 0
    assert manifest.metric == "margin"


def test_the_log_is_that_of_production(uniform: Path) -> None:
    """Rows of the first day are what `decide_batch` says of the world's contacts, column by column."""
    scenario = load_scenario("newsletter")
    world = World(scenario, 800, 1)
    spec = RunSpec({}, (), 800, 0, 1, 0.2, 0.0, KEY, 800, Path())
    plan = plan_of(
        spec, scenario, world.guardrails, DayPolicy(UniformPolicy(), "uniform"), 0.0, Conditions(killed=False)
    )
    expected = decide_batch(plan, world.contacts(np.flatnonzero(world.deciding())), world.now).table
    found = pq.read_table(uniform / "run.parquet").slice(0, expected.num_rows)
    for name in set(expected.column_names) - {"state"}:
        assert found[name].to_pylist() == expected[name].to_pylist(), name


def test_rewards_are_the_events_within_the_window(uniform: Path) -> None:
    """Joined again by hand from the outcome file: money within three days, null where the window is open."""
    log = pq.read_table(uniform / "run.parquet").to_pandas()
    events = pq.read_table(uniform / "run.outcomes.parquet").to_pandas()
    events = events.merge(log[["decision_id", "decided_at"]], on="decision_id")
    inside = events[(events["at"] - events["decided_at"]) <= pd.Timedelta(days=3)]
    money = inside[inside["event"].isin(["purchased", "refunded", "sent", "unsubscribed", "complained"])]
    total = money.groupby("decision_id")["value_usd"].sum()
    end = load_scenario("newsletter").calendar.now(6)
    closed = log["decided_at"] <= end - pd.Timedelta(days=3)
    assert (log["reward_margin"].notna() == closed).all()
    expected = log["decision_id"].map(total).fillna(0.0)[closed]
    assert np.allclose(log["reward_margin"][closed], expected, atol=1e-9)
    assert (expected != 0).sum() > 100


def test_metrics_of_days_and_the_summary_agree(uniform: Path) -> None:
    table = pd.read_parquet(uniform / "run.metrics.parquet")
    summary = json.loads((uniform / "run.metrics.json").read_text())
    log = pq.read_table(uniform / "run.parquet", columns=["action", "group"]).to_pandas()
    assert int(table["sends"].sum()) == int((log["action"] > 0).sum()) == sum(summary["sends"].values())
    assert int(table["decided"].sum()) == len(log) == summary["decisions"]
    control = table[table["group"] == "control"]
    assert control["sends"].sum() == control["cost_usd"].sum() == control["unsubscribed"].sum() == 0
    assert summary["groups"]["control"]["reward_usd"] == pytest.approx(control["reward_usd"].sum())
    share = (log["group"] == "control").mean()
    assert abs(share - 0.2) < 4.5 * np.sqrt(0.2 * 0.8 / 800)
    assert LogReader(uniform / "run.parquet").meta.notes == (NOTE,)
    assert "SIMULATED" in summary["notes"][0]


def test_control_is_compared_but_not_learnt_from(uniform: Path) -> None:
    log = pq.read_table(uniform / "run.parquet", columns=["group", "action", "propensity", "available"]).to_pandas()
    control = log["group"] == "control"
    assert (log["available"] == ~control).all()
    assert (log.loc[control, "propensity"] == 1.0).all()
    usable = sum(int(batch.usable.sum()) for batch in LogReader(uniform / "run.parquet").rounds(context=False))
    assert 0 < usable <= (~control).sum()
    groups = set(pd.read_parquet(uniform / "run.metrics.parquet")["group"])
    assert groups == {"treatment", "control"}


def test_weights_of_several_days_average_one(tmp_path: Path) -> None:
    """A policy that sends where it may, beside a holdout and a slice: hold has mean weight 1 on every day."""
    out = tmp_path / "run.parquet"
    small_run(
        out, "policy='always:email|9|time_saver'", "control_share=0.3", "uniform_share=0.3", "contacts=1500", "days=8"
    )
    log = pq.read_table(out, columns=["decided_at", "action", "propensity", "available"]).to_pandas()
    log = log[log["available"]]
    weight = (log["action"] == 0) / log["propensity"]
    for days in (log["decided_at"] < log["decided_at"].median(), log["decided_at"] >= log["decided_at"].median()):
        of = weight[days]
        assert len(of) > 1000
        assert abs(of.mean() - 1.0) < 4 * of.std(ddof=1) / np.sqrt(len(of))


def test_the_curves_are_a_picture_that_loads_nothing(uniform: Path) -> None:
    picture = (uniform / "run.curves.svg").read_text()
    assert picture.startswith("<svg")
    assert not re.search(r"https?://(?!www\.w3\.org)", picture)


POLICIES = {
    "never": 0,
    "uniform": None,
    "always:email|9|time_saver": None,
    "merge_tag": None,
    "segments": None,
}
SLICE = ("tuning.contacts=300", "tuning.days=5", "scenario.attribution_window_days=1", "contacts=200", "days=2")


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_decides(policy: str, tmp_path: Path) -> None:
    output = small_run(tmp_path / "run.parquet", f"policy='{policy}'", *SLICE)
    sent = sum(output.sends.values())
    assert (sent == 0) == (POLICIES[policy] == 0)
    names = set(pq.read_table(tmp_path / "run.parquet")["action_name"].to_pylist())
    if policy.startswith("always:"):
        assert names == {"hold", "email|9|time_saver"}
    if policy == "never":
        assert names == {"hold"}
    if policy in ("merge_tag", "segments"):
        # One action for each eligible set and segment: no draw was random.
        assert set(pq.read_table(tmp_path / "run.parquet")["propensity"].to_pylist()) == {1.0}


def test_a_given_log_and_a_trained_folder(learnt: Path, uniform: Path, tmp_path: Path) -> None:
    tuned = small_run(
        tmp_path / "a.parquet", "policy=segments", f"training={uniform / 'run.parquet'}", "contacts=100", "days=2"
    )
    assert tuned.decisions > 0
    folder = learnt / "run.policy"
    output = small_run(tmp_path / "b.parquet", f"policy={folder}", "contacts=100", "days=2")
    assert output.policy == "run.policy"
    meta = LogReader(tmp_path / "b.parquet").meta
    assert meta.policy == str(folder)
    more = small_run(tmp_path / "c.parquet", "policy=vw", f"start={folder}", "contacts=100", "days=2")
    assert more.decisions > 0
    version = TrainedFolder(folder).manifest.version
    for name in ("b", "c"):
        assert set(pq.read_table(tmp_path / f"{name}.parquet")["policy_version"].to_pylist()) == {version}
    decision = pq.read_table(tmp_path / "b.parquet")["decision_id"][5].as_py()
    out = run("explain", "--log", tmp_path / "b.parquet", "--decision", decision)
    assert sum(row["probability"] for row in out["actions"]) == pytest.approx(1.0)
    row = next(row for row in out["actions"] if row["action"] == out["action"])
    assert row["probability"] == pytest.approx(out["propensity"], abs=1e-9)


@pytest.mark.slow
def test_parts_are_fitted_anew_in_the_loop(tmp_path: Path) -> None:
    """Every day here, from all that is known; the same bytes however it is cut; a start decides until the first fit."""
    quick = ("learner.parts.refit_days=1", "learner.parts.smooth=false", "learner.parts.worth_ridges=[1000]")
    asked = (*LEARNS, "learner=parts", *quick)
    small_run(tmp_path / "a" / "run.parquet", *asked)
    small_run(tmp_path / "b" / "run.parquet", *asked, "block_rows=37", "workers=2")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    folder = tmp_path / "a" / "run.policy"
    first = TrainedFolder(folder)
    assert first.kind == "tactful-parts-policy"
    assert first.source == {}
    # Whatever learner is configured, a start keeps its own, and what it knew is not counted as learnt again.
    small_run(tmp_path / "c" / "run.parquet", *LEARNS, "days=5", f"start={folder}", "seed=5")
    versions = pq.read_table(tmp_path / "c" / "run.parquet")["policy_version"].to_pylist()
    second = TrainedFolder(tmp_path / "c" / "run.policy")
    assert versions[0] == first.version
    assert len(set(versions)) > 1
    assert second.kind == first.kind
    rows, before = second.training_rows(), first.training_rows()
    assert rows is not None
    assert before is not None
    assert len(rows) == second.manifest.rounds
    assert set(before.keys.tolist()) - set(rows.keys.tolist())


def mean_weight(path: Path, days: slice) -> tuple[float, float]:
    """Mean weight of holding on some days of a log, and its standard error by contact."""
    log = pq.read_table(path, columns=["decided_at", "action", "propensity", "cluster"]).to_pandas()
    wanted = sorted(log["decided_at"].unique())[days]
    log = log[log["decided_at"].isin(wanted)]
    weight = ((log["action"] == 0) / log["propensity"]).groupby(log["cluster"]).agg(["sum", "count"])
    mean = weight["sum"].sum() / weight["count"].sum()
    spread = np.sqrt(((weight["sum"] - mean * weight["count"]) ** 2).sum()) / weight["count"].sum()
    return float(mean), float(spread)


def test_broken_randomisation_shows_in_the_weights(tmp_path: Path) -> None:
    """The mean weight of a policy is 1 where propensities are honest (4.5 standard errors), and far off later."""
    fault = "+scenario.faults=[{kind: broken_randomisation, from_day: 3}]"
    small_run(tmp_path / "run.parquet", fault, "contacts=1500", "days=6")
    mean, spread = mean_weight(tmp_path / "run.parquet", slice(0, 3))
    assert abs(mean - 1.0) < 4.5 * spread
    mean, spread = mean_weight(tmp_path / "run.parquet", slice(3, 6))
    assert mean - 1.0 > 4.5 * spread


def test_shipped_faults_are_laid_over(tmp_path: Path) -> None:
    output = small_run(tmp_path / "a.parquet", "faults=[consent_withdrawn]", "contacts=400", "days=9")
    plain = small_run(tmp_path / "b.parquet", "contacts=400", "days=9")
    assert output.reachable_last < 0.8 * plain.reachable_last
    assert output.reachable_first == plain.reachable_first


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle leaves the days that are over; the next run says how many they were."""
    monkeypatch.setattr("experiments.simulate.run_folder.RunFolder.commit", stop_at(2))
    with pytest.raises(StorageError, match="full"):
        small_run(tmp_path / "run.parquet")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="seed was 1, is 3"):
        small_run(tmp_path / "run.parquet", "seed=3")
    output = small_run(tmp_path / "run.parquet", "workers=2")
    assert output.resumed_from == 2
    assert not (tmp_path / "run.parts").exists()
    small_run(tmp_path / "whole" / "run.parquet")
    assert {name: content for name, content in files_of(tmp_path).items() if "/" not in name} == files_of(
        tmp_path / "whole"
    )


def stop_at(day: int) -> Any:
    from experiments.simulate.run_folder import RunFolder

    commit = RunFolder.commit

    def failing(parts: RunFolder, step: int, made: Any) -> None:
        if step == day:
            raise StorageError("the disk is full")
        commit(parts, step, made)

    return failing


def test_progress_adds_up(tmp_path: Path) -> None:
    heard: list[float] = []
    simulate(SimulateRequest(tmp_path / "run.parquet", KEY), settings("contacts=120", "block_rows=50"), heard.append)
    assert sum(heard) == 4 * 120


@pytest.mark.parametrize(
    ("overrides", "code", "named"),
    [
        (["policy=nobody"], 4, "nobody"),
        (["policy=always:nothing"], 3, "nothing"),
        (["+scenario.delay.lost_share=2"], 4, "lost_share"),
        (["faults=[nothing]"], 4, "nothing"),
        (["days=0"], 4, "days"),
        (["contacts=-1"], 4, "contacts"),
        (["control_share=0.7", "uniform_share=0.7"], 4, "uniform_share"),
        (["start=somewhere"], 4, "start"),
        (["policy=vw", "training=log.parquet"], 4, "training"),
        (["metric=happiness"], 3, "happiness"),
        (["policy=segments", "training=absent.parquet"], 3, "absent"),
        (["policy=segments", "tuning.days=1"], 7, "no rounds"),
        (["tuning.days=0"], 4, "days"),
        (["wrong=1"], 4, "wrong"),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], code: int, named: str, tmp_path: Path) -> None:
    error, hint = refused(code, "simulate", "--out", tmp_path / "run.parquet", "contacts=50", "days=2", *overrides)
    assert named in f"{error} {hint}"
    assert not (tmp_path / "run.parquet").exists()


def test_an_unknown_scenario_is_told_which_there_are(tmp_path: Path) -> None:
    answer = call("simulate", "--out", tmp_path / "run.parquet", "scenario=nowhere")
    assert answer.code == 4
    assert "newsletter" in answer.out["error"]


def test_other_names_and_foreign_folders_are_refused(learnt: Path, uniform: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="parquet"):
        SimulateRequest(tmp_path / "log.csv", KEY)
    with pytest.raises(ConfigError, match="another catalog"):
        small_run(tmp_path / "a.parquet", "scenario=renewal", f"policy={learnt / 'run.policy'}")
    with pytest.raises(DataError, match="another catalog"):
        small_run(tmp_path / "b.parquet", "scenario=renewal", "policy=segments", f"training={uniform / 'run.parquet'}")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        small_run(tmp_path / "file" / "c.parquet")


def test_nobody_to_decide_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody"):
        small_run(tmp_path / "run.parquet", "scenario=renewal", "scenario.trigger.from_days=-3000",
                  "scenario.trigger.until_days=-2000")  # fmt: skip


def test_the_command_prints_its_object(tmp_path: Path) -> None:
    out = run(
        "simulate",
        "--out",
        tmp_path / "run.parquet",
        "contacts=100",
        "days=2",
        "uniform_share=0.3",
        "control_share=0.3",
    )
    assert out["log"] == str(tmp_path / "run.parquet")
    assert set(out["groups"]) == {"treatment", "control"}
    assert all(Path(path).exists() for path in out["files"].values())


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_workers_arrive_as_they_were(workers: int, tmp_path: Path) -> None:
    spec = RunSpec({"name": "broken"}, (), 10, 0, 1, 0.0, 0.0, KEY, 5, tmp_path)
    with pytest.raises(ConfigError, match="no scenario") as caught, Workers(spec, workers) as pool:
        pool.each("live", 0, Conditions())
    assert caught.value.hint


def test_a_dead_worker_is_told(tmp_path: Path) -> None:
    spec = RunSpec(settings().scenario, (), 10, 0, 1, 0.0, 0.0, KEY, 5, tmp_path)
    asked = (0, 0, load_scenario("newsletter").calendar.now(0), "joined")

    def ask_one_that_died() -> None:
        with Workers(spec, 2) as pool:
            assert pool.each("join", *asked) == [None, None]
            multiprocessing.active_children()[1].kill()
            pool.each("join", *asked)

    with pytest.raises(StorageError, match="worker died") as caught:
        ask_one_that_died()
    assert caught.value.hint == "run again, it goes on from the last day"
    assert multiprocessing.active_children() == []


def test_metrics_cover_what_can_happen() -> None:
    scenario = load_scenario("newsletter")
    metrics = scenario_metrics(scenario)
    assert {"margin", "order", "clicked", "unsubscribed", "complained"} < set(metrics)
    assert {"delivered", "bounced", "opened", "replied", "purchases", "revenue", "refunds", "send_cost"} < set(metrics)
    assert metrics["margin"].window_s == 3 * 86_400
    # Two orders a day for four days, each of 1.6 times a basket six standard deviations above the median.
    population: Any = scenario.population
    one = 1.6 * population.basket_usd * np.exp(6 * population.basket_sd) * scenario.spec.money.margin_share
    assert 8 * one <= largest_money(scenario) <= 1.3 * 8 * (one + 6.0)
