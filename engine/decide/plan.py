"""The plan of a run of decisions, and the names that it gives to contacts and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import msgspec

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.contacts.key import marked
from engine.content.eligibility import is_modular
from engine.decide.groups import require_shares, slice_probability
from engine.errors import ParameterError
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.layer import Guardrails
from engine.identity import pseudonyms
from engine.limits.batch import SharedLimits
from engine.protocols import Policy
from engine.records.schema import LogMeta
from engine.state.sends.promises import Promises
from engine.types import ObjectArray

_NO_LIMITS = "what limits leave is no product of blocks, so it could not be recorded"


@dataclass(frozen=True)
class Plan:
    """All that a batch of decisions depends on besides the contacts and the instant.

    Attributes:
        guardrails: the layer, with its catalog.
        policy: gives the distribution.
        policy_version: written into each record.
        contact_key: secret key of the contacts' pseudonyms, not empty (`engine.contacts.key`).
        seed: with the decision id the key of each draw.
        use_case: written into each record; part of the decision id.
        control_share: share of contacts that are held out for good, in [0, 1].
        uniform_share: share of decisions that take a uniform eligible action, in [0, 1 - control_share].
        conditions: the sender's side; its use case is the plan's.
        limits: set-level limits; None is none.
        promises: the store of contact state; None reads contacts from what is given and promises nothing.
        prices: under which the policy decides, as plain data, so that a run that is repeated finds them; None is none.
    """

    guardrails: Guardrails
    policy: Policy
    policy_version: str
    _: KW_ONLY
    contact_key: str
    seed: int = 0
    use_case: str = "default"
    control_share: float = 0.0
    uniform_share: float = 0.0
    conditions: Conditions = NOTHING_SAID
    limits: SharedLimits | None = None
    promises: Promises | None = None
    prices: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.contact_key:
            raise ParameterError("contact_key", "Plan", allowed="a non-empty string", got="")
        require_shares(self.control_share, self.uniform_share, "Plan")
        if self.limits and is_modular(self.catalog):
            raise ParameterError("limits", "Plan", allowed="none with a modular catalog", got="some", hint=_NO_LIMITS)
        if self.limits and self.promises and not self.promises.store.shares(self.limits.store):
            allowed = "counted in the database of the state store, so that both change in one transaction"
            raise ParameterError("limits", "Plan", allowed=allowed, got="another database")

    @property
    def catalog(self) -> Catalog:
        return self.guardrails.catalog

    @property
    def slice_probability(self) -> float:
        """Probability of the uniform slice in a decision for a contact that is not held out."""
        return slice_probability(self.control_share, self.uniform_share)

    @property
    def settings(self) -> dict[str, Any]:
        """The plan as plain data, as a store of decisions keeps it."""
        return {
            "policy version": self.policy_version,
            "seed": self.seed,
            "control share": self.control_share,
            "uniform share": self.uniform_share,
            "guardrail pack": self.guardrails.version,
            "catalog": self.catalog.version,
            "conditions": self.sender.to_builtins(),
            "prices": self.prices,
            "limits": None if self.limits is None else self.limits.limit_set.to_builtins(),
        }

    @property
    def sender(self) -> Conditions:
        """What the rules read of the sender."""
        return msgspec.structs.replace(self.conditions, use_case=self.use_case, dispatching=False)


def decision_ids(contact_ids: ObjectArray, plan: Plan, now_at: int) -> ObjectArray:
    """(n,) the same contact, use case and instant have the same id."""
    return pseudonyms(contact_ids, f"decision/{plan.contact_key}/{plan.use_case}/{now_at}")


def decision_meta(plan: Plan, contacts: ContactBatch, *, source: str, policy_folder: str) -> LogMeta:
    """The footer of a file of these decisions."""
    return LogMeta(
        catalog=plan.catalog,
        features=contacts.context.schema,
        propensity="logged",
        clustered=True,
        source=source,
        policy=policy_folder,
        pack=plan.guardrails.pack.to_builtins(),
        conditions=plan.sender.to_builtins(),
        limits=msgspec.UNSET if plan.limits is None else plan.limits.limit_set.to_builtins(),
        contact_key=marked(plan.contact_key),
    )
