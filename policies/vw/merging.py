"""Merging models that learnt on shards of one log: a map over partitions, then one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from engine.errors import LearnError
from policies.vw import wall
from policies.vw.learner import VwLearner

# Vowpal Wabbit's merge makes the merged model with its default number of weights, and loses all others in silence.
MERGE_BITS: Final = 18


def merged(learners: Sequence[VwLearner]) -> VwLearner:
    """One learner out of several that learnt on shards, each from the same prepared state (`VwTrainer.prepare`).

    VW averages every weight over the models, each weighted by its sum of squared gradients there (adaptive steps), so a
    weight that one shard never saw does not dilute what the others learnt. Approximate: it is not the model that would
    have learnt everything in one go, but about as good (see the tests), and it learns on.

    Raises:
        LearnError: fewer than two learners, another catalog, metric, configuration, encoder or scale, 2 ** bits other
            than 18, an ensemble, or a failure of VW.
    """
    if len(learners) < 2:
        raise LearnError(f"merging needs at least two learners, got {len(learners)}", hint="use the one as it is")
    first, states = learners[0], [learner.state for learner in learners]
    if first.config.bit_precision != MERGE_BITS or first.config.ensemble is not None:
        raise LearnError(
            f"only single models with bit_precision {MERGE_BITS} can be merged, not {first.config}",
            hint="learn the shards one after the other instead",
        )
    for learner, state in zip(learners, states, strict=True):
        same = (
            learner.catalog == first.catalog
            and (learner.metric, learner.reward_range) == (first.metric, first.reward_range)
            and learner.config == first.config
            and (state.encoder, state.centre, state.unit) == (states[0].encoder, states[0].centre, states[0].unit)
        )
        if not same:
            raise LearnError(
                "the learners differ in catalog, metric, configuration, encoder or scale of rewards",
                hint="give each of them the state of one `prepare` on all shards",
            )
    with wall.scratch() as folder:
        model = wall.merge([state.model for state in states], folder)
    state = replace(
        states[0],
        model=model,
        rounds=sum(state.rounds for state in states),
        eligible_sum=sum(state.eligible_sum for state in states),
        skipped=sum(state.skipped for state in states),
    )
    found = VwLearner(
        first.catalog, first.schema, first.metric, first.reward_range, first.config, first.exploration, state
    )
    found.require_sound(state)
    return found
