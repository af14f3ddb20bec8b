"""Another catalog for a learner: blocks are swapped, added or retired, and what was learnt stays.

Weights belong to features by name, so every block that the new catalog still has keeps its own, wherever it stands now;
a retired one is merely never eligible. A block that the learner has not met starts at the mean of its slot: its id
feature, and the products of it with context and channel, get the mean of those of the slot's known blocks; what its
attributes are worth is added, as for any other block. So it is explored like an average block of its attributes, and
the model's predictions stay Vowpal Wabbit's own.
"""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import modular_of
from engine.content.modular import Modular
from engine.errors import ParameterError
from policies.content.learner import BlockLearner
from policies.content.names import SLOT_SPACES, id_feature, interactions
from policies.vw import wall
from policies.vw.examples import channel_features, escape
from policies.vw.training import LearnerState

Weights = list[tuple[tuple[int, ...], float]]


def adopted(learner: BlockLearner, catalog: Catalog) -> BlockLearner:
    """The learner, with everything that it has learnt, on another catalog.

    Raises:
        ParameterError: the catalog has no blocks, or other channels, hours or slots (blocks may differ).
        LearnError: nothing has been learnt yet.
    """
    if catalog.version == learner.catalog.version:
        return learner
    before, after = modular_of(learner.catalog), modular_of(catalog)
    own = (learner.catalog.channels, learner.catalog.hours, tuple(slot.id for slot in before.slots))
    other = (catalog.channels, catalog.hours, tuple(slot.id for slot in after.slots))
    if own != other:
        raise ParameterError(
            "catalog",
            "a trained policy of modular content",
            allowed=f"one with the channels, hours and slots {own}",
            got=other,
            hint="train anew: other slots are other features",
        )
    state = learner.state
    new = [block.id for block in after.blocks if block.id not in before.block_ids]
    if new:
        state = LearnerState(**{**vars(state), "model": _started(learner, before, after)})
    made = BlockLearner(
        catalog, learner.schema, learner.metric, learner.reward_range, learner.config, learner.exploration, state
    )
    made.require_sound(state)
    return made


def _started(learner: BlockLearner, before: Modular, after: Modular) -> bytes:
    """The model with the weights of every new block's id at the means of its slot."""
    weights: Weights = []
    with learner.opened(learner.state) as model:
        for at, (old, slot) in enumerate(zip(before.slots, after.slots, strict=True)):
            known = [block.id for block in old.blocks]
            for block in slot.blocks:
                if block.id not in before.block_ids:
                    weights += _means(model, learner, SLOT_SPACES[at], known, block.id)
    with wall.scratch() as folder:
        return wall.with_weights(learner.state.model, weights, folder, bits=learner.config.bit_precision)


def _means(model: wall.Model, learner: BlockLearner, space: str, known: list[str], new: str) -> Weights:
    """Hashes and starting values of the weights of a new block: alone, and with every context column and channel."""
    pairs = interactions(learner.config, learner.catalog)
    heads: list[tuple[int, ...]] = [()]
    if f"x{space}" in pairs:
        heads += [(model.hash_of("x", escape(name)),) for name in learner.state.encoder.column_names]
    if f"c{space}" in pairs:
        heads += [(model.hash_of("c", name),) for name in channel_features(learner.catalog) if name]
    others = [model.hash_of(space, id_feature(block)) for block in known]
    own = model.hash_of(space, id_feature(new))
    return [
        ((*head, own), float(np.mean([model.weight(*head, other) for other in others], dtype=np.float64)))
        for head in heads
    ]
