"""Raw replies and providers' codes as facts: what they close, what opens again, and what is never kept."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.errors import DataError
from engine.identity import pseudonyms
from engine.state.fact_file import fact_batches
from engine.state.store import SqlState
from engine.types import MICROSECONDS_PER_S

CATALOG = Catalog(name="two", channels=("email", "sms"), hours=("now",), arms=(Arm(id="a", approved=True),))
NOW = 1_795_500_000 * MICROSECONDS_PER_S  # 2026-11-24
KEY = "key"


def reply(text: str, hour: int, **more: Any) -> dict[str, Any]:
    row = {"fact": "reply", "contact_id": "c", "at": f"2026-11-20T{hour:02d}:00:00Z", "channel": "sms", "text": text}
    return {name: value for name, value in (row | more).items() if value is not None}


def granted(channel: str, hour: int = 0, **more: Any) -> dict[str, Any]:
    row = {"fact": "consent", "contact_id": "c", "channel": channel, "purpose": "promotional", "source": "form"}
    return row | {"at": f"2026-11-19T{hour:02d}:00:00Z", "kind": "express"} | more


def record(url: str, path: Path, rows: Sequence[dict[str, Any]]) -> Counter[str]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    counts: Counter[str] = Counter()
    with SqlState(url) as state:
        for kinds, facts in fact_batches(path, KEY, 100):
            state.record(facts)
            counts.update(kinds)
    return counts


def seen(url: str, *contacts: str) -> ContactBatch:
    who = pseudonyms(np.array(contacts or ("c",), dtype=object), f"contact/{KEY}")
    with SqlState(url) as state:
        return state.batch(who, CATALOG, now_at=NOW)


PROFILE = {
    "fact": "profile",
    "contact_id": "c",
    "at": "2026-11-19T00:00:00Z",
    "history_from_at": "2026-01-01T00:00:00Z",
}
BOTH = [PROFILE, granted("email"), granted("sms")]


# Replies, and then consent to promotional e-mail and texts, and whether the two channels are suppressed.
CASES: list[tuple[list[dict[str, Any]], tuple[int, int], tuple[int, int]]] = [
    ([], (1, 1), (0, 0)),
    ([reply("STOP", 1)], (1, 0), (0, 1)),
    ([reply("STOP", 1, channel=None)], (0, 0), (1, 1)),
    ([reply("StOp2EnD", 1)], (1, 0), (0, 1)),
    ([reply("when will this stop", 1)], (1, 1), (0, 1)),
    ([reply("აბრა", 1, channel=None)], (1, 1), (1, 1)),
    ([reply("", 1)], (1, 1), (0, 1)),
    ([reply("thanks!", 1)], (1, 1), (0, 0)),
    ([reply("HELP", 1)], (1, 1), (0, 0)),
    ([reply("Liked \u201cSale. Reply STOP to end\u201d", 1)], (1, 1), (0, 0)),
    ([reply("Thanks!\n\nOn Mon, 1 Jun 2026 Shop wrote:\n> Unsubscribe", 1)], (1, 1), (0, 0)),
    ([reply("STOP", 1), reply("START", 2)], (1, 1), (0, 0)),
    ([reply("STOP", 1), reply("START", 2), reply("stop", 3)], (1, 0), (0, 1)),
    ([reply("STOP", 1), reply("START", 2), reply("stop", 3), reply("UNSTOP", 4)], (1, 1), (0, 0)),
    ([reply("START", 1), reply("STOP", 2)], (1, 0), (0, 1)),
    ([reply("hmm stop", 1), reply("YES", 2)], (1, 1), (0, 0)),
    ([reply("STOP", 1), reply("yes please", 2)], (1, 0), (0, 1)),
    ([reply("STOP", 1), reply("START", 2, channel="email")], (1, 0), (0, 1)),
    ([reply("STOP", 1, channel="email"), reply("START", 2, channel="email")], (1, 1), (0, 0)),
    ([reply("STOP", 1, channel=None), reply("START", 2)], (0, 0), (1, 1)),
    ([reply("STOP", 1, channel=None), reply("START", 2, channel=None)], (1, 1), (0, 0)),
]


def test_what_replies_close_and_open(tmp_path: Path) -> None:
    """One contact a case; the same file again changes nothing."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    rows = [row | {"contact_id": f"c{at}"} for at, (replies, *_) in enumerate(CASES) for row in (*BOTH, *replies)]
    for _ in range(2):
        record(url, tmp_path / "facts.jsonl", rows)
        found = seen(url, *(f"c{at}" for at in range(len(CASES))))
        for at, (replies, consent, suppressed) in enumerate(CASES):
            assert tuple(found.consent[at, :, 0]) == consent, replies
            assert tuple(found.suppressed[at]) == suppressed, replies


