"""`tactful plan --learn` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.experiments.commands import call, run

RATES = ("--learn", "--mean", 0.02, "--actions", 8, "--per-week", 20000)


def test_a_team_with_its_rates_is_told_when_what_and_at_what_cost(tmp_path: Path) -> None:
    out = run("plan", *RATES, "--stages", "clicked=0.1", "--out", tmp_path / "plan")
    by = {row["exploration"]: row for row in out["explorations"]}
    assert out["answer"] == "yes"
    assert by[0.02]["by_week"] is None
    assert by[0.02]["answers"] == ["clicked"]
    assert by[1.0]["by_week"] < by[0.2]["by_week"]
    assert by[1.0]["cost"] == pytest.approx(50 * by[0.02]["cost"])
    assert by[0.2]["smallest_propensity"] == pytest.approx(0.025)
    metric, clicked = out["stages"]
    assert clicked["by_week"] < metric["by_week"]
    needs = {(row["metric"], row["lift"]): row["contacts"] for row in out["lifts"]}
    assert needs["metric", 0.01] == pytest.approx(9 * needs["metric", 0.03], rel=0.001)
    assert needs["clicked", 0.03] < needs["metric", 0.03]
    page = Path(out["files"]["report"]).read_text(encoding="utf-8")
    first = page.split("</section>")[0]
    for said in (
        "It can be learnt",
        "Draw 20\xa0% of the decisions at random",
        "It costs at most",
        "Learn from clicked",
    ):
        assert said in first
    assert "<svg" in page
    assert "<script" not in page
    assert not any(arm["drop"] for arm in out["arms"])


def test_too_few_decisions_are_not_in_time() -> None:
    out = run("plan", *RATES[:-1], 500)
    assert out["answer"] == "not in time"
    assert out["explorations"][0]["answers"] == []


def test_a_log_of_arms_that_differ(hillstrom: Path) -> None:
    """The published visit rates: 10.6 % without, 15.1 % women's, 18.3 % men's mail; all is known already."""
    asked = ("--learn", "--log", hillstrom, "--metric", "visit", "--per-week", 5000, "--exploration", "0.1,1")
    out = run("plan", *asked)
    values = {arm["name"]: arm["value"] for arm in out["arms"]}
    assert max(values, key=values.__getitem__) == "Mens E-Mail"
    assert out["answer"] == "yes"
    assert out["p_value"] < 0.05
    assert out["stages"][0]["by_week"] == 0
    # No mail is the worst for certain, and stays: it is what the mails are held against.
    assert "No E-Mail" in values
    assert not any(arm["drop"] for arm in out["arms"] if arm["name"] == "No E-Mail")


def test_shuffled_rewards_are_not_promised(hillstrom: Path, tmp_path: Path) -> None:
    table = pq.read_table(hillstrom)
    place = table.schema.get_field_index("reward_visit")
    for seed in range(3):
        mixed = np.random.default_rng(seed).permutation(table["reward_visit"].to_numpy())
        pq.write_table(
            table.set_column(place, table.schema.field(place), pa.array(mixed)), tmp_path / f"{seed}.parquet"
        )
    found = [
        run("plan", "--learn", "--log", tmp_path / f"{seed}.parquet", "--metric", "visit", "--per-week", 5000)["answer"]
        for seed in range(3)
    ]
    assert found.count("not shown") >= 2


def test_groups_get_their_own_arms(hillstrom: Path) -> None:
    error = call("plan", "--learn", "--log", hillstrom, "--metric", "visit", "--per-week", 5000, "--by", "nothing").out
    assert "categorical" in error["error"]
    names = (
        error["error"].split("categorical are: ")[-1] if "are:" in error["error"] else error["hint"].split("are: ")[-1]
    )
    by = names.split(",")[0].strip()
    out = run("plan", "--learn", "--log", hillstrom, "--metric", "visit", "--per-week", 5000, "--by", by)
    assert len(out["groups"]) > 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mean", 0.02, "--actions", 8), "per_week"),
        ((*RATES[1:], "--lift", 0.1), "learn"),
        ((*RATES[1:], "--spread", 0), "spread"),
        ((*RATES[1:], "--weeks", 0), "weeks"),
        ((*RATES[1:], "--exploration", "0"), "exploration"),
        ((*RATES[1:], "--stages", "clicked"), "stages"),
        ((*RATES[1:], "--stages", "clicked=2"), "clicked"),
        ((*RATES[1:], "--power", 1), "power"),
        (("--mean", 0.02, "--actions", 1, "--per-week", 9), "actions"),
        (("--mean", 3, "--actions", 3, "--per-week", 9), "sd"),
        (("--mean", 0.02, "--actions", 3, "--per-week", -9), "per_week"),
        ((), "log"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments: tuple[object, ...], said: str) -> None:
    answer = call("plan", "--learn", *arguments)
    assert answer.code == 2
    assert said in answer.out["error"]
