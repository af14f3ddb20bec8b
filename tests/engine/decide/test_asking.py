"""What a policy does to what it is given changes nothing: not the check of its answer, not the log, on any path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from engine.contacts.contacts import ContactBatch
from engine.content.drawing import AssemblyDrawer, probability_of
from engine.content.eligibility import catalog_groups
from engine.content.target import BlockTarget
from engine.decide.asking import checked_choice, choice_of, distribution_of
from engine.decide.batch import decide_batch
from engine.decide.drawing import draw_in_groups
from engine.decide.plan import Plan
from engine.eligibility import unpack
from engine.errors import ParameterError
from engine.features import PRESENT, Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import pack_from
from engine.limits.batch import SharedLimits
from engine.limits.limit_set import limits_from
from engine.limits.quota import SqlQuota
from engine.ope.target import PolicyTarget
from engine.records.rounds import RoundBatch
from engine.records.schema import GROUPS
from engine.types import HOLD, BoolArray, FloatArray
from policies.peers.constant import UniformPolicy
from policies.prices.priced import ThinnedPolicy
from policies.wrappers.ablated import NarrowedPolicy
from tests.engine.content.modular_worlds import random_eligibility, small_catalog
from tests.engine.decide.hostile_policies import Silent, SilentBatches, SilentFused
from tests.engine.decide.test_decide import CATALOG, NOW, PACK, eligible_of, people

N = 120
SCHEMA = FeatureSchema(
    features=tuple(
        FeatureSpec(
            name=name,
            type=kind,
            unit="count",
            source="a test",
            collected_where="a test",
            customer_benefit="fewer and better messages",
        )
        for name, kind in (("visits", "numeric"), ("motive", "categorical"))
    )
)


def context_of(n: int) -> ContextBatch:
    state = np.full(n, PRESENT, dtype=np.uint8)
    columns = {
        "visits": Column(np.arange(n, dtype=np.float64), state.copy()),
        "motive": Column((np.arange(n) % 2).astype(np.int32), state.copy(), ("price", "quality")),
    }
    return ContextBatch(SCHEMA, columns, n)


def contacts() -> ContactBatch:
    return replace(people(N), context=context_of(N))


@pytest.fixture(scope="module")
def quota(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlQuota]:
    with SqlQuota(f"sqlite:///{tmp_path_factory.mktemp('quota')}/q.sqlite") as store:
        yield store


SHARES = {"plain": {}, "slice": {"control_share": 0.2, "uniform_share": 0.4}, "slice alone": {"uniform_share": 1.0}}
# A limit is used up by whoever decides under its name.
_NUMBERS = count()
PATHS = [(shares, limited) for shares in SHARES for limited in (False, True)]


def plan(policy: Any, quota: SqlQuota, shares: str, *, limited: bool, name: str) -> Plan:
    limits = None
    if limited:
        said = {"name": "some", "volume": [{"name": f"{name}, {shares}, {next(_NUMBERS)}", "max_per_day": 30}]}
        limits = SharedLimits(limits_from(said), quota)
    return Plan(
        Guardrails(pack_from(PACK), CATALOG),
        policy,
        name,
        seed=3,
        limits=limits,
        contact_key="of a test",
        **SHARES[shares],
    )


def without_names(table: Any) -> dict[str, Any]:
    """All but the version of the policy, and the inputs of the rules: they name the limit."""
    return table.drop(["policy_version", "rule_inputs"]).to_pydict()


@pytest.mark.parametrize(("shares", "limited"), PATHS)
@pytest.mark.parametrize("kind", [Silent, SilentFused])
def test_writes_change_no_decision_and_no_record(kind: Any, shares: str, limited: bool, quota: SqlQuota) -> None:
    given = contacts()
    honest = decide_batch(plan(UniformPolicy(), quota, shares, limited=limited, name="honest"), contacts(), NOW)
    policy = kind()
    found = decide_batch(plan(policy, quota, shares, limited=limited, name=kind.__name__), given, NOW)
    assert without_names(found.table) == without_names(honest.table)
    assert given.context.columns.keys() == {"visits", "motive"}
    assert given.context.columns["visits"].values.tolist() == list(range(N))
    assert CATALOG.purpose_codes.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("shares", "limited"), PATHS)
@pytest.mark.parametrize("kind", [Silent, SilentFused])
def test_opening_the_eligible_set_sends_nothing(kind: Any, shares: str, limited: bool, quota: SqlQuota) -> None:
    greedy = plan(kind(greedy=True), quota, shares, limited=limited, name=f"greedy {kind.__name__}")
    with pytest.raises(ParameterError, match="removed"):
        decide_batch(greedy, contacts(), NOW)


def test_the_logged_set_is_the_rules_one(quota: SqlQuota) -> None:
    given = contacts()
    rules, _ = Guardrails(pack_from(PACK), CATALOG).eligibility(given, NOW)
    for kind in (Silent, SilentFused):
        found = decide_batch(plan(kind(), quota, "plain", limited=False, name="x"), given, NOW)
        assert (eligible_of(found.table) == rules.dense()).all()
        assert rules.dense()[np.arange(N), found.action].all()


@dataclass(frozen=True)
class Open:
    """Writes without hiding it."""

    what: str
    name: str = "open"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        if self.what == "eligible":
            eligible[:, 1:] = True
        elif self.what == "flags":
            eligible.setflags(write=True)
        else:
            context.columns["visits"].values += 1
        return UniformPolicy().distribution(context, eligible)


@pytest.mark.parametrize("what", ["eligible", "flags", "context"])
def test_an_open_write_is_named(what: str, quota: SqlQuota) -> None:
    with pytest.raises(ParameterError, match="`inputs` of open must be left as they are"):
        decide_batch(plan(Open(what), quota, "plain", limited=False, name="open"), contacts(), NOW)


def test_other_errors_of_a_policy_are_its_own() -> None:
    class Failing(Silent):
        def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
            raise ValueError("a matter of its own")

    with pytest.raises(ValueError, match=r"^a matter of its own$"):
        distribution_of(Failing(), context_of(1), np.ones((1, 3), dtype=np.bool_))


@pytest.mark.parametrize(
    ("propensity", "what"),
    [
        (lambda own: own * 0, "in \\(0, 1\\]"),
        (lambda own: own + 1, "in \\(0, 1\\]"),
        (lambda own: own * np.nan, "in \\(0, 1\\]"),
        (lambda own: own[:-1], "floats"),
        (lambda own: own.astype(object), "floats"),
        (lambda own: own > 0, "floats"),
    ],
)
def test_a_fused_propensity_is_a_probability(propensity: Any, what: str, quota: SqlQuota) -> None:
    policy = SilentFused(propensity=propensity)
    with pytest.raises(ParameterError, match=what):
        decide_batch(plan(policy, quota, "plain", limited=False, name="x"), contacts(), NOW)


@pytest.mark.parametrize("action", [-1, CATALOG.k, 2**31, 0.5, "1"])
def test_a_fused_action_is_one_of_the_catalog(action: Any) -> None:
    rules, _ = Guardrails(pack_from(PACK), CATALOG).eligibility(people(2), NOW)
    with pytest.raises(ParameterError, match="`action`"):
        checked_choice((np.array([0, action]), np.ones(2)), rules, "a policy")


def test_an_answer_is_the_askers_own() -> None:
    """A policy that keeps its answer cannot change it after the check."""
    rules, _ = Guardrails(pack_from(PACK), CATALOG).eligibility(people(3), NOW)
    action, propensity = np.zeros(3, dtype=np.int32), np.ones(3)

    class Keeping(SilentFused):
        def choose(self, context: Any, eligibility: Any, draws: Any) -> Any:
            return action, propensity

    found, own = choice_of(Keeping(), context_of(3), rules, np.zeros(3))
    action += 1
    propensity += 1
    assert (found.tolist(), own.tolist()) == ([0, 0, 0], [1.0, 1.0, 1.0])


def test_an_array_that_lies_about_itself_is_found() -> None:
    class Lying(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            return np.zeros(1)

        def sum(self, *args: Any, **options: Any) -> Any:
            return np.ones(len(self))

    class Liar(Silent):
        def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
            return np.full(eligible.shape, 1.0 / eligible.shape[1]).view(Lying)

    eligible = np.array([[True, False, False]])
    with pytest.raises(ParameterError, match="removed"):
        distribution_of(Liar(), context_of(1), eligible)


CONTENT = small_catalog(forbidden=[["h1", "p2"]])


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_assemblies_are_drawn_as_if_nobody_wrote(share: float) -> None:
    eligibility, rng = random_eligibility(CONTENT, 200), np.random.default_rng(4)
    kept = eligibility.packed().tobytes()
    group = rng.choice(len(GROUPS), 200).astype(np.int32) if share else np.zeros(200, dtype=np.int32)
    uniform, context = rng.random(200), context_of(200)
    action, propensity = draw_in_groups(AssemblyDrawer(SilentBatches()), context, eligibility, uniform, group, share)
    assert eligibility.contains(action).all()
    assert ((propensity > 0) & (propensity <= 1)).all()
    drawn = group != GROUPS.index("control")
    np.testing.assert_allclose(propensity[drawn], 1.0 / eligibility.counts()[drawn], rtol=1e-12)
    assert eligibility.packed().tobytes() == kept
    assert context.columns["visits"].values.tolist() == list(range(200))
    assert CONTENT.aliases == {}
    assert all(not group.allowed.flags.writeable for group in catalog_groups(CONTENT))


def test_a_removed_assembly_is_refused() -> None:
    eligibility = random_eligibility(CONTENT, 200)
    group, uniform = np.zeros(200, dtype=np.int32), np.random.default_rng(4).random(200)
    with pytest.raises(ParameterError, match="a removed one"):
        draw_in_groups(AssemblyDrawer(SilentBatches(greedy=True)), context_of(200), eligibility, uniform, group, 0.0)


def test_a_probability_of_an_assembly_is_one() -> None:
    class Sure(SilentBatches):
        def block_probability(self, context: Any, eligibility: Any, action: Any) -> FloatArray:
            return np.full(eligibility.n, 1.5)

    with pytest.raises(ParameterError, match="in \\[0, 1\\]"):
        probability_of(Sure(), context_of(3), random_eligibility(CONTENT, 3), np.zeros(3, dtype=np.int32))


def rounds(n: int, packed: Any, k: int, **more: Any) -> RoundBatch:
    return RoundBatch(
        chunk=0,
        decision_id=np.array([f"d{i}" for i in range(n)], dtype=object),
        context=context_of(n),
        action=np.zeros(n, dtype=np.int32),
        propensity=np.full(n, 0.5),
        eligible=packed,
        k=k,
        cluster=np.arange(n, dtype=np.uint64),
        rewards={"y": np.ones(n)},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
        **more,
    )


def test_targets_leave_the_rounds_as_they_are() -> None:
    rng = np.random.default_rng(0)
    eligible = rng.random((50, 9)) < 0.5
    eligible[:, HOLD] = True
    batch = rounds(50, np.packbits(eligible, axis=1, bitorder="little"), 9)
    asked = PolicyTarget(Silent()).probabilities(batch)
    assert asked.full is not None
    assert np.array_equal(asked.full > 0, eligible)
    with pytest.raises(ParameterError, match="removed"):
        PolicyTarget(Silent(greedy=True)).probabilities(batch)
    factors = random_eligibility(CONTENT, 50)
    modular = rounds(50, factors.packed(), CONTENT.k, modular=CONTENT)
    logged = BlockTarget(SilentBatches(), "silent").probabilities(modular).logged
    np.testing.assert_allclose(logged, 1.0 / factors.counts(), rtol=1e-12)
    for one in (batch, modular):
        assert one.context.columns.keys() == {"visits", "motive"}
        assert one.context.columns["visits"].values.tolist() == list(range(50))
    assert np.array_equal(unpack(batch.eligible, 9), eligible)


def test_sealed_rounds_cannot_be_written_to() -> None:
    batch = rounds(3, np.full((3, 1), 1, dtype=np.uint8), 2).sealed()
    arrays = [batch.action, batch.propensity, batch.eligible, batch.cluster, batch.usable, batch.decided_at]
    for array in [*arrays, batch.rewards["y"], batch.context.columns["visits"].values]:
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_policies_within_policies_write_to_nothing(quota: SqlQuota) -> None:
    """A thinned policy and one of fewer features hand on what they were given."""
    smaller = FeatureSchema(features=SCHEMA.features[:1])
    inner: Any = Silent()
    narrow = NarrowedPolicy(inner, smaller, "narrow")
    thin = ThinnedPolicy(Silent(), np.ones((1, 2, 3)), 1)
    honest = decide_batch(plan(UniformPolicy(), quota, "slice", limited=False, name="honest"), contacts(), NOW)
    for policy in (narrow, thin):
        found = decide_batch(plan(policy, quota, "slice", limited=False, name="x"), contacts(), NOW)
        assert without_names(found.table) == without_names(honest.table)