@pytest.mark.parametrize(
    "other",
    [
        {"fact": "withdrawal", "contact_id": "c", "channel": "sms", "at": "2026-11-19T12:00:00Z"},
        {"fact": "denial", "contact_id": "c", "at": "2026-11-20T01:00:00Z"},
    ],
)
def test_start_gives_back_only_what_a_reply_took(tmp_path: Path, other: dict[str, Any]) -> None:
    """Who withdrew elsewhere as well is not written to again because of a START."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(url, tmp_path / "facts.jsonl", [*BOTH, other, reply("STOP", 2), reply("START", 3)])
    assert seen(url).consent[0, 1, 0] == 0


@pytest.mark.parametrize(
    "consent",
    [
        granted("sms", kind="implied_purchase"),
        granted("sms", expires_at="2026-11-20T01:30:00Z"),
        granted("sms", source=""),
        granted("email"),
    ],
)
def test_start_gives_back_no_consent_that_did_not_hold(tmp_path: Path, consent: dict[str, Any]) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    rows = [{name: value for name, value in consent.items() if value != ""}, reply("STOP", 1), reply("START", 2)]
    record(url, tmp_path / "facts.jsonl", rows)
    assert seen(url).consent[0, 1, 0] != 1


def test_start_lifts_nothing_but_replies(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    closed = {"fact": "suppression", "contact_id": "c", "channel": "sms", "reason": "opt_out"}
    record(url, tmp_path / "facts.jsonl", [*BOTH, closed | {"at": "2026-11-19T00:00:00Z"}, reply("START", 2)])
    assert tuple(seen(url).suppressed[0]) == (0, 1)


def test_doubt_is_settled_by_a_lift_and_by_nothing_else(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    record(url, tmp_path / "facts.jsonl", [*BOTH, reply("bus 7 stop or go", 1), reply("thanks", 2)])
    assert tuple(seen(url).suppressed[0]) == (0, 1)
    lift = {"fact": "suppression", "contact_id": "c", "channel": "sms", "reason": "reply_doubt", "lifted": True}
    record(url, tmp_path / "facts.jsonl", [lift | {"at": "2026-11-21T00:00:00Z"}])
    assert tuple(seen(url).suppressed[0]) == (0, 0)


def test_the_text_is_not_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    secrets = ["please stop, my pin is 4471-xyzzy", "xyzzyplugh", "thanks, xyzzy arrived", "do not xyzzy text me"]
    rows = [reply(text, hour) for hour, text in enumerate(secrets, 1)]
    counts = record(url, tmp_path / "facts.jsonl", rows)
    assert counts == {"reply/stop": 2, "reply/doubt": 1, "reply/none": 1}
    with sqlite3.connect(tmp_path / "state.sqlite") as base:
        dump = "\n".join(base.iterdump())
    assert "xyzzy" not in dump
    assert "4471" not in dump
    assert "reply/phrase" in dump


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_replies_of_many_lines_in_either_format(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"facts.{ending}"
    text = "Please take me off.\n\nAm 01.06.2026 um 09:00 schrieb Shop:\n> Angebot"
    if ending == "csv":
        path.write_text(f'fact,contact_id,at,text\nreply,c,2026-11-20T01:00:00Z,"{text}"\n', encoding="utf-8")
    else:
        path.write_text(json.dumps(reply(text, 1)) + "\n", encoding="utf-8")
    assert [kinds for kinds, _ in fact_batches(path, KEY, 10)] == [["reply/stop"]]


# Code, what it means, channels that it closes at least (e-mail, texts), consent that is left.
CODES = [
    ("21610", "suppress", (0, 1), (1, 1)),
    ("30006", "suppress", (0, 1), (1, 1)),
    ("hard_bounce", "suppress", (1, 0), (1, 1)),
    ("complaint", "suppress", (0, 0), (0, 1)),
    ("30003", "count", (0, 0), (1, 1)),
    ("30007", "pause", (0, 0), (1, 1)),
    ("what is this", "count", (0, 0), (1, 1)),
]


def test_codes_of_providers(tmp_path: Path) -> None:
    """START opens what a code closed until START, and nothing else."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    base = {"fact": "provider_code", "at": "2026-11-20T01:00:00Z", "provider": "twilio"}
    rows = [
        row | {"contact_id": f"c{at}"} for at, (code, *_) in enumerate(CODES) for row in (*BOTH, base | {"code": code})
    ]
    counts = record(url, tmp_path / "facts.jsonl", rows)
    assert {name: times for name, times in counts.items() if "/" in name} == {
        "provider_code/suppress": 4,
        "provider_code/count": 2,
        "provider_code/pause": 1,
    }
    everybody = [f"c{at}" for at in range(len(CODES))]
    found = seen(url, *everybody)
    for at, (code, _, suppressed, consent) in enumerate(CODES):
        assert (found.suppressed[at] >= suppressed).all(), code
        assert tuple(found.consent[at, :, 0]) == consent, code
    record(url, tmp_path / "facts.jsonl", [reply("START", 5, contact_id=name) for name in everybody])
    assert seen(url, *everybody).suppressed[:2, 1].tolist() == [0, 1]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("code", "closed"),
    [("21610.0", [0, 1]), ("Hard Bounce", [1, 0]), ("unsubscribed", [1, 1]), ("#21610", [0, 1]), ("99999", [0, 0])],
)
def test_a_spelling_of_a_code_closes_what_the_code_closes(
    tmp_path: Path, code: str, closed: list[int], ending: str
) -> None:
    """A code in doubt closes all channels where it names none, until somebody lifts it; a START does not."""
    url, path = f"sqlite:///{tmp_path}/state.sqlite", tmp_path / f"codes.{ending}"
    record(url, tmp_path / "facts.jsonl", BOTH)
    row = {"fact": "provider_code", "contact_id": "c", "at": "2026-11-20T01:00:00Z", "code": code}
    lines = f"{','.join(row)}\n{','.join(row.values())}\n" if ending == "csv" else json.dumps(row) + "\n"
    path.write_text(lines, encoding="utf-8")
    with SqlState(url) as state:
        for _, facts in fact_batches(path, KEY, 100):
            state.record(facts)
    assert seen(url).suppressed[0].tolist() == closed


