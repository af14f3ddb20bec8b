"""Factored eligible sets of assemblies against the same sets written out."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from engine.content.drawing import uniform_actions
from engine.content.eligibility import catalog_groups, packed_width, unpacked
from engine.content.groups import slot_groups
from engine.content.modular import Modular
from engine.errors import ParameterError
from tests.engine.content.modular_worlds import block, random_eligibility, small_catalog

WORLDS = {
    "product": small_catalog(),
    "pair": small_catalog(forbidden=[["h1", "o1"]]),
    "triple": small_catalog(forbidden=[["h1", "p1", "o1"], ["p2", "o1"]]),
}


@pytest.mark.parametrize("world", WORLDS)
def test_factors_say_what_the_dense_set_says(world: str) -> None:
    catalog = WORLDS[world]
    eligibility = random_eligibility(catalog, 60)
    dense = eligibility.dense()
    modular, ids = catalog.modular, catalog.modular.block_ids  # type: ignore[union-attr]
    for row in range(5):
        for action in range(1, catalog.k):
            channel, hour, arm = (int(axis[0]) for axis in catalog.split(np.array([action])))
            blocks = catalog.arms[arm].blocks
            barred = any(set(one) <= set(blocks) for one in modular.forbidden)  # type: ignore[union-attr]
            may = all(eligibility.channel_block[row, channel, ids.index(name)] for name in blocks)
            assert dense[row, action] == (may and not barred and eligibility.channel_hour[row, channel, hour])
    assert (eligibility.counts() == dense.sum(axis=1)).all()
    assert (eligibility.sendable() == dense[:, 1:].any(axis=1)).all()
    for action in range(catalog.k):
        assert (eligibility.contains(np.full(60, action, dtype=np.int32)) == dense[:, action]).all()


@pytest.mark.parametrize("world", WORLDS)
def test_packed_sets_come_back(world: str) -> None:
    eligibility = random_eligibility(WORLDS[world], 20)
    packed = eligibility.packed()
    assert packed.shape == (20, packed_width(WORLDS[world]))
    back = unpacked(packed, WORLDS[world])
    assert (back.channel_block == eligibility.channel_block).all()
    assert (back.channel_hour == eligibility.channel_hour).all()


def test_linked_slots_form_one_group() -> None:
    assert [group.slots for group in catalog_groups(WORLDS["product"])] == [(0,), (1,), (2,)]
    assert [group.slots for group in catalog_groups(WORLDS["pair"])] == [(0, 2), (1,)]
    assert [group.m for group in catalog_groups(WORLDS["triple"])] == [12]
    assert [group.slots for group in catalog_groups(WORLDS["product"], [(1, 2)])] == [(0,), (1, 2)]


@pytest.mark.parametrize("world", WORLDS)
def test_uniform_draws_reach_every_eligible_action_equally(world: str) -> None:
    """A grid of uniforms gives each action its share, to within the grid."""
    eligibility = random_eligibility(WORLDS[world], 6, seed=3, share=0.9)
    grid = (np.arange(20_000) + 0.5) / 20_000
    for row in range(6):
        one = eligibility.take(np.full(len(grid), row))
        found = np.bincount(uniform_actions(one, grid), minlength=WORLDS[world].k) / len(grid)
        dense = eligibility.dense()[row]
        assert np.abs(found - dense / dense.sum()).max() <= 3.0 / len(grid)


def test_a_large_group_is_refused() -> None:
    slots = [
        {"id": f"s{at}", "fallback": f"{at}x0", "blocks": [block(f"{at}x{one}") for one in range(9)]} for at in range(4)
    ]
    modular = msgspec.convert({"slots": slots, "offer": "s0"}, Modular)
    assert len(slot_groups(modular)) == 4
    with pytest.raises(ParameterError, match="at most 4096"):
        slot_groups(modular, [(0, 1), (1, 2), (2, 3)])
