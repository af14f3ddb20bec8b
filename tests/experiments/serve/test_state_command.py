"""`tactful state`, and `decide`, `explain` and `dispatch` with a store, as a user runs them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tests.experiments.commands import refused, run
from tests.experiments.conftest import Demo

NOW = "2026-09-15T14:00:00+00:00"
LIMITS = "name: few\nvolume:\n  - {name: mail, max_per_day: 40, channels: [email]}\n"


def facts_of(contacts: Path) -> Iterator[dict[str, Any]]:
    """What the demonstration's contact file says of permission and history, as facts."""
    for row in pq.read_table(contacts).to_pylist():
        base = {"contact_id": row["contact_id"], "at": "2026-09-10T00:00:00Z"}
        since = None if row["sends"] is None else "2026-01-01T00:00:00Z"
        yield {**base, "fact": "profile", "zone": row["time_zone"], "history_from_at": since}
        for channel in ("email", "sms"):
            kind = "consent" if row[f"consent_{channel}_promotional"] else "withdrawal"
            yield {**base, "fact": kind, "channel": channel, "purpose": "promotional", "source": "form"}
            if row[f"suppressed_{channel}"]:
                yield {**base, "fact": "suppression", "channel": channel, "reason": "opt_out"}
        for number, send in enumerate(row["sends"] or ()):
            yield {**base, "fact": "send", "decision_id": f"{row['contact_id']}-{number}"} | send


@pytest.fixture(scope="module")
def facts(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("facts") / "facts.jsonl"
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts_of(demo.contacts)), encoding="utf-8")
    return path


@pytest.fixture
def url(facts: Path, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    first = run("state", "record", "--state", url, "--facts", facts, "--create")
    assert first["new"] == first["rows"] == sum(first["kinds"].values()) > 1000
    again = run("state", "record", "--state", url, "--facts", facts)
    assert (again["new"], again["known"]) == (0, first["rows"])
    return url


def decide(demo: Demo, out: Path, *more: object) -> dict[str, Any]:
    return run(
        *("decide", "--policy", demo.policy, "--contacts", demo.contacts, "--now", NOW, "--out", out),
        *more,
        "seed=5",
    )


def test_the_store_decides_as_the_file_does(demo: Demo, url: str, tmp_path: Path) -> None:
    """The same facts from either side: the same draws from the same sets."""
    by_file = decide(demo, tmp_path / "file.parquet")
    by_state = decide(demo, tmp_path / "state.parquet", "--state", url)
    warnings = [one for one in by_state["warnings"] if not one.startswith("the contact file says a time zone (")]
    assert len(warnings) < len(by_state["warnings"])
    assert {**by_file, "log": ""} == {**by_state, "log": "", "warnings": warnings}
    ours, theirs = (pq.read_table(tmp_path / f"{name}.parquet").drop(["rule_inputs"]) for name in ("state", "file"))
    assert ours.equals(theirs)
    decide(demo, tmp_path / "again.parquet", "--state", url)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "state.parquet").read_bytes()


