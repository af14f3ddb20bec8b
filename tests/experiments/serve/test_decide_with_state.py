"""Decide and dispatch over a shared store: caps and limits hold over processes, and what was withdrawn is not sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.contacts.file import contact_batches
from engine.decide.batch import decide_batch
from engine.decide.plan import Plan, decision_meta
from engine.errors import ConfigError, DataError, ParameterError
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.limits.limit_set import load_limits
from engine.limits.reasons import limits_of
from engine.log.join import MetricSpec, join
from engine.log.parquet import LogReader, conform_to
from engine.log.selection import Selection
from engine.log.whole_file import ParquetFile
from engine.records.outcomes import read_outcomes
from engine.records.schema import log_schema, outcome_schema
from engine.state.sends.promises import Promises
from engine.state.store import SqlState
from engine.types import ObjectArray
from experiments.serve.dispatch import DispatchOutput, DispatchRequest, dispatch_file
from policies.peers.constant import UniformPolicy
from tests.experiments.serve.stateful_worlds import (
    CATALOG,
    KEY,
    LIMITS,
    NOW,
    contact_file,
    decide,
    facts_of,
    limits_file,
    names,
    record,
)
from tests.postgres_server import postgres_server, postgres_url, store_url
from tests.worker_pool import Pool

__all__ = ["postgres_server", "postgres_url", "store_url"]

WORKER = Path(__file__).with_name("decide_worker.py")


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def sends(path: Path) -> list[dict[str, Any]]:
    return [row for row in rows(path) if row["state"] == "decided"]


def dispatch(folder: Path, log: str, url: str, out: str = "out.parquet", **changes: Any) -> DispatchOutput:
    asked: dict[str, Any] = {"now": NOW + timedelta(minutes=5), "contact_key": KEY, "state": url} | changes
    return dispatch_file(DispatchRequest(folder / log, None, out=folder / out, **asked))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("spans", [((0, 60), (60, 120)), ((0, 80), (40, 120))])
def test_two_processes_never_exceed_a_cap_or_a_limit(
    root: Path, store_url: str, tmp_path: Path, spans: tuple[tuple[int, int], ...], shared: bool
) -> None:
    """120 contacts want about 96 sends, 48 of them texts; 60 and 25 there are, and one a day for each contact."""
    record(tmp_path, store_url, facts_of(names(0, 120)))
    files = [contact_file(tmp_path / f"f{at}.parquet", names(*span)) for at, span in enumerate(spans)]
    pool = Pool(root, WORKER, 2, tmp_path, store_url, limits_file(tmp_path), int(shared), *files)
    pool.go()
    assert pool.rest().count("decided") == 2
    union = {row["decision_id"]: row for at in range(2) for row in sends(tmp_path / f"log{at}.parquet")}
    assert 30 < len(union) <= 60
    assert sum(row["channel"] == "sms" for row in union.values()) <= 25
    assert max(Counter(row["contact_id"] for row in union.values()).values()) == 1
    with SqlState(store_url) as store:
        assert set(store.states(list(union)).values()) == {"reserved"}
    # The sends of the union can all leave, and in both logs together each leaves once.
    left = [dispatch(tmp_path, f"log{at}.parquet", store_url, f"o{at}.parquet") for at in range(2)]
    assert sum(out.dispatched for out in left) == len(union)
    again = [dispatch(tmp_path, f"log{at}.parquet", store_url, f"p{at}.parquet") for at in range(2)]
    assert [out.dispatched for out in again] == [0, 0]


def test_a_cap_that_another_use_case_used_up_suppresses(store_url: str, tmp_path: Path) -> None:
    """The batch was read before the other promised: what the rules let pass, the reservation refuses."""
    people = contact_file(tmp_path / "c.parquet", names(0, 40))
    record(tmp_path, store_url, facts_of(names(0, 40)))
    first = decide(tmp_path, people, "first.parquet", state=store_url, use_case="a")
    second = decide_behind(tmp_path, people, store_url)
    sent = {row["contact_id"] for row in sends(tmp_path / "first.parquet")}
    assert len(sent) == sum(first.sends.values()) > 20
    table = rows(tmp_path / "second.parquet")
    assert not sent & {row["contact_id"] for row in table if row["state"] == "decided"}
    suppressed = [row for row in table if row["state"] == "suppressed"]
    assert second == len(suppressed) > 10
    assert all(b'"refused":["F4"' in row["rule_inputs"] for row in suppressed)
    used = {str(name) for block in _selected(tmp_path / "second.parquet", tmp_path) for name in block.decision_id}
    assert not used & {row["decision_id"] for row in suppressed}


class Behind(SqlState):
    """A store whose reader has not yet seen some promises, as one that looked before the others wrote."""

    unseen: tuple[str, ...] = ()

    def batch(
        self, contact_ids: ObjectArray, catalog: Catalog, *, now_at: int, without: Sequence[str] = ()
    ) -> ContactBatch:
        return super().batch(contact_ids, catalog, now_at=now_at, without=[*without, *self.unseen])


def decide_behind(folder: Path, people: Path, url: str) -> int:
    """Decide for another use case without a look at the promises of the first; how many sends are suppressed."""
    with Behind(url) as store:
        store.unseen = tuple(row["decision_id"] for row in rows(folder / "first.parquet"))
        guardrails = Guardrails(load_pack(), CATALOG)
        plan = Plan(guardrails, UniformPolicy(), "u", contact_key=KEY, use_case="b", promises=Promises(store))
        (block,) = contact_batches(people, FeatureSchema(features=()), CATALOG, NOW)
        decided = decide_batch(plan, block, NOW)
    schema = log_schema(decision_meta(plan, block, source="test", policy_folder=""))
    with ParquetFile(folder / "second.parquet", schema) as file:
        file.append(conform_to(decided.table, schema))
    return int(decided.suppressed.sum())


def _selected(log: Path, folder: Path) -> Selection:
    metric = MetricSpec(events=("purchased",), kind="any", window_s=60)
    path = folder / "outcomes_none.parquet"
    pq.write_table(outcome_schema().empty_table(), path)
    join(log, read_outcomes(path)[0], {"bought": metric}, NOW + timedelta(days=1), folder / "joined.parquet")
    return Selection(LogReader(folder / "joined.parquet"), "bought")


def test_what_is_withdrawn_between_decide_and_dispatch_is_not_sent(store_url: str, tmp_path: Path) -> None:
    people = names(0, 60)
    record(tmp_path, store_url, facts_of(people))
    decide(tmp_path, contact_file(tmp_path / "c.parquet", people), "log.parquet", state=store_url)
    withdrawn = [
        {"fact": "withdrawal", "contact_id": name, "at": "2026-11-03T11:01:00Z", "source": "link"}
        for name in people[::2]
    ]
    record(tmp_path, store_url, withdrawn)
    out = dispatch(tmp_path, "log.parquet", store_url, reasons=tmp_path / "why.parquet")
    decided = {row["decision_id"]: row for row in sends(tmp_path / "log.parquet")}
    assert out.dispatched + out.suppressed == len(decided)
    assert out.suppressed > 10
    assert set(out.reasons) == {"C1 consent"}
    with SqlState(store_url) as store:
        states = Counter(store.states(list(decided)).values())
    assert states == {"dispatched": out.dispatched, "released": out.suppressed}
    events = read_outcomes(tmp_path / "out.parquet")[0]
    stopped = {row["decision_id"] for row in events.to_pylist() if row["event"] == "suppressed"}
    metric = MetricSpec(events=("purchased",), kind="any", window_s=60)
    join(tmp_path / "log.parquet", events, {"bought": metric}, NOW + timedelta(days=1), tmp_path / "joined.parquet")
    selection = Selection(LogReader(tmp_path / "joined.parquet"), "bought")
    used = {str(name) for block in selection for name in block.decision_id}
    assert stopped
    assert not used & stopped
    assert dispatch(tmp_path, "log.parquet", store_url, "again.parquet").dispatched == 0


def test_another_runs_outcome_file_is_kept_and_never_settles(store_url: str, tmp_path: Path) -> None:
    for use_case, (first, end) in {"a": (0, 30), "b": (30, 60)}.items():
        people = contact_file(tmp_path / f"{use_case}.parquet", names(first, end))
        record(tmp_path, store_url, facts_of(names(first, end)))
        decide(tmp_path, people, f"log_{use_case}.parquet", state=store_url, use_case=use_case)
    assert dispatch(tmp_path, "log_a.parquet", store_url).dispatched > 10
    decided = {row["decision_id"] for row in sends(tmp_path / "log_b.parquet")}
    before = (tmp_path / "out.parquet").read_bytes()
    for replace in (False, True):
        with pytest.raises(ParameterError, match="free"):
            dispatch(tmp_path, "log_b.parquet", store_url, replace=replace)
    assert (tmp_path / "out.parquet").read_bytes() == before
    out = dispatch(tmp_path, "log_b.parquet", store_url, "other.parquet")
    events = read_outcomes(tmp_path / "other.parquet")[0].to_pylist()
    assert {row["decision_id"] for row in events} == decided
    assert out.dispatched + out.suppressed == len(decided)
    assert out.unsettled == 0


def test_what_a_store_promised_leaves_through_that_store_alone(store_url: str, tmp_path: Path) -> None:
    """A contact file knows neither what has left nor who withdrew since."""
    people = contact_file(tmp_path / "c.parquet", names(0, 30))
    record(tmp_path, store_url, facts_of(names(0, 30)))
    decide(tmp_path, people, "log.parquet", state=store_url)
    asked = DispatchRequest(tmp_path / "log.parquet", people, NOW + timedelta(minutes=5), tmp_path / "out.parquet", KEY)
    with pytest.raises(DataError, match="decided over a state store"):
        dispatch_file(asked)
    assert not (tmp_path / "out.parquet").exists()


def test_the_same_run_again_decides_the_same_and_reserves_nothing_twice(store_url: str, tmp_path: Path) -> None:
    people = contact_file(tmp_path / "c.parquet", names(0, 100))
    record(tmp_path, store_url, facts_of(names(0, 100)))
    limits = limits_file(tmp_path)
    first = decide(tmp_path, people, "a.parquet", state=store_url, limits=limits)
    again = decide(tmp_path, people, "b.parquet", state=store_url, limits=limits)
    assert rows(tmp_path / "a.parquet") == rows(tmp_path / "b.parquet")
    assert first.sends == again.sends
    assert sum(first.sends.values()) == 60
    assert set(first.limited) == {"all_a_day", "sms_a_day"}


def test_limits_are_explained_and_the_eligible_set_is_exact(store_url: str, tmp_path: Path) -> None:
    people = contact_file(tmp_path / "c.parquet", names(0, 100))
    record(tmp_path, store_url, facts_of(names(0, 100)))
    shares = {"control_share": 0.2, "uniform_share": 0.2}
    decide(tmp_path, people, "a.parquet", state=store_url, limits=limits_file(tmp_path), **shares)
    limits = load_limits(tmp_path / "limits.yaml")
    taken: Counter[str] = Counter()
    for row in rows(tmp_path / "a.parquet"):
        bits = np.unpackbits(np.frombuffer(row["eligible"], np.uint8), count=CATALOG.k, bitorder="little")
        found = limits_of(row["rule_inputs"])
        by_channel = bits[1:].reshape(2, -1).any(axis=1)
        names_of = {one.limit for one in found}
        assert by_channel.tolist() == ["all_a_day" not in names_of, not names_of & {"all_a_day", "sms_a_day"}]
        taken.update(names_of)
        held = row["action"] == 0
        assert row["group"] != "control" or held
        assert row["available"] == (row["group"] != "control")
        assert row["propensity"] == pytest.approx(1.0 / bits.sum() if row["available"] else 1.0)
    assert set(taken) == {limit.name for limit in limits.limits}


def test_without_state_nothing_changes_and_limits_need_a_store(tmp_path: Path) -> None:
    people = contact_file(tmp_path / "c.parquet", names(0, 10))
    with pytest.raises(ParameterError, match="limits"):
        decide(tmp_path, people, "x.parquet", limits=limits_file(tmp_path))
    out = decide(tmp_path, people, "x.parquet")
    assert (out.suppressed, out.limited, out.held) == (0, {}, 10)


@pytest.mark.parametrize(
    "text",
    [
        "name: x",
        "name: x\nvolume: [{name: a, max_per_day: 5, chanels: [sms]}]",
        "name: x\nvolume: [{name: a, max_per_day: -1}]",
        "name: x\nvolume: [{name: a, max_per_day: 5}, {name: a, max_per_day: 6}]",
        LIMITS + "zone: Europe/Nowhere\n",
        LIMITS + "share: 0\n",
        "[1]",
    ],
)
def test_bad_limits_are_refused(text: str, tmp_path: Path) -> None:
    people = contact_file(tmp_path / "c.parquet", names(0, 3))
    url = f"sqlite:///{tmp_path}/s.sqlite"
    with pytest.raises((ConfigError, DataError)):
        decide(tmp_path, people, "x.parquet", state=url, limits=limits_file(tmp_path, text))
    assert not (tmp_path / "x.parquet").exists()


def test_a_store_that_knows_nobody_is_said(tmp_path: Path) -> None:
    """Recorded under another key, every contact is a stranger, and a log of holds must not look like a choice."""
    url = f"sqlite:///{tmp_path}/state.sqlite"
    people = names(0, 40)
    record(tmp_path, url, facts_of(names(40, 80)))
    output = decide(tmp_path, contact_file(tmp_path / "contacts.parquet", people), "log.parquet", state=url)
    assert output.held == 40
    assert output.warnings[0].startswith("none of 40 contacts is known to the state store: nothing was recorded")
    assert LogReader(tmp_path / "log.parquet").meta.notes == output.warnings
    record(tmp_path, url, facts_of(people))
    again = NOW + timedelta(days=1)
    known = decide(tmp_path, contact_file(tmp_path / "contacts.parquet", people), "known.parquet", state=url, now=again)
    assert not [said for said in known.warnings if "state store" in said]
