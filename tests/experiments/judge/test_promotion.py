"""`tactful promote` and `tactful rollback`: what serves changes where a log lets it, and goes back by one command."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.errors import ArtefactError, DataError, GateError, ParameterError, StorageError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.ope.target import ColumnTarget, LoggedTarget, PolicyTarget
from engine.storage.versions import changing, history, read_pointer, served_folder
from experiments.cli.main import app
from experiments.judge import promotion
from experiments.judge.promotion import PromoteOutput, Signature, promote, rollback
from experiments.judge.promotion_gate import After, PromoteConfig, judge, sends_evidence
from experiments.settings import compose_settings
from policies.peers.constant import AlwaysPolicy, UniformPolicy
from policies.trained import TrainedFolder, export_learner
from policies.vw.folder import PolicyManifest
from tests.experiments.commands import refused, run, strict_json, validate
from tests.experiments.conftest import Demo

NOW = datetime(2026, 9, 15, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
def log(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The decisions of the demo's log whose clicks are known: each promotion reads all of it several times."""
    path = tmp_path_factory.mktemp("recent") / "log.parquet"
    table = pq.read_table(demo.log)
    pq.write_table(table.filter(pc.is_valid(table["reward_clicked"])), path)
    return path


@pytest.fixture(scope="module")
def policies(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two versions from one log that explore a little differently."""
    folder = tmp_path_factory.mktemp("versions")
    asked = ("train", "--log", log, "--metric", "clicked", "--out", folder / "a", "learner=mtr")
    run(*asked, "exploration=epsilon_greedy", "exploration.epsilon=0.05")
    learner = TrainedFolder(folder / "a").learner()
    learner.exploration = msgspec.structs.replace(learner.exploration, epsilon=0.052)
    learner.export(folder / "b", source=TrainedFolder(folder / "a").manifest.source)
    return folder / "a", folder / "b"


def ask(policy: Path, live: Path, log: Path, *more: object) -> tuple[object, ...]:
    return ("promote", "--policy", policy, "--live", live, "--log", log, "--metric", "clicked", *more)


LIGHT = ("estimator=snips", "watched=[]", "learnt_rows=keep")


def config_of(*overrides: str) -> PromoteConfig:
    return compose_settings("promote", [*LIGHT, *overrides], PromoteConfig)


def promoted(policy: Path, live: Path, log: Path, *overrides: str, override: str = "") -> PromoteOutput:
    signed = Signature("me", NOW, "update")
    return promote(policy, live, log, "clicked", config_of(*overrides), signed, override=override)


@pytest.fixture
def live(policies: tuple[Path, Path], tmp_path: Path) -> Path:
    """A live folder that serves the first version."""
    with changing(tmp_path / "live") as folder:
        folder.switch(folder.keep(policies[0], PolicyManifest.KIND), "promoted", {"who": "me"})
    return tmp_path / "live"


def test_a_near_version_is_promoted_and_rolled_back(
    live: Path, policies: tuple[Path, Path], log: Path, demo: Demo, tmp_path: Path
) -> None:
    """Versions that decide almost alike differ by almost nothing, so a small log is enough."""
    first = served_folder(live).name
    out = run(*ask(policies[1], live, log, "--why", "update", *LIGHT, "guarded=[]"))
    assert (out["promoted"], out["previous"], out["sequence"]) == (True, first, 2)
    checks = {check["metric"]: check for check in out["gate"]["checks"]}
    assert set(checks) == {"clicked", "sends"}
    assert abs(checks["clicked"]["gain"]) < 0.05 * checks["clicked"]["baseline_value"]
    decided = tmp_path / "d.parquet"
    run("decide", "--policy", live, "--contacts", demo.contacts, "--now", NOW.isoformat(), "--out", decided)
    assert LogReader(decided).meta.policy == str(served_folder(live))
    back = run("rollback", "--live", live, "--why", "for the test")
    assert (back["version"], back["previous"], back["sequence"]) == (first, out["version"], 3)
    lines = history(live)
    assert [line["event"] for line in lines] == ["promoted", "promoted", "rolled back"]
    assert [(line["why"], bool(line["who"]), bool(line["at"])) for line in lines[1:]] == [
        ("update", True, True),
        ("for the test", True, True),
    ]
    assert (lines[1]["override"], lines[1]["gate"]["passed"]) == ("", True)
    assert "another version" in refused(3, "rollback", "--live", live)[0]


def test_what_is_not_shown_to_be_no_worse_is_refused(
    live: Path, policies: tuple[Path, Path], log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_pointer(live)
    with pytest.raises(SystemExit) as left:
        app([*map(str, ask(policies[1], live, log, *LIGHT, "rule=better")), "--json"])
    assert left.value.code == GateError.exit_code == 8
    printed = capsys.readouterr()
    out = strict_json(printed.out)
    validate("promote", out)
    assert out["promoted"] is False
    assert f"not promoted: {out['gate']['reason']}" in printed.err
    assert f"hint: version {before.version} goes on serving; judge on a log with more rows" in printed.err
    assert read_pointer(live) == before
    (refusal,) = history(live)[1:]
    assert (refusal["event"], refusal["gate"]["reason"]) == ("refused", out["gate"]["reason"])
    forced = promoted(policies[1], live, log, "rule=better", override="ordered by Ann")
    assert (forced.promoted, forced.overridden) == (True, "ordered by Ann")
    assert history(live)[-1]["override"] == "ordered by Ann"


def test_rows_that_it_learnt_from_do_not_judge_it(live: Path, policies: tuple[Path, Path], log: Path) -> None:
    with pytest.raises(
        DataError, match=r"is later than the last one that .* learnt from \(20\d\d-\d\d-\d\dT"
    ) as caught:
        promoted(policies[1], live, log, "learnt_rows=drop")
    assert caught.value.hint.startswith("give a log of later decisions, or learnt_rows=keep")
    forced = promoted(policies[1], live, log, "learnt_rows=drop", override="it must")
    assert forced.gate is None
    assert any("not judged" in note for note in forced.notes)


def test_damage_and_wrong_arguments(live: Path, policies: tuple[Path, Path], log: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no live folder"):
        rollback(tmp_path / "nowhere", Signature("me", NOW))
    for wrong in ("", " ", "0" * 16, "../..", ".", read_pointer(live).version.upper() + "x"):
        with pytest.raises(ParameterError, match="`to` of rollback must be one of"):
            rollback(live, Signature("me", NOW), wrong)
    with pytest.raises(StorageError):
        promoted(policies[1], policies[0], log, "guarded=[]", override="because")
    arguments = (live, log, "martgin", config_of(), Signature("me", NOW, "update"))
    with pytest.raises(DataError, match="has no metric 'martgin'") as caught:
        promote(policies[1], *arguments)
    assert "[" not in caught.value.hint
    broken = tmp_path / "broken"
    shutil.copytree(policies[1], broken)
    (broken / "tables.npz").write_bytes(b"x")
    with pytest.raises(ArtefactError):
        promoted(broken, live, log, override="whatever")
    assert len(history(live)) == 1


def test_another_promotion_in_between_refuses(
    live: Path, policies: tuple[Path, Path], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate compared with a version that is live no more."""

    def meanwhile(*_: Any) -> Any:
        with changing(live) as folder:
            folder.switch(read_pointer(live).version, "promoted", {})
        raise DataError("not judged")

    monkeypatch.setattr(promotion, "_judged", meanwhile)
    with pytest.raises(GateError, match="while this one was judged"):
        promoted(policies[1], live, log, override="because")
    assert [line["event"] for line in history(live)] == ["promoted", "promoted"]


def test_the_gate_sees_more_sends_and_unsubscribes(log: Path) -> None:
    """Everybody gets a message against nobody: whatever clicks say, the sends refuse."""
    reader = LogReader(log)
    hold = PolicyTarget(AlwaysPolicy(reader.meta.catalog, "hold"), "live")
    found = judge(reader, PolicyTarget(UniformPolicy(), "new"), hold, "clicked", config_of())
    checks = {check.metric: check for check in found.gate.checks}
    assert not found.gate.passed
    assert checks["sends"].verdict == "fail"
    assert checks["unsubscribed"].blocks


def test_sends_by_hand(log: Path, policies: tuple[Path, Path]) -> None:
    """The mean of 1 - P(hold), and the spread of its clusters' sums; a log's own choice where there is no more."""
    reader = LogReader(log)
    policy = PolicyTarget(TrainedFolder(policies[0]).policy(), "new")
    rounds = list(Selection(reader, "clicked", side=After(0)))
    found = sends_evidence(rounds, policy, LoggedTarget(), 0.1, clustered=True)
    own = np.concatenate([1 - policy.probabilities(block).full[:, 0] for block in rounds])  # type: ignore[index]
    sent = np.concatenate([block.action != 0 for block in rounds])
    assert found.difference == pytest.approx(own.mean() - sent.mean(), abs=1e-12)
    assert found.new == pytest.approx(own.mean())
    units = np.concatenate([block.cluster for block in rounds])
    gaps = np.array([(own - sent - found.difference)[units == unit].sum() for unit in np.unique(units)])
    error = np.sqrt((gaps**2).sum() * len(gaps) / (len(gaps) - 1)) / len(own)
    assert found.high - found.low == pytest.approx(2 * 1.645 * error, rel=2e-3)  # type: ignore[operator]
    column = ColumnTarget("mine", "mine")
    assert sends_evidence(rounds, column, policy, 0.1, clustered=True).missing
    same = sends_evidence(rounds, policy, policy, 0.1, clustered=False)
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_a_promotion_that_is_asked_for_again_has_happened(
    live: Path, policies: tuple[Path, Path], log: Path, tmp_path: Path
) -> None:
    """As after a kill past the move of the pointer: the same answer, and nothing more in the history."""
    first = promoted(policies[1], live, log, override="because")
    before, lines = read_pointer(live), history(live)
    again = promoted(policies[1], live, log)
    assert again.promoted
    assert (again.version, again.previous, again.sequence) == (first.version, first.previous, first.sequence)
    assert "nothing changed" in again.notes[0]
    assert (read_pointer(live), history(live)) == (before, lines)


def test_a_rollback_that_nobody_heard_of_is_not_done_twice(
    live: Path, policies: tuple[Path, Path], log: Path, tmp_path: Path
) -> None:
    """Three versions; the rollback from the third dies before it can say so. Asked for again, the second serves."""
    first = read_pointer(live).version
    second = promoted(policies[1], live, log, override="because").version
    third = tmp_path / "third"
    export_learner(TrainedFolder(policies[0]).learner(), third, {"third": True})
    promoted(third, live, log, override="because")

    def die(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rollback(live, Signature("me", NOW), told=die)
    assert read_pointer(live).version == second
    again = rollback(live, Signature("me", NOW))
    assert (again.version, again.sequence) == (second, 4)
    assert "nothing changed" in again.notes[0]
    # Now that its caller knows, another rollback is another one.
    assert rollback(live, Signature("me", NOW)).version == first
    named = rollback(live, Signature("me", NOW), first)
    assert (named.version, named.sequence) == (first, 5)
    assert "nothing changed" in named.notes[0]
