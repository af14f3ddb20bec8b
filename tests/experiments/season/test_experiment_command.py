"""`tactful experiment` from the command line: a small sweep, resumption, processes, pages, every shipped experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from engine.errors import ConfigError
from experiments.season.config import ExperimentConfig
from experiments.settings import compose_settings
from tests.experiments.commands import refused, run

SMALL = ("slice.contacts=300", "slice.days=7", "oracle.bound_contacts=0")
SWEEP = ("scenarios=[newsletter,winback]", "policies=[never,segments,vw]", "seeds=2", "contacts=300", "days=10")
CONF = Path(__file__).resolve().parents[3] / "conf"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two scenarios, three policies, two seeds."""
    out = tmp_path_factory.mktemp("season") / "out"
    docs = out.parent / "page.md"
    return out, run("experiment", "experiment=season", "-m", "--out", out, "--docs", docs, *SWEEP, *SMALL, "workers=1")


def test_a_sweep_plays_every_cell(swept: tuple[Path, dict[str, Any]]) -> None:
    out, answer = swept
    assert (answer["cells"], answer["played"]) == (12, 12)
    assert len(list((out / "parts").glob("*.npz"))) == 12
    assert [(row["scenario"], row["policy"]) for row in answer["rows"]] == [
        (scenario, policy) for scenario in ("newsletter", "winback") for policy in ("segments", "never", "vw")
    ]
    base, never, vw = answer["rows"][:3]
    assert base["against"] == ""
    assert base["difference"] is None
    assert never["difference"] == pytest.approx(never["profit"] - base["profit"])
    assert never["sends"] == 0.0
    assert not never["more_sends"]
    assert never["sends_difference"] == pytest.approx(-base["sends"])
    assert vw["difference_low"] < vw["difference"] < vw["difference_high"]
    assert answer["said"]
    assert answer["notes"][0].startswith("SIMULATED")


def test_variants_may_be_judged_each_by_its_own_baseline(tmp_path: Path) -> None:
    """Each variant's rows are taken to its own segments, and what changes with the variant is told."""
    habits = "+variants={as it is: {}, no habit: {changes: {dynamics: {habit: 0.0}}}}"
    asked = ("scenarios=[winback]", "policies=[never,segments]", "seeds=2", "contacts=200", "days=8", "versus=baseline")
    answer = run(
        "experiment", "-m", "--out", tmp_path / "out", habits, *asked, *SMALL, "reference=segments", "workers=1"
    )
    rows = {(row["variant"], row["policy"]): row for row in answer["rows"]}
    for variant in ("as it is", "no habit"):
        own = rows[variant, "never"]
        assert own["against"] == f"segments, {variant}"
        assert own["difference"] == pytest.approx(own["profit"] - rows[variant, "segments"]["profit"])
        assert rows[variant, "segments"]["difference"] is None
    told = [sentence for sentence in answer["said"] if "never against segments" in sentence]
    assert len(told) == 1
    verdicts = {rows[variant, "never"]["verdict"] for variant in ("as it is", "no habit")}
    assert ("in every variant" in told[0]) == (len(verdicts) == 1)


def test_files_hold_the_result(swept: tuple[Path, dict[str, Any]]) -> None:
    out, answer = swept
    table = pd.read_parquet(out / "results.parquet")
    assert table["profit"].tolist() == [row["profit"] for row in answer["rows"]]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "SIMULATED" in page
    assert "<script" not in page
    assert (out / "season.svg").read_text(encoding="utf-8").startswith("<svg")
    docs = (out.parent / "page.md").read_text(encoding="utf-8")
    assert "| never |" in docs
    assert "## How it is made" in docs
    assert (out.parent / "page.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_goes_on_where_it_was_killed(swept: tuple[Path, dict[str, Any]]) -> None:
    out, answer = swept
    first = (out / "report.json").read_bytes()
    lost = sorted((out / "parts").glob("*-never.npz"))[0]
    kept = lost.read_bytes()
    lost.unlink()
    again = run("experiment", "experiment=season", "-m", "--out", out, "--replace", *SWEEP, *SMALL, "workers=1")
    assert (again["played"], again["rows"]) == (1, answer["rows"])
    assert lost.read_bytes() == kept
    assert (out / "report.json").read_bytes() == first


def test_processes_change_nothing(tmp_path: Path) -> None:
    asked = ("policies=[never,calendar]", "baseline=never", "seeds=2", "contacts=40", "days=3", "reference=never")
    made = []
    for workers in (1, 2):
        out = tmp_path / f"of{workers}" / "out"
        run("experiment", "-m", "--out", out, "scenarios=[winback]", *asked, *SMALL, f"workers={workers}")
        made.append({one.name: one.read_bytes() for one in out.rglob("*.*") if one.is_file()})
    assert made[0] == made[1]


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_runs(name: str, tmp_path: Path) -> None:
    config = compose_settings("experiment", [f"experiment={name}"], ExperimentConfig)
    assert config.question
    # The calendar needs no slice.
    tiny = ("seeds=1", "contacts=20", "days=2", "oracle.bound_contacts=0")
    chosen = (f"scenarios=[{config.scenarios[0]}]", "policies=[calendar]", "baseline=calendar")
    answer = run("experiment", f"experiment={name}", "-m", "--out", tmp_path, *chosen, *tiny, "workers=1")
    assert [row["variant"] for row in answer["rows"]] == list(config.variants)
    assert answer["cells"] == len(config.variants)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        pytest.param("policies=[oracle_of_delphi]", "oracle_of_delphi", id="policy"),
        pytest.param("scenarios=[moon]", "moon", id="scenario"),
        pytest.param("+variants.sms={first_channel: fax}", "fax", id="channel"),
        pytest.param("contacts=0", "contacts", id="contacts"),
    ],
)
def test_what_cannot_be_played_is_refused_at_once(override: str, named: str, tmp_path: Path) -> None:
    error, hint = refused(ConfigError.exit_code, "experiment", "-m", "--out", tmp_path / "out", override)
    assert named in error + hint
    assert not (tmp_path / "out").exists()
