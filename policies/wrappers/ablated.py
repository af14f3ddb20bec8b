"""Policies for ablations: some that see less, and some that decide in one respect only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import numpy as np

from engine.catalog import Catalog
from engine.decide.asking import unchecked_distribution
from engine.errors import ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.records.rounds import RoundBatch
from engine.types import HOLD, BoolArray, FloatArray
from policies.exploring.action_values import ActionValues
from policies.exploring.config import ExplorationConfig
from policies.exploring.exploration import one_hot_best
from policies.vw.scoring.compiled import CompiledPolicy


def schema_of(schema: FeatureSchema, names: Sequence[str]) -> FeatureSchema:
    """The schema with these features alone, in its own order; none at all is a context-free bandit's.

    Raises:
        ParameterError: a feature that it does not have.
    """
    unknown = sorted(set(names) - set(schema.names))
    if unknown:
        raise ParameterError("names", "schema_of", allowed=f"features of {list(schema.names)}", got=unknown)
    return FeatureSchema(features=tuple(spec for spec in schema.features if spec.name in set(names)))


def narrowed(context: ContextBatch, schema: FeatureSchema) -> ContextBatch:
    """The same rows with the features of a smaller schema."""
    return ContextBatch(schema, {name: context.columns[name] for name in schema.names}, context.n)


@dataclass(frozen=True)
class NarrowedRounds:
    """Rounds with fewer features; as often to be read as those that they are made of."""

    rounds: Iterable[RoundBatch]
    schema: FeatureSchema

    def __iter__(self) -> Iterator[RoundBatch]:
        for batch in self.rounds:
            yield replace(batch, context=narrowed(batch.context, self.schema))


@dataclass(frozen=True)
class NarrowedPolicy:
    """A policy that learnt from fewer features, asked with contexts that have them all.

    Attributes:
        policy: over the smaller schema.
        schema: the smaller one.
        name: in results.
    """

    policy: CompiledPolicy
    schema: FeatureSchema
    name: str

    def scores(self, context: ContextBatch) -> FloatArray:
        """(n, k) predicted rewards."""
        return self.policy.scores(narrowed(context, self.schema))

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give the probabilities of the actions, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return unchecked_distribution(self.policy, narrowed(context, self.schema), eligible)


Learnt = Literal["none", "hold", "channel", "hour", "content", "all"]
LEARNT: Final[tuple[Learnt, ...]] = ("none", "hold", "channel", "hour", "content", "all")


class Scorer(Protocol):
    """Predicts the reward of every action."""

    def scores(self, context: ContextBatch) -> FloatArray: ...


@dataclass(frozen=True)
class RestrictedPolicy:
    """A learnt policy that may leave the constant message in one respect only.

    The constant message of a contact is the send with the highest mean reward on the training side among those that may
    be sent to it; hold where none may. The learnt scores then choose among it and

    - `hold`: hold (whether to send at all);
    - `channel`, `hour`, `content`: the eligible sends that differ from it in that alone;
    - `none`: nothing else; `all`: every eligible action.

    Attributes:
        scorer: the learnt scores; not asked for `none`.
        preference: (1, k) mean rewards, hold below every send.
        catalog: the actions.
        exploration: from scores to probabilities.
        rounds: the rounds that the scores were learnt from.
        learnt: what is not constant.
        name: in results.
    """

    scorer: Scorer
    preference: FloatArray
    catalog: Catalog
    exploration: ExplorationConfig
    rounds: int
    learnt: Learnt
    name: str

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give the probabilities of the actions, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
        """
        constant = one_hot_best(self.preference, eligible)
        if self.learnt == "none":
            return constant
        allowed = eligible & self._allowed(constant.argmax(axis=1))
        return self.exploration.distribution(self.scorer.scores(context), allowed, self.rounds)

    def _allowed(self, constant: np.ndarray[tuple[int], np.dtype[np.int64]]) -> BoolArray:
        """(n, k) actions that the constant one may be left for."""
        k = self.catalog.k
        if self.learnt == "all":
            return np.ones((len(constant), k), dtype=np.bool_)
        every = np.arange(k)
        if self.learnt == "hold":
            kept: BoolArray = (every[None, :] == constant[:, None]) | (every == HOLD)[None, :]
            return kept
        axis = ("channel", "hour", "content").index(self.learnt)
        places, own = self.catalog.split(every), self.catalog.split(constant)
        same = [places[other][None, :] == own[other][:, None] for other in range(3) if other != axis]
        # Hold has no place on any axis, so it equals no send, and no send equals it.
        alike: BoolArray = same[0] & same[1]
        return alike


def send_preference(values: ActionValues) -> FloatArray:
    """(1, k) means of a training side, with hold below every send and sends that were never logged between."""
    means = values.means()
    floor = np.finfo(np.float64).min
    ranked = np.where(np.isfinite(means), means, floor / 2)
    ranked[:, HOLD] = floor
    return ranked
