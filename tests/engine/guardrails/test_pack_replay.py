"""Policies that obey one more rule: weights by hand, the plan that decided found again, prices near the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import NO, YES, ContactBatch, plain_contacts
from engine.eligibility import pack as packed
from engine.errors import DataError
from engine.features import ContextBatch, FeatureSchema
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, pack_from
from engine.guardrails.replay.log import LogRules, ReplayCounts, RuleTarget, deciding_plan
from engine.guardrails.replay.texts import rule_inputs
from engine.records.rounds import RoundBatch
from engine.time.localtime import instant_of
from engine.types import BoolArray, FloatArray
from tests.engine.ope.asking import evaluate

NOW = datetime(2026, 7, 15, 13, tzinfo=UTC)
CATALOG = Catalog(
    name="p",
    channels=("email", "sms"),
    hours=("now",),
    arms=(Arm(id="a", approved=True), Arm(id="b", approved=True)),
)
K = CATALOG.k  # hold, email a, email b, sms a, sms b
WHENCE = {"kind": "eng", "jurisdiction": "any", "source": "s", "checked_on": "2026-11-01"}
NO_SMS = {"caps": [{"max": 0, "window_s": 60, "channels": ["sms"]}]}
NOTHING = {"caps": [{"max": 0, "window_s": 60}]}


def pack_of(**params: Any) -> Pack:
    rules = [{"id": "C1", "rule": "consent", **WHENCE}]
    rules += [{"id": name, "rule": "frequency", "params": value, **WHENCE} for name, value in params.items()]
    return pack_from({"name": "p", "version": "1", "rules": rules})


PACK = pack_of(NO_SMS=NO_SMS, NOTHING=NOTHING)


class Leaning:
    """Twice as likely to take each later action."""

    name = "leaning"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        raw = eligible * 2.0 ** np.arange(eligible.shape[1])
        return raw / raw.sum(axis=1, keepdims=True)


def people(n: int) -> ContactBatch:
    """Consent for everything, but for SMS of every third."""
    consent = np.full((n, 2, 2), YES, dtype=np.int8)
    consent[::3, 1] = NO
    return plain_contacts(
        np.array([f"c{row}" for row in range(n)], dtype=object),
        CATALOG,
        zones=("UTC",),
        zone_code=np.zeros(n, dtype=np.int32),
        consent=consent,
        suppressed=np.zeros((n, 2), dtype=np.int8),
        history_known=np.ones(n, dtype=np.bool_),
    )


def eligible_of(n: int) -> BoolArray:
    return Guardrails(pack_of(), CATALOG).eligibility(people(n), NOW)[0].dense()


def logged(full: FloatArray, seed: int, chunk: int = 0) -> RoundBatch:
    """Rounds drawn from a distribution; the reward is the action's number and noise."""
    rng = np.random.default_rng([seed, chunk])
    n = len(full)
    action = (full.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1).astype(np.int32)
    inputs = np.empty(n, dtype=object)
    inputs[:] = rule_inputs(people(n)).to_pylist()
    ids = np.array([f"d{chunk}-{row}" for row in range(n)], dtype=object)
    return RoundBatch(
        chunk=chunk,
        decision_id=ids,
        context=ContextBatch(FeatureSchema(features=()), {}, n),
        action=action,
        propensity=full[np.arange(n), action],
        eligible=packed(eligible_of(n)),
        k=K,
        cluster=np.arange(n).astype(np.uint64) + np.uint64(chunk * 10_000),
        rewards={"m": action + rng.normal(0, 0.5, n)},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.full(n, instant_of(NOW)),
        extra={"rule_inputs": inputs, "contact_id": ids},
    )


def mixture(n: int, uniform: float) -> FloatArray:
    eligible = eligible_of(n)
    context = ContextBatch(FeatureSchema(features=()), {}, n)
    full = uniform * eligible / eligible.sum(axis=1, keepdims=True)
    return full + (1 - uniform) * Leaning().distribution(context, eligible)


class Rounds:
    """Re-iterable blocks."""

    def __init__(self, *blocks: RoundBatch) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[RoundBatch]:
        return iter(self.blocks)


def rules() -> LogRules:
    return LogRules(Guardrails(PACK, CATALOG))


