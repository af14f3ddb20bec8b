"""Two phases through real files: decide, dispatch on the contacts as they are now, join, and what stays usable."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from engine.catalog import catalog_from
from engine.decide.plan import Plan
from engine.errors import DataError, EligibilityError, ParameterError
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.log.join import MetricSpec, join
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.records.outcomes import read_outcomes
from experiments.cli.main import app
from experiments.serve.decide import DecideRequest, decide_with
from experiments.serve.dispatch import DispatchOutput, DispatchRequest, dispatch_file
from policies.peers.constant import UniformPolicy

CATALOG = catalog_from(
    {
        "name": "two phases",
        "channels": ["email", "sms"],
        "hours": [10, "now"],
        "arms": [{"id": "offer", "approved": True}, {"id": "news", "approved": True}],
    }
)
NOW = datetime(2026, 11, 3, 11, 0, tzinfo=UTC)  # a Tuesday; zone UTC below
N = 400
KEY = "blue heron 04, stone 17"


def people(n: int = N, **changes: Any) -> pa.Table:
    granted = pa.array([True] * n)
    columns: dict[str, Any] = {
        "contact_id": [f"c{row}" for row in range(n)],
        "time_zone": ["UTC"] * n,
        "sends": pa.array(
            [[]] * n, pa.list_(pa.struct({"at": pa.string(), "channel": pa.string(), "purpose": pa.string()}))
        ),
    }
    for channel in CATALOG.channels:
        columns |= {
            f"consent_{channel}_promotional": granted,
            f"consent_{channel}_promotional_at": ["2026-01-01T00:00:00Z"] * n,
            f"consent_{channel}_promotional_source": ["form"] * n,
            f"suppressed_{channel}": [False] * n,
        }
    return pa.table(columns | changes)


def write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def decide(folder: Path, contacts: Path, name: str = "decisions", use_case: str = "demo", now: datetime = NOW) -> Path:
    plan = Plan(Guardrails(load_pack(), CATALOG), UniformPolicy(), "uniform", use_case=use_case, contact_key=KEY)
    out = folder / f"{name}.parquet"
    decide_with(plan, FeatureSchema(features=()), DecideRequest(folder, contacts, now, out, KEY), 128)
    return out


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    return decide(tmp_path, write(tmp_path / "then.parquet", people()))


@pytest.fixture
def dispatch(tmp_path: Path, decided: Path) -> Callable[..., tuple[DispatchOutput, dict[str, str]]]:
    def run(
        contacts: pa.Table | None = None, now: datetime = NOW, **changes: Any
    ) -> tuple[DispatchOutput, dict[str, str]]:
        table = people() if contacts is None else contacts
        asked = {"decisions": decided, "contacts": write(tmp_path / "now.parquet", table), "now": now} | changes
        # What has left is never overwritten, and each of these runs is the first of its world.
        (tmp_path / "outcomes.parquet").unlink(missing_ok=True)
        output = dispatch_file(DispatchRequest(**asked, out=tmp_path / "outcomes.parquet", contact_key=KEY))
        rows = read_outcomes(tmp_path / "outcomes.parquet")[0].to_pylist()
        return output, {row["decision_id"]: row["event"] for row in rows}

    return run


def sends(log: Path) -> list[dict[str, Any]]:
    return [row for row in pq.read_table(log).to_pylist() if row["action"] != 0]


def test_nothing_changed_everything_due_leaves(dispatch, decided: Path) -> None:
    output, events = dispatch()
    now_sends = {row["decision_id"] for row in sends(decided) if row["send_hour"] == "now"}
    assert set(events) == now_sends
    assert set(events.values()) == {"dispatched"}
    assert (output.decisions, output.dispatched, output.suppressed) == (N, len(now_sends), 0)
    assert output.not_due == len(sends(decided)) - len(now_sends) > 0  # slot 10 is tomorrow
    assert output.holds + len(sends(decided)) == N


def test_what_has_left_is_never_overwritten(dispatch, decided: Path, tmp_path: Path) -> None:
    """Without the file nobody would know what has left, and it would leave again."""
    dispatch()
    before = (tmp_path / "outcomes.parquet").read_bytes()
    asked = DispatchRequest(decided, tmp_path / "now.parquet", NOW, tmp_path / "outcomes.parquet", KEY, replace=True)
    with pytest.raises(ParameterError, match="free"):
        dispatch_file(asked)
    assert (tmp_path / "outcomes.parquet").read_bytes() == before


def test_consent_withdrawn_in_between_stops_the_send_and_leaves_the_log(
    dispatch, decided: Path, tmp_path: Path
) -> None:
    withdrawn = np.arange(N) % 3 == 0
    table = people(consent_email_promotional=pa.array(~withdrawn), consent_sms_promotional=pa.array(~withdrawn))
    output, events = dispatch(table, reasons=tmp_path / "reasons.parquet")
    assert output.suppressed > 20
    assert set(output.reasons) == {"C1 consent"}
    why = pq.read_table(tmp_path / "reasons.parquet").to_pylist()
    assert {row["decision_id"] for row in why} == {key for key, event in events.items() if event == "suppressed"}
    assert {row["reason"].split(": ")[1] for row in why} == {"denied or withdrawn"}
    # Joined, they are not usable: no learner and no estimator sees them, nor what was never dispatched.
    log = tmp_path / "log.parquet"
    metric = MetricSpec(events=("purchased",), kind="any", window_s=60)
    join(decided, read_outcomes(tmp_path / "outcomes.parquet")[0], {"bought": metric}, NOW + timedelta(days=1), log)
    used = {str(name) for block in Selection(LogReader(log), "bought") for name in block.decision_id}
    holds = {row["decision_id"] for row in pq.read_table(decided).to_pylist() if row["action"] == 0}
    assert used == holds | {key for key, event in events.items() if event == "dispatched"}
    states = {row["decision_id"]: row["state"] for row in pq.read_table(log).to_pylist()}
    assert {states[key] for key, event in events.items() if event == "suppressed"} == {"suppressed"}


def test_quiet_hours_are_those_of_the_real_instant(dispatch, tmp_path: Path) -> None:
    """Decided at 15:00 and held up by the queue; at 19:49:59 an SMS may still arrive before 20:00, at 19:50:01 not."""
    log = decide(tmp_path, tmp_path / "then.parquet", "afternoon", now=NOW.replace(hour=15))
    channel = {row["decision_id"]: row["channel"] for row in sends(log)}
    fine, _ = dispatch(decisions=log, now=NOW.replace(hour=19, minute=49, second=59))
    assert fine.suppressed == 0
    output, events = dispatch(decisions=log, now=NOW.replace(hour=19, minute=50, second=1))
    assert set(output.reasons) == {"Q9 quiet_hours"}
    assert {(channel[name], event) for name, event in events.items()} == {
        ("sms", "suppressed"),
        ("email", "dispatched"),
    }


def test_what_is_late_does_not_leave(dispatch) -> None:
    """Six hours after its planned instant a send still leaves, a second later it does not."""
    assert dispatch(now=NOW + timedelta(hours=6))[0].suppressed == 0
    output, _ = dispatch(now=NOW + timedelta(hours=6, seconds=1))
    assert (output.dispatched, set(output.reasons)) == (0, {"late dispatch"})


def test_sends_made_meanwhile_count_and_the_own_reservation_does_not(dispatch, decided: Path) -> None:
    ids = dict(zip(pq.read_table(decided)["decision_id"].to_pylist(), range(N), strict=True))
    chosen = {ids[row["decision_id"]]: row for row in sends(decided) if row["send_hour"] == "now"}
    entry = [
        [{"at": chosen[row]["send_at"].isoformat(), "channel": chosen[row]["channel"], "purpose": "promotional"}]
        if row in chosen
        else []
        for row in range(N)
    ]
    table = people().set_column(2, "sends", pa.array(entry, people().schema.field("sends").type))
    own, _ = dispatch(table, reserved=True)
    assert (own.suppressed, own.dispatched) == (0, len(chosen))
    other, _ = dispatch(table)
    assert (other.suppressed, other.dispatched) == (len(chosen), 0)
    assert set(other.reasons) <= {"F4 frequency", "F5 frequency"}


def test_two_due_sends_of_a_contact_leave_in_two_runs(dispatch, decided: Path, tmp_path: Path) -> None:
    second = decide(tmp_path, tmp_path / "then.parquet", "second", use_case="other")
    both = tmp_path / "both.parquet"
    meta = pq.read_schema(decided).metadata
    merged = pa.concat_tables([pq.read_table(decided), pq.read_table(second)]).unify_dictionaries()
    pq.write_table(merged.replace_schema_metadata(meta), both)
    output, events = dispatch(decisions=both)
    owner = {row["decision_id"]: row["contact_id"] for row in merged.to_pylist()}
    assert output.deferred > 50
    assert len({owner[name] for name in events}) == len(events) == output.dispatched
    (tmp_path / "outcomes.parquet").rename(tmp_path / "first.parquet")
    again, later = dispatch(decisions=both, done=(tmp_path / "first.parquet",))
    assert not set(later) & set(events)
    assert again.dispatched == output.deferred  # this contact file still says that nothing was sent
    (tmp_path / "outcomes.parquet").rename(tmp_path / "third.parquet")
    over, rest = dispatch(decisions=both, done=(tmp_path / "first.parquet", tmp_path / "third.parquet"))
    assert (over.dispatched, rest) == (0, {})


def test_unknown_contacts_get_nothing_and_another_key_is_an_error(dispatch, tmp_path: Path) -> None:
    output, _ = dispatch(people().slice(0, N // 2))
    assert output.unknown_contacts == output.suppressed > 50
    assert output.reasons == {"unknown_contact dispatch": output.suppressed}
    with pytest.raises(DataError, match="no due decision"):
        dispatch(people(contact_id=[f"stranger{row}" for row in range(N)]))


def test_the_kill_switch_stops_what_was_decided(dispatch, tmp_path: Path) -> None:
    pack = tmp_path / "pack.yaml"
    always = "kind: eng, jurisdiction: any, source: ours, checked_on: 2026-11-22"
    rules = ("id: C1, rule: consent", "id: O11, rule: operations", "id: F10, rule: volume, params: {max_per_day: 1000}")
    entries = "".join(f"  - {{{rule}, {always}}}\n" for rule in rules)
    pack.write_text(f"name: t\nversion: '1'\nrules:\n{entries}", encoding="utf-8")
    states = {}
    for killed in ("true", "false"):
        conditions = tmp_path / "conditions.yaml"
        conditions.write_text(f"killed: {killed}\nsent_today: {{email: 0, sms: 0}}\n", encoding="utf-8")
        states[killed], _ = dispatch(pack=str(pack), conditions=conditions)
    assert states["true"].dispatched == 0
    assert states["true"].reasons == {"O11 operations": states["true"].suppressed}
    assert states["false"].suppressed == 0
    conditions.write_text("killed: false\nsent_today: {email: 999, sms: 0}\n", encoding="utf-8")
    nearly, _ = dispatch(pack=str(pack), conditions=conditions)
    assert nearly.suppressed == 0  # one block: the budget is looked at before it, engine.limits keeps it exactly


def test_the_command(decided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACTFUL_CONTACT_KEY", KEY)
    now = write(tmp_path / "now.parquet", people())
    asked = ["dispatch", "--decisions", str(decided), "--contacts", str(now), "--now", NOW.isoformat()]
    result = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "o.parquet"), "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.output)
    assert answer["dispatched"] == read_outcomes(tmp_path / "o.parquet")[0].num_rows > 0
    table = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "p.parquet")])
    assert "Guardrails at dispatch" in table.output
    naive = [*asked[:-1], "2026-11-03T11:00:00", "--out", str(tmp_path / "q.parquet")]
    refused = CliRunner().invoke(app, naive)
    assert refused.exit_code != 0
    assert not (tmp_path / "q.parquet").exists()


def test_what_made_most_sends_disappear_is_said(dispatch, tmp_path: Path) -> None:
    """Contacts without a consent column, or of whom most are not in the file: suppressed, and told why."""
    table = people()
    bare = table.select([name for name in table.schema.names if not name.startswith("consent_")])
    output, _ = dispatch(bare)
    due = output.suppressed
    assert output.warnings == (f"{due} of {due} contacts have no consent record for any channel: see docs/contacts.md",)
    assert output.rules["C1"].startswith("consent: removes every action whose channel and purpose lack")
    few, _ = dispatch(table.slice(0, 100))
    assert few.unknown_contacts > due / 2
    assert few.warnings[-1].startswith(f"{few.unknown_contacts} of {due} due sends belong to contacts who are not in ")
    assert dispatch()[0].warnings == ()


def lacking(**more: Any) -> Guardrails:
    pack = load_pack()
    rules = tuple(entry for entry in pack.rules if entry.rule != "frequency")
    return Guardrails(msgspec.structs.replace(pack, rules=rules, latency_margin_s=0, **more), CATALOG)


def test_a_pack_for_the_simulator_decides_and_sends_nothing(decided: Path, tmp_path: Path) -> None:
    """Neither a decision nor a dispatch starts, and no file appears."""
    contacts = write(tmp_path / "now.parquet", people())
    plan = Plan(lacking(audience="simulation"), UniformPolicy(), "uniform", use_case="demo", contact_key=KEY)
    request = DecideRequest(tmp_path, contacts, NOW, tmp_path / "d.parquet", KEY)
    with pytest.raises(EligibilityError, match="for the simulator alone"):
        decide_with(plan, FeatureSchema(features=()), request, 128)
    asked = DispatchRequest(decided, contacts, NOW, tmp_path / "o.parquet", KEY, pack="permission")
    with pytest.raises(EligibilityError, match="for the simulator alone"):
        dispatch_file(asked)
    assert not (tmp_path / "d.parquet").exists()
    assert not (tmp_path / "o.parquet").exists()


def test_a_pack_that_lacks_protection_says_so_everywhere(tmp_path: Path) -> None:
    contacts = write(tmp_path / "then.parquet", people())
    plan = Plan(lacking(), UniformPolicy(), "uniform", use_case="demo", contact_key=KEY)
    request = DecideRequest(tmp_path, contacts, NOW, tmp_path / "d.parquet", KEY)
    output = decide_with(plan, FeatureSchema(features=()), request, 128)
    assert len(output.warnings) == 2
    assert "latency_margin_s 0" in output.warnings[0]
    assert "no cap on how often" in output.warnings[1]
    assert LogReader(request.out).meta.notes == tuple(output.warnings)
    sent = dispatch_file(DispatchRequest(request.out, contacts, NOW, tmp_path / "o.parquet", KEY))
    assert sent.warnings == output.warnings


def test_the_command_shows_the_warnings(tmp_path: Path) -> None:
    contacts = write(tmp_path / "then.parquet", people())
    plan = Plan(lacking(), UniformPolicy(), "uniform", use_case="demo", contact_key=KEY)
    request = DecideRequest(tmp_path, contacts, NOW, tmp_path / "d.parquet", KEY)
    decide_with(plan, FeatureSchema(features=()), request, 128)
    asked = ["dispatch", "--decisions", str(request.out), "--contacts", str(contacts), "--now", NOW.isoformat()]
    shown = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "o.parquet")])
    assert shown.exit_code == 0, shown.output
    assert " ".join(shown.output.split()).count("warning: guardrail pack 'default'") == 2
