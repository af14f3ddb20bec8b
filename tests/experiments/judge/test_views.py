"""The question by other figures: each by hand, in worlds where it holds, and where what it leaves out matters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import LearnError, ParameterError
from engine.log.parquet import LogReader
from engine.records.schema import RewardSpec
from experiments.judge.launch.views import NOT_REFUTED, REFUTED, UNKNOWN, check_of, refuted
from experiments.judge.train import learn
from experiments.settings import BacktestConfig, compose_settings
from policies.parts.surrogate import (
    ADJUSTED,
    BEYOND,
    CREDITED,
    FIGURES,
    STAGE_WORTH,
    SurrogateLog,
    credited,
    stage_worth,
    stated_costs,
    surrogate_index,
    worth_of_contact,
)
from policies.parts.tables import own_scores
from tests.experiments.commands import refused, result, run
from tests.experiments.conftest import Demo
from tests.experiments.judge.launch_examples import result as row_of
from tests.logs import decision_row, small_meta, write_log
from tests.policies.parts.parts_worlds import learnt
from tests.policies.parts.parts_worlds import log as parts_log

QUICK = ("evaluation.replicates=100", "learner.parts.worth_ridges=[300]", "learner.parts.ridges=[30]",
         "learner.parts.smooth=false", "exploration=greedy")  # fmt: skip


def shop(path: Path, *, past: float, rows: int = 8000, seed: int = 3, click: float = 5.0) -> Path:
    """Women's offers are clicked by 0.3, men's by 0.1; a click brings `click`; orders come by themselves too.

    A women's offer brings `past` without any click. What comes by itself is mostly known from the contact's spending.
    """
    meta = small_meta(
        rewards={
            "margin": RewardSpec(low=-100.0, high=200.0, unit="usd"),
            "clicked": RewardSpec(low=0.0, high=1.0, unit="share"),
        }
    )
    names, rng, written = ["none", "mens", "womens"], np.random.default_rng(seed), []
    for number in range(rows):
        action, spend = int(rng.integers(3)), float(rng.gamma(2.0, 1.0))
        clicked = float(rng.random() < (0.0, 0.1, 0.3)[action])
        margin = click * clicked + 1.5 * spend + rng.normal(0.0, 2.0) + past * (action == 2)
        sends = (
            {"channel": "email", "send_hour": "now", "arm": names[action]}
            if action
            else dict.fromkeys(("channel", "send_hour", "arm", "send_at"))
        )
        changes = {
            "action": action,
            "action_name": names[action],
            "state": "dispatched",
            "context_spend": spend,
            "reward_margin": margin,
            "reward_clicked": clicked,
            **sends,
        }
        written.append(decision_row(number, meta, **changes))
    return write_log(path, written, meta)


def views(path: Path, out: Path, *extra: str) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = ("--log", path, "--metric", "margin", "--baseline", "always:mens", "--out", out)
    found = run("backtest", *asked, *QUICK, *extra)
    return found, {view["judged_by"]: view for view in found["views"]}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("honest")
    return views(shop(folder / "log.parquet", past=0.0), folder / "out")


def test_figures_see_more_than_the_money(honest: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """The truth is 0.2 clicks x 5 = 1 a decision; each figure holds it; answers have less noise than money."""
    found, seen = honest
    assert list(seen) == ["metric", *FIGURES]
    for name, view in seen.items():
        gap = view["estimate"]["difference"]
        assert gap["low"] - 0.15 <= 1.0 <= gap["high"] + 0.15, name
        assert view["check"] in ("unbiased", "not refuted")
        assert view["decides"] == (name == "metric")
    assert seen["stage_worth"]["times"] > 1.2
    assert seen["metric"]["times"] == 1.0
    assert seen["metric"]["estimate"] == result(found, "vw", "dr")
    page = Path(found["files"]["report"]).read_text()
    assert "The same question by other figures" in page


def test_what_comes_by_itself_is_taken_off(tmp_path: Path) -> None:
    """The contact's own spread is 1.5 x sqrt(2), and 2 is noise; by its past spending the former is known."""
    reader = LogReader(shop(tmp_path / "log.parquet", past=0.0, rows=3000))
    config = compose_settings("backtest", list(QUICK), BacktestConfig)
    learner: Any = learn(reader, "margin", config.learner, config.exploration)
    known = SurrogateLog(reader, learner.state, "margin")
    assert set(known.meta.rewards) == {"margin", "clicked", *FIGURES, *BEYOND.values()}
    (batch,) = known.rounds(rewards=["margin", ADJUSTED, CREDITED, STAGE_WORTH])
    assert batch.rewards[ADJUSTED].std() < 0.85 * batch.rewards["margin"].std()
    clicked = next(iter(reader.rounds(rewards=["clicked"]))).rewards["clicked"]
    sent = batch.action > 0
    expected = np.where(sent & (clicked == 1.0), batch.rewards[ADJUSTED], 0.0)
    assert batch.rewards[CREDITED] == pytest.approx(expected)


