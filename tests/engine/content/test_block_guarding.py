"""Guardrails judged block by block against the same pack judged on every assembly."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.catalog import Catalog
from engine.errors import ConfigError, EligibilityError
from engine.guardrails.conditions import Conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, load_pack
from engine.time.localtime import instant_of
from tests.engine.content.modular_worlds import block, small_catalog
from tests.engine.guardrails.oracle.crowd import CATALOG, ZONES, crowd
from tests.engine.guardrails.oracle.million import PACKS
from tests.engine.guardrails.oracle.senders import sender

CONF = Path(__file__).resolve().parents[3] / "conf"
NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def rich_catalog(**changes: Any) -> Catalog:
    """Blocks with everything that content and offers can be bound by."""
    slots = [
        {
            "id": "head",
            "fallback": "h0",
            "blocks": [
                block("h0"),
                block("h1", locale="en"),
                block("h2", locale="de-DE", valid_until="2026-11-23T18:00:00+00:00"),
                block("h3", status="retired"),
            ],
        },
        {
            "id": "pic",
            "fallback": "p0",
            "blocks": [block("p0"), block("p1", channels=["email"]), block("p2", locale="en-US", tags=["vip"])],
        },
        {
            "id": "offer",
            "fallback": "o0",
            "blocks": [
                block("o0", category="shoes", margin_usd=20.0, attributes={"topic": "spring", "own_similar": "yes"}),
                block("o1", category="hats", margin_usd=5.0, discount_depth=0.3, attributes={"template": "a"}),
                block("o2", discount_depth=0.1, attributes={"item": "tea", "price_usd": 9.0, "cross_sell": "yes"}),
            ],
        },
    ]
    modular = {"slots": slots, "offer": "offer", "forbidden": [["h1", "o1"]], **changes}
    named = {"name": "rich", "channels": list(CATALOG.channels), "hours": [0, 9, 13, 20, "now"], "modular": modular}
    return msgspec.convert(named, Catalog)


def sender_of_blocks(rng: np.random.Generator, catalog: Catalog, pack: Pack) -> Conditions:
    """A sender who pauses blocks, not assemblies, and whose switch is off."""
    world = sender(rng, catalog, pack)
    return msgspec.structs.replace(world, paused_arms=frozenset({"p2"} if rng.random() < 0.5 else ()), killed=False)


@pytest.mark.parametrize("pack", ["full", "strange", "default", "journeys", "permission"])
@pytest.mark.parametrize("purpose", ["promotional", "transactional"])
def test_blocks_are_removed_as_their_assemblies_are(pack: str, purpose: str) -> None:
    catalog = rich_catalog(purpose=purpose)
    path = PACKS[pack] if pack in PACKS else CONF / "guardrails" / f"{pack}.yaml"
    layer = Guardrails(load_pack(path), catalog)
    left = 0
    for seed in range(2):
        rng = np.random.default_rng(seed)
        zones = tuple(rng.choice(ZONES, 40, replace=True).tolist())
        contacts = crowd(rng, zones, instant_of(NOW), catalog)
        world = sender_of_blocks(rng, catalog, layer.pack)
        plain, counted = layer.eligibility(contacts, NOW, world)
        by_block, counts = layer.blocks(contacts, NOW, world)
        assert (by_block.dense() == plain.dense()).all()
        assert counts == counted
        left += int(plain.sendable().sum())
    assert left or pack in ("full", "strange")


def test_each_rule_of_the_full_pack_alone_removes_the_same() -> None:
    """Rule by rule, where together they leave too little to tell them apart."""
    catalog = rich_catalog()
    whole = load_pack(PACKS["full"])
    consent = next(entry for entry in whole.rules if entry.rule == "consent")
    touched = 0
    for entry in (*whole.rules, *load_pack(PACKS["strange"]).rules):
        pack = msgspec.structs.replace(whole, rules=(consent, msgspec.structs.replace(entry, id="only")))
        layer = Guardrails(pack, catalog)
        rng = np.random.default_rng(5)
        contacts = crowd(rng, tuple(rng.choice(ZONES, 30, replace=True).tolist()), instant_of(NOW), catalog)
        world = sender_of_blocks(rng, catalog, whole)
        plain, counted = layer.eligibility(contacts, NOW, world)
        by_block, counts = layer.blocks(contacts, NOW, world)
        assert (by_block.dense() == plain.dense()).all(), entry.rule
        assert counts == counted, entry.rule
        touched += counts.rules["only"].pairs > 0
    assert touched >= 20


def test_a_paused_block_takes_its_assemblies_and_no_other() -> None:
    catalog = small_catalog()
    layer = Guardrails(load_pack(PACKS["full"]), catalog)
    operations = next(entry for entry in layer.pack.rules if entry.rule == "operations")
    consent = next(entry for entry in layer.pack.rules if entry.rule == "consent")
    layer = Guardrails(msgspec.structs.replace(layer.pack, rules=(consent, operations)), catalog)
    rng = np.random.default_rng(1)
    contacts = crowd(rng, ("UTC",) * 4, instant_of(NOW), catalog)
    world = Conditions(use_case="demo", killed=False, paused_arms=frozenset({"p2"}))
    found, _ = layer.blocks(contacts, NOW, world)
    at = catalog.modular.block_ids.index("p2")  # type: ignore[union-attr]
    assert not found.channel_block[:, :, at].any()
    assert (found.dense() == layer.eligibility(contacts, NOW, world)[0].dense()).all()
    with pytest.raises(EligibilityError, match="pause the assembly"):
        layer.blocks(contacts, NOW, msgspec.structs.replace(world, paused_arms=frozenset({catalog.arm_ids[3]})))


def test_rules_that_see_more_than_blocks_are_refused() -> None:
    catalog = small_catalog()
    pack = load_pack(PACKS["full"])
    entry = next(entry for entry in pack.rules if entry.rule == "operations")
    named = msgspec.structs.replace(entry, id="x", params={"pause_arms": [catalog.arm_ids[0]]})
    with pytest.raises(ConfigError, match="names the assembly"):
        Guardrails(msgspec.structs.replace(pack, rules=(*pack.rules, named)), catalog)
