"""`tactful guardrails`: every command on small real files, with its object, its tables and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from engine.catalog import Catalog
from engine.decide.plan import Plan
from engine.eligibility import unpack
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.log.parquet import LogReader
from engine.log.whole_file import ParquetFile
from engine.records.schema import RewardSpec, log_schema
from experiments.cli.main import app
from experiments.demo.run import shipped_catalog
from experiments.serve.decide import DecideRequest, decide_with, parse_now
from policies.peers.constant import UniformPolicy
from tests.experiments.commands import validate

NOW = "2026-09-01T14:00:00Z"
WHENCE = {"jurisdiction": "any", "source": "ours", "checked_on": "2026-11-01", "confidence": "V"}
CONSENT = {"id": "C1", "rule": "consent", "kind": "legal", **WHENCE}
NEVER_SMS = {"caps": [{"max": 0, "window_s": 60, "channels": ["sms"]}]}
CATALOG: Catalog = shipped_catalog("demo")
N = 400

run = CliRunner()


def entry(name: str, rule: str, kind: str, **params: Any) -> dict[str, Any]:
    return {"id": name, "rule": rule, "kind": kind, "params": params, **WHENCE}


def written(folder: Path, name: str, *rules: dict[str, Any]) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "version": "1", "rules": list(rules)}), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Contacts, four packs, and the log of a campaign that was uniform over what the default pack leaves."""
    folder = tmp_path_factory.mktemp("guardrails")
    rows = [
        {
            "contact_id": f"c{row}",
            "time_zone": "UTC" if row % 10 else None,
            **{f"consent_{channel}_promotional": True for channel in CATALOG.channels},
            **{f"consent_{channel}_promotional_at": "2026-01-01T00:00:00Z" for channel in CATALOG.channels},
            **{f"consent_{channel}_promotional_source": "form" for channel in CATALOG.channels},
            **{f"suppressed_{channel}": False for channel in CATALOG.channels},
            "sends": [{"at": "2026-08-31T20:00:00Z", "channel": "email", "purpose": "promotional"}] * (row % 2),
        }
        for row in range(N)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "contacts.parquet")
    written(folder, "own", CONSENT, entry("SMS", "frequency", "eng", **NEVER_SMS))
    written(folder, "law", CONSENT, entry("SMS", "frequency", "legal", **NEVER_SMS))
    written(
        folder,
        "hidden",
        CONSENT,
        entry("A", "frequency", "legal", **NEVER_SMS),
        entry("B", "frequency", "eng", **NEVER_SMS),
    )
    written(folder, "empty")
    written(folder, "unasked", entry("K1", "suppression", "legal"))
    plan = Plan(Guardrails(load_pack(), CATALOG), UniformPolicy(), "uniform", contact_key="key", seed=1, use_case="t")
    asked = DecideRequest(folder / "none", folder / "contacts.parquet", parse_now(NOW), folder / "raw.parquet", "k")
    decide_with(plan, FeatureSchema(features=()), asked, 128)
    with_rewards(folder / "raw.parquet", folder / "log.parquet")
    return folder


def with_rewards(source: Path, out: Path) -> None:
    """All sends dispatched; each send on SMS brings 2 and a little noise, on e-mail 1, hold nothing."""
    import msgspec

    meta = msgspec.structs.replace(LogReader(source).meta, rewards={"m": RewardSpec(low=-1, high=3)})
    table = pq.read_table(source)
    rng = np.random.default_rng(0)
    channel = np.array([{"sms": 2.0, "email": 1.0, None: 0.0}[name] for name in table.column("channel").to_pylist()])
    state = pa.array(["dispatched"] * table.num_rows).dictionary_encode()
    table = table.set_column(table.schema.get_field_index("state"), "state", state)
    table = table.append_column("reward_m", pa.array(channel + rng.uniform(-0.1, 0.1, len(channel))))
    with ParquetFile(out, log_schema(meta)) as file:
        file.append(table.select(log_schema(meta).names))


def asked(*words: object, code: int = 0) -> str:
    result = run.invoke(app, ["guardrails", *map(str, words)])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stdout


