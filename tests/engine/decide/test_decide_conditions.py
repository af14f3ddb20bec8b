"""engine/decide/batch.py under the sender's conditions: thinned sets are logged, propensities exact."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import plain_contacts
from engine.decide.batch import decide_batch
from engine.decide.plan import Plan, decision_meta
from engine.eligibility import unpack
from engine.guardrails.brakes import tiers_on
from engine.guardrails.conditions import ChannelHealth, Conditions, conditions_from
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import pack_from
from engine.guardrails.replay.inputs import contacts_from_rule_inputs
from policies.peers.constant import UniformPolicy

CATALOG = Catalog(
    name="thinned",
    channels=("email", "sms"),
    hours=("now",),
    arms=tuple(Arm(id=name, approved=True) for name in ("a", "b", "c")),
)
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
ENTRY = {"kind": "eng", "jurisdiction": "any", "source": "test", "checked_on": "2026-11-22"}
SLOW = {"rate": "opt_outs", "tiers": [{"name": "slow", "effect": "slow", "above": 0.01, "share": 0.3}]}
PACK = pack_from(
    {
        "name": "t",
        "version": "1",
        "rules": [
            {"id": "C1", "rule": "consent", **ENTRY},
            {"id": "D8", "rule": "brake", "params": {"brake": SLOW}, **ENTRY},
            {"id": "O11", "rule": "operations", **ENTRY},
        ],
    }
)
WORLD = Conditions(killed=False, health={"email": ChannelHealth(10_000, opt_outs=200), "sms": ChannelHealth(10_000)})
N = 20_000


def plan(**changes: Any) -> Plan:
    return replace(
        Plan(Guardrails(PACK, CATALOG), UniformPolicy(), "uniform", contact_key="key", conditions=WORLD), **changes
    )


@pytest.fixture(scope="module")
def people():
    ids = np.array([f"person {row}" for row in range(N)], dtype=object)
    return plain_contacts(ids, CATALOG, consent=np.ones((N, 2, 2), dtype=np.int8))


@pytest.fixture(scope="module")
def decided(people):
    return decide_batch(plan(), people, NOW).table


def eligible_of(table: Any) -> np.ndarray:
    packed = np.frombuffer(b"".join(table["eligible"].to_pylist()), dtype=np.uint8).reshape(table.num_rows, -1)
    return unpack(packed, CATALOG.k)


def test_the_logged_sets_are_the_thinned_ones(decided) -> None:
    eligible = eligible_of(decided)
    email = eligible[:, 1:4]
    assert (email.all(axis=1) | ~email.any(axis=1)).all()
    assert abs(email[:, 0].mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / N)
    assert eligible[:, 4:].all()
    action, propensity = decided["action"].to_numpy(), decided["propensity"].to_numpy()
    assert eligible[np.arange(N), action].all()
    np.testing.assert_allclose(propensity, 1 / eligible.sum(axis=1), rtol=1e-12)


def test_ips_over_thinned_sets_is_unbiased(decided) -> None:
    """For the policy that takes the first send of its set; the true value is a sum over the logged sets."""
    eligible = eligible_of(decided)
    rng = np.random.default_rng(3)
    reward = rng.random((N, CATALOG.k))
    first = eligible[:, 1:].argmax(axis=1) + 1
    action, propensity = decided["action"].to_numpy(), decided["propensity"].to_numpy()
    rows = np.arange(N)
    terms = (action == first) * reward[rows, action] / propensity
    truth = reward[rows, first].mean()
    assert abs(terms.mean() - truth) < 5 * terms.std() / np.sqrt(N)


def test_the_log_alone_repeats_every_removal(people, decided) -> None:
    """Pseudonyms, rule inputs and the footer's conditions give the same sets: nothing else was read."""
    meta = decision_meta(plan(), people, source="test", policy_folder="")
    rows = 200
    again = contacts_from_rule_inputs(
        decided["rule_inputs"].to_pylist()[:rows], decided["contact_id"].to_pylist()[:rows], CATALOG
    )
    conditions = conditions_from(meta.conditions)
    assert conditions == plan().sender
    eligibility, _ = Guardrails(pack_from(meta.pack), CATALOG).eligibility(again, NOW, conditions)
    np.testing.assert_array_equal(eligibility.dense(), eligible_of(decided)[:rows])


def test_nothing_said_sends_nothing(people) -> None:
    few = people.take(slice(0, 50))
    silent = decide_batch(plan(conditions=Conditions()), few, NOW)
    assert not silent.action.any()
    assert {name: count.contacts for name, count in silent.removed.rules.items()}["O11"] == 50


def test_the_plans_use_case_is_the_conditions(people) -> None:
    few = people.take(slice(0, 50))
    paused = Conditions(killed=False, health=WORLD.health, paused_use_cases=frozenset({"winback"}))
    assert not decide_batch(plan(conditions=paused, use_case="winback"), few, NOW).action.any()
    assert decide_batch(plan(conditions=paused, use_case="welcome"), few, NOW).action.any()


def test_brakes_that_are_on_are_named() -> None:
    rules = [rule for _, rule in plan().guardrails.rules]
    assert tiers_on(rules, WORLD) == {"email opt_outs": "slow"}
    assert tiers_on(rules, Conditions()) == {}
