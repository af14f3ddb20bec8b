"""Guardrails on assemblies through their blocks: no rule sees the assemblies.

What rules read of an arm (discount, category, margin, topic, item ...) comes from the block of one slot, the offer. So
every rule judges one arm per offer block, and what it removes, it removes of all assemblies with that block. What binds
content itself (approval, channels, locale, dates, tags, pauses) is judged block by block: an assembly is removed where
one of its blocks is. Both together are what the rules would remove of the assemblies one by one; the tests hold them
against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.content.eligibility import BlockEligibility, modular_of
from engine.content.modular import Block, Modular, offer_fields
from engine.errors import ConfigError, EligibilityError
from engine.guardrails.counts import RemovalCounts, RuleCount, removed_by
from engine.guardrails.judging import judge
from engine.guardrails.pack import RuleEntry
from engine.guardrails.registry import shipped_rules
from engine.guardrails.rule import Rule, Scene, Verdict
from engine.types import PURPOSES, BoolArray

# Rules that judge blocks as such; all the others read arms only through the offer.
BY_BLOCK: Final = ("content", "operations")
_TEMPLATES: Final = "sent_template"


@dataclass(frozen=True)
class BlockGuard:
    """The rules of a pack, bound to the blocks of a catalog.

    Args:
        catalog: modular.
        rules: the pack's entries with their rules.

    Raises:
        ConfigError: a rule of another package (nobody knows what it reads of an arm), or one that names an assembly.
    """

    catalog: Catalog
    rules: tuple[tuple[RuleEntry, Rule], ...]

    def __post_init__(self) -> None:
        assemblies = set(self.catalog.arm_ids)
        for entry, _ in self.rules:
            if entry.rule not in shipped_rules():
                raise ConfigError(
                    f"{entry.id} uses the rule {entry.rule!r}, which may read anything of an assembly",
                    hint="a modular catalog works with the shipped rules alone",
                )
            named = sorted(assemblies & set(_texts(entry.params)))
            if named:
                raise ConfigError(
                    f"{entry.id} names the assembly {named[0]!r}",
                    hint="name a block, or list the combination under `forbidden` of the catalog",
                )

    @cached_property
    def by_block(self) -> Catalog:
        """One arm per block, for the rules that judge content itself."""
        modular = modular_of(self.catalog)
        return self._with(tuple(_content_arm(block, modular) for block in modular.blocks))

    @cached_property
    def by_offer(self) -> Catalog:
        """One arm per offer block, for all other rules; its name is none that a pack could use."""
        modular = modular_of(self.catalog)
        offers = (block for slot in modular.slots if slot.id == modular.offer for block in slot.blocks)
        return self._with(tuple(Arm(id=f"any with {b.id}", approved=True, **offer_fields(modular, b)) for b in offers))

    def _with(self, arms: tuple[Arm, ...]) -> Catalog:
        return Catalog(name=self.catalog.name, channels=self.catalog.channels, hours=self.catalog.hours, arms=arms)

    @cached_property
    def _offers(self) -> slice:
        modular = modular_of(self.catalog)
        slot = [one.id for one in modular.slots].index(modular.offer)
        return slice(modular.first[slot], modular.first[slot] + modular.sizes[slot])

    @cached_property
    def _template_of(self) -> dict[str, str]:
        return {arm.id: str(arm.attributes["template"]) for arm in self.catalog.arms}

    def eligibility(self, scene: Scene, *, counted: bool = True) -> tuple[BlockEligibility, RemovalCounts]:
        """What each contact may get, and (if counted) how many actions each rule removed.

        Raises:
            EligibilityError: the conditions pause a whole assembly by name.
        """
        named = sorted(scene.conditions.paused_arms & set(self.catalog.arm_ids))
        if named:
            raise EligibilityError(
                f"the conditions pause the assembly {named[0]!r}",
                hint="pause one of its blocks, or list the combination under `forbidden` of the catalog",
            )
        n, sends = scene.contacts.n, self.catalog.k - 1
        gone_block, gone_hour = self._nothing(n)
        counts: dict[str, RuleCount] = {}
        for (entry, _), verdict, own in self._verdicts(scene):
            self._add(gone_block, gone_hour, verdict, own)
            if counted:
                counts[entry.id] = RuleCount(entry.rule, *self._removed_by(entry, verdict, n))
        eligibility = self._left(gone_block, gone_hour)
        left = eligibility.counts() - 1 if counted else np.zeros(n, dtype=np.int64)
        held = int(n - np.count_nonzero(left))
        return eligibility, RemovalCounts(n, sends, n * sends - int(left.sum()), held, counts)

    def _verdicts(self, scene: Scene) -> Iterator[tuple[tuple[RuleEntry, Rule], Verdict, slice]]:
        everything = slice(0, sum(modular_of(self.catalog).sizes))
        blocks = replace(scene, catalog=self.by_block)
        offers = replace(scene, catalog=self.by_offer, contacts=self._renamed(scene.contacts))
        for entry, rule in self.rules:
            content = entry.rule in BY_BLOCK
            yield (entry, rule), judge(rule, blocks if content else offers), everything if content else self._offers

    def _renamed(self, contacts: ContactBatch) -> ContactBatch:
        """Sends that carry the name of an assembly count for the template of its offer."""
        if _TEMPLATES not in contacts.levels:
            return contacts
        levels = tuple(self._template_of.get(name, name) for name in contacts.levels[_TEMPLATES])
        return replace(contacts, levels={**contacts.levels, _TEMPLATES: levels})

    def _removed_by(self, entry: RuleEntry, verdict: Verdict, n: int) -> tuple[int, int]:
        """(contact, send) pairs that one rule removes, and contacts to whom it leaves no send."""
        if entry.rule not in BY_BLOCK:
            pairs, contacts = removed_by(verdict, n, self.by_offer)
            return pairs * (self.catalog.shape[2] // len(self.by_offer.arms)), contacts
        gone_block, gone_hour = self._nothing(n)
        self._add(gone_block, gone_hour, verdict, slice(0, gone_block.shape[2]))
        # What is forbidden is not approved, so it is the content rule that removes it.
        left = self._left(gone_block, gone_hour).counts(forbidden=entry.rule == "content") - 1
        return n * (self.catalog.k - 1) - int(left.sum()), int(np.count_nonzero(left == 0))

    def _nothing(self, n: int) -> tuple[BoolArray, BoolArray]:
        channels, hours, _ = self.catalog.shape
        blocks = sum(modular_of(self.catalog).sizes)
        return np.zeros((n, channels, blocks), dtype=np.bool_), np.zeros((n, channels, hours), dtype=np.bool_)

    def _add(self, gone_block: BoolArray, gone_hour: BoolArray, verdict: Verdict, own: slice) -> None:
        if verdict.channel_arm is not None:
            gone_block[:, :, own] |= verdict.channel_arm
        if verdict.channel_hour is not None:
            purpose = PURPOSES.index(modular_of(self.catalog).purpose)
            gone_hour |= verdict.channel_hour[:, purpose if verdict.channel_hour.shape[1] > 1 else 0]

    def _left(self, gone_block: BoolArray, gone_hour: BoolArray) -> BlockEligibility:
        return BlockEligibility(self.catalog, ~gone_block, ~gone_hour)


def _content_arm(block: Block, modular: Modular) -> Arm:
    tags = block.tags or msgspec.UNSET
    return Arm(
        id=block.id,
        blocks=(block.id,),
        purpose=modular.purpose,
        approved=block.approved,
        channels=block.channels,
        locale=block.locale,
        valid_from=block.valid_from,
        valid_until=block.valid_until,
        tags=tags,
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in (*value, *value.values()):
            yield from _texts(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _texts(one)
