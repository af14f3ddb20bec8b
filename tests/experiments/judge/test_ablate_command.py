"""`tactful ablate`: finds the signal and the decision that carry value in a world where they are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.eligibility import pack
from engine.features import FeatureSchema
from engine.records.schema import LogMeta, RewardSpec
from tests.experiments.commands import refused, run
from tests.logs import decision_row, write_log
from tests.strategies import numeric_spec

ROWS = 2000
# As little work as finds it.
LIGHT = (
    "learner=mtr",
    "learner.learning_rate=0.1",
    "learner.passes=2",
    "evaluation.folds=2",
    "evaluation.replicates=100",
)


def world_log(path: Path, *, hold: bool = True) -> Path:
    """Uniform over hold and 2 channels x 2 arms. `taste` says which arm pays; nothing else matters."""
    catalog = Catalog(
        name="two by two",
        channels=("email", "sms"),
        hours=("now",),
        arms=(Arm(id="a", approved=True), Arm(id="b", approved=True)),
        hold_name="none",
    )
    specs = [
        msgspec.structs.replace(numeric_spec(name), signal_group=group, low=None, high=None)
        for name, group in (("taste", "motive"), ("moon", "noise"), ("sends", "fatigue"))
    ]
    features = FeatureSchema(features=tuple(specs))
    meta = LogMeta(catalog=catalog, features=features, rewards={"order": RewardSpec(low=0, high=1)}, clustered=True)
    rng = np.random.default_rng(3)
    k, rows = catalog.k, []
    eligible = np.ones((1, k), dtype=bool)
    eligible[0, 0] = hold
    packed = pack(eligible)[0].tobytes()
    for number in range(ROWS):
        taste, moon, sends = rng.choice([-1.0, 1.0]), *rng.normal(size=2)
        action = int(rng.integers(0 if hold else 1, k))
        channel, _, arm = (int(place[0]) for place in catalog.split(np.array([action])))
        chance = 0.1 if action == 0 else 0.5 + 0.35 * taste * (1 if arm == 0 else -1)
        row: dict[str, Any] = decision_row(number, meta)
        for name in ("context_spend", "state_spend", "context_zip", "state_zip"):
            del row[name]
        row |= {
            "action": action,
            "action_name": catalog.action_names[action],
            "channel": None if action == 0 else catalog.channels[channel],
            "send_hour": None if action == 0 else "now",
            "arm": None if action == 0 else catalog.arm_ids[arm],
            "propensity": 1 / (k if hold else k - 1),
            "eligible": packed,
            "state": "dispatched",
            "reward_order": float(rng.random() < chance),
        }
        for name, value in (("taste", taste), ("moon", moon), ("sends", sends)):
            row |= {f"context_{name}": float(value), f"state_{name}": 0}
        rows.append(row)
    return write_log(path, rows, meta, group_rows=1000)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ablate")
    log = world_log(folder / "log.parquet")
    return run("ablate", "--log", log, "--metric", "order", "--out", folder / "out", *LIGHT)


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows}


def test_the_signal_that_pays_is_found_and_no_other(found: dict[str, Any]) -> None:
    """Knowing the taste is worth 0.35 per decision: 0.85 where the arm fits it against 0.5."""
    signals = by_name(found["signals"])
    assert set(signals) == {"motive", "noise", "fatigue"}
    assert found["signals"][0]["name"] == "motive"
    assert signals["motive"]["verdict"] == found["context"]["verdict"] == "carries value"
    assert signals["motive"]["low"] < 0.35 < signals["motive"]["high"]
    assert found["context"]["low"] < 0.35 < found["context"]["high"]
    # Two policies that differ for a handful of contacts give too few rewards to judge by.
    others = {signals[name]["verdict"] for name in ("noise", "fatigue")}
    assert others <= {"no detectable lift", "insufficient"}
    assert found["value"] == pytest.approx(0.85, abs=0.06)
    assert signals["motive"]["features"] == ["taste"]


def test_the_decision_that_pays_is_found_and_no_other(found: dict[str, Any]) -> None:
    """Content carries it all; whether to send, how often, on which channel add nothing to the best for all."""
    decisions = by_name(found["decisions"])
    expected = {"audience", "frequency", "audience and frequency", "channel", "content", "all"}
    assert set(decisions) == expected
    assert {name for name, row in decisions.items() if row["verdict"] == "carries value"} == {"content", "all"}
    assert decisions["content"]["low"] < 0.35 < decisions["content"]["high"]
    assert decisions["frequency"]["features"] == ["sends"]
    assert decisions["audience"]["features"] == ["taste", "moon"]
    assert found["skipped"] == {"hour": "the catalog has one hour"}
    assert set(by_name(found["references"])) == {"best constant action", "static_segments", "merge_tag_blast"}


def test_files(found: dict[str, Any]) -> None:
    page = Path(found["files"]["report"]).read_text()
    assert page.count("<figure") == 2
    assert "carries value: motive" in page
    first = page[: page.index("</section>")]
    assert "What carries the value of a learnt policy on order?" in first
    assert "The full context against a context-free bandit" in first
    assert str(Path(found["log"]["path"]).parent) not in page[: page.index("Reproduce")]
    assert "http" not in page.replace("http://www.w3.org", "")
    assert Path(found["files"]["json"]).is_file()


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    log = world_log(tmp_path / "log.parquet", hold=False)
    asked = ("--metric", "order", "--out", tmp_path / "out", "learner=mtr", "learner.passes=1", "estimator=ips")
    out = run("ablate", "--log", log, *asked, "frequency_groups=[]")
    assert out["skipped"] == {
        "audience": "the log never held",
        "frequency": "the log never held",
        "hour": "the catalog has one hour",
    }
    assert "no metric" in refused(3, "ablate", "--log", log, "--metric", "visit", "--out", tmp_path / "o")[0]
