"""`tactful monitor` on simulated launches: each fault raises what it should, and `decide` obeys what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from engine.guardrails.conditions import NOTHING_SAID, load_conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.guardrails.specimens import specimen_contacts
from engine.log.parquet import LogReader
from engine.time.localtime import instant_of
from tests.experiments.commands import call, refused, run

Launched = Callable[[str], Path]
NOW = datetime(2026, 7, 15, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """`launched(fault)`: the log of a small launch with a fault of the simulator from its eighth day; SIMULATED."""
    folder = tmp_path_factory.mktemp("launched")

    def log_of(fault: str) -> Path:
        log = folder / f"{fault or 'healthy'}.parquet"
        if not log.exists():
            run(
                *("simulate", "scenario=newsletter", "scenario.catalog=small_shop", "contacts=600", "days=13"),
                *("control_share=0.2", "uniform_share=0.2", f"faults=[{fault}]", "--out", log),
            )
        return log

    return log_of


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sender") / "conditions.yaml"
    path.write_text("killed: false\n")
    return path


def watched(log: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    answer = call(
        *("monitor", "--log", log, "--metric", "margin", "--outcomes", log.with_suffix(".outcomes.parquet")), *arguments
    )
    return answer.code, answer.out


def test_a_healthy_launch_is_fine_and_its_effects_are_there(launched: Launched, sender: Path, tmp_path: Path) -> None:
    code, out = watched(launched(""), "--conditions", sender, "--out", tmp_path)
    assert (code, out["state"], out["raised"]) == (0, "fine", [])
    assert [effect["against"] for effect in out["effects"]] == ["control", "uniform"]
    for effect in out["effects"]:
        assert effect["now"]["low"] < effect["now"]["value"] < effect["now"]["high"]
        assert effect["variance_left"] < 1.1
    page = (tmp_path / "report.html").read_text()
    assert "SIMULATED" in page
    assert "<script" not in page
    assert load_conditions(tmp_path / "conditions.yaml").killed is False
    assert not any("no rule `operations`" in note for note in out["notes"])


def test_complaints_pause_the_channel(launched: Launched, sender: Path, tmp_path: Path) -> None:
    log = launched("complaint_spike")
    code, out = watched(log, "--conditions", sender, "--out", tmp_path)
    assert (code, out["state"]) == (11, "pause")
    assert ("pause_channel", "complaints_stop", "email") in {
        (one["effect"], one["name"], one["scope"]) for one in out["raised"]
    }
    written = yaml.safe_load((tmp_path / "conditions.yaml").read_text())
    assert written["paused_channels"] == ["email"]
    assert written["health"]["email"]["complaints"] > 0
    assert_obeyed(log, tmp_path / "conditions.yaml")


def assert_obeyed(log: Path, conditions: Path) -> None:
    """The default pack lets no e-mail through any more, and what is not paused as before."""
    catalog = LogReader(log).meta.catalog
    layer = Guardrails(load_pack(), catalog)
    contacts = specimen_contacts(catalog, 300, instant_of(NOW), seed=1)
    before, after = (
        layer.eligibility(contacts, NOW, said)[0].dense() for said in (NOTHING_SAID, load_conditions(conditions))
    )
    email = np.array([name.startswith("email") for name in catalog.action_names])
    assert before[:, email].any()
    assert not after[:, email].any()
    assert (after[:, ~email] == before[:, ~email]).all()


@pytest.mark.study
@pytest.mark.parametrize(
    ("fault", "code", "names"),
    [
        ("complaint_spike", 11, {"complaints", "complaints_stop"}),
        ("channel_outage", 11, {"bounces", "bounces_stop", "delivery", "delivery_stop"}),
        ("broken_randomisation", 10, {"broken_draw", "broken_ratio"}),
        ("stale_feed", 10, {"stale_feed"}),
        ("consent_withdrawn", 10, {"reach"}),
    ],
)
def test_every_fault_raises_what_it_should(
    fault: str, code: int, names: set[str], launched: Launched, sender: Path
) -> None:
    got, out = watched(launched(fault), "--conditions", sender)
    assert (got, {one["name"] for one in out["raised"]} & names) == (code, names)


def test_the_backtest_stands_beside(launched: Launched, tmp_path: Path) -> None:
    def row(baseline: str, low: float, high: float) -> dict[str, Any]:
        names = ("value", "stderr", "low", "high", "ess", "mean_weight", "max_weight", "unsupported_mass")
        plain = dict.fromkeys(names, None) | {"policy": "vw", "metric": "margin", "estimator": "dr", "alpha": 0.05}
        gap = {"baseline": baseline, "value": (low + high) / 2, "stderr": 0.1, "low": low, "high": high}
        return {**plain, "n": 100, "verdict": "better", "difference": gap}

    report = tmp_path / "report.json"
    report.write_text(json.dumps({"results": [row("uniform", 90.0, 99.0)], "comparisons": [row("always:hold", -1, 1)]}))
    _, out = watched(launched(""), "--offline", report)
    assert [(one["against"], one["agrees"]) for one in out["offline"]] == [("control", True), ("uniform", False)]
    report.write_text("{}")
    log = launched("")
    error, _ = refused(3, "monitor", "--log", log, "--metric", "margin", "--offline", report)
    assert "no report of a backtest" in error
    refused(3, "monitor", "--log", log, "--metric", "nothing")


def test_without_outcomes_and_conditions_nothing_is_claimed(launched: Launched) -> None:
    out = run("monitor", "--log", launched(""), "--metric", "margin")
    assert "complaints" in out["silent"]
    assert out["state"] == "fine"  # the effects are there
    assert "killed" not in out["conditions"]


def test_outcomes_with_a_slip_are_said(launched: Launched, sender: Path, tmp_path: Path) -> None:
    """As join says it: a misspelt state or watched event would count for nothing in silence."""
    log = launched("")
    (name,) = pq.read_table(log, columns=["decision_id"])["decision_id"].to_pylist()[:1]
    rows = ["decision_id,event,at", *(f"{name},{event},2026-07-02T10:00:00Z" for event in ("faild", "unsubscibed"))]
    (tmp_path / "slips.csv").write_text("\n".join(rows) + "\n")
    given = ("--outcomes", tmp_path / "slips.csv", "--conditions", sender)
    notes = call("monitor", "--log", log, "--metric", "margin", *given).out["notes"]
    assert "the event 'faild' (1 row) is not read: did you mean 'failed'?" in notes
    assert "the event 'unsubscibed' (1 row) is not read: did you mean 'unsubscribed'?" in notes
    assert not [one for one in watched(log, "--conditions", sender)[1]["notes"] if "is not read" in one]


def test_where_nothing_could_be_judged_it_cannot_be_told_yet(launched: Launched, tmp_path: Path) -> None:
    """Ninety rows, no outcomes: green would be a lie. It says what is missing, and until when."""
    few = tmp_path / "few.parquet"
    pq.write_table(pq.read_table(launched("")).slice(0, 90), few)
    answer = call("monitor", "--log", few, "--metric", "margin", "--out", tmp_path / "watch")
    assert (answer.code, answer.out["state"]) == (13, "unknown")
    for effect in answer.out["effects"]:
        assert effect["verdict"] == "insufficient"
        assert "100 of 30 contacts are needed: about 2026-" in effect["missing"]
    page = (tmp_path / "watch" / "report.html").read_text()
    assert "Cannot tell yet" in page
    assert "Nothing asks for a step" not in page
    assert "give the outcome file with --outcomes" in page


def test_a_log_that_stops_exploring_is_said_before_it_is_blind(
    launched: Launched, sender: Path, tmp_path: Path
) -> None:
    log = launched("")
    healthy = watched(log, "--conditions", sender)[1]["foresight"]
    assert healthy["planned_ess"] > healthy["needed_ess"]
    assert healthy["actions_per_context"] > 1.01
    table = pq.read_table(log)
    certain = tmp_path / "certain.parquet"
    place = table.schema.get_field_index("propensity")
    p = table["propensity"].to_numpy(zero_copy_only=False)
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(np.where(p > 0, 0.9999, p))), certain)
    out = call("monitor", "--log", certain, "--metric", "margin", "--conditions", sender).out
    assert "going_blind" in {one["name"] for one in out["raised"]}
    assert out["foresight"]["actions_per_context"] < 1.001
