"""The layer: all rules of a pack, all of them evaluated, ANDed; hold is always eligible.

Nothing short-circuits, so that an audit finds every reason; a rule whose inputs the batch does not carry removes
everything in its scope.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from engine.catalog import Catalog
from engine.contacts.contacts import CORE_INPUTS, ContactBatch, empty_context, plain_contacts
from engine.content.eligibility import BlockEligibility, is_modular, modular_of
from engine.content.guarding import BlockGuard
from engine.decide.asking import only_reading
from engine.eligibility import Eligibility
from engine.errors import ConfigError, EligibilityError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.guardrails.conditions import NOTHING_SAID, Conditions
from engine.guardrails.counts import RemovalCounts, RuleCount, removed_by, sends_left
from engine.guardrails.judging import Union, findings, judge
from engine.guardrails.known_names import known_conditions, known_params
from engine.guardrails.pack import Pack, RuleEntry
from engine.guardrails.registry import make_rule, rule_words, shipped_rules
from engine.guardrails.required import require_consent
from engine.guardrails.rule import Rule, Scene, Verdict
from engine.time.localtime import instant_of
from engine.types import PURPOSES, BoolArray

REQUIRED_RULE = "consent"


@dataclass(frozen=True)
class Removal:
    """One reason why one action was removed: the rule and its id in the pack, and what it found (see `Finding`)."""

    rule: str
    id: str
    observed: Any
    limit: Any
    next_allowed_at: int | None
    reason: str


class Guardrails:
    """A pack bound to a catalog.

    Args:
        pack: the rules.
        catalog: the actions.
        packages: packages from which the pack may import rules of its own.
        features: what the context of the contacts will carry; a pack that does not allow it is refused here rather than
            at the first batch.

    Raises:
        EligibilityError: an empty pack, or one whose consent rule is missing or without effect: the layer must not
            start.
        ConfigError: an unknown rule, unknown parameters, or numbers out of range.
        ParameterError: a rule of another package that writes to what it is given.
    """

    def __init__(
        self,
        pack: Pack,
        catalog: Catalog,
        packages: tuple[str, ...] = (),
        features: FeatureSchema | None = None,
    ) -> None:
        if not pack.rules:
            raise EligibilityError(
                f"guardrail pack {pack.name!r} is empty", hint="start from conf/guardrails/default.yaml"
            )
        if REQUIRED_RULE not in {entry.rule for entry in pack.rules}:
            raise EligibilityError(
                f"guardrail pack {pack.name!r} has no {REQUIRED_RULE!r} rule",
                hint="nothing may be sent without a consent record; add the rule back",
            )
        self.pack = pack
        self.catalog = catalog
        entries = [*pack.rules, *_implied(pack, catalog)]
        self._rules = tuple((entry, _bound(entry, catalog, pack, packages, features)) for entry in entries)
        self._shipped = frozenset(shipped_rules())
        self._guard = BlockGuard(catalog, self._rules) if is_modular(catalog) else None
        consent = [rule for entry, rule in self._rules if entry.rule == REQUIRED_RULE]
        require_consent(consent, pack.name, catalog, pack.latency_margin_s)

    @property
    def version(self) -> str:
        """What records keep as `pack_version`."""
        return self.pack.pack_version

    @property
    def rules(self) -> tuple[tuple[RuleEntry, Rule], ...]:
        """The pack's entries with their rules, in the pack's order."""
        return self._rules

    @property
    def words(self) -> dict[str, str]:
        """Code of each rule -> its name and what it does."""
        return {entry.id: rule_words(entry, rule) for entry, rule in self._rules}

    @property
    def inputs(self) -> frozenset[str]:
        """Everything that the rules read and cannot do without."""
        return frozenset(name for _, rule in self._rules for name in rule.reads)

    @property
    def extra_inputs(self) -> tuple[str, ...]:
        """Columns beyond the core ones that the rules read; the reader of contacts must load them."""
        named = {name for _, rule in self._rules for name in (*rule.reads, *getattr(rule, "may_read", ()))}
        named |= {"lists"} if any(arm.tags for arm in self.catalog.arms) else set()
        return tuple(sorted(named - set(CORE_INPUTS)))

    def scene(self, contacts: ContactBatch, now: datetime, conditions: Conditions = NOTHING_SAID) -> Scene:
        """What the rules see.

        Raises:
            ParameterError: a naive `now`, or contacts of another catalog.
            ConfigError: conditions that name what the catalog does not have.
        """
        if contacts.consent.shape[1] != len(self.catalog.channels):
            raise ParameterError(
                "contacts",
                "Guardrails",
                allowed=f"of {len(self.catalog.channels)} channels",
                got=contacts.consent.shape,
            )
        known = known_conditions(conditions, self.catalog)
        return Scene(self.catalog, contacts, instant_of(now, owner="Guardrails"), self.pack.latency_margin_s, known)

    def eligibility(
        self, contacts: ContactBatch, now: datetime, conditions: Conditions = NOTHING_SAID
    ) -> tuple[Eligibility, RemovalCounts]:
        """Which actions each contact may get, and how many each rule removed.

        Args:
            contacts: n contacts; memory is n x (P x C x H + C x K) bytes, so call it on blocks.
            now: aware.

        Raises:
            ParameterError: a naive `now`, or contacts of another catalog.
        """
        scene, n, sends = self.scene(contacts, now, conditions), contacts.n, self.catalog.k - 1
        counts: dict[str, RuleCount] = {}
        by_arm, by_hour = self._removed(scene, counts)
        left = sends_left(Verdict(by_arm, by_hour), n, self.catalog)
        total = RemovalCounts(n, sends, n * sends - int(left.sum()), int(n - np.count_nonzero(left)), counts)
        return self._left(by_arm, by_hour), total

    def judged(
        self, contacts: ContactBatch, now: datetime, conditions: Conditions = NOTHING_SAID
    ) -> tuple[Eligibility | BlockEligibility, RemovalCounts]:
        """`blocks` of a modular catalog, `eligibility` of any other.

        Raises:
            ParameterError, EligibilityError: see there.
        """
        if self._guard is None:
            return self.eligibility(contacts, now, conditions)
        return self.blocks(contacts, now, conditions)

    def blocks(
        self, contacts: ContactBatch, now: datetime, conditions: Conditions = NOTHING_SAID
    ) -> tuple[BlockEligibility, RemovalCounts]:
        """`eligibility` of a modular catalog, judged block by block: no rule sees the assemblies.

        Raises:
            ParameterError: a naive `now`, contacts of another catalog, or a catalog that is not modular.
            EligibilityError: the conditions pause a whole assembly by name.
        """
        modular_of(self.catalog)
        guard = self._guard or BlockGuard(self.catalog, self._rules)
        return guard.eligibility(self.scene(contacts, now, conditions))

    def left(self, contacts: ContactBatch, now: datetime, conditions: Conditions = NOTHING_SAID) -> Eligibility:
        """`eligibility` for callers who do not ask how many actions each rule removed.

        Raises:
            ParameterError: a naive `now`, or contacts of another catalog.
        """
        return self._left(*self._removed(self.scene(contacts, now, conditions), None))

    def _removed(self, scene: Scene, counts: dict[str, RuleCount] | None) -> tuple[BoolArray, BoolArray]:
        """What all rules together remove, by arm and by hour, in arrays of the caller's own; counts are filled in."""
        n = scene.contacts.n
        channels, hours, arms = self.catalog.shape
        gone_by_arm, gone_by_hour = Union((n, channels, arms)), Union((n, len(PURPOSES), channels, hours))
        for entry, rule in self._rules:
            verdict = _verdict(entry, rule, scene, shipped=entry.rule in self._shipped)
            gone_by_arm.add(verdict.channel_arm)
            gone_by_hour.add(verdict.channel_hour)
            if counts is not None:
                counts[entry.id] = RuleCount(entry.rule, *removed_by(verdict, n, self.catalog))
        return gone_by_arm.result(), gone_by_hour.result()

    def _left(self, by_arm: BoolArray, by_hour: BoolArray) -> Eligibility:
        np.logical_not(by_arm, out=by_arm)
        np.logical_not(by_hour, out=by_hour)
        return Eligibility(by_arm, by_hour, self.catalog.purpose_codes)

    def explain(
        self, contacts: ContactBatch, row: int, now: datetime, conditions: Conditions = NOTHING_SAID
    ) -> list[tuple[int, list[Removal]]]:
        """Every action of the catalog for one contact, with every rule that removed it; no reasons: allowed.

        Raises:
            ParameterError: a naive `now`, or contacts of another catalog.
        """
        scene = self.scene(contacts.alone(row), now, conditions)
        removals: list[tuple[int, list[Removal]]] = [(action, []) for action in range(self.catalog.k)]
        for entry, rule in self._rules:
            for action, finding in findings(rule, scene):
                removals[action][1].append(
                    Removal(
                        entry.rule, entry.id, finding.observed, finding.limit, finding.next_allowed_at, finding.reason
                    )
                )
        return removals


