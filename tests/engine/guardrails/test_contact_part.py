"""The contact part of the full pack: its ids, its provenance, and that its rules conform."""

from __future__ import annotations

import msgspec
import pytest

from engine.guardrails.check import check_rule
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import RuleEntry, load_pack, pack_from
from engine.guardrails.registry import make_rule
from tests.engine.guardrails.histories import CATALOG, NOW, NOW_AT, detailed

IDS = ("F1", "F2", "F4", "F5", "F9", "F9-pairs", "F12", "O1", "O2", "O4", "O5", "O6", "O7", "O8", "O9")
ENTRIES = tuple(entry for entry in load_pack("full").rules if entry.id in IDS)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_the_rules_of_the_part_conform(entry: RuleEntry) -> None:
    check_rule(make_rule(entry.rule, entry.params), CATALOG, detailed)


@pytest.mark.parametrize(
    "name", [f"F{at}" for at in (*range(1, 10), 12)] + [f"O{at}" for at in (1, 2, 4, 5, 6, 7, 8, 9)]
)
def test_every_id_of_the_catalogue_is_named(name: str) -> None:
    named = {entry.id.partition("-")[0] for entry in ENTRIES}
    covered = {word.strip(",.()") for entry in ENTRIES for word in entry.note.partition("Covers ")[2].split()}
    assert name in named | covered


def test_the_layer_starts_with_the_part_and_asks_for_what_its_rules_may_read() -> None:
    consent = {"id": "C1", "rule": "consent", "kind": "legal", "jurisdiction": "any", "source": "test"}
    rules = [consent | {"checked_on": "2026-01-01"}, *msgspec.to_builtins(ENTRIES)]
    layer = Guardrails(pack_from({"name": "part", "version": "1", "rules": rules}), CATALOG)
    assert set(layer.extra_inputs) == {
        "events",
        "sent_topic",
        "sent_template",
        "sent_category",
        "sent_discount",
        "state",
        "area_state",
        "motive_price",
    }
    contacts = detailed(CATALOG, 200, NOW_AT)
    eligibility, counts = layer.eligibility(contacts, NOW)
    assert 0 < eligibility.dense()[:, 1:].sum() < 200 * (CATALOG.k - 1)
    assert all(counts.rules[name].pairs > 0 for name in ("F4", "F9", "F12", "O1", "O2", "O4", "O5", "O6", "O7"))
