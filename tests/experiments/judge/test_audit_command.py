"""`tactful audit` on real and simulated logs, and the gate before training and backtests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.cli.main import app
from tests.experiments.commands import Imported, call, refused, run, strict_json


def audited(log: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    """The object of an audit, whatever its verdict."""
    answer = call("audit", log, *arguments)
    assert answer.code == code, answer
    return answer.out


def verdicts(out: dict[str, Any]) -> dict[str, str]:
    return {found["check"]: found["verdict"] for found in out["findings"]}


@pytest.fixture(scope="module")
def spoilt(hillstrom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 rows of a real trial, the last hundred of them twice."""
    table = pq.read_table(hillstrom).slice(0, 2000)
    path = tmp_path_factory.mktemp("spoilt") / "log.parquet"
    pq.write_table(pa.concat_tables([table, table.slice(1900)]), path)
    return path


def test_a_randomised_trial_passes(hillstrom: Path, tmp_path: Path) -> None:
    out = audited(hillstrom, "--out", tmp_path)
    assert out["verdict"] == "pass"
    assert verdicts(out)["sample_ratio"] == verdicts(out)["mean_weight"] == verdicts(out)["leaked_features"] == "pass"
    assert out["readiness"] == {"permission": None, "resolved": None, "valid": None}
    page = (tmp_path / "report.html").read_text()
    assert f"Can {hillstrom.name} be trusted?" in page
    assert str(hillstrom.parent) not in page
    assert "p-value" in page
    assert "fails below" in page
    assert "To do:" not in page
    assert all(not found["advice"] for found in out["findings"] if found["verdict"] == "pass")
    assert "<script" not in page
    assert strict_json((tmp_path / "report.json").read_text())["verdict"] == "pass"


def test_the_page_says_first_what_failed_and_what_to_do(spoilt: Path, tmp_path: Path) -> None:
    call("audit", spoilt, "--out", tmp_path)
    page = (tmp_path / "report.html").read_text()
    first = page.split("</section>")[0]
    assert "Not as it is" in first
    assert "duplicates" in first
    assert "To do:" in first
    assert page.index("What to look at") < page.index("What is in order")


def test_a_real_log_of_thompson_sampling_does_not_fail(imported: Imported) -> None:
    """One of its weights is 21,739: a normal approximation would see a fault, or none ever."""
    out = audited(imported("open_bandit", "open_bandit/bts/women/women.csv.gz"))
    assert "fail" not in verdicts(out).values()


def test_a_log_without_propensities_fails(imported: Imported, tmp_path: Path) -> None:
    table = pq.read_table(imported("email_sme", "email_sme/data_email_campaign.csv.gz"))
    pq.write_table(table.slice(0, 2000), tmp_path / "log.parquet")
    out = audited(tmp_path / "log.parquet", code=3)
    assert (out["verdict"], verdicts(out)["propensities"]) == ("fail", "fail")


def test_shuffled_propensities_of_a_real_log_fail(imported: Imported, tmp_path: Path) -> None:
    table = pq.read_table(imported("open_bandit", "open_bandit/bts/all/all.csv.gz"))
    place = table.schema.get_field_index("propensity")
    shuffled = np.random.default_rng(0).permutation(table.column(place).to_numpy())
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(shuffled)), tmp_path / "log.parquet")
    assert verdicts(audited(tmp_path / "log.parquet", code=3))["mean_weight"] == "fail"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`simulated(*overrides)`: a small simulated log, decided evenly at random; SIMULATED."""
    folder = tmp_path_factory.mktemp("simulated")

    def log_of(*overrides: str) -> Path:
        log = folder / f"log{len(overrides)}.parquet"
        if not log.exists():
            size = ("scenario=newsletter", "scenario.catalog=small_shop", "contacts=250", "days=11")
            run("simulate", *size, *overrides, "--out", log)
        return log

    return log_of


def test_a_simulated_log_passes_and_its_three_questions_are_answered(simulated: Callable[..., Path]) -> None:
    log = simulated()
    out = audited(log, "--outcomes", log.with_suffix(".outcomes.parquet"))
    assert out["verdict"] in ("pass", "warn")
    assert "fail" not in verdicts(out).values()
    assert out["readiness"] == {"permission": 1.0, "resolved": 1.0, "valid": 1.0}
    assert verdicts(out)["consent_of_sends"] == "pass"


def test_a_broken_draw_of_the_simulator_fails(simulated: Callable[..., Path]) -> None:
    out = audited(simulated("faults=[broken_randomisation]"), code=3)
    assert (verdicts(out)["mean_weight"], verdicts(out)["sample_ratio"]) == ("fail", "fail")


def test_broken_and_foreign_events_are_counted(simulated: Callable[..., Path], tmp_path: Path) -> None:
    lines = [
        {"decision_id": "nobody", "event": "clicked", "at": "2026-09-01T10:00:00Z"},
        {"decision_id": "nobody", "event": "clicked", "at": "2026-09-01T10:00:00"},
        {"decision_id": "nobody", "event": "", "at": "2026-09-01T10:00:00Z"},
        {"decision_id": "nobody", "event": "purchased", "at": "2026-09-01T10:00:00Z", "value_usd": "many"},
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    out = audited(simulated(), "--outcomes", path, code=3)
    assert (out["readiness"]["valid"], out["readiness"]["resolved"]) == (0.25, 0.0)


def test_training_and_backtest_are_blocked_and_the_override_is_kept(spoilt: Path, tmp_path: Path) -> None:
    assert verdicts(audited(spoilt, code=3))["duplicates"] == "fail"
    asked = ("--log", spoilt, "--metric", "visit", "--out", tmp_path / "policy")
    for command in ("train", "backtest"):
        error, hint = refused(3, command, *asked)
        assert "duplicates: of 2100 rows 100 repeat a decision id" in error
        assert "--override-audit" in hint
        assert not (tmp_path / "policy").exists()
    refused(2, "train", *asked, "--override-audit", " ")
    out = run("train", *asked, "--override-audit", "a test of duplicates")
    assert out["audit"] == {
        "verdict": "fail", "failed": ["duplicates"], "warned": [], "overridden": "a test of duplicates"
    }  # fmt: skip
    manifest = json.loads((tmp_path / "policy" / "manifest.json").read_text())
    assert manifest["source"]["audit"]["overridden"] == "a test of duplicates"


def test_a_backtest_says_what_the_audit_said(spoilt: Path, tmp_path: Path) -> None:
    out = run(
        *("backtest", "--log", spoilt, "--metric", "visit", "--out", tmp_path, "--baseline", "uniform"),
        *("--override-audit", "a test of duplicates", "evaluation.folds=2", "estimators=[dr]"),
    )
    assert out["audit"]["failed"] == ["duplicates"]
    page = (tmp_path / "report.html").read_text()
    assert "overridden: a test of duplicates" in page
    assert json.loads((tmp_path / "policy" / "manifest.json").read_text())["source"]["audit"]["verdict"] == "fail"


def test_the_table_says_what_to_do(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        app(["audit", str(spoilt)])
    assert end.value.code == 3
    shown = capsys.readouterr().out
    assert "duplicates: an export ran twice" in shown
    assert "audit: fail" in shown
