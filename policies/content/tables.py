"""The compiled scorer of assemblies: a VW model over context x (channel, hour, blocks) as a sum of small tables.

With x the encoded context, (x, 1) the same with the constant, and b_1 .. b_S the blocks of an assembly, the predicted
reward of sending it on channel c in hour slot h is

    (x, 1) . (base + channel[c] + hour[h]) + channel_hour[c, h]
      + sum over slots s of ((x, 1) . block[b_s] + channel_block[c, b_s]) + sum over learnt pairs of pair[b_s, b_t]

and that of hold (x, 1) . (base + hold). Only the second line knows of blocks, and it is a sum over slots: that is what
lets an assembly be chosen block by block.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import modular_of
from engine.content.groups import SlotGroup
from engine.types import Float32Array, FloatArray
from policies.vw.scoring.tables import StoredTables, affine


@dataclass(frozen=True)
class BlockTables(StoredTables):
    """The weights of a model as arrays, float32, in reward units.

    Attributes:
        base / hold: (d + 1,) context alone, and what hold adds; the constant comes last here and below.
        channel: (C, d + 1), with what sending adds.
        hour: (H, d + 1).
        block: (B, d + 1), B all blocks, slot by slot.
        channel_hour: (C, H).
        channel_block: (C, B).
        pair: (B, B) products of blocks of two slots, the lower slot first; 0 elsewhere.
    """

    base: Float32Array
    hold: Float32Array
    channel: Float32Array
    hour: Float32Array
    block: Float32Array
    channel_hour: Float32Array
    channel_block: Float32Array
    pair: Float32Array

    @property
    def d(self) -> int:
        return len(self.base) - 1

    @cached_property
    def linear(self) -> FloatArray:
        """(d + 1, 1 + C + H + B): hold, channels (each with the base), hours, blocks, as one matrix."""
        base = self.base.astype(np.float64)
        rows: FloatArray = np.vstack([base + self.hold, base + self.channel, self.hour, self.block])
        return np.ascontiguousarray(rows.T)

    @cached_property
    def wide(self) -> tuple[FloatArray, FloatArray]:
        """`channel_hour` and `channel_block` in float64."""
        return self.channel_hour.astype(np.float64), self.channel_block.astype(np.float64)

    def pairs_of(self, group: SlotGroup) -> FloatArray:
        """(m,) what the products of its blocks add to each combination of a group."""
        total = np.zeros(group.m)
        for one in range(len(group.slots)):
            for other in range(one + 1, len(group.slots)):
                total += self.pair[group.blocks[:, one], group.blocks[:, other]].astype(np.float64)
        return total

    def parts(self, x: Float32Array) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n, d) -> hold (n,), cells (n, C, H) and blocks (n, C, B)."""
        channels, hours = self.channel_hour.shape
        channel_hour, channel_block = self.wide
        sums = affine(x, self.linear)
        by_channel, by_hour, by_block = np.split(sums[:, 1:], [channels, channels + hours], axis=1)
        cells = by_channel[:, :, None] + by_hour[:, None, :] + channel_hour
        return sums[:, 0], cells, by_block[:, None, :] + channel_block

    def members(self, blocks: FloatArray, group: SlotGroup) -> FloatArray:
        """(n, C, B) -> (n, C, m) scores of the combinations of a group."""
        total: FloatArray = blocks[:, :, group.blocks[:, 0]].copy()
        for column in group.blocks.T[1:]:
            total += blocks[:, :, column]
        if len(group.slots) > 1:
            total += self.pairs_of(group)
        return total

    @staticmethod
    def shapes(catalog: Catalog, d: int) -> dict[str, tuple[int, ...]]:
        """Shape of every table for a modular catalog and d encoded features."""
        (channels, hours, _), blocks = catalog.shape, sum(modular_of(catalog).sizes)
        return {
            "base": (d + 1,),
            "hold": (d + 1,),
            "channel": (channels, d + 1),
            "hour": (hours, d + 1),
            "block": (blocks, d + 1),
            "channel_hour": (channels, hours),
            "channel_block": (channels, blocks),
            "pair": (blocks, blocks),
        }
