"""`tactful decide` and `tactful explain`: the same for any block size, and nothing unexplained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import ParameterError
from engine.log.parquet import LogReader
from experiments.serve.decide import parse_now
from policies.peers.rule import read_rule
from tests.experiments.commands import refused, run, screen
from tests.experiments.conftest import Demo

NOW = "2026-09-15T14:00:00+00:00"


# Nobody in the demonstration has anything to renew.
def no_renewals(demo: Demo) -> str:
    """What is said of contacts of whom nobody knows when a contract ends."""
    many = pq.read_metadata(demo.contacts).num_rows
    return f"{many} of {many} contacts have no value of the feature 'days_to_renewal': see docs/contacts.md"


def decide(demo: Demo, out: Path, *overrides: str, contacts: Path | None = None) -> dict[str, Any]:
    return run(
        *("decide", "--policy", demo.policy, "--contacts", contacts or demo.contacts, "--now", NOW, "--out", out),
        *overrides,
    )


@pytest.fixture(scope="module")
def decided(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    path = tmp_path_factory.mktemp("decide") / "decisions.parquet"
    return decide(demo, path, "seed=5", "control_share=0.1", "uniform_share=0.1"), path


@pytest.mark.parametrize("rows", [3, 77, 100_000])
def test_same_decisions_in_blocks_of_any_size(
    rows: int, demo: Demo, decided: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    out = decide(demo, tmp_path / "d.parquet", "seed=5", "control_share=0.1", "uniform_share=0.1", f"block_rows={rows}")
    # As values: a dictionary lists its levels in the order of appearance, which blocks may change.
    assert pq.read_table(tmp_path / "d.parquet").to_pydict() == pq.read_table(decided[1]).to_pydict()
    assert {**out, "log": ""} == {**decided[0], "log": ""}


def test_same_seed_same_bytes_another_seed_other_decisions(demo: Demo, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        decide(demo, tmp_path / f"{name}.parquet", f"seed={seed}")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    first, other = (pq.read_table(tmp_path / f"{name}.parquet") for name in "ac")
    assert first["decision_id"].equals(other["decision_id"])
    assert first["action"] != other["action"]


def test_summary_adds_up(decided: tuple[dict[str, Any], Path], demo: Demo) -> None:
    out, path = decided
    table = pq.read_table(path)
    actions = table["action"].to_numpy()
    assert out["contacts"] == table.num_rows == pq.read_metadata(demo.contacts).num_rows > 200
    assert out["held"] == int((actions == 0).sum())
    assert sum(out["sends"].values()) == sum(out["by_channel"].values()) == out["contacts"] - out["held"]
    names = np.array(table["action_name"].to_pylist())
    assert out["sends"] == {name: int((names == name).sum()) for name in set(names[actions != 0])}
    nothing_left = sum(bits[0] == 1 and not any(bits[1:]) for bits in table["eligible"].to_pylist())
    assert 0 < out["held_all_removed"] == nothing_left <= out["held"]
    assert set(out["removed"]) == set(out["blocked_contacts"])
    sends = LogReader(path).meta.catalog.k - 1
    assert all(0 <= pairs <= sends * 500 for pairs in out["removed"].values())
    assert all(out["blocked_contacts"][rule] * sends <= pairs for rule, pairs in out["removed"].items())


def test_nobody_without_consent_zone_or_history_is_sent_to(demo: Demo, tmp_path: Path) -> None:
    contacts = pq.read_table(demo.contacts)
    # Few contacts of a small demonstration lack a zone or a history: every tenth does here.
    for place, name in enumerate(("time_zone", "sends")):
        column = contacts[name].to_pylist()
        column[place::10] = [None] * len(column[place::10])
        at = contacts.schema.get_field_index(name)
        contacts = contacts.set_column(
            at, contacts.schema.field(name), pa.array(column, contacts.schema.field(name).type)
        )
    pq.write_table(contacts, tmp_path / "contacts.parquet")
    decide(demo, tmp_path / "d.parquet", "uniform_share=1.0", contacts=tmp_path / "contacts.parquet")
    table = pq.read_table(tmp_path / "d.parquet")
    channel = np.array(table["channel"].to_pylist(), dtype=object)
    no_zone = np.array([zone is None for zone in contacts["time_zone"].to_pylist()])
    no_history = np.array([sends is None for sends in contacts["sends"].to_pylist()])
    assert no_zone.any()
    assert no_history.any()
    assert (channel[no_zone | no_history] == None).all()  # noqa: E711 - elementwise
    for name in ("email", "sms"):
        denied = np.array([given is not True for given in contacts[f"consent_{name}_promotional"].to_pylist()])
        blocked = np.array(contacts[f"suppressed_{name}"].to_pylist())
        assert denied.any()
        assert not (channel[denied | blocked] == name).any()
    assert (channel != None).any()  # noqa: E711 - elementwise


def test_contacts_without_any_permission_are_all_held(demo: Demo, tmp_path: Path) -> None:
    bare = pa.table({"contact_id": [f"c{i}" for i in range(20)]})
    pq.write_table(bare, tmp_path / "bare.parquet")
    out = decide(demo, tmp_path / "d.parquet", contacts=tmp_path / "bare.parquet")
    assert out["held"] == out["held_all_removed"] == 20
    assert pq.read_table(tmp_path / "d.parquet")["propensity"].to_pylist() == [1.0] * 20


def test_every_decision_is_explained_in_full(decided: tuple[dict[str, Any], Path]) -> None:
    """Each action once; allowed + removed = catalog; the replay agrees with the logged eligible set."""
    _, path = decided
    table = pq.read_table(path)
    catalog = LogReader(path).meta.catalog
    for group in ("treatment", "control", "uniform"):
        for send in (True, False):
            rows = [
                row
                for row in table.select(
                    ["decision_id", "group", "action", "action_name", "propensity", "eligible", "available"]
                )
                .filter(pa.compute.equal(table["group"].cast(pa.string()), group))
                .to_pylist()
                if (row["action"] != 0) == send
            ]
            if not rows:
                assert (group, send) == ("control", True)
                continue
            check_explained(rows[0], path, catalog.action_names)


def check_explained(row: dict[str, Any], path: Path, names: tuple[str, ...]) -> None:
    out = run("explain", "--log", path, "--decision", row["decision_id"])
    assert (out["action"], out["propensity"]) == (row["action_name"], row["propensity"])
    assert sorted(action["action"] for action in out["actions"]) == sorted(names)
    bits = np.unpackbits(np.frombuffer(row["eligible"], np.uint8), count=len(names), bitorder="little")
    for action in out["actions"]:
        assert action["eligible"] == bool(bits[names.index(action["action"])])
        assert action["eligible"] == (not action["removed_by"])
        assert action["eligible"] or action["probability"] == 0
        assert all(removal["rule"] and removal["reason"] for removal in action["removed_by"])
    assert sum(action["probability"] for action in out["actions"]) == pytest.approx(1)
    # The logged propensity is over the draw of the slice too: a tenth of all, of whom a tenth are held out.
    (chosen,) = [action for action in out["actions"] if action["action"] == row["action_name"]]
    eligible = int(bits.sum())
    mixed = (0.1 / eligible + 0.8 * chosen["probability"]) / 0.9 if row["available"] else 1.0
    assert row["available"] == (row["group"] != "control")
    assert row["propensity"] == pytest.approx(mixed, abs=1e-9)


def test_scores_are_taken_apart_and_figures_without_a_model_are_null(decided: tuple[dict[str, Any], Path]) -> None:
    rows = pq.read_table(decided[1], columns=["decision_id", "action", "group"]).to_pylist()
    sent = next(row for row in rows if row["action"] != 0)
    control = next(row for row in rows if row["group"] == "control")
    out = run("explain", "--log", decided[1], "--decision", sent["decision_id"])
    score = {row["action"]: row["score"] for row in out["actions"]}
    assert out["comparisons"][0]["role"] == "hold"
    for row in out["comparisons"]:
        assert row["difference"] == pytest.approx(score[out["action"]] - score[row["against"]], abs=1e-12)
        for view in ("groups", "features", "factors"):
            assert sum(part["value"] for part in row[view]) == pytest.approx(row["difference"], abs=1e-9)
            assert all(sum(part["of"].values()) == pytest.approx(part["value"], abs=1e-9) for part in row[view])
    assert {"cart", "intent", "everybody"} <= {part["name"] for part in out["comparisons"][0]["groups"]}
    assert (out["p_respond"], out["p_unsub"], out["holdback"]["reason"]) == (None, None, None)
    assert out["expected_value"] == score[out["action"]]
    held = run("explain", "--log", decided[1], "--decision", control["decision_id"])
    assert (held["group"], held["holdback"]["reason"]) == ("control", "control")


def test_responses_are_explained_where_they_were_learnt(demo: Demo, tmp_path: Path) -> None:
    logs = tmp_path / "log.parquet", tmp_path / "next.parquet"
    # What was decided late has no outcomes yet.
    for log, first in zip(logs, (0, 900), strict=True):
        pq.write_table(pq.read_table(demo.log).slice(first, 900), log)
    asked = ("--also", "clicked,unsub=unsubscribed", "learner=mtr")
    out = run("train", "--log", logs[0], "--metric", "margin", "--out", tmp_path / "policy", *asked)
    assert out["responses"] == {"respond": "clicked", "unsub": "unsubscribed"}
    start = ("--out", tmp_path / "on", "--from", tmp_path / "policy")
    again = run("train", "--log", logs[1], "--metric", "margin", *start, "--override-audit", "a part of a log")
    assert again["responses"] == out["responses"]
    path = tmp_path / "decisions.parquet"
    run("decide", "--policy", tmp_path / "on", "--contacts", demo.contacts, "--now", NOW, "--out", path)
    rows = pq.read_table(path, columns=["decision_id", "action", "eligible"]).to_pylist()
    quiet = next(row for row in rows if row["action"] == 0 and row["eligible"][0] == 1 and not any(row["eligible"][1:]))
    held = run("explain", "--log", path, "--decision", quiet["decision_id"])
    assert (held["holdback"]["reason"], held["holdback"]["held"], held["comparisons"]) == ("guardrails", True, [])
    assert all(0 < row["p_respond"] < 1 and 0 < row["p_unsub"] < 1 for row in held["actions"])
    assert 0 < held["p_unsub"] < 1


def test_explain_says_what_is_missing(decided: tuple[dict[str, Any], Path], hillstrom: Path, tmp_path: Path) -> None:
    _, path = decided
    some = pq.read_table(path)["decision_id"][0].as_py()
    assert "no decision" in refused(3, "explain", "--log", path, "--decision", "nobody")[0]
    assert "tactful decide" in refused(3, "explain", "--log", hillstrom, "--decision", "1")[0]
    _, hint = refused(3, "explain", "--log", path, "--decision", some, "--policy", tmp_path / "gone")
    assert "--policy" in hint


@pytest.mark.parametrize("as_table", [False, True])
def test_contacts_without_consent_are_no_silent_zero(as_table: bool, demo: Demo, tmp_path: Path) -> None:
    """No column of consent at all: nothing is sent, and the output, the screen and the log say why."""
    contacts = pq.read_table(demo.contacts)
    bare = contacts.select([name for name in contacts.schema.names if not name.startswith("consent_")])
    pq.write_table(bare, tmp_path / "bare.parquet")
    paths = ("--policy", demo.policy, "--contacts", tmp_path / "bare.parquet", "--now", NOW, "--out", tmp_path / "d")
    many = pq.read_metadata(demo.contacts).num_rows
    sentence = f"{many} of {many} contacts have no consent record for any channel: see docs/contacts.md"
    words = "C1 consent: removes every action whose channel and purpose lack a granted consent record"
    if as_table:
        shown = screen("decide", *paths)
        assert f"warning: {sentence}" in shown
        assert words.partition(":")[0] in shown
        return
    out = run("decide", *paths)
    assert out["held"] == many
    assert out["warnings"][0] == sentence
    lacking = no_renewals(demo).replace("feature 'days_to_renewal'", "features 'days_to_renewal', 'consent_scope'")
    assert out["warnings"][1] == lacking
    assert out["warnings"][2].startswith(f"the rules leave no send to any of {many} contacts: ")
    assert words in out["warnings"][2]
    assert set(out["rules"]) == set(out["removed"])
    assert out["rules"]["C1"] == words.removeprefix("C1 ")
    assert LogReader(tmp_path / "d").meta.notes == tuple(out["warnings"])


def test_a_feature_that_is_called_otherwise_is_no_silent_gap(demo: Demo, tmp_path: Path) -> None:
    """Any spelling of a feature is the feature; another name leaves every contact without it, and that is said."""
    contacts = pq.read_table(demo.contacts)
    feature = LogReader(demo.log).meta.features.names[0]
    plain = decide(demo, tmp_path / "plain.parquet")
    for name, spelt in (("spelt", f" {feature.upper().replace('_', ' ')} "), ("lost", "something else")):
        renamed = [spelt if column == feature else column for column in contacts.schema.names]
        pq.write_table(contacts.rename_columns(renamed), tmp_path / f"{name}.contacts.parquet")
    spelt = decide(demo, tmp_path / "spelt.parquet", contacts=tmp_path / "spelt.contacts.parquet")
    assert pq.read_table(tmp_path / "spelt.parquet").equals(pq.read_table(tmp_path / "plain.parquet"))
    assert spelt["warnings"] == plain["warnings"] == [no_renewals(demo)]
    lost = decide(demo, tmp_path / "lost.parquet", contacts=tmp_path / "lost.contacts.parquet")
    sentence = no_renewals(demo).replace("feature 'days", f"features {feature!r}, 'days")
    assert lost["warnings"] == [sentence]
    assert LogReader(tmp_path / "lost.parquet").meta.notes == (sentence,)


def test_contacts_of_the_demonstration_need_no_other_warning(decided: tuple[dict[str, Any], Path], demo: Demo) -> None:
    assert decided[0]["warnings"] == [no_renewals(demo)]
    assert LogReader(decided[1]).meta.notes == (no_renewals(demo),)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("46189.375", "serial number of a spreadsheet"),
        ("1793700000000", "milliseconds"),
        ("1970-01-01T00:00:00Z", "in the years 1990 to 2199"),
        ("2200-01-01T00:00:00Z", "in the years 1990 to 2199"),
        ("2026-09-15T14:00:00", "with an offset"),
    ],
)
def test_now_is_an_instant_of_our_time(now: str, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_now(now)
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_a_file_of_rules_decides_for_contacts(demo: Demo, tmp_path: Path) -> None:
    """The segments that a backtest tuned and wrote, under guardrails and with exact propensities, as any policy."""
    rule, path = demo.folder / "backtest" / "segments.yaml", tmp_path / "d.parquet"
    asked = ("decide", "--policy", rule, "--contacts", demo.contacts, "--now", NOW, "--out", path)
    out = run(*asked, "uniform_share=0.1")
    assert out["policy"] == str(rule)
    sent = 0
    policy = read_rule(rule)
    for batch in LogReader(path).rounds():
        allowed = batch.eligible_dense()
        chosen = policy.distribution(batch.context, allowed)
        mixed = 0.9 * chosen + 0.1 * allowed / allowed.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(batch.propensity, mixed[np.arange(batch.n), batch.action], atol=1e-9)
        sent += int((chosen.argmax(axis=1) == batch.action)[batch.action > 0].sum())
    assert sent > 20
    own = tmp_path / "own.yaml"
    own.write_text("rules: [{when: {lifecycle_stage: lapsed}, then: hold}]\notherwise: hold\n", encoding="utf-8")
    assert "segments.yaml" in refused(3, *(own if part == rule else part for part in asked), "--replace")[1]
    assert "history" in refused(2, *asked[:-1], tmp_path / "e.parquet", "--history", path)[0]
