"""The learned policy as a rule: found where there is one, judged as a policy, written as a file, shown in words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.records.schema import RewardSpec
from experiments.judge.launch.learned_rule import LearnedRule, Response, RuleRow
from experiments.report.learned_rule import rule_part
from experiments.report.words import Names
from tests.experiments.commands import result, run
from tests.experiments.judge.launch_examples import result as row_of
from tests.logs import decision_row, small_meta, write_log

QUICK = ("evaluation.replicates=100", "learner.parts.smooth=false", "learner.parts.ridges=[30]")
NAMES = ("none", "mens", "womens")


def by_place(path: Path, rows: int = 5000) -> Path:
    """In town women's offers are answered by 0.6 and men's by 0.2, in the country the other way round."""
    meta = small_meta(rewards={"y": RewardSpec(low=0, high=1)})
    rng, written = np.random.default_rng(2), []
    for number in range(rows):
        town, action = bool(rng.integers(2)), int(rng.integers(3))
        sends = (
            {"channel": "email", "send_hour": "now", "arm": NAMES[action]}
            if action
            else dict.fromkeys(("channel", "send_hour", "arm", "send_at"))
        )
        chance = 0.1 if not action else 0.6 if town == (action == 2) else 0.2
        changes = {
            "action": action,
            "action_name": NAMES[action],
            "state": "dispatched",
            "context_spend": float(rng.random()),
            "context_zip": "Urban" if town else "Rural",
            "reward_y": float(rng.random() < chance),
            **sends,
        }
        written.append(decision_row(number, meta, **changes))
    return write_log(path, written, meta)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_place(tmp_path_factory.mktemp("rule") / "log.parquet")


@pytest.fixture(scope="module")
def judged(log: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("judged") / "out"
    return run("backtest", "--log", log, "--metric", "y", "--out", out, *QUICK)


def test_the_rule_is_the_one_of_the_world(judged: dict[str, Any]) -> None:
    found = judged["learned_rule"]
    said = {row["who"]: row["gets"] for row in found["rows"]}
    assert said in ({"zip Urban": "womens", "zip Rural": "mens"}, {"zip Rural": "mens", "zip Urban": "womens"})
    assert found["fidelity"] > 0.98
    assert sum(row["share"] for row in found["rows"]) == pytest.approx(1.0)
    assert all(row["gets_share"] > 0.98 and row["gain"] > 0 and row["today"] for row in found["rows"])
    (response,) = found["responses"]
    assert response["feature"] == "zip"
    values = {action: dict(zip(response["bins"], line, strict=True)) for action, line in
              zip(response["actions"], response["values"], strict=True)}  # fmt: skip
    assert values["womens"]["Urban"] > values["mens"]["Urban"]
    assert values["mens"]["Rural"] > values["womens"]["Rural"]


def test_it_is_judged_as_a_policy_of_its_own(judged: dict[str, Any]) -> None:
    own, greedy = (result(judged, name, "dr") for name in ("learned_rule", "vw_greedy"))
    assert own["verdict"] == "better"
    assert own["value"] == pytest.approx(greedy["value"], abs=0.01)


def test_its_file_is_read_and_decides_as_it_was_judged(judged: dict[str, Any], log: Path, tmp_path: Path) -> None:
    rule = Path(judged["files"]["learned_rule"])
    assert rule.name == "learned_rule.yaml"
    again = run("backtest", "--log", log, "--metric", "y", "--out", tmp_path / "again", "--practice", rule, *QUICK)
    by = {row["policy"]: row["value"] for row in again["results"] if row["estimator"] == "ips"}
    assert by[str(rule)] == by["learned_rule"] == result(judged, "learned_rule", "ips")["value"]


def test_the_page_shows_it_in_words_and_pictures(judged: dict[str, Any]) -> None:
    page = Path(judged["files"]["report"]).read_text()
    assert "The learned policy as a rule" in page
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    assert re.search(r"in (99|100)\S? ?% of the decisions the rule does", text.replace("\u00a0", " "))
    assert "By zip the model expects most of" in page


def test_a_policy_without_scores_has_no_rule(log: Path, tmp_path: Path) -> None:
    out = run("backtest", "--log", log, "--metric", "y", "--out", tmp_path / "out", "learner=live_slots",
              "learner.passes=1", "evaluation.replicates=100")  # fmt: skip
    assert out["learned_rule"] is None
    assert "learned_rule" not in out["files"]
    assert "learned_rule" not in {row["policy"] for row in out["results"]}


def test_words_of_a_rule_that_cannot_be_judged() -> None:
    row = RuleRow(who="everybody", share=1.0, gets="mens", gets_share=0.7, today="", gain=None, why="")
    response = Response(feature="zip", bins=("a", "b"), actions=("mens",), values=((0.5, None),))
    found = LearnedRule(rows=(row,), fidelity=0.7, responses=(response,))
    part = rule_part(found, row_of("learned_rule", "insufficient", low=-1.0, high=1.0), "usd", Names())
    assert part.sentence.startswith("1 group stands for the learned policy")
    assert "too little to say" in part.sentence
    assert part.lines[0].today == "not known"
    assert part.lines[0].gain == "n/a"
    assert part.pictures[0].alt == "By zip the model expects most of: a: mens ($0.500)."
