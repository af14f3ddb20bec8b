"""Slots and blocks: what a modular catalog refuses, how its arms come about, and what people are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from engine.catalog import catalog_from, one_axis_catalog
from engine.content.eligibility import modular_of, refuse_modular
from engine.content.modular import Block
from engine.content.preview import assemblies, assembly, changes
from engine.errors import ConfigError, DataError, ParameterError
from engine.guardrails.rules import features_allowed
from tests.engine.content.modular_worlds import block, random_eligibility, small_catalog

SLOTS: list[dict[str, Any]] = msgspec.to_builtins(small_catalog())["modular"]["slots"]


def with_block(slot: int, **changed: Any) -> dict[str, Any]:
    """The slots with one more block."""
    slots = [dict(one) for one in SLOTS]
    slots[slot]["blocks"] = [*slots[slot]["blocks"], block("new", **changed)]
    return {"slots": slots}


BAD = {
    "unknown key": ({"slot": []}, "slot"),
    "no such offer slot": ({"offer": "incentive"}, "offer"),
    "an id twice": ({"slots": [SLOTS[0], {**SLOTS[1], "id": "x"}, {**SLOTS[1], "id": "offer"}]}, "unique ids"),
    "a discount outside the offer": (with_block(0, discount_depth=0.1), "rules read them"),
    "a topic outside the offer": (with_block(1, attributes={"topic": "spring"}), "rules read them"),
    "a fallback that is bound": ({"slots": [{**SLOTS[1], "fallback": "p1"}, SLOTS[2]]}, "fallback"),
    "a fallback with a discount": ({"slots": [{**SLOTS[2], "fallback": "o1"}]}, "fallback"),
    "a fallback from elsewhere": ({"slots": [{**SLOTS[2], "fallback": "h0"}]}, "fallback"),
    "a forbidden fallback": ({"forbidden": [["h0", "o1"]]}, "without a fallback"),
    "two blocks of one slot": ({"forbidden": [["p1", "p2"]]}, "different slots"),
    "an unknown block": ({"forbidden": [["p1", "o9"]]}, "o9"),
    "a name with the joining sign": (with_block(0, id="a+b"), "without"),
    "a date without an offset": (with_block(0, valid_from="2026-01-01"), "offset"),
    "an unknown status": (with_block(0, status="live"), "status"),
    "an unknown channel": (with_block(0, channels=["fax"]), "fax"),
    "a slot named as an attribute of rules": ({"slots": [{**SLOTS[2], "id": "topic"}], "offer": "topic"}, "slots"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_catalogs_are_refused(case: str) -> None:
    changed, said = BAD[case]
    with pytest.raises(ConfigError, match=said):
        catalog_from(
            {
                "name": "bad",
                "channels": ["email", "sms"],
                "hours": [9],
                "modular": {"slots": SLOTS, "offer": "offer", **changed},
            }
        )


def test_the_shipped_catalog_is_the_reference_size(root: Path) -> None:
    catalog = catalog_from(yaml.safe_load((root / "conf/catalog/modular.yaml").read_text()))
    assert modular_of(catalog).sizes == (4, 4, 3, 3, 4)
    assert catalog.shape == (3, 24, 576)
    assert catalog.k == 41_473


def test_arms_follow_from_blocks_and_come_back() -> None:
    catalog = small_catalog(forbidden=[["h1", "o1"]])
    again = catalog_from(catalog.to_builtins())
    assert again == catalog
    assert again.version == catalog.version
    for at, arm in enumerate(catalog.arms):
        modular = modular_of(catalog)
        chosen = dict(zip(("head", "pic", "offer"), arm.blocks, strict=True))
        assert modular.arm_of(chosen) == at
        assert arm.approved == (not {"h1", "o1"} <= set(arm.blocks))
        assert arm.channels == (("email",) if "p1" in arm.blocks else ())
        assert arm.discount_depth == (0.2 if "o1" in arm.blocks else 0.0)
    tampered = catalog.to_builtins()
    tampered["arms"] = tampered["arms"][1:]
    with pytest.raises(ConfigError, match="follow from"):
        catalog_from(tampered)


def test_ids_only_and_unknown_or_unapproved_ones_raise() -> None:
    catalog = small_catalog(**with_block(0, status="draft"))
    modular = modular_of(catalog)
    good = {"head": "h0", "pic": "p1", "offer": "o1"}
    assert catalog.arms[modular.arm_of(good)].blocks == ("h0", "p1", "o1")
    for wrong in ({"head": "new"}, {"head": "h9"}, {"head": "o1"}, {"foot": "h0"}):
        with pytest.raises(ParameterError):
            modular.arm_of({**good, **wrong})
    with pytest.raises(ParameterError):
        modular.arm_of({"head": "h0"})
    assert not {"text", "body", "copy"} & set(Block.__struct_fields__)


def test_blocks_of_two_languages_never_meet() -> None:
    slots = [
        {**SLOTS[0], "blocks": [block("h0"), block("en", locale="en"), block("de", locale="de-DE")]},
        {**SLOTS[2], "blocks": [block("o0"), block("gb", locale="en-GB")]},
    ]
    catalog = small_catalog(slots=slots)
    found = {arm.blocks: (arm.approved, arm.locale) for arm in catalog.arms}
    assert found["en", "gb"] == (True, "en-GB")
    assert found["de", "o0"] == (True, "de-DE")
    assert not found["de", "gb"][0]


def test_an_arm_is_bound_by_all_of_its_blocks() -> None:
    early, late = "2026-01-01T00:00:00+00:00", "2026-06-01T00:00:00+02:00"
    slots = [
        {**SLOTS[0], "blocks": [block("h0"), block("a", valid_from=early, valid_until=late, tags=["vip"])]},
        {
            **SLOTS[2],
            "blocks": [block("o0"), block("b", valid_from=late, tags=["new"]), block("c", channels=["sms"])],
        },
    ]
    found = {arm.blocks: arm for arm in small_catalog(slots=slots).arms}
    assert (found["a", "o0"].valid_from, found["a", "o0"].valid_until) == (early, late)
    assert found["a", "o0"].tags == ("vip",)
    assert found["a", "b"].tags == ("new", "vip")
    assert not found["a", "b"].approved
    assert found["a", "c"].channels == ("sms",)


def test_marginal_counts_are_those_of_the_dense_sets() -> None:
    catalog = small_catalog(forbidden=[["h1", "o1"]])
    may = random_eligibility(catalog, 30, seed=8)
    dense, (channel, hour, arm) = may.dense()[:, 1:], catalog.split(np.arange(1, catalog.k))
    by_channel, by_hour, by_block = may.marginal_counts()
    positions = modular_of(catalog).positions(arm) + np.array(modular_of(catalog).first)
    for value in range(2):
        assert (by_channel[:, value] == dense[:, channel == value].sum(axis=1)).all()
    for value in range(3):
        assert (by_hour[:, value] == dense[:, hour == value].sum(axis=1)).all()
    for value in range(7):
        assert (by_block[:, value] == dense[:, (positions == value).any(axis=1)].sum(axis=1)).all()


def test_people_see_ids_versions_and_changes() -> None:
    catalog = small_catalog(**with_block(0, version="2", approved_by="kim"))
    shown = assembly(catalog, "new+p1+o1")
    assert (shown.arm, shown.sendable) == ("new+p1+o1", True)
    head = shown.blocks[0]
    assert (head.slot, head.block, head.version, head.status, head.approved_by) == (
        "head",
        "new",
        "2",
        "approved",
        "kim",
    )
    assert (shown.channels, shown.locale, shown.discount_depth) == (("email",), "", 0.2)
    assert shown in list(assemblies(catalog, ["new", "o1"]))
    with pytest.raises(DataError, match="no arm"):
        assembly(catalog, "new")
    assert changes(small_catalog(), catalog) == ["head: new version 2 (approved by kim) was added"]
    assert changes(catalog, small_catalog()) == ["head: new was taken out"]
    retired = small_catalog(**with_block(0, version="2", status="retired"))
    assert changes(catalog, retired)[0].endswith("became new version 2 (retired)")


def test_what_lists_actions_is_refused_for_modular_catalogs_alone() -> None:
    refuse_modular(one_axis_catalog("plain", ["a"]), "explain")
    with pytest.raises(DataError, match="lists every action"):
        refuse_modular(small_catalog(), "explain")


def test_attributes_of_blocks_must_be_on_the_allow_list() -> None:
    rule = features_allowed.FeaturesAllowedRule(features=None, attributes=("tone",))
    rule.require_catalog(small_catalog(slots=[SLOTS[0], SLOTS[2]]))
    with pytest.raises(ConfigError, match="block 'p2' carries"):
        rule.require_catalog(small_catalog())
