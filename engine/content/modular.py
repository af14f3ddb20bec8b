"""Blocks, slots and what may be combined: the part of a catalog from which its arms are assembled.

An arm is one block per slot. Arm `a` holds block `p_s` of slot `s`, where a = (..(p_0 * m_1 + p_1) * m_2 + ..) and m_s
is the number of blocks of slot s. Only ids live here, never text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from itertools import combinations
from typing import Any, Final, Literal

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.types import PURPOSES, IntArray

JOIN: Final = "+"
MOST_SLOTS: Final = 8
MOST_BLOCKS: Final = 4096
# What rules read of an arm beyond its own fields; in a modular catalog it comes from the offer slot alone.
READ_BY_RULES: Final = ("topic", "template", "item", "cross_sell", "price_usd", "own_similar", "due_within_days")
Status = Literal["draft", "approved", "retired"]


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One block of content, by id.

    Attributes:
        id: unique in the catalog; what was learnt goes with it.
        status: only approved blocks are sent; a retired one keeps its place and its history.
        version: version of the content behind the id.
        approved_by / approved_at: who released that version, and when (ISO 8601); for the audit.
        tags: lists (column `lists` of the contacts) that a contact must be on; empty means everybody.
        channels: channels that it is made for; empty means every channel.
        locale: BCP 47 tag, or "" where it fits every locale.
        valid_from / valid_until: dates as an arm has them.
        discount_depth / category / margin_usd: of the offer; only blocks of the offer slot have them. The last two are
            the catalog's own where absent.
        attributes: factors that a learner may use; only blocks of the offer slot may have those that rules read.
    """

    id: str
    status: Status = "draft"
    version: str = ""
    approved_by: str = ""
    approved_at: str | None = None
    tags: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    locale: str = ""
    valid_from: str | None = None
    valid_until: str | None = None
    discount_depth: float = 0.0
    category: str | None = None
    margin_usd: float | None = None
    attributes: dict[str, str | float] = {}

    def __post_init__(self) -> None:
        if not self.id or JOIN in self.id or "|" in self.id:
            raise ParameterError("id", "Block", allowed=f"not empty, without {JOIN!r} and '|'", got=self.id)
        for field in ("approved_at", "valid_from", "valid_until"):
            text = getattr(self, field)
            if text is not None and not _is_instant(text):
                allowed = "ISO 8601 with an offset, or null"
                raise ParameterError(field, f"block {self.id!r}", allowed=allowed, got=text)

    @property
    def approved(self) -> bool:
        return self.status == "approved"

    @property
    def everywhere(self) -> bool:
        """Whether it may stand in for any other: approved, and not bound to channels, locales, dates or tags."""
        free = not (self.tags or self.channels or self.locale or self.valid_from or self.valid_until)
        return self.approved and free


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One place of the message.

    Attributes:
        id: unique in the catalog.
        blocks: its candidates.
        fallback: id of the block that is always there to be taken: approved, bound to nothing, without discount and in
            no forbidden combination.
    """

    id: str
    blocks: tuple[Block, ...]
    fallback: str


class Modular(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Slots of blocks, and what must not be combined.

    Attributes:
        slots: 1 to 8, in the order of an arm's blocks.
        offer: id of the slot whose blocks carry what rules read of an arm: discount, category, margin, topic ...
        purpose: purpose of every arm.
        category / margin_usd: stand in where an arm's offer block has none.
        attributes: of every arm, below those of the offer block.
        forbidden: sets of two or more blocks of different slots that no arm may hold together.
    """

    slots: tuple[Slot, ...]
    offer: str
    purpose: str = "promotional"
    category: str = ""
    margin_usd: float | None = None
    attributes: dict[str, str | float] = {}
    forbidden: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        _check_slots(self)
        for slot in self.slots:
            _check_slot(self, slot)
        _check_forbidden(self)

    @property
    def sizes(self) -> tuple[int, ...]:
        """(S,) number of blocks of each slot."""
        return tuple(len(slot.blocks) for slot in self.slots)

    @property
    def first(self) -> tuple[int, ...]:
        """(S,) position of each slot's first block among all blocks."""
        return tuple(sum(self.sizes[:slot]) for slot in range(len(self.slots)))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """(B,) all blocks, slot by slot."""
        return tuple(block for slot in self.slots for block in slot.blocks)

    @property
    def block_ids(self) -> tuple[str, ...]:
        """(B,)."""
        return tuple(block.id for block in self.blocks)

    @property
    def arms(self) -> int:
        """K, the number of assemblies, forbidden ones included."""
        return math.prod(self.sizes)

    def at(self, block_id: str) -> tuple[int, int]:
        """(slot, position in the slot) of a block.

        Raises:
            ParameterError: no such block.
        """
        for slot, one in enumerate(self.slots):
            for position, block in enumerate(one.blocks):
                if block.id == block_id:
                    return slot, position
        raise ParameterError("block", "a modular catalog", allowed=f"one of {list(self.block_ids)}", got=block_id)

    def positions(self, arm: IntArray) -> IntArray:
        """(n,) arms -> (n, S) position of the block in each slot."""
        return np.stack(np.unravel_index(np.asarray(arm, dtype=np.int64), self.sizes), axis=-1)

    def arm(self, positions: IntArray) -> IntArray:
        """(n, S) positions -> (n,) arms."""
        columns = tuple(np.asarray(positions, dtype=np.int64).T)
        return np.asarray(np.ravel_multi_index(columns, self.sizes), dtype=np.int64)

    def arm_of(self, chosen: Mapping[str, str]) -> int:
        """The arm of one approved block id per slot.

        Raises:
            ParameterError: a slot is missing or unknown, or a block is unknown, of another slot, or not approved.
        """
        names = [slot.id for slot in self.slots]
        if set(chosen) != set(names):
            raise ParameterError("chosen", "an assembly", allowed=f"one block for each of {names}", got=sorted(chosen))
        found = []
        for slot in self.slots:
            known = {block.id: (at, block.approved) for at, block in enumerate(slot.blocks)}
            position, approved = known.get(chosen[slot.id], (-1, False))
            if not approved:
                allowed = [name for name, (_, released) in known.items() if released]
                raise ParameterError(slot.id, "an assembly", allowed=f"an approved block of {allowed}", got=chosen)
            found.append(position)
        return int(self.arm(np.array([found]))[0])

    def barred(self) -> list[frozenset[str]]:
        """The forbidden sets, with the pairs that no contact could read: blocks of two languages."""
        pairs = [
            frozenset((one.id, other.id))
            for mine, theirs in combinations(self.slots, 2)
            for one in mine.blocks
            for other in theirs.blocks
            if not _one_language(one.locale, other.locale)
        ]
        return [*(frozenset(blocks) for blocks in self.forbidden), *pairs]


