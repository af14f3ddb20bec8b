"""Small logged worlds whose randomisation is known, healthy or broken on purpose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from engine.audit.audit import Audit, AuditSums
from engine.audit.batch import batch_of
from engine.audit.findings import Finding, overall, settle
from engine.audit.rule import AuditRule
from engine.catalog import Arm, Catalog
from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema, categorical_column, numeric_column
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.records.schema import LogMeta, RewardSpec
from tests.strategies import categorical_spec, numeric_spec

DAY_US = 86_400_000_000
FIRST_DAY = int(datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp()) // 86_400


@dataclass
class World:
    """n rows as arrays, to be spoilt by a test and audited.

    `distribution` is (n, k), the true one; `usable` are the rows that left.
    """

    meta: LogMeta
    context: dict[str, np.ndarray]
    eligible: np.ndarray
    distribution: np.ndarray
    action: np.ndarray
    propensity: np.ndarray
    group: np.ndarray
    day: np.ndarray
    click: np.ndarray
    contact: np.ndarray
    usable: np.ndarray

    @property
    def n(self) -> int:
        return len(self.action)

    def take(self, rows: np.ndarray) -> World:
        arrays = {name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, context={name: value[rows] for name, value in self.context.items()}, **arrays)

    def batch(self, chunk: int, rows: slice) -> RoundBatch:
        """The rows as a reader would give them."""
        features, n = self.meta.features, len(self.action[rows])
        columns = {}
        for spec in features.features:
            values = self.context[spec.name][rows]
            state = np.zeros(n, dtype=np.uint8)
            if spec.type == "numeric":
                columns[spec.name] = numeric_column(spec, values.astype(float), state)
            else:
                levels, codes = np.unique(values, return_inverse=True)
                columns[spec.name] = categorical_column(spec, codes.astype(np.int32), tuple(map(str, levels)), state)
        return RoundBatch(
            chunk=chunk,
            decision_id=np.array([f"d{i}" for i in range(rows.start, rows.start + n)], dtype=object),
            context=ContextBatch(features, columns, n),
            action=self.action[rows].astype(np.int32),
            propensity=self.propensity[rows],
            eligible=pack(self.eligible[rows]),
            k=self.meta.catalog.k,
            cluster=self.contact[rows].astype(np.uint64),
            rewards={"click": self.click[rows]},
            usable=self.usable[rows],
            decided_at=self.day[rows].astype(np.int64) * DAY_US,
            extra={
                "available": self.group[rows] != "control",
                "group": self.group[rows],
                "contact_id": np.array([f"c{i}" for i in self.contact[rows]], dtype=object),
                "rule_inputs": np.full(n, None, dtype=object),
            },
        )

    def sums(self, rule: AuditRule, parts: int = 1) -> AuditSums:
        """The audit's sums, added up in one part or merged from several."""
        made = [AuditSums(self.meta, rule, ("click",))]
        made += [AuditSums(self.meta, rule, ("click",), made[0].bins) for _ in range(parts - 1)]
        for chunk, start in enumerate(range(0, self.n, CHUNK_ROWS)):
            own = made[chunk % parts]
            batch = self.batch(chunk, slice(start, min(start + CHUNK_ROWS, self.n)))
            own.add(batch_of(batch, own.groups, own.bins))
        for other in made[1:]:
            made[0].merge(other)
        return made[0]

    def audit(self, parts: int = 1, **changes: Any) -> Audit:
        rule = AuditRule(**changes)
        found = settle(self.sums(rule, parts).findings(), rule)
        return Audit(overall(found), found, self.n, ("click",))


def named(audit: Audit, check: str) -> Finding:
    """The finding of a check."""
    (found,) = [found for found in audit.findings if found.check == check]
    return found


def healthy(n: int, seed: int, *, uniform: bool = False, days: int = 60, slice_share: float = 0.2) -> World:
    """Three channels x two arms and hold; eligible sets by contact; a softmax policy with a uniform slice."""
    rng = np.random.default_rng(seed)
    catalog = Catalog(
        name="audited",
        channels=("email", "sms", "push"),
        hours=(9,),
        arms=tuple(Arm(id=name, purpose="promotional", approved=True) for name in ("news", "offer")),
    )
    features = FeatureSchema(
        features=(numeric_spec("spend"), numeric_spec("days_since_order"), categorical_spec("zip"))
    )
    meta = LogMeta(catalog=catalog, features=features, clustered=True, rewards={"click": RewardSpec(low=0.0, high=1.0)})
    k = catalog.k
    context = {
        "spend": np.round(rng.lognormal(3.0, 1.0, n), 2),
        "days_since_order": rng.integers(0, 300, n).astype(float),
        "zip": rng.choice(["town", "country", "city"], n),
    }
    eligible = np.column_stack([np.ones(n, bool), rng.random((n, k - 1)) < 0.8])
    even = eligible / eligible.sum(axis=1, keepdims=True)
    group = np.full(n, "treatment", dtype=object)
    distribution = even
    if not uniform:
        taste = rng.normal(0.0, 1.5, (3, k))[np.searchsorted(np.array([15.0, 40.0]), context["spend"])]
        policy = np.where(eligible, np.exp(taste), 0.0)
        policy /= policy.sum(axis=1, keepdims=True)
        sliced = rng.random(n) < slice_share
        group[sliced] = "uniform"
        distribution = slice_share * even + (1.0 - slice_share) * policy
        drawn_from = np.where(sliced[:, None], even, policy)
    else:
        drawn_from = even
    action = (rng.random((n, 1)) > np.cumsum(drawn_from, axis=1)).sum(axis=1).clip(0, k - 1)
    action = np.where(eligible[np.arange(n), action], action, 0)
    click = (rng.random(n) < 0.05 + 0.05 * (action > 2)).astype(float)
    return World(
        meta=meta,
        context=context,
        eligible=eligible,
        distribution=distribution,
        action=action,
        propensity=distribution[np.arange(n), action],
        group=group,
        day=FIRST_DAY + np.sort(rng.integers(0, days, n)),
        click=click,
        contact=rng.integers(0, n, n),
        usable=np.ones(n, dtype=bool),
    )
