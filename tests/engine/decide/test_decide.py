"""One batch of decisions: any batch size, exact propensities over any history, a stable holdout, unbiased values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch, plain_contacts
from engine.decide.batch import decide_batch
from engine.decide.decided import Decided, Summary
from engine.decide.groups import groups_of, held_out
from engine.decide.plan import Plan
from engine.eligibility import unpack
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import pack_from
from engine.identity import keyed_hash, pseudonyms
from engine.records import schema as records
from engine.types import BoolArray, ByteArray, FloatArray

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
CATALOG = Catalog(
    name="decide",
    channels=("email", "sms"),
    hours=("now",),
    arms=(Arm(id="a", approved=True), Arm(id="b", approved=True, purpose="transactional"), Arm(id="c", approved=True)),
)
ENTRY = {"kind": "legal", "jurisdiction": "any", "source": "a test", "checked_on": "2026-11-22"}
PACK = {
    "name": "test",
    "version": "1",
    "rules": [{"id": "C1", "rule": "consent", **ENTRY}, {"id": "K1", "rule": "suppression", **ENTRY}],
}
K = CATALOG.k


@dataclass(frozen=True)
class Weighted:
    """Fixed weights, normalised over what is eligible."""

    weights: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    name: str = "weighted"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        mass = np.where(eligible, np.array(self.weights), 0.0)
        return mass / mass.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Broken:
    """Answers what is no distribution over the eligible set."""

    kind: str
    name: str = "broken"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        even = np.full(eligible.shape, 1.0 / eligible.shape[1])
        return {"removed": even, "sum": even * eligible * 0.5, "nan": even * np.nan, "shape": even[:, 1:]}[self.kind]


def plan(**changes: Any) -> Plan:
    return Plan(
        **{
            "guardrails": Guardrails(pack_from(PACK), CATALOG),
            "policy": Weighted(),
            "policy_version": "v1",
            "contact_key": "tactful",
            **changes,
        }
    )


def people(n: int, seed: int = 0) -> ContactBatch:
    """Consents of every pattern, a tenth unknown; a tenth suppressed on a channel."""
    rng = np.random.default_rng(seed)
    return plain_contacts(
        np.array([f"{seed}/{i}" for i in range(n)], dtype=object),
        CATALOG,
        zones=("UTC",),
        zone_code=np.zeros(n, dtype=np.int32),
        consent=rng.choice([1, 0, -1], p=[0.7, 0.2, 0.1], size=(n, 2, 2)).astype(np.int8),
        suppressed=rng.choice([0, 1, -1], p=[0.8, 0.1, 0.1], size=(n, 2)).astype(np.int8),
    )


def eligible_of(table: pa.Table) -> BoolArray:
    packed: ByteArray = np.frombuffer(b"".join(table["eligible"].to_pylist()), np.uint8).reshape(len(table), -1)
    return unpack(packed, K)


def batches(contacts: ContactBatch, rows: int) -> Iterator[ContactBatch]:
    for start in range(0, contacts.n, rows):
        yield contacts.take(slice(start, start + rows))


def values(decided: Decided) -> dict[str, list[Any]]:
    return decided.table.to_pydict()


MIXED = {"control_share": 0.2, "uniform_share": 0.3}


@pytest.mark.parametrize("shares", [{}, MIXED])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_same_decisions_in_any_block(rows: int, shares: dict[str, float]) -> None:
    contacts, asked = people(200), plan(seed=4, **shares)
    whole = values(decide_batch(asked, contacts, NOW))
    parts = [values(decide_batch(asked, batch, NOW)) for batch in batches(contacts, rows)]
    assert {name: [v for part in parts for v in part[name]] for name in whole} == whole


def test_order_does_not_matter() -> None:
    contacts, asked = people(100), plan(**MIXED)
    turned = values(decide_batch(asked, contacts.take(np.arange(100)[::-1]), NOW))
    assert {name: column[::-1] for name, column in turned.items()} == values(decide_batch(asked, contacts, NOW))


@pytest.mark.parametrize(
    ("change", "same_id"),
    [({"seed": 1}, True), ({"use_case": "other"}, False), ({"contact_key": "other"}, False)],
)
def test_what_the_draw_depends_on(change: dict[str, Any], same_id: bool) -> None:
    contacts = people(300)
    first, other = (decide_batch(plan(**more), contacts, NOW) for more in ({}, change))
    assert (first.action != other.action).mean() > 0.2
    assert first.table["decision_id"].equals(other.table["decision_id"]) == same_id
    assert first.table["eligible"].equals(other.table["eligible"])


def test_another_instant_is_another_decision_of_the_same_contact() -> None:
    contacts = people(50)
    first, other = (decide_batch(plan(), contacts, at).table for at in (NOW, NOW + timedelta(days=1)))
    assert not set(first["decision_id"].to_pylist()) & set(other["decision_id"].to_pylist())
    assert first["contact_id"].equals(other["contact_id"])
    assert first["cluster"].equals(other["cluster"])
    assert not set(first["contact_id"].to_pylist()) & set(contacts.contact_id)


def test_propensity_is_the_policys_probability() -> None:
    decided = decide_batch(plan(), people(500), NOW)
    eligible = eligible_of(decided.table)
    weights = np.arange(1.0, 8.0)
    expected = weights[decided.action] / (eligible * weights).sum(axis=1)
    np.testing.assert_allclose(decided.table["propensity"].to_numpy(), expected, rtol=1e-12)
    assert eligible[np.arange(500), decided.action].all()


def mixture(eligible: BoolArray, uniform: float) -> FloatArray:
    """(n, k) by brute force: the distribution of the action over the draw of the slice too."""
    weights = eligible * np.arange(1.0, 8.0)
    total: FloatArray = (1 - uniform) * weights / weights.sum(axis=1, keepdims=True)
    total += uniform * eligible / eligible.sum(axis=1, keepdims=True)
    return total


def available_of(table: pa.Table) -> BoolArray:
    return np.array(table["available"].to_pylist(), dtype=np.bool_)


@pytest.mark.parametrize(
    ("control", "uniform"), [(0.2, 0.3), (0.0, 1.0), (1.0, 0.0), (0.3, 0.0), (0.0, 0.4), (0.5, 0.5), (0.9, 0.1)]
)
def test_propensity_is_over_the_draw_of_the_slice(control: float, uniform: float) -> None:
    decided = decide_batch(plan(control_share=control, uniform_share=uniform), people(800), NOW)
    drawn = np.array(decided.table["group"].to_pylist()) != "control"
    expected = mixture(eligible_of(decided.table), uniform / (1 - control) if control < 1 else 0.0)
    np.testing.assert_allclose(expected.sum(axis=1), 1.0, rtol=1e-12)
    chosen = np.where(drawn, expected[np.arange(800), decided.action], 1.0)
    np.testing.assert_allclose(decided.table["propensity"].to_numpy(), chosen, rtol=1e-12)
    assert (available_of(decided.table) == drawn).all()
    assert (decided.action[~drawn] == 0).all()
    assert drawn.all() == (control == 0.0)
    assert drawn.any() == (control < 1.0)


def test_actions_come_as_often_as_their_propensities_say() -> None:
    """Over 400 seeds each action of each contact, in the slice or not, within 5 standard errors of its probability."""
    contacts, seeds = people(20), 400
    eligible = eligible_of(decide_batch(plan(), contacts, NOW).table)
    expected = mixture(eligible, 0.3 / 0.8)
    times, drawn = np.zeros((20, K)), np.zeros((20, 1))
    for seed in range(seeds):
        decided = decide_batch(plan(seed=seed, **MIXED), contacts, NOW)
        rows = np.flatnonzero(available_of(decided.table))
        times[rows, decided.action[rows]] += 1
        drawn[rows] += 1
    error = np.sqrt(expected * (1 - expected) / drawn)
    assert (np.abs(times / drawn - expected) <= 5 * error + 1e-12).all()


def weights_by_history(shares: dict[str, float], days: int) -> list[tuple[float, float]]:
    """(mean weight of an action, its standard error) in each stratum of earlier sends, from the second half of days."""
    contacts = people(6000)
    policy = Weighted((1e-9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), "sends")
    sends, found = np.zeros(contacts.n, dtype=int), []
    weights: list[FloatArray] = []
    strata: list[np.ndarray[tuple[int], np.dtype[np.int_]]] = []
    for day in range(days):
        table = decide_batch(plan(policy=policy, **shares), contacts, NOW + timedelta(days=day)).table
        eligible, action = eligible_of(table), table["action"].to_numpy()
        # Those who may be sent to at all: everybody else holds for sure.
        rows = np.flatnonzero(available_of(table) & (eligible.sum(axis=1) > 1))
        weight = np.where(eligible[rows], 0.0, np.nan)
        weight[np.arange(len(rows)), action[rows]] = 1.0 / table["propensity"].to_numpy()[rows]
        if day >= days // 2:
            weights.append(weight)
            strata.append(np.minimum(day - sends[rows], 2))
        sends += action != 0
    every, stratum = np.concatenate(weights), np.concatenate(strata)
    for holds in range(3):
        for action in range(K):
            of = every[stratum == holds, action]
            of = of[~np.isnan(of)]
            assert len(of) > 500
            found.append((float(of.mean()), float(of.std(ddof=1) / np.sqrt(len(of)))))
    return found


@pytest.mark.parametrize("shares", [{"control_share": 0.2, "uniform_share": 0.4}, {"uniform_share": 0.4}])
def test_propensities_hold_given_the_history_of_a_contact(shares: dict[str, float]) -> None:
    """The policy always sends, so that earlier holds tell who was in a group; weights must average 1 all the same."""
    for mean, error in weights_by_history(shares, 8):
        assert abs(mean - 1.0) < 4 * error


def test_control_is_for_good_and_the_slice_for_one_decision() -> None:
    contacts, asked = people(4000), plan(**MIXED)
    first, later = (decide_batch(asked, contacts, at).table for at in (NOW, NOW + timedelta(days=30)))
    group = np.array(first["group"].to_pylist())
    then = np.array(later["group"].to_pylist())
    assert ((group == "control") == (then == "control")).all()
    free = group != "control"
    both = (group[free] == "uniform") & (then[free] == "uniform")
    share = 0.3 / 0.8
    assert abs(both.mean() - share**2) < 5 * np.sqrt(share**2 * (1 - share**2) / free.sum())
    for name, share in (("control", 0.2), ("uniform", 0.3), ("treatment", 0.5)):
        # Five standard deviations of a binomial share.
        assert abs((group == name).mean() - share) < 5 * np.sqrt(share * (1 - share) / 4000)
    assert (first["action"].to_numpy()[group == "control"] == 0).all()
    cluster = keyed_hash(pseudonyms(contacts.contact_id, "contact/tactful"), "cluster")
    ids = np.array(first["decision_id"].to_pylist(), dtype=object)
    assert (np.array(records.GROUPS)[groups_of(cluster, ids, asked)] == group).all()
    assert (held_out(cluster, asked) == (group == "control")).all()
    for change in ({"seed": 1}, {"use_case": "other"}):
        other = replace(asked, **change)
        assert (held_out(cluster, other) != held_out(cluster, asked)).any()
        assert (groups_of(cluster, ids, other)[free] != groups_of(cluster, ids, asked)[free]).mean() > 0.3


def test_growing_the_control_group_takes_nobody_out_of_it() -> None:
    """A contact that is held out stays held out when the share is raised in the middle of a test."""
    contacts = people(1000)
    held = [
        set(
            np.flatnonzero(np.array(decide_batch(plan(control_share=share), contacts, NOW).table["group"]) == "control")
        )
        for share in (0.1, 0.2)
    ]
    assert held[0] < held[1]


def test_value_of_uniform_is_unbiased_over_seeds() -> None:
    """IPS of the uniform policy on available rows, 200 seeds x 400 contacts, within 4 standard errors."""
    contacts = people(400, seed=9)
    reward = np.random.default_rng(1).random((400, K))
    eligible = eligible_of(decide_batch(plan(), contacts, NOW).table)
    target = eligible / eligible.sum(axis=1, keepdims=True)
    truth = (target * reward).sum(axis=1).mean()
    rows = np.arange(400)
    found = []
    for seed in range(200):
        decided = decide_batch(plan(seed=seed, **MIXED), contacts, NOW)
        weight = target[rows, decided.action] / decided.table["propensity"].to_numpy()
        # Control is drawn by contact, so its share of a seed is not exact: over its expectation the sum is unbiased.
        earned = weight * reward[rows, decided.action] * available_of(decided.table)
        found.append(earned.mean() / (1 - MIXED["control_share"]))
    assert abs(np.mean(found) - truth) < 4 * np.std(found, ddof=1) / np.sqrt(len(found))
    # Sharp enough to see a bias of two percent.
    assert np.std(found, ddof=1) / np.sqrt(len(found)) < 0.005 * truth


def test_nobody_is_sent_to_without_consent_or_while_suppressed() -> None:
    contacts = people(2000, seed=3)
    decided = decide_batch(plan(uniform_share=1.0), contacts, NOW)
    channel, _, arm = CATALOG.split(decided.action)
    sent = np.flatnonzero(channel >= 0)
    assert len(sent) > 500
    purpose = CATALOG.purpose_codes[arm[sent]]
    assert (contacts.consent[sent, channel[sent], purpose] == 1).all()
    assert (contacts.suppressed[sent, channel[sent]] == 0).all()


def test_record_says_what_was_decided() -> None:
    decided = decide_batch(plan(use_case="renewal", seed=8), people(300), NOW)
    for row in decided.table.to_pylist():
        held = row["action"] == 0
        assert row["action_name"] == CATALOG.action_names[row["action"]]
        assert row["state"] == ("dispatched" if held else "decided")
        assert all((row[name] is None) == held for name in ("channel", "arm", "send_hour", "send_at"))
        assert held or row["send_at"] >= NOW
        assert (row["use_case"], row["seed"], row["policy_version"], row["decided_at"]) == ("renewal", 8, "v1", NOW)
        assert row["catalog_version"] == CATALOG.version
        assert row["eligible"][0] & 1


def test_summary_adds_up_over_blocks() -> None:
    contacts, asked, total = people(500), plan(**MIXED), Summary()
    for batch in batches(contacts, 61):
        total.add(decide_batch(asked, batch, NOW))
    whole = Summary()
    whole.add(decide_batch(asked, contacts, NOW))
    assert total.by_action == whole.by_action
    assert sum(total.by_action.values()) == total.removed.contacts == 500
    assert total.removed == whole.removed
    assert sum(total.sends(CATALOG).values()) == 500 - total.by_action[0]


def test_no_contacts_no_decisions() -> None:
    decided = decide_batch(plan(**MIXED), people(0), NOW)
    assert (len(decided.table), len(decided.action), decided.removed.contacts) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["removed", "sum", "nan", "shape"])
@pytest.mark.parametrize("shares", [{}, MIXED])
def test_a_policy_that_gives_no_distribution_is_refused(kind: str, shares: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="distribution"):
        decide_batch(plan(policy=Broken(kind), **shares), people(50), NOW)


def test_now_must_be_aware() -> None:
    with pytest.raises(ParameterError, match=r"aware|zone|offset"):
        decide_batch(plan(), people(3), NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    "shares",
    [
        {"control_share": -0.1},
        {"uniform_share": 1.1},
        {"control_share": float("nan")},
        {"control_share": 0.6, "uniform_share": 0.6},
    ],
)
def test_shares_must_be_shares(shares: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="share"):
        plan(**shares)
