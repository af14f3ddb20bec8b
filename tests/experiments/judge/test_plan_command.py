"""`tactful plan` as a user runs it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from engine.ope.plan import Need
from experiments.judge.planning.decisions import PlanOutput
from experiments.report.plan import answer, curve
from tests.experiments.commands import call, run


def test_a_plan_from_moments(tmp_path: Path) -> None:
    """A share of 0.1, 3 actions, all uniform: var = 0.09 (3 + 3); lift 0.1 is 0.01; z 1.96 + 0.8416 (power 0.8)."""
    out = run("plan", "--mean", 0.1, "--lift", 0.1, "--actions", 3, "--power", 0.8, "--exploration", "0,1",
              "--out", tmp_path / "plan")  # fmt: skip
    none, full = out["plan"]
    assert none["decisions"] is None
    assert none["sd"] is None
    assert full["for_power"] == math.ceil(0.54 * (1.959964 + 0.8416212) ** 2 / 0.01**2)
    assert full["for_support"] == 122  # E w^2 = 3; kurtosis 1 / 0.09 - 3 is 8.1: 3 x 5 x 8.1
    assert full["decisions"] == full["for_power"]
    assert (out["source"], out["difference"], out["design_effect"]) == ("moments", pytest.approx(0.01), 1.0)
    page = Path(out["files"]["report"]).read_text(encoding="utf-8")
    assert f"Draw 100 % of the decisions at random: {full['decisions']:,} decisions then show" in page
    assert (out["recommended"], out["exploring_cost"]) == (1.0, None)
    assert "no number is enough" in page
    assert "<svg" in page
    assert not re.search(r"(src|href)=\"(http|//)", page)
    assert Path(out["files"]["json"]).stat().st_size > 100


def test_a_plan_from_a_pilot(hillstrom: Path) -> None:
    """An even log of three arms: at full exploration the plan is that of the evaluation's own standard error."""
    asked = ("--log", hillstrom, "--metric", "visit", "--policy", "always:Mens E-Mail")
    base = ("--baseline", "always:No E-Mail")
    planned = run("plan", *asked, *base, "--difference", 0.01, "--exploration", "0.1,1")
    judged = run("evaluate", *asked, *base, "--estimator", "snips")["results"][0]
    rare, full = planned["plan"]
    assert full["sd"] / math.sqrt(judged["n"]) == pytest.approx(judged["difference"]["stderr"], rel=0.01)
    assert rare["decisions"] > 5 * full["decisions"]
    # A tenth at random of more than five times the decisions: fewer get a random message, but it takes far longer.
    drawn = {row["exploration"]: row["exploration"] * row["decisions"] for row in (rare, full)}
    assert planned["recommended"] == (1.0 if drawn[1.0] <= 1.15 * drawn[0.1] else 0.1)
    even = run("evaluate", *asked[:-1], "uniform", *base, "--estimator", "snips")["results"][0]
    lost = -even["difference"]["value"] * drawn[planned["recommended"]]
    assert planned["exploring_cost"] == pytest.approx(lost, rel=1e-6)
    assert planned["baseline_value"] == pytest.approx(judged["value"] - judged["difference"]["value"])
    daily = run("plan", *asked, *base, "--difference", 0.01, "--exploration", "1",
                "evaluation.interval=asymptotic_sequence")  # fmt: skip
    assert daily["plan"][0]["decisions"] > 1.3 * full["decisions"]
    two = run("plan", *asked, *base, "--difference", 0.01, "--exploration", "1", "evaluation.comparisons=2")
    assert two["alpha"] == 0.025
    assert full["decisions"] < two["plan"][0]["decisions"]


def test_a_clustered_pilot_has_a_design_effect(imported) -> None:
    log = imported("starbucks", "starbucks/starbucks_waves_0_2.parquet")
    out = run("plan", "--log", log, "--metric", "viewed", "--policy", "uniform", "--difference", 0.01)
    assert out["design_effect"] != 1.0
    assert any("design" in note or "depend on each other" in note for note in out["notes"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--mean", 0.1, "--actions", 3), 2, "difference"),
        (("--mean", 0.1, "--lift", 0.1, "--difference", 0.1), 2, "difference"),
        (("--mean", 0.0, "--sd", 1.0, "--lift", 0.1), 2, "lift"),
        (("--mean", 3.0, "--lift", 0.1), 2, "sd"),
        (("--mean", 0.1, "--lift", -1), 2, "lift"),
        (("--mean", 30.0, "--sd", 9.0, "--lift", -1.5), 2, "lift"),
        (("--mean", 0.4, "--lift", 2), 2, "0 to 1"),
        (("--mean", 0.4, "--difference", 0.7), 2, "0 to 1"),
        (("--mean", 0.4, "--difference", -0.5), 2, "0 to 1"),
        (("--mean", 0.4, "--difference", "nan"), 2, "difference"),
        (("--mean", "nan", "--difference", 0.1), 2, "mean"),
        (("--lift", 0.1), 2, "log"),
        (("--mean", 0.1, "--lift", 0.1, "--exploration", "a"), 2, "exploration"),
        (("--mean", 0.1, "--lift", 0.1, "--exploration", "2"), 2, "exploration"),
        (("--mean", 0.1, "--lift", 0.1, "evaluation.interval=catoni"), 2, "interval"),
        (("--mean", 0.1, "--lift", 0.1, "--power", 0.1), 2, "power"),
        (("--log", "absent.parquet", "--metric", "r", "--policy", "uniform", "--lift", 0.1), 3, "absent.parquet"),
        (("--log", "absent.parquet", "--lift", 0.1), 2, "metric"),
    ],
    ids=[
        *(
            "no-question",
            "two-questions",
            "lift-of-0",
            "no-sd",
            "all-lost",
            "more-than-all",
            "lift-beyond",
            "beyond",
            "below-0",
            "no-number",
            "nan",
            "no-source",
            "word",
            "above-1",
            "interval",
        ),
        *("power", "absent", "no-metric"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments: tuple[object, ...], code: int, said: str) -> None:
    answer_ = call("plan", *arguments)
    assert answer_.code == code
    assert said in answer_.out["error"]


def test_a_policy_against_itself_shows_nothing(hillstrom: Path) -> None:
    same = "always:Mens E-Mail"
    asked = ("--log", hillstrom, "--metric", "visit", "--policy", same, "--baseline", same, "--difference", 0.1)
    answer_ = call("plan", *asked)
    assert answer_.code == 3
    assert "no difference to see" in answer_.out["error"]


def test_a_log_without_propensities_is_refused(imported) -> None:
    log = imported("email_sme", "email_sme/data_email_campaign.csv.gz")
    metric = "opened"
    answer_ = call("plan", "--log", log, "--metric", metric, "--policy", "uniform", "--difference", 0.1)
    assert answer_.code == 3
    assert "propensities" in answer_.out["error"]


def test_the_answer_where_nothing_is_enough() -> None:
    row = Need(exploration=0.0, decisions=None, for_power=None, for_support=None, sd=None,
                  effective_share=None, largest_weight=None)  # fmt: skip
    output = PlanOutput(difference=0.1, baseline_value=1.0, alpha=0.05, power=0.9, interval="delta",
                        source="moments", design_effect=1.0, plan=(row,))  # fmt: skip
    assert answer(output).startswith("No number of decisions")
    assert "<svg" in curve((row,))
