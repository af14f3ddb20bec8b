"""What a log lost by its outcomes is repeated by every command that judges it, and damage ends in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments.commands import call, refused, run

MAPPING = """
name: shop
source: a test
catalog: {channel: {constant: email}, arm: {column: variant, values: [A, B]}}
propensity: {constant: 1/2}
contact: {column: user}
decision_id: {column: id}
decided_at: {column: at, format: iso}
rewards: {spend: {column: spend, low: 0, high: 1000}}
"""
SAID = "rows were rejected because of their outcome"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TACTFUL_CONTACT_KEY", "grey heron 12, key of a test")
    (tmp_path / "m.yaml").write_text(MAPPING)
    rows = [
        f"d{i},u{i},{'AB'[i % 2]},2026-03-{1 + i % 28:02d}T10:00:00Z,{'1,200' if i % 40 == 1 else i % 7}"
        for i in range(400)
    ]
    lines = [row if "1,200" not in row else row.replace("1,200", '"1,200"') for row in rows]
    (tmp_path / "in.csv").write_text("id,user,variant,at,spend\n" + "\n".join(lines) + "\n")
    out = tmp_path / "log.parquet"
    answer = run("import", "--mapping", tmp_path / "m.yaml", "--input", tmp_path / "in.csv", "--out", out)
    assert answer["rows_rejected"] == 10
    assert any(SAID in note for note in answer["warnings"])
    return out


def test_the_audit_fails(log: Path) -> None:
    answer = call("audit", log)
    assert answer.code == 3
    verdicts = {check["check"]: check["verdict"] for check in answer.out["findings"]}
    assert verdicts["rejected_by_outcome"] == "fail"
    assert any(SAID in note for note in answer.out["notes"])


def test_evaluate_plan_and_their_pages_repeat_it(log: Path, tmp_path: Path) -> None:
    judged = run(
        "evaluate",
        "--log",
        log,
        "--policy",
        "always:A",
        "--metric",
        "spend",
        "--estimator",
        "snips",
        "--out",
        tmp_path / "e",
    )
    assert any(SAID in note for note in judged["log"]["notes"])
    assert SAID in (tmp_path / "e" / "report.html").read_text()
    planned = run(
        "plan",
        "--log",
        log,
        "--policy",
        "always:A",
        "--baseline",
        "always:B",
        "--metric",
        "spend",
        "--difference",
        0.5,
        "--out",
        tmp_path / "p",
    )
    assert any(SAID in note for note in planned["notes"])
    assert SAID in (tmp_path / "p" / "plan.html").read_text()


def test_a_flipped_footer_is_one_line(log: Path) -> None:
    content = bytearray(log.read_bytes())
    content[-40] ^= 4
    log.write_bytes(bytes(content))
    assert "is damaged" in refused(3, "evaluate", "--log", log, "--policy", "always:A", "--metric", "spend")[0]
    assert "is damaged" in refused(3, "audit", log)[0]


@pytest.mark.parametrize("value", ["[" * 3000, "9" * 5000])
def test_overrides_that_cannot_be_read_are_one_line(log: Path, value: str) -> None:
    refused(4, "audit", log, f"audit.error={value}")