def _one_language(one: str, other: str) -> bool:
    short, long = sorted((tag.replace("_", "-").lower() for tag in (one, other)), key=len)
    return not short or short == long or long.startswith(f"{short}-")


def _check_slots(modular: Modular) -> None:
    names = [slot.id for slot in modular.slots]
    taken = {"", *READ_BY_RULES, *modular.attributes}
    if not 1 <= len(names) <= MOST_SLOTS or len(set(names)) < len(names) or taken & set(names):
        allowed = f"1 to {MOST_SLOTS} with unique names, other than those of attributes"
        raise ParameterError("slots", "Modular", allowed=allowed, got=names)
    if modular.offer not in names:
        raise ParameterError("offer", "Modular", allowed=f"one of {names}", got=modular.offer)
    if modular.purpose not in PURPOSES:
        raise ParameterError("purpose", "Modular", allowed=f"one of {PURPOSES}", got=modular.purpose)
    ids = modular.block_ids
    if len(set(ids)) < len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        raise ParameterError("blocks", "Modular", allowed="unique ids over all slots", got=twice)


def _check_slot(modular: Modular, slot: Slot) -> None:
    owner, known = f"slot {slot.id!r}", {block.id: block for block in slot.blocks}
    if slot.fallback not in known or not known[slot.fallback].everywhere or known[slot.fallback].discount_depth:
        raise ParameterError(
            "fallback",
            owner,
            allowed="an approved block of the slot, bound to no channel, locale, date or tag, without discount",
            got=slot.fallback,
        )
    if slot.id == modular.offer:
        return
    for block in slot.blocks:
        read = sorted(set(block.attributes) & set(READ_BY_RULES))
        if block.discount_depth or block.margin_usd is not None or block.category is not None or read:
            raise ParameterError(
                "blocks",
                owner,
                allowed=f"without discount, margin, category and {list(READ_BY_RULES)}: rules read them of the offer "
                f"slot {modular.offer!r} alone",
                got=block.id,
            )


