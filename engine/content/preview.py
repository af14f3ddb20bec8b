"""Texts for people who approve content: an assembly by the ids of its blocks, and what two catalogs differ in."""

from __future__ import annotations

from engine.catalog import Catalog
from engine.content.eligibility import modular_of
from engine.content.modular import Block
from engine.errors import DataError


def preview(catalog: Catalog, arm_id: str) -> str:
    """One line per slot: slot, block, version, status. Ids alone: the content itself lies elsewhere.

    Raises:
        ParameterError: a catalog without blocks.
        DataError: no such arm.
    """
    modular = modular_of(catalog)
    found = {arm.id: arm for arm in catalog.arms}.get(arm_id)
    if found is None:
        raise DataError(f"the catalog {catalog.name!r} has no arm {arm_id!r}", hint="join one block per slot with '+'")
    width = max(len(slot.id) for slot in modular.slots)
    blocks = [next(b for b in slot.blocks if b.id == at) for slot, at in zip(modular.slots, found.blocks, strict=True)]
    lines = [f"{slot.id:<{width}}  {_said(block)}" for slot, block in zip(modular.slots, blocks, strict=True)]
    bounds = [
        f"channels: {', '.join(found.channels) or 'all'}",
        f"locale: {found.locale or 'any'}",
        f"discount: {found.discount_depth:g}",
    ]
    verdict = "may be sent" if found.approved else "must not be sent: a block is not approved, or the set is forbidden"
    return "\n".join([f"{arm_id}: {verdict}", *lines, "; ".join(bounds)])


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
            lines.append(f"{new[name][0]}: {_said(new[name][1])} was added")
        elif old[name] != new[name]:
            lines.append(f"{new[name][0]}: {_said(old[name][1])} became {_said(new[name][1])}")
    return lines


def _said(block: Block) -> str:
    version = f" version {block.version}" if block.version else ""
    by = f" by {block.approved_by}" if block.approved_by else ""
    at = f" on {block.approved_at}" if block.approved_at else ""
    return f"{block.id}{version} ({block.status}{by}{at})"
