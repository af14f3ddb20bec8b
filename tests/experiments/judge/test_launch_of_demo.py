"""The launch decision of a whole simulated loop: every part is there, adds up, and tells a pipeline what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.storage.artefact import sha256
from experiments.cli.judge.backtest import STAY_EXIT_CODE
from tests.experiments.commands import call
from tests.experiments.conftest import Demo
from tests.experiments.judge.test_launch_report import outline


@pytest.fixture(scope="module")
def judged(demo: Demo) -> dict[str, Any]:
    found: dict[str, Any] = demo.out["backtest"]
    return found


def test_every_metric_is_a_figure_or_says_why_not(judged: dict[str, Any]) -> None:
    layers = {"delivery": 0, "engagement": 0, "conversion": 0, "efficiency": 0}
    for row in judged["metrics"]:
        assert (row["value"] is None) == bool(row["missing"]), row["metric"]
        if row["policy"] == "static_segments" and row["layer"] in layers:
            layers[row["layer"]] += 1
    assert set(layers.values()) == {4}
    known = {row["metric"] for row in judged["metrics"] if row["policy"] == "vw" and row["value"] is not None}
    assert {"inbox_placement", "open_rate", "click_rate", "purchases", "sends_per_decision", "list_fatigue"} <= known


def test_the_gate_and_the_recommendation_agree(judged: dict[str, Any]) -> None:
    gate = judged["gate"]
    assert gate["passed"] == (not any(check["blocks"] for check in gate["checks"]))
    assert gate["checks"][0]["role"] == "primary"
    assert (judged["launch"]["policy"] == "vw") == gate["passed"]


def test_shares_of_the_treatment_add_up(judged: dict[str, Any]) -> None:
    treatment = judged["treatment"]
    for shares in (treatment["overall"], *(group["shares"] for group in treatment["groups"])):
        for side in ("baseline", "policy"):
            held = sum(row[side] for row in shares if row["kind"] == "treatment")
            for kind in ("channel", "hours", "arm"):
                assert held + sum(row[side] for row in shares if row["kind"] == kind) == pytest.approx(1.0), kind
    assert 0 < treatment["distance"] <= 1


def test_rules_cost_sends_and_the_law_has_no_price(judged: dict[str, Any]) -> None:
    rules = {rule["id"]: rule for rule in judged["rules"]}
    assert rules["C1"]["rule"] == "consent"
    assert rules["C1"]["value"] is None
    assert "not priced" in rules["C1"]["note"]
    assert rules["C1"]["removed"] > 0.1
    assert rules["F4"]["rule"] == "frequency"
    assert rules["F4"]["value"] is not None
    assert rules["F4"]["silenced"] > 0
    for rule in judged["rules"]:
        assert 0 <= rule["removed"] <= 1
        assert rule["sends"] >= -1e-9, "a rule that is not there cannot lower the sends of a policy that likes to send"


def test_it_can_be_made_again(judged: dict[str, Any], demo: Demo) -> None:
    assert judged["provenance"]["log sha256"] == sha256(demo.log)
    assert {"tactful", "python", "numpy", "configuration sha256", "seed of the split"} <= set(judged["provenance"])


def test_the_page_of_the_loop_can_be_read_aloud(demo: Demo) -> None:
    page = (demo.folder / "backtest" / "report.html").read_text()
    found = outline(page)
    assert found.flaws == []
    assert "SIMULATED: contacts and outcomes come from a simulated world, not from people." in found.text


def test_a_pipeline_is_told_to_stay(demo: Demo, tmp_path: Path) -> None:
    """A backtest that ran leaves with 0 whatever it found, and with 8 for "stay" where a pipeline asks."""
    asked = ("backtest", "--log", demo.log, "--metric", "margin", "--out", tmp_path, "--baseline", "uniform")
    quick = ("--override-audit", "a small log", "estimators=[snips]", "deciding_estimator=snips", "evaluation.folds=2")
    quick += ("learner=mtr", "learner.passes=1")
    answer = call(*asked, *quick)
    expected = 0 if answer.out["launch"]["policy"] == "vw" else STAY_EXIT_CODE
    assert answer.code == 0
    told = call_unchecked(*asked, *quick, "--exit-code", "--replace")
    assert told == expected


def call_unchecked(*arguments: object) -> int:
    """The exit code alone: with 8 the object is still that of the command, not an error's."""
    from contextlib import redirect_stdout
    from io import StringIO

    from experiments.cli.main import app

    with redirect_stdout(StringIO()):
        try:
            app([*map(str, arguments), "--json"])
        except SystemExit as end:
            return int(end.code or 0)
    return 0
