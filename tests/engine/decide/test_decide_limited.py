"""`decide_batch` under set-level limits: IPS over what it logs is unbiased, with control and uniform groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest

from engine.catalog import Catalog, catalog_from
from engine.contacts.contacts import ContactBatch, plain_contacts
from engine.decide.batch import decide_batch
from engine.decide.plan import Plan
from engine.eligibility import unpack
from engine.features import ContextBatch
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.limits.batch import SharedLimits
from engine.limits.kinds import VolumeLimit
from engine.limits.limit_set import limits_from
from engine.limits.quota import SqlQuota
from engine.time.localtime import instant_of
from engine.types import BoolArray, FloatArray

NOW = datetime(2026, 11, 3, 11, 0, tzinfo=UTC)
N, REPLICATIONS = 24, 250
CATALOG = catalog_from(
    {
        "name": "limited",
        "channels": ["email"],
        "hours": ["now"],
        "arms": [{"id": "scarce", "approved": True}, {"id": "plain", "approved": True, "purpose": "transactional"}],
    }
)


@dataclass(frozen=True)
class Eager:
    """Loves the scarce arm."""

    name: str = "eager"

    @property
    def catalog(self) -> Catalog:
        return CATALOG

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        weight = np.where(eligible, np.array([1.0, 5.0, 1.0]), 0.0)
        return weight / weight.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def quota(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlQuota]:
    with SqlQuota(f"sqlite:///{tmp_path_factory.mktemp('quota')}/q.sqlite") as store:
        yield store


def people(n: int, replication: int) -> ContactBatch:
    at = instant_of(NOW, owner="test")
    return plain_contacts(
        np.array([f"r{replication}c{row}" for row in range(n)], dtype=object),
        CATALOG,
        zones=("UTC",),
        zone_code=np.zeros(n, dtype=np.int32),
        consent=np.ones((n, 1, 2), dtype=np.int8),
        suppressed=np.zeros((n, 1), dtype=np.int8),
        history_known=np.ones(n, dtype=np.bool_),
        extra={"consent_at": np.full((n, 1, 2), at - 10**12, dtype=np.int64)},
    )


@pytest.fixture(scope="module")
def found(quota: SqlQuota) -> tuple[FloatArray, list[bool]]:
    """Errors of IPS for "uniform over the logged set", and whether the limit bound."""
    rewards = np.stack([np.full(N, 0.2), 1.0 + np.linspace(0, 1, N), np.full(N, 0.5)], axis=1)
    guardrails = Guardrails(load_pack(), CATALOG)
    errors, bound = [], []
    for replication in range(REPLICATIONS):
        limits = limits_from({"name": "l", "volume": [{"name": f"v{replication}", "max_per_day": 6}]})
        plan = Plan(
            guardrails,
            Eager(),
            "eager",
            contact_key="tactful",
            seed=replication,
            control_share=0.1,
            uniform_share=0.2,
            limits=SharedLimits(limits, quota),
        )
        table = decide_batch(plan, people(N, replication), NOW).table
        eligible = unpack(np.stack([np.frombuffer(one, np.uint8) for one in table["eligible"].to_pylist()]), CATALOG.k)
        action, propensity = table["action"].to_numpy(), table["propensity"].to_numpy()
        target = eligible / eligible.sum(axis=1, keepdims=True)
        rows = np.flatnonzero(table["available"].to_numpy())
        ips = target[rows, action[rows]] / propensity[rows] * rewards[rows, action[rows]]
        errors.append(np.mean(ips - (target * rewards).sum(axis=1)[rows]))
        held = np.setdiff1d(np.arange(N), rows)
        assert not action[held].any()
        assert (propensity[held] == 1.0).all()
        assert (action == 1).sum() <= 6
        bound.append(not eligible[:, 1].all())
    return np.array(errors), bound


def test_ips_over_limited_decisions_is_unbiased(found: tuple[FloatArray, list[bool]]) -> None:
    errors, bound = found
    assert np.mean(bound) > 0.9
    assert abs(errors.mean() / (errors.std(ddof=1) / np.sqrt(len(errors)))) < 3.0


def test_the_same_block_finds_its_own_grant(quota: SqlQuota) -> None:
    limits = limits_from({"name": "l", "volume": [{"name": "again", "max_per_day": 6}]})
    plan = Plan(
        Guardrails(load_pack(), CATALOG), Eager(), "eager", contact_key="tactful", limits=SharedLimits(limits, quota)
    )
    first = decide_batch(plan, people(N, 0), NOW)
    assert decide_batch(plan, people(N, 0), NOW).table.equals(first.table)
    assert sum(quota.used("again").values()) == int((first.action == 1).sum()) == 6
    # Another batch of the day finds what is left of it: nothing.
    other = decide_batch(plan, people(N, 1), NOW)
    assert not (other.action == 1).any()
    assert other.limited == {"again": N}


class Failing(Eager):
    """Fails once it is asked."""

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        raise RuntimeError("out of order")


def test_a_block_that_failed_gives_back_and_runs_again(quota: SqlQuota) -> None:
    limits = limits_from({"name": "l", "volume": [{"name": "failed", "max_per_day": 6}]})
    guardrails, shared = Guardrails(load_pack(), CATALOG), SharedLimits(limits, quota)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of order"):
            decide_batch(Plan(guardrails, Failing(), "eager", contact_key="tactful", limits=shared), people(N, 0), NOW)
    decided = decide_batch(Plan(guardrails, Eager(), "eager", contact_key="tactful", limits=shared), people(N, 0), NOW)
    assert int((decided.action == 1).sum()) == sum(quota.used("failed").values()) == 6
    assert limits.limits == (VolumeLimit("failed", 6),)
