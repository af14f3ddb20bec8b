"""Keys that stand twice are errors in every file of JSON or yaml."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.audit.checks.rewards import _frames
from engine.catalog import Arm, Catalog
from engine.contacts.file import contact_batches
from engine.errors import ConfigError, DataError
from engine.features import FeatureSchema
from engine.files.documents import decode_json, load_yaml
from engine.guardrails.conditions import load_conditions
from engine.guardrails.pack import load_pack
from engine.limits.limit_set import load_limits
from engine.mapping.dialect import load_mapping
from engine.mapping.sources import open_source
from engine.records.outcomes import read_outcomes
from engine.state.fact_file import fact_batches

CATALOG = Catalog(name="t", channels=("email",), hours=(9,), arms=(Arm(id="a", approved=True),))
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, st.sampled_from([None, (", ", ": "), (",", ":"), (" , ", " : ")]))
def test_what_has_every_key_once_is_read_as_json_reads_it(value: Any, separators: Any) -> None:
    text = json.dumps(value, separators=separators, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        expected = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return
    assert decode_json(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 2}',
        b'{"a":1,"a":1}',
        b'{"b": [{"a": 1, "a": 2}]}',
        b'{"a" : 1, "a" : 2}',
        b'{"a"\t: 1, "x": "\\":", "a": 2}',
        b'{"\\u0061": 1, "a": 2}',
    ],
)
def test_a_key_twice_is_no_json(text: bytes) -> None:
    with pytest.raises(ValueError, match="'a' is given twice"):
        decode_json(text)


def test_a_key_twice_is_no_yaml() -> None:
    with pytest.raises(yaml.YAMLError, match="'a' is given twice"):
        load_yaml("x: [{a: 1, a: 2}]")
    merged = "base: &b {a: 1, c: 2}\nx:\n  <<: *b\n  a: 3\n"
    assert load_yaml(merged)["x"] == {"a": 3, "c": 2}


def test_contacts_and_facts(tmp_path: Path) -> None:
    contacts = tmp_path / "c.jsonl"
    for line in ('{"contact_id": "a", "suppressed_email": "true", "suppressed_email": "false"}',):
        contacts.write_text(line + "\n")
        with pytest.raises(DataError, match="row 1 is no JSON object: key 'suppressed_email' is given twice"):
            list(contact_batches(contacts, FeatureSchema(features=()), CATALOG, NOW))
    send = '{"at": 1793700000, "channel": "email", "channel": "sms", "purpose": "promotional"}'
    for cell in (f"[{send}]", json.dumps(f"[{send}]")):
        contacts.write_text(f'{{"contact_id": "a", "sends": {cell}}}\n')
        with pytest.raises(DataError, match="key 'channel' is given twice"):
            list(contact_batches(contacts, FeatureSchema(features=()), CATALOG, NOW))
    facts = tmp_path / "f.jsonl"
    facts.write_text('{"fact": "withdrawal", "contact_id": "a", "contact_id": "b", "at": 1793700000}\n')
    with pytest.raises(DataError, match="key 'contact_id' is given twice"):
        list(fact_batches(facts, "k", 10))


def test_outcomes(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text('{"decision_id": "d", "event": "opened", "event": "x", "at": "2026-01-01T00:00:00Z"}\n')
    with pytest.raises(DataError, match="twice"):
        read_outcomes(path)
    with pytest.raises(DataError, match="twice"):
        list(_frames(path))


def test_foreign_logs_set_the_row_aside(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1, "b": 2}\n{"a": 1, "a": 2}\n')
    blocks = list(open_source(path).batches())
    assert [fault[0] for block in blocks for fault in block.faults] == [2]
    assert "given twice" in blocks[0].faults[0][2]


@pytest.mark.parametrize("load", [load_pack, load_conditions, load_limits, load_mapping])
def test_files_of_settings(tmp_path: Path, load: Any) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: a\nname: b\n")
    with pytest.raises(ConfigError, match="given twice"):
        load(path if load is not load_limits else str(path))
