"""Assemblies for the people who approve content: what a message is made of, and what two catalogs differ in.

Ids alone are shown: the texts and images behind them lie in the content system.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from engine.catalog import Arm, Catalog
from engine.content.eligibility import modular_of
from engine.content.modular import Block
from engine.errors import DataError


class PlacedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """The block that fills one slot of an assembly; empty where nobody said who approved it, and when."""

    slot: str
    block: str
    version: str
    status: str
    approved_by: str
    approved_at: str


class Assembly(msgspec.Struct, frozen=True, kw_only=True):
    """One assembly as it would be sent.

    Attributes:
        arm: its id, the ids of its blocks joined by `+`.
        sendable: false where a block is not approved, or where its blocks must not stand together.
        channels: on which it may be sent; empty means all.
        locale: BCP 47 tag of its readers; empty fits every locale.
        discount_depth: share of the price given away, in [0, 1).
        blocks: one per slot, in the order of the slots.
    """

    arm: str
    sendable: bool
    channels: tuple[str, ...]
    locale: str
    discount_depth: float
    blocks: tuple[PlacedBlock, ...]


def assembly(catalog: Catalog, arm_id: str) -> Assembly:
    """One assembly by the id of its arm.

    Raises:
        ParameterError: a catalog without blocks.
        DataError: no such arm.
    """
    modular_of(catalog)
    found = next((arm for arm in catalog.arms if arm.id == arm_id), None)
    if found is None:
        raise DataError(f"the catalog {catalog.name!r} has no arm {arm_id!r}", hint="join one block per slot with '+'")
    return _assembly(catalog, found)


def assemblies(catalog: Catalog, having: Sequence[str] = ()) -> Iterator[Assembly]:
    """Every assembly, in the order of the arms, that holds all of the blocks `having`.

    Raises:
        ParameterError: a catalog without blocks, or no such block.
    """
    modular = modular_of(catalog)
    for block_id in having:
        modular.at(block_id)
    return (_assembly(catalog, arm) for arm in catalog.arms if set(having) <= set(arm.blocks))


def changes(before: Catalog, after: Catalog) -> list[str]:
    """What happened to blocks between two catalogs, one line each, for the audit; empty where nothing did.

    Raises:
        ParameterError: a catalog without blocks.
    """
    old, new = ({b.id: (slot.id, b) for slot in modular_of(c).slots for b in slot.blocks} for c in (before, after))
    lines = []
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            lines.append(f"{old[name][0]}: {name} was taken out")
        elif name not in old:
            lines.append(f"{new[name][0]}: {_in_words(new[name][1])} was added")
        elif old[name] != new[name]:
            lines.append(f"{new[name][0]}: {_in_words(old[name][1])} became {_in_words(new[name][1])}")
    return lines


def _assembly(catalog: Catalog, arm: Arm) -> Assembly:
    slots = modular_of(catalog).slots
    blocks = [next(b for b in slot.blocks if b.id == at) for slot, at in zip(slots, arm.blocks, strict=True)]
    placed = (
        PlacedBlock(
            slot=slot.id,
            block=block.id,
            version=block.version,
            status=block.status,
            approved_by=block.approved_by,
            approved_at=block.approved_at or "",
        )
        for slot, block in zip(slots, blocks, strict=True)
    )
    return Assembly(
        arm=arm.id,
        sendable=arm.approved,
        channels=arm.channels,
        locale=arm.locale,
        discount_depth=arm.discount_depth,
        blocks=tuple(placed),
    )


def _in_words(block: Block) -> str:
    version = f" version {block.version}" if block.version else ""
    by = f" by {block.approved_by}" if block.approved_by else ""
    at = f" on {block.approved_at}" if block.approved_at else ""
    return f"{block.id}{version} ({block.status}{by}{at})"