def test_explain_names_the_limit(demo: Demo, url: str, tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text(LIMITS.replace("40", "25"), encoding="utf-8")
    log = tmp_path / "limited.parquet"
    out = decide(demo, log, "--state", url, "--limits", tmp_path / "limits.yaml", "control_share=0.1")
    assert set(out["limited"]) == {"mail"}
    table = pq.read_table(log).to_pylist()
    days = Counter(row["send_at"].date() for row in table if row["channel"] == "email")
    assert set(days.values()) == {25}  # on each of the two days on which slots are planned
    limited = [row for row in table if b'"limits":[["mail"' in row["rule_inputs"]]
    assert len(limited) == out["limited"]["mail"]
    explained = run("explain", "--log", log, "--decision", limited[0]["decision_id"])
    said = {removal["reason"] for action in explained["actions"] for removal in action["removed_by"]}
    assert any(reason.startswith("removed by limit mail: it needs 1, 0 were left (2026-09-1") for reason in said)
    assert sum(action["eligible"] for action in explained["actions"]) == sum(
        bits.bit_count() for bits in limited[0]["eligible"]
    )


def test_dispatch_from_the_store_and_leases_that_are_over(demo: Demo, url: str, tmp_path: Path) -> None:
    log = tmp_path / "d.parquet"
    out = decide(demo, log, "--state", url)
    asked = ("dispatch", "--decisions", log, "--state", url, "--now", "2026-09-15T18:30:00+00:00")
    first = run(*asked, "--out", tmp_path / "o.parquet")
    assert first["dispatched"] > 5
    assert first["unsettled"] == 0
    again = run(*asked, "--out", tmp_path / "p.parquet")
    over = first["dispatched"] + first["suppressed"]
    assert (again["dispatched"], again["unsettled"], again["done"]) == (0, 0, first["done"] + over)
    over = run("state", "expire", "--state", url, "--now", "2026-09-20T00:00:00Z")
    assert over["released"] == sum(out["sends"].values()) - first["dispatched"] - first["suppressed"]
    assert (over["unsettled"], over["quota_grants"]) == ([], 0)


BAD = {
    "an unknown fact": ("fact,contact_id,at\nhello,c,2026-01-01T00:00:00Z\n", "row 1: fact 'hello'"),
    "no contact": ("fact,contact_id,at\nprofile,,2026-01-01T00:00:00Z\n", "contact_id"),
    "no instant": ("fact,contact_id,at\nprofile,c,\n", "needs `at`"),
    "no offset": ("fact,contact_id,at\nprofile,c,2026-01-01T00:00:00\n", "offset"),
    "no channel": ("fact,contact_id,at,purpose\nconsent,c,2026-01-01T00:00:00Z,promotional\n", "channel"),
    "no fact column": ("contact_id,at\nc,2026-01-01T00:00:00Z\n", "'fact'"),
    "a strange zone": ("fact,contact_id,at,zone\nprofile,c,2026-01-01T00:00:00Z,Mars/Base\n", "row 1"),
    "a strange country": ("fact,contact_id,at,country\nprofile,c,2026-01-01T00:00:00Z,XX\n", "country"),
    "a strange depth": (
        (
            "fact,contact_id,at,decision_id,channel,purpose,discount\n"
            "send,c,2026-01-01T00:00:00Z,d,email,promotional,1.5\n"
        ),
        "discount",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_facts_are_refused_with_their_row(name: str, tmp_path: Path) -> None:
    text, said = BAD[name]
    (tmp_path / "facts.csv").write_text(text, encoding="utf-8")
    state = f"sqlite:///{tmp_path}/s.sqlite"
    assert said in refused(3, "state", "record", "--state", state, "--facts", tmp_path / "facts.csv", "--create")[0]


def test_facts_from_csv_and_parquet(tmp_path: Path) -> None:
    text = (
        "fact,contact_id,at,zone,channel,purpose,source,kind,lifted,reason,value_usd\n"
        "profile,c,2026-01-01T00:00:00Z,UTC,,,,,,,\n"
        "consent,c,2026-01-01T00:00:00Z,,email,promotional,form,express_written,,,\n"
        "denial,c,2026-01-01T00:00:00Z,,sms,,,,,,\n"
        "suppression,c,2026-01-01T00:00:00Z,,email,,,,false,opt_out,\n"
        "event,c,2026-01-01T00:00:00Z,,,,,purchase,,,12.5\n"
    )
    (tmp_path / "facts.csv").write_text(text, encoding="utf-8")
    pq.write_table(pa_csv.read_csv(tmp_path / "facts.csv"), tmp_path / "facts.parquet")
    state = f"sqlite:///{tmp_path}/s.sqlite"
    for number, name in enumerate(("facts.csv", "facts.parquet")):
        out = run("state", "record", "--state", state, "--facts", tmp_path / name, "--create")
        assert out["kinds"] == dict.fromkeys(("profile", "consent", "denial", "suppression", "event"), 1)
        assert out["new"] == (0 if number else 5)


def test_limits_without_a_store_are_refused(demo: Demo, tmp_path: Path) -> None:
    asked = ("decide", "--policy", demo.policy, "--contacts", demo.contacts, "--now", NOW, "--limits", "demo")
    assert "limits" in refused(2, *asked, "--out", tmp_path / "x.parquet")[0]


def test_raw_replies_are_read_counted_and_forgotten(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    texts = ["STOP", "no more plz", "thanks!", "\u0448\u043e?", "START", "Liked \u201cReply STOP to end\u201d"]
    rows = [
        {"fact": "reply", "contact_id": f"c{at}", "at": "2026-09-10T00:00:00Z", "channel": "sms", "text": text}
        for at, text in enumerate(texts)
    ]
    code = {"fact": "provider_code", "contact_id": "c9", "at": "2026-09-10T00:00:00Z", "code": "30007"}
    path = tmp_path / "replies.jsonl"
    doubted = code | {"contact_id": "c8", "code": "unsubscribed"}
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, code, doubted]), encoding="utf-8")
    found = run("state", "record", "--state", url, "--facts", path, "--create")
    assert found["kinds"] == {"reply": 6, "provider_code": 2}
    assert found["replies"] == {"stop": 2, "none": 2, "doubt": 1, "start": 1}
    assert found["provider_codes"] == {"pause": 1, "doubt": 1}
    assert [sentence.split(":")[0] for sentence in found["warnings"]] == [
        "1 replies are in doubt",
        "1 provider codes are in doubt",
        "1 provider codes blame the sender, not the contact",
        "the store knows nothing else of 4 of 4 contacts whose opt-outs, refusals or bounces are recorded",
    ]
    again = run("state", "record", "--state", url, "--facts", path)
    assert (again["new"], again["known"]) == (0, found["new"])