def _check_forbidden(modular: Modular) -> None:
    fallbacks = {slot.fallback for slot in modular.slots}
    for blocks in modular.forbidden:
        slots = [modular.at(name)[0] for name in blocks]
        if len(blocks) < 2 or len(set(slots)) < len(slots):
            raise ParameterError("forbidden", "Modular", allowed="two or more blocks of different slots", got=blocks)
        if fallbacks & set(blocks):
            raise ParameterError("forbidden", "Modular", allowed="sets without a fallback block", got=blocks)


def arm_fields(modular: Modular) -> list[dict[str, Any]]:
    """(K,) fields of every arm: what its blocks have in common decides where, when and to whom it may go."""
    barred = modular.barred()
    return [
        _fields(modular, tuple(slot.blocks[p] for slot, p in zip(modular.slots, at, strict=True)), barred)
        for at in np.ndindex(*modular.sizes)
    ]


def _fields(modular: Modular, blocks: tuple[Block, ...], barred: list[frozenset[str]]) -> dict[str, Any]:
    ids = tuple(block.id for block in blocks)
    offer = next(b for slot, b in zip(modular.slots, blocks, strict=True) if slot.id == modular.offer)
    bound = [set(block.channels) for block in blocks if block.channels]
    common = set.intersection(*bound) if bound else set()
    begin, end = _span(blocks)
    tags = sorted({tag for block in blocks for tag in block.tags})
    apart = (bool(bound) and not common) or (begin is not None and end is not None and not _before(begin, end))
    fields: dict[str, Any] = {
        "id": JOIN.join(ids),
        "blocks": ids,
        "approved": all(b.approved for b in blocks) and not any(one <= set(ids) for one in barred) and not apart,
        # Sets have no order of their own; the catalog's version must not depend on it.
        "channels": tuple(sorted(common)),
        "locale": max((block.locale for block in blocks), key=len),
        "valid_from": None if apart else begin,
        "valid_until": None if apart else end,
        **offer_fields(modular, offer),
    }
    return {**fields, "tags": tuple(tags)} if tags else fields


def offer_fields(modular: Modular, offer: Block) -> dict[str, Any]:
    """What rules read of an arm with this offer block; its template is the offer's, unless another is named."""
    return {
        "purpose": modular.purpose,
        "discount_depth": offer.discount_depth,
        "category": modular.category if offer.category is None else offer.category,
        "margin_usd": modular.margin_usd if offer.margin_usd is None else offer.margin_usd,
        "attributes": {
            "template": offer.id,
            **modular.attributes,
            **{name: value for name, value in offer.attributes.items() if name in READ_BY_RULES},
        },
    }


def _span(blocks: tuple[Block, ...]) -> tuple[str | None, str | None]:
    """The latest beginning and the earliest end; the texts are the blocks' own."""
    begins = [block.valid_from for block in blocks if block.valid_from is not None]
    ends = [block.valid_until for block in blocks if block.valid_until is not None]
    return max(begins, key=_instant, default=None), min(ends, key=_instant, default=None)


def _before(one: str, other: str) -> bool:
    return _instant(one) < _instant(other)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _is_instant(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
