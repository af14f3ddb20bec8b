"""Every input that a rule may read comes back exactly from a record."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, ContactBatch
from engine.errors import DataError
from engine.guardrails.replay.inputs import contacts_from_rule_inputs
from engine.guardrails.replay.texts import rule_inputs
from engine.guardrails.specimens import specimen_contacts

CATALOG = Catalog(name="r", channels=("email", "sms"), hours=(9, "now"), arms=(Arm(id="a", approved=True),))
CONTACTS = specimen_contacts(CATALOG, 80, 1_790_000_000_000_000)


def words(contacts: ContactBatch) -> list[dict[str, object]]:
    """Every contact in words, independent of codes."""
    found = []
    for row in range(contacts.n):
        one: dict[str, object] = {}
        for name, column in contacts.extra.items():
            value = column[row]
            if name in contacts.levels:
                one[name] = None if value < 0 else contacts.levels[name][value]
            else:
                one[name] = (column.dtype, np.array(value).tobytes())
        sends = slice(contacts.sent_offsets[row], contacts.sent_offsets[row + 1])
        for name, column in contacts.sent_details.items():
            values = column[sends].tolist()
            one[name] = [
                (None if value < 0 else contacts.levels[name][value]) if name in contacts.levels else repr(value)
                for value in values
            ]
        events = contacts.events
        if events is not None:
            mine = range(events.offsets[row], events.offsets[row + 1])
            one["events"] = [
                (
                    int(events.at[e]),
                    EVENTS[events.kind[e]],
                    int(events.channel[e]),
                    None if events.category[e] < 0 else events.categories[events.category[e]],
                )
                for e in mine
            ]
            one["known"] = bool(events.known[row])
            if not events.known[row]:
                one["events"] = []
        found.append(one)
    return found


def test_every_input_comes_back_exactly() -> None:
    """Codes may be numbered anew; what they mean, every instant and every number stay, bit by bit."""
    order = np.random.default_rng(1).permutation(CONTACTS.n)
    taken = CONTACTS.take(order)
    again = contacts_from_rule_inputs(rule_inputs(taken).to_pylist(), [str(row) for row in order], CATALOG)
    known = taken.history_known  # of an unknown history the record keeps no sends
    assert set(again.extra) == set(CONTACTS.extra)
    assert set(again.sent_details) == set(CONTACTS.sent_details)
    expected, got = words(taken), words(again)
    for row in np.flatnonzero(known):
        assert got[row] == expected[row]
    for name in CONTACTS.extra:
        assert again.extra[name].dtype == CONTACTS.extra[name].dtype


def test_a_batch_without_further_inputs_has_none_afterwards() -> None:
    plain = replace(CONTACTS, extra={}, levels={}, sent_details={}, events=None)
    (first, *_) = inputs = rule_inputs(plain).to_pylist()
    assert set(msgspec.json.decode(first)) <= {"consent", "suppressed", "sends", "zone", "locale"}
    again = contacts_from_rule_inputs(inputs, ["c"] * plain.n, CATALOG)
    assert again.events is None
    assert (again.extra, again.sent_details) == ({}, {})


def test_records_of_different_times_can_be_read_together() -> None:
    """The older record knows neither country nor events: they are missing there."""
    plain = replace(CONTACTS, extra={}, levels={}, sent_details={}, events=None)
    newer = replace(CONTACTS, extra={"country": CONTACTS.extra["country"]}, sent_details={})
    inputs = [rule_inputs(plain)[0].as_py(), rule_inputs(newer)[1].as_py()]
    again = contacts_from_rule_inputs(inputs, ["old", "new"], CATALOG)
    assert again.extra["country"][0] == -1
    assert again.events is not None
    assert not again.events.known[0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"events": [[1, "sneezed", 0, None]]}, "unknown kind"),
        ({"sent": {"sent_topic": ["x", "y"]}}, "details of other sends"),
        ({"arrays": {"consent_at": ["<i8", [["x"]]]}}, "consent_at"),
    ],
)
def test_damaged_further_inputs_are_refused(entry: dict[str, object], message: str) -> None:
    whole = {"consent": [1] * 4, "suppressed": [0] * 2, "sends": []} | entry
    with pytest.raises(DataError, match=message):
        contacts_from_rule_inputs([msgspec.json.encode(whole)], ["c"], CATALOG)


def test_columns_of_two_types_cannot_be_read_together() -> None:
    inputs = [
        msgspec.json.encode({"consent": [1] * 4, "suppressed": [0] * 2, "sends": [], "arrays": {"x": [kind, 1]}})
        for kind in ("<i8", "<f8")
    ]
    with pytest.raises(DataError, match="one type"):
        contacts_from_rule_inputs(inputs, ["a", "b"], CATALOG)