def _implied(pack: Pack, catalog: Catalog) -> list[RuleEntry]:
    """Blocks are only sent as they were approved, also under a pack that does not ask."""
    if not is_modular(catalog) or "content" in {entry.rule for entry in pack.rules}:
        return []
    name = "approval" if "approval" not in {entry.id for entry in pack.rules} else "approval of blocks"
    return [
        RuleEntry(
            id=name,
            rule="content",
            kind="eng",
            jurisdiction="any",
            source="implied by a modular catalog",
            checked_on=date(2026, 11, 23),
        )
    ]


def _bound(
    entry: RuleEntry, catalog: Catalog, pack: Pack, packages: tuple[str, ...], features: FeatureSchema | None
) -> Rule:
    """A rule that has judged an empty batch once: what cannot work must fail at the start, not at the first send."""
    try:
        params = known_params(entry.params, catalog, entry.rule) if ":" not in entry.rule else entry.params
        rule = make_rule(entry.rule, params, packages)
        context = empty_context(0) if features is None else ContextBatch(features, {}, 0)
        nobody = plain_contacts(np.empty(0, dtype=object), catalog, context=context)
        _verdict(entry, rule, Scene(catalog, nobody, 0, pack.latency_margin_s), shipped=entry.rule in shipped_rules())
    except (ConfigError, ParameterError) as error:
        raise ConfigError(f"{entry.id} of pack {pack.name!r}: {error.message}", hint=error.hint) from error
    return rule


def _verdict(entry: RuleEntry, rule: Rule, scene: Scene, *, shipped: bool) -> Verdict:
    """The verdict of a rule; one that is not ours is handed copies."""
    if shipped:
        return judge(rule, scene)
    with only_reading(f"rule {entry.id}"):
        return judge(rule, scene.sealed())