def answered(*words: object, code: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(asked(*words, "--json", code=code))
    validate("error" if "error" in answer else f"guardrails-{words[0]}", answer)
    return answer


def commands(folder: Path, pack: str) -> dict[str, list[object]]:
    """Every command that starts a layer, with a pack."""
    seen = ["--contacts", folder / "contacts.parquet", "--now", NOW, "--catalog", "demo"]
    return {
        "diff": ["diff", "default", pack, *seen],
        "diff from": ["diff", pack, "default", *seen],
        "explain": ["explain", "--contact", "c1", "--pack", pack, *seen],
        "replay": ["replay", "--log", folder / "log.parquet", "--pack", pack],
    }


@pytest.mark.parametrize("command", ["diff", "diff from", "explain", "replay"])
@pytest.mark.parametrize(("name", "words"), [("empty", "is empty"), ("unasked", "has no 'consent' rule")])
def test_no_command_starts_without_rules_or_without_the_consent_rule(
    folder: Path, command: str, name: str, words: str
) -> None:
    answer = answered(*commands(folder, str(folder / f"{name}.yaml"))[command], code=6)
    assert set(answer) == {"error", "hint"}
    assert words in answer["error"]


@pytest.mark.parametrize(("name", "code"), [("empty", "empty"), ("unasked", "consent")])
def test_lint_refuses_them_too(folder: Path, name: str, code: str) -> None:
    answer = answered("lint", folder / f"{name}.yaml", "--today", "2026-11-22", code=4)
    assert code in {flaw["code"] for flaw in answer["flaws"] if flaw["level"] == "error"}


@pytest.mark.parametrize("command", ["lint", "diff", "replay", "explain"])
def test_help_says_what_it_does(command: str) -> None:
    assert "PACK" in asked(command, "--help") or "--pack" in asked(command, "--help")


def test_lint_of_the_default_pack_is_clean() -> None:
    answer = answered("lint", "default", "--today", "2026-11-22", "--catalog", "default")
    assert answer["errors"] == 0
    assert answer["ok"]
    assert "0 errors" in asked("lint", "default", "--today", "2026-11-22", "--catalog", "default")


def test_warnings_fail_only_when_strict(folder: Path) -> None:
    old = {**CONSENT, "checked_on": "2020-01-01"}
    path = written(folder, "old", old, *load_pack().to_builtins()["rules"][1:])
    words = ["lint", path, "--today", "2026-11-22"]
    answer = answered(*words)
    assert (answer["errors"], answer["ok"]) == (0, True)
    assert answer["warnings"] > 0
    assert not answered(*words, "--strict", code=4)["ok"]
    assert "older than a year" in asked(*words)


def test_lint_names_what_cannot_be_read(folder: Path) -> None:
    assert "cannot be read" in answered("lint", folder / "none.yaml", code=4)["error"]
    assert "today" in answered("lint", "default", "--today", "soon", code=2)["error"]


def test_diff_counts_and_writes_what_changes(folder: Path) -> None:
    out = folder / "diff.parquet"
    words = commands(folder, str(folder / "own.yaml"))["diff"]
    answer = answered(*words, "--out", out)
    rows = pq.read_table(out).to_pylist()
    assert answer["contacts"] == len(rows) == N
    for side in ("gained", "lost"):
        bits = unpack(np.array([list(row[side]) for row in rows], dtype=np.uint8), CATALOG.k)
        assert bits.sum() == answer[side]["pairs"] > 0
        assert bits.sum(axis=1).tolist() == [row[f"{side}_count"] for row in rows]
        assert int(bits.any(axis=1).sum()) == answer[side]["contacts"]
        for axis in ("by_channel", "by_arm", "by_hour"):
            assert sum(answer[side][axis].values()) == answer[side]["pairs"]
    assert all(row["after"] - row["before"] == row["gained_count"] - row["lost_count"] for row in rows)
    assert answer["lost"]["by_channel"]["email"] == 0
    assert [share["id"] for share in answer["lost"]["by_rule"]] == ["SMS"]
    assert {share["id"] for share in answer["gained"]["by_rule"]} >= {"F4", "Q9"}
    assert "Pairs per arm" in asked(*words)


def test_replay_counts_and_prices_near_the_truth(folder: Path) -> None:
    """Uniform over hold, 3 x 4 e-mails and 3 x 4 SMS: what SMS brings beyond hold is what the rule costs."""
    words = ["replay", "--log", folder / "log.parquet", "--pack", folder / "own.yaml", "--metric", "m"]
    answer = answered(*words)
    assert answer["hypothetical"] is True
    table = pq.read_table(folder / "log.parquet")
    channels = table.column("channel").to_pylist()
    assert answer["decisions"] == N
    assert answer["sends"] == sum(name is not None for name in channels)
    assert answer["blocked"] == channels.count("sms") > 0
    consent, sms = answer["rules"]
    assert (consent["prices"], consent["not_priced"]) == ([], "not priced: legal")
    eligible = unpack(np.array([list(b) for b in table.column("eligible").to_pylist()], dtype=np.uint8), CATALOG.k)
    share = eligible[:, 13:].sum(axis=1) / eligible.sum(axis=1)
    truth = float((2.0 * share).mean())
    for price in sms["prices"]:
        assert price["hypothetical"] is True
        assert price["low"] <= truth <= price["high"]
        assert price["total"] == pytest.approx(price["value"] * N)
    assert {price["estimator"] for price in sms["prices"]} == {"ips", "snips"}
    shown = asked(*words)
    assert "HYPOTHETICAL" in shown
    assert "not priced: legal" in shown
    following = answered(*words, "--instead", "next")["rules"][1]["prices"]
    assert all(price["value"] < sms["prices"][0]["value"] for price in following)


@pytest.mark.parametrize(("name", "legal"), [("law", {"C1", "SMS"}), ("hidden", {"C1", "A", "B"})])
@pytest.mark.parametrize("instead", ["hold", "next"])
def test_legal_rules_are_never_priced(folder: Path, name: str, legal: set[str], instead: str) -> None:
    words = ["replay", "--log", folder / "log.parquet", "--pack", folder / f"{name}.yaml", "--metric", "m"]
    rules = answered(*words, "--instead", instead)["rules"]
    assert {rule["id"] for rule in rules if rule["not_priced"] == "not priced: legal"} == legal
    assert all(not rule["prices"] for rule in rules)
    assert all(rule["blocked"] > 0 for rule in rules if rule["id"] != "C1")


def test_the_consent_rule_is_not_priced_under_another_label(folder: Path) -> None:
    path = written(folder, "relabelled", {**CONSENT, "kind": "eng"})
    (rule,) = answered("replay", "--log", folder / "log.parquet", "--pack", path, "--metric", "m")["rules"]
    assert (rule["prices"], rule["not_priced"]) == ([], "not priced: legal")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--metric", "none"], 3, "no metric 'none'"),
        (["--instead", "maybe"], 2, "hold or next"),
        (["--metric", "m", "--policy", "nowhere"], 3, "no policy"),
        (["--metric", "m", "--alpha", "2"], 2, "alpha"),
    ],
)
def test_replay_refuses_what_it_cannot_do(folder: Path, words: list[str], code: int, message: str) -> None:
    base = ["replay", "--log", folder / "log.parquet", "--pack", folder / "own.yaml"]
    assert message in answered(*base, *words, code=code)["error"]


