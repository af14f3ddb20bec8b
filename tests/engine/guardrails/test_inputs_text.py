"""engine/guardrails/replay/texts.py: the same bytes as encoding one `RuleInputs` per contact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import EVENTS, ContactBatch
from engine.guardrails.replay.inputs import RuleInputs
from engine.guardrails.replay.texts import rule_inputs
from engine.guardrails.specimens import specimen_contacts

CATALOG = Catalog(name="r", channels=("email", "sms"), hours=(9, "now"), arms=(Arm(id="a", approved=True),))
CONTACTS = specimen_contacts(CATALOG, 200, 1_790_000_000_000_000)
NOTHING_MORE: dict[str, Any] = {"extra": {}, "levels": {}, "sent_details": {}, "events": None}


def one_by_one(contacts: ContactBatch, limits: Any = None, refused: Any = None) -> list[bytes]:
    """The definition: an object per contact, encoded by msgspec."""

    def value(name: str, column: Any, position: Any) -> Any:
        if name not in contacts.levels:
            return (
                column[position].tolist() if isinstance(column[position], np.generic | np.ndarray) else column[position]
            )
        return None if column[position] < 0 else contacts.levels[name][column[position]]

    found = []
    for row in range(contacts.n):
        sends = range(contacts.sent_offsets[row], contacts.sent_offsets[row + 1])
        objects = {name: column for name, column in contacts.extra.items() if column.dtype == object}
        coded = {name: column for name, column in contacts.extra.items() if name in contacts.levels}
        arrays = {name: c for name, c in contacts.extra.items() if name not in objects and name not in coded}
        events: Any = msgspec.UNSET
        if contacts.events is not None:
            seen = contacts.events
            events = [
                (
                    int(seen.at[e]),
                    EVENTS[seen.kind[e]],
                    int(seen.channel[e]),
                    None if seen.category[e] < 0 else seen.categories[seen.category[e]],
                )
                for e in range(seen.offsets[row], seen.offsets[row + 1])
            ]
            events = events if seen.known[row] else None
        triples = zip(
            *(column[sends.start : sends.stop].tolist() for column in (contacts.sent_at, contacts.sent_channel)),
            contacts.sent_purpose[sends.start : sends.stop].tolist(),
            strict=True,
        )
        zone, locale = contacts.zone_code[row], contacts.locale_code[row]
        found.append(
            msgspec.json.encode(
                RuleInputs(
                    contacts.consent[row].ravel().tolist(),
                    contacts.suppressed[row].tolist(),
                    list(triples) if contacts.history_known[row] else None,
                    None if zone < 0 else contacts.zones[zone],
                    None if locale < 0 else contacts.locales[locale],
                    {name: value(name, column, row) for name, column in objects.items()},
                    {name: value(name, column, row) for name, column in coded.items()},
                    {name: (column.dtype.str, value(name, column, row)) for name, column in arrays.items()},
                    {name: [value(name, c, send) for send in sends] for name, c in contacts.sent_details.items()},
                    events,
                    limits[row] if limits is not None and limits[row] else (),
                    refused[row] if refused is not None and refused[row] else (),
                )
            )
        )
    return found


@pytest.mark.parametrize("rich", [True, False], ids=["every input", "nothing more"])
def test_the_texts_are_those_of_one_object_per_contact(rich: bool) -> None:
    contacts = CONTACTS if rich else replace(CONTACTS, **NOTHING_MORE)
    assert rule_inputs(contacts).to_pylist() == one_by_one(contacts)
    assert rule_inputs(contacts.take(slice(7, 8))).to_pylist() == one_by_one(contacts)[7:8]


def test_columns_of_every_kind() -> None:
    rng = np.random.default_rng(3)
    objects = np.empty(200, dtype=object)
    objects[:] = [None, 'a "quoted", text', {"deep": [1.5, True]}, ["ü", "\n"]] * 50
    floats = np.where(rng.random(200) < 0.3, np.nan, rng.normal(0, 1, 200) * 10.0 ** rng.integers(-20, 20, 200))
    extra = {
        "objects": objects,
        "floats": floats,
        "single": floats.astype(np.float32),
        "flags": rng.random(200) < 0.5,
        "small": rng.integers(-128, 127, 200).astype(np.int8),
        "table": rng.normal(0, 1, (200, 2, 3)),
        'odd "name"': rng.integers(-1, 2, 200).astype(np.int32),
    }
    levels = {'odd "name"': ('it\'s "this"', "[that]")}
    contacts = replace(CONTACTS, **(NOTHING_MORE | {"extra": extra, "levels": levels}))
    assert rule_inputs(contacts).to_pylist() == one_by_one(contacts)


def test_what_limits_and_caps_took_is_written_where_they_took_something() -> None:
    limits = [[("sms", 3, 0)] if row % 3 == 0 else [] for row in range(200)]
    refused = [["cap"] if row % 5 == 0 else [] for row in range(200)]
    assert rule_inputs(CONTACTS, limits, refused).to_pylist() == one_by_one(CONTACTS, limits, refused)