@pytest.mark.parametrize(
    ("code", "channel"), [("hard_bounce", "sms"), ("21610", "E-Mail"), ("hard bounce", "email_eu")]
)
def test_a_code_of_another_channel_than_its_own_closes_all(tmp_path: Path, code: str, channel: str) -> None:
    """Whether the code or the channel is wrong cannot be told."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    row = {"fact": "provider_code", "contact_id": "c", "at": "2026-11-20T01:00:00Z", "code": code, "channel": channel}
    record(url, tmp_path / "facts.jsonl", [*BOTH, row])
    assert seen(url).suppressed[0].tolist() == [1, 1]


@pytest.mark.parametrize(("code", "channel", "closed"), [("hard_bounce", "E-Mail", [1, 0]), ("21610", "text", [0, 1])])
def test_a_code_of_its_own_channel_closes_that_alone(
    tmp_path: Path, code: str, channel: str, closed: list[int]
) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite"
    row = {"fact": "provider_code", "contact_id": "c", "at": "2026-11-20T01:00:00Z", "code": code, "channel": channel}
    record(url, tmp_path / "facts.jsonl", [*BOTH, row])
    assert seen(url).suppressed[0].tolist() == closed


def test_a_code_in_doubt_is_settled_by_a_lift_alone(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path}/state.sqlite", tmp_path / "facts.jsonl"
    code = {
        "fact": "provider_code",
        "contact_id": "c",
        "at": "2026-11-20T01:00:00Z",
        "code": "opted-out",
        "channel": "sms",
    }
    assert record(url, path, [*BOTH, code, reply("START", 2)])["provider_code/doubt"] == 1
    assert seen(url).suppressed[0].tolist() == [0, 1]
    lift = {"fact": "suppression", "contact_id": "c", "channel": "sms", "reason": "provider_doubt", "lifted": True}
    record(url, path, [lift | {"at": "2026-11-20T03:00:00Z"}])
    assert seen(url).suppressed[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"fact": "reply", "contact_id": "c", "text": "stop"}, "needs `at`"),
        ({"fact": "provider_code", "contact_id": "c", "at": "2026-11-20T01:00:00Z"}, "`code` of a provider_code"),
    ],
)
def test_what_cannot_be_placed_is_refused(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        record(f"sqlite:///{tmp_path}/state.sqlite", tmp_path / "facts.jsonl", [row])