def test_replay_without_a_metric_prices_nothing(folder: Path) -> None:
    rules = answered("replay", "--log", folder / "log.parquet", "--pack", folder / "own.yaml")["rules"]
    assert [rule["not_priced"] for rule in rules] == ["not priced: legal", "not priced: no --metric"]


def test_explain_lists_every_action_with_every_reason(folder: Path) -> None:
    words = commands(folder, str(folder / "own.yaml"))["explain"]
    answer = answered(*words)
    assert [row["action"] for row in answer["actions"]] == list(CATALOG.action_names)
    assert answer["allowed"] + answer["removed"] == CATALOG.k - 1
    assert answer["actions"][0] == {"action": "hold", "allowed": True, "removed_by": []}
    for row in answer["actions"][1:]:
        assert row["allowed"] == (not row["removed_by"]) == row["action"].startswith("email")
    (reason,) = answer["actions"][-1]["removed_by"]
    assert reason["rule"] == "SMS frequency"
    assert reason["limit"]["max"] == 0
    assert reason["next_allowed_at"] is None
    assert "12 sends allowed, 12 removed" in asked(*words)


def test_explain_says_when_a_cap_ends(folder: Path) -> None:
    words = ["--contacts", folder / "contacts.parquet", "--now", NOW, "--catalog", "demo"]
    rows = answered("explain", "--contact", "c1", *words)["actions"]
    ends = {row["removed_by"][0]["next_allowed_at"] for row in rows if row["removed_by"]}
    assert ends
    assert None not in ends
    assert min(ends) > "2026-09-01T14:00:00"


