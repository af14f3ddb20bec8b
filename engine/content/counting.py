"""How many eligible actions have a channel, an hour or a block: marginal counts of factored eligible sets."""

from __future__ import annotations

import numpy as np

from engine.content.eligibility import BlockEligibility, catalog_groups, modular_of
from engine.types import IntArray


def marginal_counts(eligibility: BlockEligibility) -> tuple[IntArray, IntArray, IntArray]:
    """(n, C), (n, H) and (n, B) eligible sends on each channel, in each hour slot, and with each block."""
    hours = eligibility.channel_hour.sum(axis=2)
    members = [(group, eligibility.members(group)) for group in catalog_groups(eligibility.catalog)]
    sizes = [may.sum(axis=2) for _, may in members]
    assemblies = np.prod(sizes, axis=0, dtype=np.int64)
    by_block = np.zeros((eligibility.n, sum(modular_of(eligibility.catalog).sizes)), dtype=np.int64)
    for at, (group, may) in enumerate(members):
        others = np.prod([size for one, size in enumerate(sizes) if one != at] or [1], axis=0, dtype=np.int64)
        weight = (hours * others)[:, :, None] * may
        for blocks in group.blocks.T:
            for block in np.unique(blocks):
                by_block[:, block] += weight[:, :, blocks == block].sum(axis=(1, 2))
    by_hour = (eligibility.channel_hour * assemblies[:, :, None]).sum(axis=1)
    return hours * assemblies, np.asarray(by_hour), by_block
