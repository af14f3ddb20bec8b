"""Properties of the whole layer on made-up contacts: nothing lost, nothing invented, stricter is never looser."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.errors import EligibilityError, ParameterError
from engine.guardrails.counts import RemovalCounts
from engine.guardrails.judging import judge, removed
from engine.guardrails.layer import Guardrails, Removal
from engine.guardrails.pack import Pack, load_pack
from engine.guardrails.specimens import specimen_contacts
from engine.time.localtime import datetime_of, instant_of
from engine.types import HOLD, BoolArray

CATALOG = Catalog(
    name="p",
    channels=("email", "sms"),
    hours=(2, 9, 12, 19, "now"),
    arms=(
        Arm(id="a", approved=True),
        Arm(id="b", approved=True, purpose="transactional"),
        Arm(id="c", approved=True, locale="de", valid_from="2026-07-20T00:00:00Z"),
        Arm(id="d"),
    ),
)
NOW = datetime(2026, 7, 15, 13, 37, 11, tzinfo=UTC)
PACK = load_pack()
IDS = tuple(entry.id for entry in PACK.rules)

moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


def only(ids: tuple[str, ...]) -> Pack:
    return msgspec.structs.replace(PACK, rules=tuple(entry for entry in PACK.rules if entry.id in ids))


def dense(pack: Pack, now: datetime, seed: int, n: int = 20) -> BoolArray:
    contacts = specimen_contacts(CATALOG, n, instant_of(now), seed)
    return Guardrails(pack, CATALOG).eligibility(contacts, now)[0].dense()


def held_only(explained: list[tuple[int, list[Removal]]]) -> bool:
    """Whether an explanation leaves nothing but hold."""
    return all(reasons for action, reasons in explained if action != HOLD)


@settings(max_examples=25, deadline=None)
@given(now=moments, seed=st.integers(0, 999), rule=st.sampled_from(IDS[1:]))
def test_adding_a_rule_never_allows_more(now: datetime, seed: int, rule: str) -> None:
    without = dense(only(tuple(name for name in IDS if name != rule)), now, seed)
    assert not (dense(PACK, now, seed) & ~without).any()


def tightened(rule: str, draw: Any) -> Pack:
    """The pack with one stricter number."""
    entry = next(entry for entry in PACK.rules if entry.id == rule)
    params = msgspec.to_builtins(entry.params)
    if rule == "Q9":
        params["windows"]["sms"]["mon-sat"] = draw(st.sampled_from([["10:00-18:00"], ["09:01-20:00"], []]))
    else:
        cap = params["caps"][draw(st.integers(0, 2))]
        cap["max"] = draw(st.integers(0, cap["max"]))
        cap["window_s"] += draw(st.integers(0, 10**6))
    changed = msgspec.structs.replace(entry, params=params)
    return msgspec.structs.replace(PACK, rules=tuple(changed if one.id == rule else one for one in PACK.rules))


@settings(max_examples=25, deadline=None)
@given(now=moments, seed=st.integers(0, 999), rule=st.sampled_from(("Q9", "F4", "F5")), data=st.data())
def test_tightening_a_number_never_allows_more(now: datetime, seed: int, rule: str, data: st.DataObject) -> None:
    assert not (dense(tightened(rule, data.draw), now, seed) & ~dense(PACK, now, seed)).any()


@settings(max_examples=8, deadline=None)
@given(now=moments, seed=st.integers(0, 999), rule=st.sampled_from(IDS[1:]), row=st.integers(0, 19))
def test_removing_a_rule_restores_what_it_alone_removed(now: datetime, seed: int, rule: str, row: int) -> None:
    contacts = specimen_contacts(CATALOG, 20, instant_of(now), seed)
    explained = Guardrails(PACK, CATALOG).explain(contacts, row, now)
    restored = {action for action, reasons in explained if [reason.id for reason in reasons] == [rule]}
    before = dense(PACK, now, seed)[row]
    after = dense(only(tuple(name for name in IDS if name != rule)), now, seed)[row]
    assert set(np.flatnonzero(after & ~before).tolist()) == restored


@pytest.mark.parametrize("seed", range(4))
def test_allowed_and_removed_are_the_whole_catalog(seed: int) -> None:
    contacts = specimen_contacts(CATALOG, 20, instant_of(NOW), seed)
    layer = Guardrails(PACK, CATALOG)
    eligible = layer.eligibility(contacts, NOW)[0].dense()
    for row in range(20):
        explained = layer.explain(contacts, row, NOW)
        assert [action for action, _ in explained] == list(range(CATALOG.k))
        assert [not reasons for _, reasons in explained] == eligible[row].tolist()
        assert held_only(explained) == (not eligible[row, 1:].any())


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_explanations(seed: int) -> None:
    """Counted from factors, against counting every single removal; blocks add up to the whole."""
    contacts = specimen_contacts(CATALOG, 30, instant_of(NOW), seed)
    layer = Guardrails(PACK, CATALOG)
    counts = layer.eligibility(contacts, NOW)[1]
    explained = [layer.explain(contacts, row, NOW) for row in range(30)]
    for name, count in counts.rules.items():
        gone = [sum(any(r.id == name for r in reasons) for _, reasons in one) for one in explained]
        assert (count.pairs, count.contacts) == (sum(gone), sum(one == CATALOG.k - 1 for one in gone))
    assert counts.pairs == sum(bool(reasons) for one in explained for _, reasons in one)
    assert counts.held == sum(held_only(one) for one in explained)
    parts = [layer.eligibility(contacts.take(slice(at, at + 7)), NOW)[1] for at in range(0, 30, 7)]
    assert asdict(sum(parts, RemovalCounts())) == asdict(counts)


@pytest.mark.parametrize("name", ["now", 9, 19])
def test_next_allowed_at_is_the_first_instant(name: int | str) -> None:
    """The rule passes there, and a microsecond before it does not."""
    hour = CATALOG.hours.index(name)
    contacts = specimen_contacts(CATALOG, 60, instant_of(NOW), 5)
    layer, checked = Guardrails(PACK, CATALOG), 0
    rules = {entry.id: rule for entry, rule in layer._rules}
    for row in range(60):
        who = contacts.alone(row)
        explained = layer.explain(who, 0, NOW)
        for action in (CATALOG.index(c, hour, a) for c in range(2) for a in (0, 2)):
            for removal in explained[action][1]:
                if removal.next_allowed_at is None:
                    continue
                then = datetime_of(removal.next_allowed_at)
                for moment, passes in ((then, True), (then - timedelta(microseconds=1), False)):
                    verdict = judge(rules[removal.id], layer.scene(who, moment))
                    assert removed(verdict, 1, CATALOG).dense()[0, action] == passes, (removal, moment)
                checked += 1
    assert checked > 20


def test_a_layer_that_must_not_start() -> None:
    with pytest.raises(EligibilityError, match="is empty"):
        Guardrails(only(()), CATALOG)
    with pytest.raises(EligibilityError, match="no 'consent' rule"):
        Guardrails(only(IDS[1:]), CATALOG)


def test_arguments_are_checked() -> None:
    layer = Guardrails(PACK, CATALOG)
    contacts = specimen_contacts(CATALOG, 2, instant_of(NOW))
    with pytest.raises(ParameterError, match="UTC offset"):
        layer.eligibility(contacts, datetime(2026, 1, 1))
    other = Catalog(name="o", channels=("email",), hours=("now",), arms=CATALOG.arms)
    with pytest.raises(ParameterError, match="of 1 channels"):
        Guardrails(PACK, other).eligibility(contacts, NOW)


@pytest.mark.parametrize("hours", [("now",), (8,), tuple(range(24)), tuple(range(16)), (1, "later")])
@pytest.mark.parametrize("arms", [1, 8])
def test_any_shape_of_catalog(hours: tuple[int | str, ...], arms: int) -> None:
    """Axes of size 1, multiples of eight (counted by words) and foreign slots, which have no instant and never pass."""
    made = tuple(Arm(id=f"a{i}", approved=True, purpose=("promotional", "transactional")[i % 2]) for i in range(arms))
    catalog = Catalog(name="s", channels=("email",), hours=hours, arms=made)
    contacts = specimen_contacts(catalog, 25, instant_of(NOW), 3)
    eligible, counts = Guardrails(PACK, catalog).eligibility(contacts, NOW)
    allowed = eligible.dense()
    assert counts.pairs == int((~allowed).sum())
    assert counts.held == int((~allowed[:, 1:].any(axis=1)).sum())
    if "later" in hours:
        assert not allowed[:, [catalog.index(0, 1, arm) for arm in range(arms)]].any()
