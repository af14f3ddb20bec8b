"""Real logs through import and evaluate: every independently computed reference value, and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.experiments.commands import Imported, refused, result, run

HILLSTROM = {"all_mens": "always:Mens E-Mail", "all_womens": "always:Womens E-Mail", "none": "always:No E-Mail"}
RULES = ("mens_if_bought_mens_else_womens", "womens_only_womens_buyers_else_mens")


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> dict[str, dict[str, dict[str, float]]]:
    return json.loads((shared_data / "reference.json").read_text())


def check_entry(out: dict[str, Any], spec: str, expected: dict[str, float]) -> None:
    """Values to 1e-6 (the reference has six digits), standard errors to 1 %."""
    for name in ("ips", "snips"):
        row = result(out, spec, name)
        assert row["value"] == pytest.approx(expected[name], abs=1e-6)
        assert row["stderr"] == pytest.approx(expected[f"{name}_se"], rel=0.01, abs=5e-7)
        assert row["n"] == expected["n"]
        assert row["low"] <= row["value"] <= row["high"]


@pytest.fixture(scope="session")
def rules(hillstrom: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies computed elsewhere: the action that they would take, and the probability of the logged one."""
    raw = pd.read_csv(shared_data / "hillstrom/hillstrom_dev.csv.gz")
    mens, only_womens = raw["mens"] == 1, (raw["womens"] == 1) & (raw["mens"] == 0)
    columns = pd.DataFrame({"decision_id": raw["row"]})
    columns[RULES[0]] = mens.map({True: "Mens E-Mail", False: "Womens E-Mail"})
    columns[RULES[1]] = only_womens.map({True: "Womens E-Mail", False: "Mens E-Mail"})
    for rule in RULES:
        columns[f"p_{rule}"] = (columns[rule] == raw["segment"]).astype(float)
    path = tmp_path_factory.mktemp("rules") / "rules.csv"
    # Another order than the log's: rows are found by id.
    columns.sample(frac=1.0, random_state=1).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("metric", ["visit", "conversion", "spend"])
def test_every_hillstrom_entry(
    metric: str, hillstrom: Path, rules: Path, reference: dict[str, dict[str, dict[str, float]]]
) -> None:
    specs = [(name, [spec]) for name, spec in HILLSTROM.items()]
    specs += [(rule, [f"column:{rule}@action", f"column:p_{rule}"]) for rule in RULES]
    policies = [part for _, forms in specs for form in forms for part in ("--policy", form)]
    out = run(
        "evaluate", "--log", hillstrom, *policies, "--metric", metric, "--estimator", "ips,snips", "--columns", rules
    )
    entries = {key for key in reference["hillstrom_dev"] if key.endswith(f"|{metric}")}
    assert entries == {f"{name}|{metric}" for name, _ in specs}
    for name, forms in specs:
        for form in forms:
            check_entry(out, form, reference["hillstrom_dev"][f"{name}|{metric}"])
    assert out["log"]["rows"] == out["log"]["contacts"] == 32_000
    assert (out["log"]["actions"], out["log"]["metric"], out["log"]["dropped"]) == (3, metric, {})


@pytest.mark.parametrize("metric", ["viewed", "completed", "spend72"])
def test_every_starbucks_entry(
    metric: str, imported: Imported, reference: dict[str, dict[str, dict[str, float]]]
) -> None:
    log = imported("starbucks", "starbucks/starbucks_waves_0_2.parquet")
    arms = [key.split("|")[0] for key in reference["starbucks_dev"] if key.endswith(f"|{metric}")]
    assert len(arms) == 11
    policies = [part for arm in arms for part in ("--policy", f"always:{arm}")]
    out = run("evaluate", "--log", log, *policies, "--metric", metric, "--estimator", "ips,snips")
    for arm in arms:
        check_entry(out, f"always:{arm}", reference["starbucks_dev"][f"{arm}|{metric}"])
    assert out["log"]["clusters"] == "contact"
    assert (out["log"]["rows"], out["log"]["contacts"], out["log"]["actions"]) == (51_000, 17_000, 11)
    assert any("SIMULATED" in note for note in out["log"]["notes"])


