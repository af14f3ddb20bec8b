"""Less to see: rounds and policies from which some signals are taken away, for ablations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from engine.decide.asking import unchecked_distribution
from engine.errors import ParameterError
from engine.features import ContextBlock, FeatureSchema
from engine.records.rounds import RoundBlock
from engine.types import BoolArray, FloatArray
from policies.vw.compiled import CompiledPolicy


def schema_of(schema: FeatureSchema, names: Sequence[str]) -> FeatureSchema:
    """The schema with these features alone, in its own order; none at all is a context-free bandit's.

    Raises:
        ParameterError: a feature that it does not have.
    """
    unknown = sorted(set(names) - set(schema.names))
    if unknown:
        raise ParameterError("names", "schema_of", allowed=f"features of {list(schema.names)}", got=unknown)
    return FeatureSchema(features=tuple(spec for spec in schema.features if spec.name in set(names)))


def narrowed(context: ContextBlock, schema: FeatureSchema) -> ContextBlock:
    """The same rows with the features of a smaller schema."""
    return ContextBlock(schema, {name: context.columns[name] for name in schema.names}, context.n)


@dataclass(frozen=True)
class NarrowedRounds:
    """Rounds with fewer features; as often to be read as those that they are made of."""

    rounds: Iterable[RoundBlock]
    schema: FeatureSchema

    def __iter__(self) -> Iterator[RoundBlock]:
        for block in self.rounds:
            yield replace(block, context=narrowed(block.context, self.schema))


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

    def scores(self, context: ContextBlock) -> FloatArray:
        """(n, k) predicted rewards."""
        return self.policy.scores(narrowed(context, self.schema))

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        return unchecked_distribution(self.policy, narrowed(context, self.schema), eligible)
