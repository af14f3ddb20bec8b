"""Rule packs: the default one has provenance for every number, and what is no pack is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.catalog import Arm, Catalog, catalog_from
from engine.errors import ConfigError
from engine.features import schema_from
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack, pack_from

ENTRY = {"id": "C1", "rule": "consent", "kind": "eng", "jurisdiction": "any", "source": "s", "checked_on": "2026-11-01"}
PACK = {"name": "p", "version": "1", "rules": [ENTRY]}


def test_the_default_pack_has_the_catalogues_numbers() -> None:
    pack = load_pack()
    by_id = {entry.id: entry for entry in pack.rules}
    assert list(by_id) == ["C1", "K1", "O11", "Q9", "F4", "F5", "O8"]
    assert by_id["Q9"].params["windows"]["sms"] == {"mon-sat": ["09:00-20:00"], "sun": ["12:00-20:00"]}
    assert [(cap["max"], cap["window_s"] // 86_400) for cap in by_id["F4"].params["caps"]] == [(1, 1), (3, 7), (8, 30)]
    assert {cap["channels"][0]: cap["window_s"] // 3_600 for cap in by_id["F5"].params["caps"]} == {
        "email": 16,
        "sms": 24,
        "push": 24,
    }
    assert pack.latency_margin_s == 600
    assert all(entry.on_missing == "block" for entry in pack.rules)


def test_a_pack_survives_the_footer_of_a_log() -> None:
    pack = load_pack()
    again = pack_from(pack.to_builtins())
    assert again.pack_version == pack.pack_version
    assert again.rules == pack.rules


def test_the_digest_changes_with_any_number() -> None:
    other = pack_from(PACK | {"latency_margin_s": 599})
    assert other.digest != pack_from(PACK).digest


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "is no guardrail pack"),
        ({"name": "p", "version": "1"}, "rules"),
        (PACK | {"colour": 1}, "unknown field"),
        (PACK | {"rules": [ENTRY | {"number": 3}]}, "unknown field"),
        (PACK | {"rules": [ENTRY, ENTRY]}, "unique by id"),
        (PACK | {"rules": [ENTRY | {"on_missing": "allow"}]}, "on_missing|Invalid enum"),
        (PACK | {"rules": [ENTRY | {"kind": "guess"}]}, "Invalid enum"),
        (PACK | {"rules": [ENTRY | {"source": " "}]}, "source"),
        (PACK | {"rules": [ENTRY | {"checked_on": "soon"}]}, "ISO8601|date"),
        (PACK | {"latency_margin_s": -1}, "latency_margin_s"),
    ],
)
def test_what_is_no_pack_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pack_from(data)


def test_packs_are_loaded_by_name_or_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(PACK))
    assert load_pack(path).name == "p"
    path.write_text("rules: [")
    for name in (path, tmp_path / "none.yaml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_pack(name)
    with pytest.raises(ConfigError, match="there is no guardrail pack 'no_such_pack'"):
        load_pack("no_such_pack")


@pytest.mark.parametrize(
    ("rule", "params", "message"),
    [("nonsense", {}, "F9 of pack 'p': unknown rule"), ("frequency", {}, "F9 of pack 'p'")],
)
def test_a_layer_names_the_entry_that_it_cannot_use(rule: str, params: dict[str, Any], message: str) -> None:
    pack = pack_from(PACK | {"rules": [ENTRY, ENTRY | {"id": "F9", "rule": rule, "params": params}]})
    with pytest.raises(ConfigError, match=message):
        Guardrails(pack, Catalog(name="c", channels=("email",), hours=("now",), arms=(Arm(id="a"),)))


def test_the_version_and_the_inputs_of_a_layer(root: Path) -> None:
    catalog = catalog_from(yaml.safe_load((root / "conf/catalog/default.yaml").read_text()))
    layer = Guardrails(load_pack(), catalog)
    assert catalog.k == 577
    assert layer.version == load_pack().pack_version
    assert layer.extra_inputs == ()


def test_the_default_features_hold_the_eight_signals_and_the_eight_contexts(root: Path) -> None:
    schema = schema_from(yaml.safe_load((root / "conf/features/default.yaml").read_text()))
    groups = {spec.signal_group for spec in schema.features}
    assert groups >= {"subscription", "engagement", "purchase", "browsing", "affinity", "cart", "renewal", "support"}
    assert groups >= {"preference", "lifecycle", "behaviour", "intent", "fatigue", "geography", "consent", "objective"}