def test_verdicts_and_counts_by_hand() -> None:
    block = logged(mixture(90, 0.3), 1)
    verdicts = rules().verdicts(block)
    assert verdicts.of("NO_SMS")[:, [0, 1, 2]].any() == np.False_
    assert verdicts.of("NO_SMS")[:, [3, 4]].all()
    assert verdicts.of("C1")[::3, 3:].all()
    counts = ReplayCounts()
    counts.add(block, verdicts)
    sms, sends = int((block.action > 2).sum()), int((block.action > 0).sum())
    assert (counts.decisions, counts.sends, counts.blocked) == (90, sends, sends)
    assert (counts.by_rule["C1"], counts.by_rule["NO_SMS"], counts.by_rule["NOTHING"]) == (0, sms, sends)
    assert (counts.alone["NO_SMS"], counts.alone["NOTHING"]) == (0, sends - sms)
    assert (counts.reached["NO_SMS"], counts.reached["NOTHING"], counts.reached["C1"]) == (60, 90, 0)
    held = block.action == 0
    held[::3] = False
    assert (counts.mixed_holds["NO_SMS"], counts.mixed_holds["NOTHING"]) == (int(held.sum()), 0)


def test_weights_of_an_obeying_policy_by_hand() -> None:
    """Uniform over five: without SMS hold has 3/5 (hold), or all three that are left 1/3 (next)."""
    eligible = eligible_of(6)
    block = logged(eligible / eligible.sum(axis=1, keepdims=True), 0)
    third = np.arange(6) % 3 == 0
    block = replace(block, action=np.array([0, 0, 1, 1, 3, 2], dtype=np.int32), propensity=np.where(third, 1 / 3, 0.2))
    plan = deciding_plan(Rounds(block), None)
    assert plan is not None
    assert plan.uniform == pytest.approx(1.0)
    hold = RuleTarget("NO_SMS", rules(), plan).probabilities(block)
    assert hold.logged == pytest.approx([1 / 3, 3 / 5, 1 / 5, 1 / 3, 0.0, 1 / 5])
    following = RuleTarget("NO_SMS", rules(), plan, "next").probabilities(block)
    assert following.logged == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 3, 0.0, 1 / 3])
    blind = RuleTarget("NOTHING", rules(), None).probabilities(block)
    assert blind.logged == pytest.approx([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("uniform", [0.0, 0.05, 0.3, 1.0])
def test_the_share_of_the_plan_is_found_again(uniform: float) -> None:
    block = logged(mixture(300, uniform), 2)
    plan = deciding_plan(Rounds(block), Leaning())
    assert plan is not None
    assert np.abs(plan.distribution(block, block.eligible_dense()) - mixture(300, uniform)).max() < 1e-9


def test_a_plan_that_does_not_give_the_logged_propensities_is_refused() -> None:
    block = logged(mixture(300, 0.3), 2)
    assert deciding_plan(Rounds(block), None) is None
    wrong = block.propensity.copy()
    wrong[17] *= 0.99
    assert deciding_plan(Rounds(replace(block, propensity=wrong)), Leaning()) is None
    wrong[17] = np.nan
    assert deciding_plan(Rounds(replace(block, propensity=wrong)), Leaning()) is None


@pytest.mark.parametrize("instead", ["hold", "next"])
@pytest.mark.parametrize("rule", ["NO_SMS", "NOTHING"])
def test_prices_are_near_the_truth(rule: str, instead: Any) -> None:
    """True values are sums over the known distribution; 20 logs of 2,000 decisions each."""
    n, logs = 2_000, 20
    full = mixture(n, 0.4)
    blocks = [logged(full, 5, chunk) for chunk in range(logs)]
    plan = deciding_plan(Rounds(*blocks), Leaning())
    assert plan is not None
    target = RuleTarget(rule, rules(), plan, instead)
    gone = rules().verdicts(blocks[0]).of(rule)
    worth = np.arange(K, dtype=float)
    if instead == "hold":
        obeying = np.where(gone, 0.0, full)
        obeying[:, 0] += (full * gone).sum(axis=1)
    else:
        obeying = plan.distribution(blocks[0], eligible_of(n) & ~gone)
    truth = float(((full - obeying) * worth).sum(axis=1).mean())
    found = evaluate(Rounds(*blocks), [target], metric="m", reward_range=(-3, 8), alpha=0.001)
    for estimate in found.results:
        assert estimate.difference is not None
        assert estimate.difference.low is not None
        assert estimate.difference.high is not None
        assert estimate.unsupported_mass == 0
        assert estimate.mean_weight == pytest.approx(1.0, abs=0.03)
        assert -estimate.difference.high <= truth <= -estimate.difference.low
        assert estimate.difference.high - estimate.difference.low < 0.25 * truth


def test_decisions_that_do_not_say_what_the_rules_read_are_refused() -> None:
    block = logged(mixture(5, 0.3), 1)
    block.extra["rule_inputs"][3] = None
    with pytest.raises(DataError, match="'d0-3' does not say what the rules read"):
        rules().verdicts(block)
