"""Consent: its end, its basis by country, withdrawals of everything, and the objection to profiling."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from engine.errors import ConfigError
from engine.guardrails.registry import make_rule
from tests.engine.guardrails.one_contact import CATALOG, found, left, one, rule, utc

NOW = utc(2026, 11, 3, 15)
SMS, EMAIL = ("sms", "promotional"), ("email", "promotional")
MICROSECOND = timedelta(microseconds=1)
MARGIN = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("expires", "passes"),
    [
        (NOW + MARGIN, False),  # the queue may hold the send until the very instant at which consent ends
        (NOW + MARGIN + MICROSECOND, True),
        (NOW, False),
        (utc(2020, 1, 1), False),
        (None, True),
    ],
)
def test_consent_must_outlast_the_send(expires: datetime | None, passes: bool) -> None:
    contact = one(consent={EMAIL: {"expires": expires}})
    assert ("email|now|promo" in left(rule("consent"), contact, NOW)) == passes
    assert "sms|now|promo" in left(rule("consent"), contact, NOW)


def test_consent_is_judged_at_the_planned_instant() -> None:
    """It is 10:00 in New York; consent ends at 18:00 there."""
    contact = one(consent={EMAIL: {"expires": utc(2026, 11, 3, 23)}})
    kept = left(rule("consent"), contact, NOW)
    assert {f"email|{hour}|promo" for hour in range(10, 18)} <= kept
    assert not {f"email|{hour}|promo" for hour in (*range(10), *range(18, 24))} & kept
    assert "ends 2026-11-03T23" in found(rule("consent"), contact, NOW, "email|20|promo").observed


def test_a_slot_without_instant_outlasts_no_consent_that_ends() -> None:
    contact = one(zone=None, consent={EMAIL: {"expires": utc(2030, 1, 1)}})
    kept = left(rule("consent"), contact, NOW)
    assert "email|now|promo" in kept
    assert "email|9|promo" not in kept
    assert "sms|9|promo" in kept


CANADA = {"countries": ["CA"], "bases": {"express": None, "implied_purchase": 730, "implied_inquiry": 183}}


@pytest.mark.parametrize(
    ("basis", "age", "passes"),
    [
        ("implied_purchase", timedelta(days=730) - MARGIN - MICROSECOND, True),
        ("implied_purchase", timedelta(days=730) - MARGIN, False),
        ("implied_purchase", timedelta(days=731), False),
        ("implied_inquiry", timedelta(days=182), True),
        ("implied_inquiry", timedelta(days=183), False),
        ("express", timedelta(days=9_000), True),
        ("soft_opt_in", timedelta(days=1), False),
        (None, timedelta(days=1), False),
    ],
)
def test_implied_consent_in_canada(basis: str | None, age: timedelta, passes: bool) -> None:
    """730 days after a purchase, 183 after an inquiry, to the microsecond, and never later by a queue."""
    contact = one(country="CA", consent={EMAIL: {"basis": basis, "at": NOW - age}})
    assert ("email|now|promo" in left(rule("consent_basis", **CANADA), contact, NOW)) == passes
    assert "email|now|receipt" in left(rule("consent_basis", **CANADA), contact, NOW)


def test_implied_consent_without_date_does_not_count() -> None:
    contact = one(country="CA", consent={EMAIL: {"basis": "implied_purchase"}})
    assert "email|now|promo" not in left(rule("consent_basis", **CANADA), contact, NOW)
    assert "unknown instant" in found(rule("consent_basis", **CANADA), contact, NOW, "email|now|promo").reason


@pytest.mark.parametrize(("country", "passes"), [("US", True), ("CA", False), (None, False)])
def test_an_unknown_country_may_be_any(country: str | None, passes: bool) -> None:
    contact = one(country=country, consent={EMAIL: {"basis": "soft_opt_in", "at": NOW - timedelta(days=1)}})
    assert ("email|now|promo" in left(rule("consent_basis", **CANADA), contact, NOW)) == passes


def test_everywhere_but() -> None:
    elsewhere = rule("consent_basis", bases={"express": None}, except_countries=["US"])
    soft = {EMAIL: {"basis": "soft_opt_in"}}
    assert "email|now|promo" in left(elsewhere, one(country="US", consent=soft), NOW)
    assert "email|now|promo" not in left(elsewhere, one(country="JP", consent=soft), NOW)
    assert "email|now|promo" not in left(elsewhere, one(country=None, consent=soft), NOW)


def test_marketing_texts_in_the_united_states_need_it_in_writing() -> None:
    written = rule("consent_basis", countries=["US"], channels=["sms"], bases={"express_written": None})
    for basis in ("express", "implied_purchase", None):
        kept = left(written, one(country="US", consent={SMS: {"basis": basis}, EMAIL: {"basis": basis}}), NOW)
        assert "sms|now|promo" not in kept
        assert {"email|now|promo", "sms|now|receipt"} <= kept
    assert "sms|now|promo" in left(written, one(country="US", consent={SMS: {"basis": "express_written"}}), NOW)


def test_a_soft_opt_in_covers_similar_products_only() -> None:
    soft = rule("consent_basis", countries=["DE"], bases={"express": None, "soft_opt_in": None})
    contact = one(country="DE", consent={EMAIL: {"basis": "soft_opt_in"}})
    kept = left(soft, contact, NOW)
    assert "email|now|similar" in kept
    assert "email|now|promo" not in kept
    assert found(soft, contact, NOW, "email|now|promo").limit == "own similar products"
    assert "email|now|promo" in left(soft, one(country="DE", consent={EMAIL: {"basis": "express"}}), NOW)


def test_a_withdrawal_withdraws_everything() -> None:
    given = {pair: {"at": utc(2025, 1, 1)} for pair in (EMAIL, ("email", "transactional"), ("sms", "transactional"))}
    contact = one(consent={**given, SMS: {"level": 0, "at": utc(2026, 1, 1)}})
    assert left(rule("revoke_all"), contact, NOW) == set()
    assert "sms / promotional" in found(rule("revoke_all"), contact, NOW, "email|now|receipt").reason
    only_sms = left(rule("revoke_all", channels=["sms"]), contact, NOW)
    assert {"email|now|promo", "email|now|receipt"} <= only_sms
    assert "sms|now|receipt" not in only_sms


def test_a_consent_given_after_the_withdrawal_stands() -> None:
    refused = {"level": 0, "at": utc(2026, 1, 1)}
    later = one(consent={SMS: refused, EMAIL: {"at": utc(2026, 1, 1) + MICROSECOND}})
    assert {name for name in left(rule("revoke_all"), later, NOW) if "now" in name} == {
        "email|now|promo",
        "email|now|similar",
    }
    same = one(consent={SMS: refused, EMAIL: {"at": utc(2026, 1, 1)}})
    assert left(rule("revoke_all"), same, NOW) == set()
    undated = one(consent={SMS: {"level": 0}, EMAIL: {"at": utc(2026, 10, 1)}})
    assert left(rule("revoke_all"), undated, NOW) == set()


def test_no_refusal_no_effect() -> None:
    assert len(left(rule("revoke_all"), one(consent={SMS: {"level": -1}}), NOW)) == CATALOG.k - 1


@pytest.mark.parametrize(("objection", "passes"), [("no", True), ("yes", False), (None, False)])
def test_an_objection_to_profiling_is_absolute(objection: str | None, passes: bool) -> None:
    kept = left(rule("profiling"), one(profiling_objection=objection), NOW)
    assert ("email|now|promo" in kept) == passes
    assert "email|now|receipt" in kept


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("consent_basis", {"bases": {}}),
        ("consent_basis", {"bases": {"hearsay": None}}),
        ("consent_basis", {"bases": {"express": -1}}),
        ("consent_basis", {"bases": {"express": None}, "countries": ["UK"]}),
        ("consent_basis", {"bases": {"express": None}, "applies_to": ["fun"]}),
        ("revoke_all", {"applies_to": ["fun"]}),
        ("profiling", {"off": True}),
    ],
)
def test_parameters_are_checked(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        make_rule(name, params)