def test_what_messages_do_past_the_stage_refutes_the_figures(tmp_path: Path) -> None:
    """Women's offers bring 2 without a click: the money says 3, answered messages hardly more than 1."""
    _, seen = views(shop(tmp_path / "log.parquet", past=2.0), tmp_path / "out", "learner.parts.past=false")
    for name in ("credited", "stage_worth"):
        assert seen[name]["check"] == REFUTED
        assert seen[name]["estimate"]["verdict"] == "insufficient"
        assert "leaves out of the money differs" in seen[name]["estimate"]["notes"][0]
        assert seen[name]["left_out"]["difference"]["low"] > 0.0
    assert seen["adjusted"]["estimate"]["difference"]["low"] > 1.5


def test_a_refuted_figure_decides_nothing(tmp_path: Path) -> None:
    path = shop(tmp_path / "log.parquet", past=2.0)
    found, seen = views(path, tmp_path / "out", "learner.parts.past=false", "judged_by=credited")
    assert seen["credited"]["decides"]
    assert result(found, "vw", "dr")["verdict"] == "insufficient"
    assert found["launch"]["policy"] == "always:mens"


def test_the_figure_that_decides_is_the_one_that_was_fixed(tmp_path: Path) -> None:
    found, seen = views(shop(tmp_path / "log.parquet", past=0.0, rows=4000), tmp_path / "out", "judged_by=adjusted")
    assert [name for name, view in seen.items() if view["decides"]] == ["adjusted"]
    assert result(found, "vw", "dr")["metric"] == "adjusted"
    assert seen["adjusted"]["estimate"]["difference"]["value"] == pytest.approx(
        result(found, "vw", "dr")["difference"]["value"]
    )


def test_without_a_stage_the_metric_stands_alone(hillstrom: Path, tmp_path: Path) -> None:
    asked = ("backtest", "--log", hillstrom, "--metric", "visit", "--out", tmp_path / "out", *QUICK)
    error, hint = refused(ParameterError.exit_code, *asked, "judged_by=credited")
    assert "judged_by" in error
    assert "learner.parts.stage" in hint
    error, hint = refused(ParameterError.exit_code, *asked[: -len(QUICK)], "learner=mtr", "judged_by=adjusted")
    assert "learner=parts" in hint


def test_the_demo_shows_them_beside_what_decides(demo: Demo) -> None:
    """Charges of discounts and prices of permissions are no part of a month's money; the check leaves them aside."""
    seen = {view["judged_by"]: view for view in demo.out["backtest"]["views"]}
    assert set(seen) == {"metric", *FIGURES}
    assert seen["stage_worth"]["decides"]
    assert seen["stage_worth"]["check"] in (NOT_REFUTED, UNKNOWN)
    assert seen["stage_worth"]["times"] > 1.5


def test_stated_costs_are_no_part_of_the_check() -> None:
    """stage_worth + stated costs is the money that the parts expect: answers x worth + past - costs of sends."""
    state = learnt(discount_factor=3.0).state
    batch = parts_log(seed=9)
    stated = stated_costs(batch, state, learnt().catalog)
    assert (stated >= 0.0).all()
    assert (stated[batch.action == 0] == 0.0).all()
    lost = batch.rewards["unsubscribed"] == 1.0
    assert stated[lost].mean() > stated[~lost].mean()
    whole = stage_worth(batch, state, learnt().catalog) + stated
    x = state.encoder.encode(batch.context)
    worth = batch.rewards["clicked"] * state.tables.own_worth(x, batch.action, learnt().catalog)
    channel, _, arm = learnt().catalog.split(batch.action)
    charge = np.where(batch.action > 0, (state.charge * state.tally.opened[:, None])[channel, arm], 0.0)
    expected = worth + own_scores(state.tables.money, x, batch.action, learnt().catalog) + charge
    assert whole == pytest.approx(expected)


