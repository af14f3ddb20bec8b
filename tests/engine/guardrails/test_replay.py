"""What the rules read is enough to judge and explain a decision again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.errors import DataError
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.guardrails.replay.inputs import contacts_from_rule_inputs
from engine.guardrails.replay.texts import rule_inputs
from engine.guardrails.specimens import specimen_contacts
from engine.time.localtime import instant_of

CATALOG = Catalog(
    name="r",
    channels=("email", "sms"),
    hours=(9, 20, "now"),
    arms=(Arm(id="a", approved=True), Arm(id="b", approved=True, purpose="transactional", locale="en")),
)
NOW = datetime(2026, 11, 3, 10, tzinfo=UTC)
CONTACTS = specimen_contacts(CATALOG, 60, instant_of(NOW))


def test_a_replay_gives_the_same_verdicts_and_reasons() -> None:
    layer = Guardrails(load_pack(), CATALOG)
    order = np.arange(60)[::-1]
    inputs = rule_inputs(CONTACTS).to_pylist()
    again = contacts_from_rule_inputs([inputs[row] for row in order], [str(row) for row in order], CATALOG)
    assert (layer.eligibility(again, NOW)[0].packed() == layer.eligibility(CONTACTS, NOW)[0].packed()[order]).all()
    for position in (0, 17, 59):
        assert layer.explain(again, position, NOW) == layer.explain(CONTACTS, int(order[position]), NOW)


def test_inputs_of_ones_own_travel_too() -> None:
    values = np.array([["x"], None, {"a": 1.5}] * 20, dtype=object)
    contacts = replace(CONTACTS, extra={"topics": values})
    again = contacts_from_rule_inputs(rule_inputs(contacts).to_pylist(), ["c"] * 60, CATALOG)
    assert again.extra["topics"].tolist() == values.tolist()
    numbers = replace(CONTACTS, extra={"tickets": np.arange(60)})
    assert contacts_from_rule_inputs(rule_inputs(numbers).to_pylist(), ["c"] * 60, CATALOG).extra[
        "tickets"
    ].tolist() == list(range(60))


def test_nobody_is_a_batch_too() -> None:
    assert contacts_from_rule_inputs([], [], CATALOG).n == 0
    assert rule_inputs(CONTACTS.take(slice(0, 0))).to_pylist() == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (b"{", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"consent":[1],"suppressed":[0],"sends":[]}', "another catalog"),
    ],
)
def test_damaged_inputs_are_refused(entry: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        contacts_from_rule_inputs([entry], ["c"], CATALOG)


def test_inputs_that_json_cannot_hold_are_refused() -> None:
    odd = np.empty(60, dtype=object)
    odd[:] = [object()] * 60
    with pytest.raises(DataError, match="cannot be written"):
        rule_inputs(replace(CONTACTS, extra={"odd": odd}))
