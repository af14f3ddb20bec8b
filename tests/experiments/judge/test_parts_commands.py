"""The default learner from the command line: trained, served, explained, refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from policies.trained import TrainedFolder
from tests.experiments.commands import call, refused, run, screen
from tests.experiments.conftest import Demo

NOW = "2026-12-20T15:00:00+00:00"
QUICK = ("learner.parts.smooth=false", "learner.parts.worth_ridges=[300,3000]", "learner.parts.ridges=[30,300]")


@pytest.fixture(scope="module")
def halves(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The log of the demonstration in two, one after the other."""
    folder = tmp_path_factory.mktemp("halves")
    whole = pq.read_table(demo.log)
    parts = folder / "monday.parquet", folder / "tuesday.parquet"
    for path, start in zip(parts, (0, whole.num_rows // 2), strict=True):
        pq.write_table(whole.slice(start, whole.num_rows // 2), path)
    return parts


@pytest.fixture(scope="module")
def trained(halves: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parts") / "policy"
    both = [word for log in halves for word in ("--log", log)]
    asked = ("--metric", "margin", "--out", out, "--also", "clicked,unsub=unsubscribed")
    said = run("train", *both, *asked, "--override-audit", "halves of a log", "exploration=greedy", *QUICK)
    assert said["policy"] == "vw_parts_greedy"
    assert said["responses"] == {"respond": "clicked", "unsub": "unsubscribed"}
    assert 0 <= said["parity"] < 1e-3
    return out


def test_both_logs_are_learnt(trained: Path, halves: tuple[Path, Path]) -> None:
    folder = TrainedFolder(trained)
    assert folder.kind == "tactful-parts-policy"
    assert folder.manifest.parts["stage"] == "clicked"  # type: ignore[attr-defined]
    rows = folder.training_rows()
    assert rows is not None
    assert len(rows) == folder.manifest.rounds
    single = TrainedFolder(trained).source["learnt_from"]
    at = [pq.read_table(path, columns=["decided_at"])["decided_at"].cast("int64").to_pylist() for path in halves]
    assert single["first_at"] <= min(at[1])
    assert set(folder.responses()) == {"respond", "unsub"}


def test_a_folder_of_parts_is_not_gone_on_from(trained: Path, halves: tuple[Path, Path], tmp_path: Path) -> None:
    """The error comes before anything is learnt, and says what to do."""
    asked = ("train", "--log", halves[1], "--metric", "margin", "--from", trained, "--out", tmp_path / "on")
    error, hint = refused(7, *asked, "--override-audit", "half of a log")
    assert "cannot go on" in error
    assert "give --log once for each, without --from" in hint
    assert not (tmp_path / "on").exists()


@pytest.mark.parametrize(("stage", "near"), [("cliked", "clicked"), ("margin", ""), ("nothing like it", "")])
def test_a_stage_that_is_not_there_is_refused(stage: str, near: str, demo: Demo, tmp_path: Path) -> None:
    answer = call(
        *("train", "--log", demo.log, "--metric", "margin", "--out", tmp_path / "p", f"learner.parts.stage={stage!r}")
    )
    assert answer.code == 2
    assert "stage" in answer.out["error"]
    assert not near or f"did you mean '{near}'" in answer.out["hint"]
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("wrong", ["learner.parts.passes=1", "learner.parts.ridges=[]", "learner.parts.pieces=0"])
def test_values_out_of_range_are_refused_before_any_work(wrong: str, demo: Demo, tmp_path: Path) -> None:
    error, _ = refused(4, "train", "--log", demo.log, "--metric", "margin", "--out", tmp_path / "p", wrong)
    assert wrong.split("=", maxsplit=1)[0].rsplit(".", maxsplit=1)[-1] in error


def test_a_decision_is_explained_by_its_parts(trained: Path, demo: Demo, tmp_path: Path) -> None:
    path = tmp_path / "decisions.parquet"
    run("decide", "--policy", trained, "--contacts", demo.contacts, "--now", NOW, "--out", path, "prices.baseline=none")
    rows = pq.read_table(path, columns=["decision_id", "action", "action_name"]).to_pylist()
    sent = next(row for row in rows if row["action"] != 0)
    out = run("explain", "--log", path, "--decision", sent["decision_id"])
    said = out["in_parts"][sent["action_name"]]
    assert " chance of clicked x " in said
    assert said.endswith(f"= {out['expected_value']:.4f}")
    assert set(out["in_parts"]) == {sent["action_name"], *(row["against"] for row in out["comparisons"])}
    for row in out["comparisons"]:
        for view in ("groups", "features", "factors"):
            assert sum(part["value"] for part in row[view]) == pytest.approx(row["difference"], abs=1e-5)
    shown = screen("explain", "--log", path, "--decision", sent["decision_id"])
    assert "in parts:" in shown
    assert 0 < out["p_respond"] < 1


def test_a_learner_of_another_kind_has_no_parts_to_show(demo: Demo, halves: tuple[Path, Path], tmp_path: Path) -> None:
    asked = ("--metric", "margin", "--override-audit", "half of a log", "learner=mtr", "learner.passes=1")
    run("train", "--log", halves[0], "--out", tmp_path / "policy", *asked)
    path = tmp_path / "decisions.parquet"
    run("decide", "--policy", tmp_path / "policy", "--contacts", demo.contacts, "--now", NOW, "--out", path)
    some = pq.read_table(path)["decision_id"][0].as_py()
    assert run("explain", "--log", path, "--decision", some)["in_parts"] == {}