def test_the_judge_knows_the_contact_not_the_message() -> None:
    """Another arm brings about the same answer: by the same contact it is worth the same, but for costs and charges."""
    state, catalog = learnt(discount_factor=3.0).state, learnt().catalog
    batch = parts_log(seed=9)
    x = state.encoder.encode(batch.context)
    mean = np.mean([state.tables.worth.scores(x)[:, action] for action in range(1, catalog.k)], axis=0)
    assert worth_of_contact(state.tables, x) == pytest.approx(np.maximum(mean, 0.0), rel=1e-5, abs=1e-6)
    index = surrogate_index(batch, state, catalog)
    lost = stated_costs(batch, state, catalog)
    sent = batch.action > 0
    cost = -np.minimum(batch.rewards["send_cost"], 0.0)
    answered = np.where(sent, batch.rewards["clicked"] * np.maximum(mean, 0.0), 0.0)
    assert index + lost + cost == pytest.approx(answered, rel=1e-4, abs=1e-4)


def test_money_of_answered_messages_by_hand() -> None:
    batch = parts_log(4, seed=2)
    rewards = {
        "margin": np.array([7.0, 8.0, 9.0, 10.0]),
        "clicked": np.array([1.0, 0.0, np.nan, 1.0]),
        "send_cost": np.array([-0.1, -0.2, -0.3, np.nan]),
    }
    asked = replace(batch, action=np.array([1, 2, 3, 0], dtype=np.int32), rewards=rewards)
    assert credited(asked, "clicked", rewards["margin"], "send_cost") == pytest.approx(
        [7.0, -0.2, np.nan, 0.0], nan_ok=True
    )
    assert credited(asked, "clicked", rewards["margin"]) == pytest.approx([7.0, 0.0, np.nan, 0.0], nan_ok=True)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "check"),
    [
        (-0.1, 0.1, "no difference", NOT_REFUTED),
        (0.01, 0.1, "better", REFUTED),
        (-0.2, -0.1, "worse", REFUTED),
        (-0.1, 0.1, "insufficient", UNKNOWN),
        (0.01, 0.1, "insufficient", REFUTED),
    ],
)
def test_a_check_is_by_the_interval_of_what_is_left_out(low: float, high: float, verdict: str, check: str) -> None:
    left = row_of("vw", verdict, low=low, high=high)
    assert check_of(left) == check
    assert check_of(None) == UNKNOWN
    told = refuted(row_of("vw", "better", low=0.1, high=0.2), left)
    assert told.verdict == "insufficient"
    assert f"{low:+.4g} to {high:+.4g}" in told.notes[0]


def test_a_plan_says_which_figure_to_fix(tmp_path: Path) -> None:
    path = shop(tmp_path / "log.parquet", past=0.0)
    asked = ("--log", path, "--metric", "margin", "--policy", "always:womens", "--baseline", "always:mens")
    plan = run(
        "plan", *asked, "--difference", "1", "--out", tmp_path / "out", *(one for one in QUICK if "learner" in one)
    )
    needs = {row["judged_by"]: row["decisions"] for row in plan["judged_by"]}
    assert list(needs) == ["metric", *FIGURES]
    assert plan["judge_by"] == min(needs, key=lambda name: needs[name]) != "metric"
    assert needs["adjusted"] < 0.85 * needs["metric"]
    assert f"Judge by {plan['judge_by']}" in (tmp_path / "out" / "plan.html").read_text()


def test_a_plan_of_an_event_is_of_the_event(hillstrom: Path) -> None:
    asked = ("--log", hillstrom, "--metric", "visit", "--policy", "always:Mens E-Mail", "--difference", "0.05")
    plan = run("plan", *asked)
    assert (plan["judged_by"], plan["judge_by"]) == ([], "")


def test_answers_that_are_worth_nothing_are_no_figure(tmp_path: Path) -> None:
    """Clicks that bring nothing: the question is asked by the others, and not judged by what answers are worth."""
    path = shop(tmp_path / "log.parquet", past=1.0, rows=3000, click=0.0)
    _, seen = views(path, tmp_path / "out", "learner.parts.past=false")
    assert list(seen) == ["metric", "credited", "adjusted"]
    asked = ("backtest", "--log", path, "--metric", "margin", "--out", tmp_path / "no", *QUICK, "judged_by=stage_worth")
    error, hint = refused(LearnError.exit_code, *asked)
    assert "sees no worth" in error
    assert "judged_by=metric" in hint