def test_explain_names_a_contact_that_is_not_there(folder: Path) -> None:
    words = ["--contacts", folder / "contacts.parquet", "--now", NOW, "--catalog", "demo"]
    assert "no contact 'nobody'" in answered("explain", "--contact", "nobody", *words, code=3)["error"]
    assert "offset" in answered("explain", "--contact", "c1", *words[:2], "--now", "2026-09-01T14:00", code=2)["error"]
    unknown = ["--contacts", folder / "contacts.parquet", "--now", NOW, "--catalog", "nonsense"]
    hint = answered("explain", "--contact", "c1", *unknown, code=4)["hint"]
    assert "shipped: browse_abandonment, " in hint
    assert "default, demo" in hint


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("guardrails.rules=[]", "is empty"),
        (
            "guardrails.rules=[{id:K1,rule:suppression,kind:legal,jurisdiction:any,source:s,checked_on:2026-11-01}]",
            "has no 'consent' rule",
        ),
    ],
)
def test_decide_does_not_start_without_rules_or_without_the_consent_rule(
    folder: Path, override: str, words: str
) -> None:
    policy, out = folder / "policy", folder / "decisions.parquet"
    if not policy.is_dir():
        trained = ["train", "--log", folder / "log.parquet", "--metric", "m", "--out", policy]
        assert run.invoke(app, [*map(str, trained)]).exit_code == 0
    decide = ["decide", "--policy", policy, "--contacts", folder / "contacts.parquet", "--now", NOW, "--out", out]
    result = run.invoke(app, [*map(str, decide), "--json", override])
    assert result.exit_code == 6, result.output
    assert words in json.loads(result.stdout)["error"]
    assert not out.exists()
    assert run.invoke(app, [*map(str, decide), "--json"]).exit_code == 0
    out.unlink()


def test_replay_rebuilds_the_plan_that_decided(folder: Path) -> None:
    """Uniform slice and a trained policy, beside a holdout: the log names the folder, and prices of `next` need it."""
    policy, raw, log = folder / "policy2", folder / "mixed_raw.parquet", folder / "mixed.parquet"
    trained = ["train", "--log", folder / "log.parquet", "--metric", "m", "--out", policy]
    assert run.invoke(app, [*map(str, trained)]).exit_code == 0
    decide = ["decide", "--policy", policy, "--contacts", folder / "contacts.parquet", "--now", NOW, "--out", raw]
    shares = ["control_share=0.2", "uniform_share=0.3"]
    assert run.invoke(app, [*map(str, decide), *shares]).exit_code == 0
    with_rewards(raw, log)
    words = ["replay", "--log", log, "--pack", folder / "own.yaml", "--metric", "m", "--instead", "next"]
    (_, sms) = answered(*words)["rules"]
    assert sms["not_priced"] == ""
    drawn = sum(pq.read_table(log)["available"].to_pylist())
    assert 0 < drawn < N
    assert [price["n"] for price in sms["prices"]] == [drawn, drawn]
    policy.rename(folder / "moved")
    (_, sms) = answered(*words)["rules"]
    assert "cannot be rebuilt; give its folder with --policy" in sms["not_priced"]
    (_, sms) = answered(*words, "--policy", folder / "moved")["rules"]
    assert sms["prices"]
