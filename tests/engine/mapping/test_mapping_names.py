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
from engine.errors import ConfigError
from engine.features import FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.mapping.dialect import mapping_from
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


@pytest.mark.parametrize(
    ("name", "near"),
    [("emial", "email"), ("Emal", "email"), ("e-mial", "email"), ("whatsap", "whatsapp"), ("pusch", "push")],
)
def test_a_constant_channel_that_is_a_slip_is_refused_with_the_nearest_name(
    mapped: dict[str, Any], name: str, near: str
) -> None:
    mapped["catalog"]["channel"] = {"constant": name}
    with pytest.raises(ConfigError, match=r"catalog\.channel\.constant") as caught:
        mapping_from(mapped)
    assert caught.value.hint.startswith(f"did you mean {near!r}? ")


@pytest.mark.parametrize("name", ["email", "E-Mail", "text", "SMS", "web", "offer", "letter", "app", "rss", 7])
def test_other_constant_channels_are_channels(mapped: dict[str, Any], name: str | int) -> None:
    mapped["catalog"]["channel"] = {"constant": name}
    assert mapping_from(mapped).catalog.channel.constant == name


def test_an_eligible_value_that_the_axis_does_not_have_is_named_with_the_nearest(
    run: Runner, mapped: dict[str, Any], good: tuple[str, str]
) -> None:
    mapped["catalog"]["arm"]["values"] = ["A", "B", "winter"]
    mapped["eligible"] = {"axis": "arm", "expressions": {"wintre": "age > 3"}}
    with pytest.raises(ConfigError, match="got \\['wintre'\\]") as caught:
        run(mapped, *good)
    assert caught.value.hint.startswith("did you mean 'winter'? ")
