"""Names that a mapping brings in: pseudonyms of contacts are those of stores and live logs, constants are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.file import contact_batches
from engine.decide.batch import decide_batch
from engine.decide.plan import Plan
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.mapping.importer import ImportReport
from engine.state.fact_file import fact_batches
from policies.peers.constant import UniformPolicy

Runner = Callable[..., tuple[ImportReport, list[dict[str, Any]]]]
NOW = datetime(2026, 11, 3, tzinfo=UTC)
CATALOG = Catalog(name="c", channels=("email",), hours=("now",), arms=(Arm(id="a", approved=True),))


@pytest.mark.parametrize("spelt", ["zo\u00eb@example.org", " zo\u00eb@example.org ", "zoe\u0308@example.org"])
def test_a_contact_of_an_imported_log_is_one_of_a_store_and_of_a_live_log(
    run: Runner, mapped: dict[str, Any], good: tuple[str, str], tmp_path: Path, spelt: str
) -> None:
    """One key and one id make one pseudonym, whoever writes it down."""
    header, row = good
    _, (imported,) = run(mapped, header, row.replace("ann", spelt))
    facts, contacts = tmp_path / "facts.jsonl", tmp_path / "contacts.jsonl"
    facts.write_text(json.dumps({"fact": "withdrawal", "contact_id": spelt, "at": "2026-11-01T00:00:00Z"}))
    ((_, (stored,)),) = fact_batches(facts, "key", 10)
    contacts.write_text(json.dumps({"contact_id": spelt}))
    (batch,) = contact_batches(contacts, FeatureSchema(features=()), CATALOG, NOW)
    plan = Plan(Guardrails(load_pack(), CATALOG), UniformPolicy(), "u", contact_key="key")
    (live,) = decide_batch(plan, batch, NOW).table.to_pylist()
    assert imported["contact_id"] == stored.contact_id == live["contact_id"]
