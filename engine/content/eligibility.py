"""Eligibility of assemblies, factored down to blocks: what each contact may get, without a list of the assemblies.

A send of an assembly on channel c in slot h is eligible where the hour is open on c, every one of its blocks is, and
the assembly holds no forbidden set. It has the methods of `engine.eligibility.Eligibility`, so that what works on
factors works on these too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.content.groups import SlotGroup, slot_groups
from engine.content.modular import Modular
from engine.eligibility import Eligibility
from engine.errors import DataError, ParameterError
from engine.sealing import sealed
from engine.types import HOLD, PURPOSES, BoolArray, ByteArray, CodeArray, IntArray


def modular_of(catalog: Catalog) -> Modular:
    """The catalog's slots and blocks.

    Raises:
        ParameterError: its arms are not made of blocks.
    """
    if catalog.modular is msgspec.UNSET:
        raise ParameterError("catalog", "modular content", allowed="one with the key `modular`", got=catalog.name)
    return catalog.modular


def is_modular(catalog: Catalog) -> bool:
    return catalog.modular is not msgspec.UNSET


def refuse_modular(catalog: Catalog, what: str) -> None:
    """Refuse a modular catalog.

    Args:
        what: that lists every action: "explain", "a backtest" ...

    Raises:
        DataError: the catalog is modular.
    """
    if is_modular(catalog):
        raise DataError(
            f"{what} lists every action, and the modular catalog {catalog.name!r} has {catalog.k}",
            hint="docs/modular-content.md says which commands work with blocks",
        )


def packed_width(catalog: Catalog) -> int:
    """Bytes of a packed eligible set in the records."""
    if not is_modular(catalog):
        return (catalog.k + 7) // 8
    channels, hours, _ = catalog.shape
    return (channels * (sum(modular_of(catalog).sizes) + hours) + 7) // 8


@lru_cache(maxsize=64)
def _grouped(encoded: bytes, links: tuple[tuple[int, ...], ...]) -> tuple[SlotGroup, ...]:
    return slot_groups(msgspec.json.decode(encoded, type=Modular), links)


def catalog_groups(catalog: Catalog, links: Iterable[Iterable[int]] = ()) -> tuple[SlotGroup, ...]:
    """`slot_groups` of a catalog, remembered.

    Raises:
        ParameterError: not a modular catalog, or too large a group.
    """
    return _grouped(msgspec.json.encode(modular_of(catalog)), tuple(tuple(sorted(link)) for link in links))


@dataclass(frozen=True)
class BlockEligibility:
    """What n contacts may get of a modular catalog.

    Attributes:
        catalog: modular.
        channel_block: (n, C, B) bool, B all blocks, slot by slot.
        channel_hour: (n, C, H) bool, of the catalog's one purpose.
    """

    catalog: Catalog
    channel_block: BoolArray
    channel_hour: BoolArray

    @property
    def n(self) -> int:
        return len(self.channel_block)

    @property
    def k(self) -> int:
        return self.catalog.k

    def members(self, group: SlotGroup) -> BoolArray:
        """(n, C, m) which combinations of a group are eligible on each channel."""
        may = np.broadcast_to(group.allowed, (*self.channel_block.shape[:2], group.m)).copy()
        for blocks in group.blocks.T:
            may &= self.channel_block[:, :, blocks]
        return may

    def assemblies(self) -> IntArray:
        """(n, C) number of eligible assemblies on each channel."""
        count = np.ones(self.channel_block.shape[:2], dtype=np.int64)
        for group in catalog_groups(self.catalog):
            count *= self.members(group).sum(axis=2)
        return count

    def counts(self, *, forbidden: bool = True) -> IntArray:
        """(n,) number of eligible actions, hold included; without `forbidden` as if nothing were forbidden."""
        each = self.assemblies() if forbidden else self._products()
        sends: IntArray = (each * self.channel_hour.sum(axis=2)).sum(axis=1)
        return 1 + sends

    def marginal_counts(self) -> tuple[IntArray, IntArray, IntArray]:
        """(n, C), (n, H) and (n, B) eligible sends on each channel, in each hour slot, and with each block."""
        hours = self.channel_hour.sum(axis=2)
        members = [(group, self.members(group)) for group in catalog_groups(self.catalog)]
        sizes = [may.sum(axis=2) for _, may in members]
        assemblies = np.prod(sizes, axis=0, dtype=np.int64)
        by_block = np.zeros((self.n, sum(modular_of(self.catalog).sizes)), dtype=np.int64)
        for at, (group, may) in enumerate(members):
            others = np.prod([size for one, size in enumerate(sizes) if one != at] or [1], axis=0, dtype=np.int64)
            weight = (hours * others)[:, :, None] * may
            for blocks in group.blocks.T:
                for block in np.unique(blocks):
                    by_block[:, block] += weight[:, :, blocks == block].sum(axis=(1, 2))
        by_hour = (self.channel_hour * assemblies[:, :, None]).sum(axis=1)
        return hours * assemblies, np.asarray(by_hour), by_block

    def _products(self) -> IntArray:
        modular = modular_of(self.catalog)
        slots = np.split(self.channel_block, modular.first[1:], axis=2)
        product: IntArray = np.prod([slot.sum(axis=2) for slot in slots], axis=0, dtype=np.int64)
        return product

    def sendable(self) -> BoolArray:
        """(n,) whether any send is eligible."""
        some: BoolArray = self.counts() > 1
        return some

    def contains(self, action: CodeArray) -> BoolArray:
        """(n,) whether an action of each row is eligible."""
        modular, rows = modular_of(self.catalog), np.arange(self.n)
        channel, hour, arm = (np.maximum(axis, 0) for axis in self.catalog.split(action))
        positions = modular.positions(arm)
        may = self.channel_hour[rows, channel, hour].copy()
        for group in catalog_groups(self.catalog):
            index = np.ravel_multi_index(
                tuple(positions[:, slot] for slot in group.slots), [modular.sizes[slot] for slot in group.slots]
            )
            may &= group.allowed[index]
            for blocks in group.blocks[index].T:
                may &= self.channel_block[rows, channel, blocks]
        found: BoolArray = may | (np.asarray(action) == HOLD)
        return found

    def plain(self) -> Eligibility:
        """The same by arms, (n, C, K); call it on blocks."""
        modular = modular_of(self.catalog)
        channels, _, arms = self.catalog.shape
        positions = modular.positions(np.arange(arms))
        by_arm = np.ones((self.n, channels, arms), dtype=np.bool_)
        for slot, first in enumerate(modular.first):
            by_arm &= self.channel_block[:, :, first + positions[:, slot]]
        by_arm &= _allowed_arms(self.catalog)
        by_hour = np.repeat(self.channel_hour[:, None], len(PURPOSES), axis=1)
        return Eligibility(by_arm, by_hour, self.catalog.purpose_codes)

    def dense(self) -> BoolArray:
        """(n, k) bool; column 0 (hold) is all true. Of a large catalog call it on few rows."""
        return self.plain().dense()

    def packed(self) -> ByteArray:
        """(n, ceil(C (B + H) / 8)) uint8: the bits of `channel_block`, then those of `channel_hour`, little-endian."""
        flat = [self.channel_block.reshape(self.n, -1), self.channel_hour.reshape(self.n, -1)]
        return np.packbits(np.concatenate(flat, axis=1), axis=1, bitorder="little")

    def take(self, rows: slice | np.ndarray[Any, Any]) -> BlockEligibility:
        return replace(self, channel_block=self.channel_block[rows], channel_hour=self.channel_hour[rows])

    def sealed(self) -> BlockEligibility:
        """The same, in arrays that nobody can write to (`engine.sealing`) and over a catalog of its own."""
        return BlockEligibility(self.catalog.handed_out, sealed(self.channel_block), sealed(self.channel_hour))


def unpacked(packed: ByteArray, catalog: Catalog) -> BlockEligibility:
    """The inverse of `BlockEligibility.packed`."""
    channels, hours, _ = catalog.shape
    blocks = sum(modular_of(catalog).sizes)
    count = channels * (blocks + hours)
    flags = np.unpackbits(packed, axis=1, count=count, bitorder="little").view(np.bool_)
    by_block, by_hour = flags[:, : channels * blocks], flags[:, channels * blocks :]
    return BlockEligibility(catalog, by_block.reshape(-1, channels, blocks), by_hour.reshape(-1, channels, hours))


def _allowed_arms(catalog: Catalog) -> BoolArray:
    """(K,) arms without a forbidden set."""
    modular = modular_of(catalog)
    positions = modular.positions(np.arange(catalog.shape[2]))
    allowed = np.ones(len(positions), dtype=np.bool_)
    for group in catalog_groups(catalog):
        index = np.ravel_multi_index(
            tuple(positions[:, slot] for slot in group.slots), [modular.sizes[slot] for slot in group.slots]
        )
        allowed &= group.allowed[index]
    return allowed
