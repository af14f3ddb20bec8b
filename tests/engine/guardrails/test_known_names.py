"""Conditions and parameters of packs in the names of the catalog."""

from __future__ import annotations

from typing import Any

import pytest

from engine.catalog import Arm, Catalog
from engine.errors import ConfigError, ParameterError
from engine.guardrails.conditions import Conditions, conditions_from
from engine.guardrails.known_names import known_conditions, known_params
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack, pack_from

CATALOG = Catalog(
    name="shop", channels=("email", "sms"), hours=("now",), arms=(Arm(id="offer", approved=True), Arm(id="news"))
)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ({"paused_channels": ["EMAIL", "Text"]}, {"paused_channels": ["email", "sms"]}),
        ({"paused_channels": ["Push"]}, {"paused_channels": ["push"]}),
        ({"paused_arms": [" Offer"]}, {"paused_arms": ["offer"]}),
        ({"paused_states": ["fl", "US-TX", "FR-IDF"]}, {"paused_states": ["FL", "TX", "IDF"]}),
        ({"sent_today": {"E-Mail": 3}}, {"sent_today": {"email": 3}}),
        ({"health": {"SMS": {"sent": 1, "held": {"Opt-Outs": {"tier": "hard"}}}}},
         {"health": {"sms": {"sent": 1, "held": {"opt_outs": {"tier": "hard"}}}}}),
    ],
)  # fmt: skip
def test_conditions_are_put_into_the_names_of_the_catalog(given: dict[str, Any], known: dict[str, Any]) -> None:
    assert known_conditions(conditions_from(given), CATALOG) == conditions_from(known)


def test_conditions_in_the_right_names_stay_the_same_object() -> None:
    right = Conditions(killed=False, sent_today={"email": 1}, paused_arms=frozenset({"offer"}))
    assert known_conditions(right, CATALOG) is right


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"paused_arms": ["no_such_arm"]}, r"`paused_arms` of the catalog 'shop' must be one of offer, news"),
        ({"paused_arms": ["offr"]}, "did you mean 'offer'"),
        ({"paused_channels": ["emial"]}, "did you mean 'email'"),
        ({"paused_states": ["Florida"]}, "codes of states.*write the code of the state"),
        ({"paused_states": ["ZZ"]}, "codes of states"),
        ({"sent_today": {"smss": 1}}, "did you mean 'sms'"),
        ({"sent_today": {"sms": 1, "SMS": 2}}, "'sms' once"),
        ({"health": {"sms": {"sent": 1, "held": {"complaint": {"tier": "x"}}}}}, "did you mean 'complaints'"),
    ],
)
def test_what_no_name_of_the_catalog_means_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        known_conditions(conditions_from(given), CATALOG)


def layer(rule: str, params: dict[str, Any]) -> Guardrails:
    consent = load_pack().to_builtins()["rules"][0]
    return Guardrails(
        pack_from(
            {"name": "p", "version": "1", "rules": [consent, consent | {"id": "x", "rule": rule, "params": params}]}
        ),
        CATALOG,
    )


@pytest.mark.parametrize(
    ("rule", "params", "message"),
    [
        ("frequency", {"caps": [{"max": 1, "window_s": 60, "channels": ["emial"]}]}, "'emial'.*did you mean 'email'"),
        ("quiet_hours", {"windows": {"smss": {"daily": ["09:00-20:00"]}}}, "did you mean 'sms'"),
        ("line_type", {"allowed": {"smss": ["mobile"]}}, "did you mean 'sms'"),
        ("margin_floor", {"floor_usd": 0.0, "send_cost_usd": {"emial": 1.0}}, "did you mean 'email'"),
        ("operations", {"pause_channels": ["emial"]}, "did you mean 'email'"),
        ("emergency", {"states": ["Florida"]}, "codes of states"),
        ("topic_cap", {"max": 1, "window_s": 60, "states": ["Florida"]}, "codes of states"),
        ("frequencey", {}, "did you mean 'frequency'"),
        ("frequency", {"cap": []}, "did you mean 'caps'"),
        ("operations", {"pause_chanels": ["sms"]}, "did you mean 'pause_channels'"),
    ],
)
def test_a_pack_with_a_name_that_nothing_has_does_not_start(rule: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layer(rule, params)


def test_parameters_are_put_into_the_names_of_the_catalog() -> None:
    params = {"windows": {"Text": {"daily": ["09:00-20:00"]}, "*": {"daily": ["08:00-22:00"]}}}
    assert set(known_params(params, CATALOG, "quiet_hours")["windows"]) == {"sms", "*"}
    laws = {"hours": [{"id": "a", "country": "US", "windows": {"daily": ["09:00-20:00"]}}], "channels": ["SMS", "push"]}
    known = known_params(laws, CATALOG, "state_hours")
    assert (known["channels"], known["hours"]) == (["sms", "push"], laws["hours"])
    assert known_params({"pause_arms": ["offr", "elsewhere"]}, CATALOG, "operations")["pause_arms"] == [
        "elsewhere",
        "offer",
    ]


@pytest.mark.parametrize("pack", ["default", "full", "journeys", "permission"])
def test_shipped_packs_keep_their_parameters(pack: str) -> None:
    for entry in load_pack(pack).rules:
        assert known_params(entry.params, CATALOG, entry.rule) == entry.params


def test_channels_of_one_name_are_refused() -> None:
    with pytest.raises(ParameterError, match="channels"):
        Catalog(name="two", channels=("sms", "SMS"), hours=("now",), arms=(Arm(id="a"),))