@pytest.mark.parametrize("part", ["all", "men", "women"])
def test_uniform_on_a_uniform_log_is_the_click_rate(part: str, imported: Imported) -> None:
    log = imported("open_bandit", f"open_bandit/random/{part}/{part}.csv.gz")
    out = run("evaluate", "--log", log, "--policy", "uniform", "--metric", "click", "--estimator", "ips")
    clicks = pq.read_table(log, columns=["reward_click"])["reward_click"].to_numpy()
    assert result(out, "uniform", "ips")["value"] == clicks.mean()
    # These logs always showed an item.
    assert out["log"]["actions"] == {"all": 80, "men": 34, "women": 46}[part]


def test_too_little_support_raises_an_alarm(imported: Imported) -> None:
    log = imported("open_bandit", "open_bandit/bts/women/women.csv.gz")
    out = run("evaluate", "--log", log, "--policy", "uniform", "--metric", "click", "--estimator", "ips,clipped,snips")
    row = result(out, "uniform", "ips")
    assert row["ess"] == pytest.approx(2.1, abs=0.1)
    assert row["max_weight"] == pytest.approx(21_739, abs=1)
    assert {row["verdict"] for row in out["results"]} == {"insufficient"}
    assert row["notes"]


def test_unavailable_rows_are_dropped_and_the_effect_of_sending_is_found(imported: Imported) -> None:
    """The published effect is +14 % of steps, +0.131 on the log scale."""
    log = imported("heartsteps", "heartsteps/heartsteps_decisions.csv.gz")
    out = run(
        *("evaluate", "--log", log, "--policy", "always:1", "--baseline", "always:0"),
        *("--metric", "y_log", "--estimator", "ips,snips,dr"),
    )
    assert sum(out["log"]["dropped"].values()) == 1479
    assert out["log"]["rows"] - 1479 == result(out, "always:1", "dr")["n"] == 6061
    for name in ("ips", "snips", "dr"):
        difference = result(out, "always:1", name)["difference"]
        assert difference["baseline"] == "always:0"
        assert abs(difference["value"] - 0.131) <= difference["stderr"]
    assert result(out, "always:1", "dr")["difference"]["stderr"] <= 0.08


def test_a_log_without_propensities_is_refused_with_a_hint(imported: Imported, tmp_path: Path) -> None:
    log = imported("email_sme", "email_sme/data_email_campaign.csv.gz")
    error, hint = refused(
        3, "evaluate", "--log", log, "--policy", "uniform", "--metric", "read", "--out", tmp_path / "o"
    )
    assert "no propensities" in error
    assert "--not-exact" in hint
    _, hint = refused(3, "train", "--log", log, "--metric", "read", "--out", tmp_path / "o")
    assert "propensit" in hint or "probability" in hint
    refused(3, "backtest", "--log", log, "--metric", "read", "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_a_models_opinion_says_that_it_is_not_exact(imported: Imported) -> None:
    log = imported("lord_of_the_machines", "lord_of_the_machines/train_mini.csv")
    out = run("evaluate", "--log", log, "--policy", "always:29", "--metric", "open", "--not-exact")
    assert out["log"]["propensity"] == "absent"
    assert [(row["estimator"], row["exact"], row["verdict"]) for row in out["results"]] == [
        ("dm", False, "insufficient")
    ]


def test_campaigns_and_day_first_dates(imported: Imported) -> None:
    log = imported("lord_of_the_machines", "lord_of_the_machines/train_mini.csv")
    told = json.loads(log.with_name(f"{log.name}.json").read_text())
    assert (told["rows_read"], told["rows_kept"], told["rows_rejected"]) == (200, 200, 0)
    assert (told["actions"], told["propensity"]) == (52, "absent")
    decided_at = pq.read_table(log, columns=["decided_at"])["decided_at"].to_pandas()
    # 01-09-2017 19:55 in India.
    assert decided_at.iloc[0] == pd.Timestamp("2017-09-01T14:25:00Z")
    assert decided_at.dt.month.between(7, 12).all()


def test_specs_are_echoed_as_given(hillstrom: Path) -> None:
    """An alias is not replaced by the name that it stands for."""
    out = run(
        *("evaluate", "--log", hillstrom, "--policy", "always:mens", "--policy", "uniform", "--policy", "logged"),
        *("--baseline", "always:none", "--metric", "visit", "--estimator", "ips"),
    )
    assert [row["policy"] for row in out["results"]] == ["always:mens", "uniform", "logged"]
    assert {row["difference"]["baseline"] for row in out["results"]} == {"always:none"}
