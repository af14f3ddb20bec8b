"""policies/explain.py: the parts of a difference of scores add up to it, for random policies, catalogs and contexts."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import Catalog
from engine.encoder import Encoder, fit_encoder
from engine.errors import ParameterError
from engine.types import HOLD
from policies.explain import CLIPPING, EVERYBODY, FACTORS, compare, group_of
from policies.exploring.config import ExplorationConfig
from policies.vw.scoring.compiled import CompiledPolicy
from policies.vw.scoring.tables import ScoreTables


def policy_of(catalog: Catalog, encoder: Encoder, seed: int, scale: float, limits=(-np.inf, np.inf)) -> CompiledPolicy:
    """Random weights."""
    rng = np.random.default_rng(seed)
    shapes = ScoreTables.shapes(catalog, encoder.d)
    arrays = {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    arrays["limits"] = np.array(limits, dtype=np.float32)
    return CompiledPolicy(catalog, encoder, ScoreTables(**arrays), ExplorationConfig(), rounds=10)


@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from([(1, 1, 1), (2, 1, 3), (3, 2, 2)]),
    scale=st.sampled_from([1e-3, 1.0, 100.0]),
    clipped=st.booleans(),
    data=st.data(),
)
@settings(max_examples=40)
def test_parts_add_up_to_the_difference(make_world, seed, shape, scale, clipped, data):
    world = make_world(*shape)
    context = world.context(8, seed)
    encoder = fit_encoder(world.schema, [context])
    policy = policy_of(world.catalog, encoder, seed, scale, (-scale, scale) if clipped else (-np.inf, np.inf))
    action, other = (data.draw(st.integers(0, world.catalog.k - 1)) for _ in range(2))
    row = context.take(slice(3, 4))
    found = compare(policy, row, action, other)
    scores = policy.scores(row)[0]
    assert found.difference == scores[action] - scores[other]
    for key in (lambda p: p.signal_group, lambda p: p.feature, lambda p: p.factor, lambda p: (p.feature, p.factor)):
        assert sum(found.by(key).values()) == pytest.approx(found.difference, abs=1e-9 * max(1.0, scale))
    moved = {CLIPPING, *FACTORS}
    if HOLD not in (action, other):
        # What both sends share cancels: only a factor with an axis that differs can have a part.
        places = world.catalog.split(np.array([action, other]))
        differ = {axis for axis, place in zip(("channel", "hour", "content"), places, strict=True) if np.ptp(place)}
        moved = {CLIPPING, *(factor for factor in FACTORS if differ & set(factor.split(" x ")))}
    assert {part.factor for part in found.parts} <= moved
    assert clipped or not any(part.factor == CLIPPING for part in found.parts)


def test_by_hand(world):
    """Only the channel's weight of `value` and one pair differ from 0: 2 x value + 0.25 against hold's -1."""
    context = world.context(20, seed=1, absent=0.0)
    encoder = fit_encoder(world.schema, [context])
    shapes = ScoreTables.shapes(world.catalog, encoder.d)
    tables = ScoreTables(**{field.name: np.zeros(shapes[field.name], np.float32) for field in fields(ScoreTables)})
    tables.limits[:] = (-np.inf, np.inf)
    tables.base[:] = 7.0
    tables.channel[1, 0] = 2.0
    tables.channel_arm[1, 2] = 0.25
    tables.hold[-1] = -1.0
    policy = CompiledPolicy(world.catalog, encoder, tables, ExplorationConfig(), rounds=1)
    row = context.take(slice(0, 1))
    value = float(encoder.encode(row)[0, 0])
    found = compare(policy, row, world.catalog.index(1, 0, 2), 0)
    assert found.by(lambda p: p.factor) == pytest.approx({"channel": 2 * value, "channel x content": 0.25, "hold": 1.0})
    assert found.by(lambda p: p.signal_group) == pytest.approx({"value": 2 * value, EVERYBODY: 1.25})
    assert found.difference == pytest.approx(2 * value + 1.25)
    assert compare(policy, row, 3, 3).parts == ()


def test_groups_are_those_of_the_schema(world):
    assert group_of(world.schema) == {name: name for name in world.schema.names}


@pytest.mark.parametrize(("rows", "action"), [(2, 0), (0, 0), (1, -1), (1, 99)])
def test_refusals(world, rows, action):
    context = world.context(5, seed=1)
    encoder = fit_encoder(world.schema, [context])
    with pytest.raises(ParameterError):
        compare(policy_of(world.catalog, encoder, 1, 1.0), context.take(slice(0, rows)), action, 0)
