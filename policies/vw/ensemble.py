"""The compiled ensemble: one set of score tables per policy of a bag or a cover; they vote."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder
from engine.errors import ParameterError
from engine.features import ContextBlock
from engine.types import BoolArray, Float32Array, FloatArray
from policies.exploring.config import ExplorationConfig
from policies.exploring.limits import limited
from policies.exploring.votes import vote_shares, with_minimum
from policies.vw import kernels
from policies.vw.compiled import CompiledPolicy
from policies.vw.tables import ScoreTables


@dataclass(frozen=True)
class EnsemblePolicy(CompiledPolicy):
    """A policy of arrays alone, whose members vote under the explorations `bag` and `cover`.

    Under every other exploration it is the `CompiledPolicy` of its mean tables, which are `tables`.

    Attributes:
        members: tables of every policy.
    """

    members: tuple[ScoreTables, ...] = ()

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise ParameterError("members", "EnsemblePolicy", allowed="at least 2", got=len(self.members))

    @property
    def fused(self) -> bool:
        """Whether `choose` runs in one kernel; votes do not."""
        return super().fused and not self.exploration.votes

    def block_distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:
        """`distribution` of a small block: the votes, raised to epsilon / m each, then the limits.

        The limits know no scores here: the actions with the most votes count as the greedy ones.
        """
        if not self.exploration.votes:
            return super().block_distribution(context, eligible)
        x = self.encoder.encode(context)
        shares = vote_shares((self._scores(member, x) for member in self.members), eligible)
        raised = with_minimum(shares, eligible, self.exploration.epsilon)
        return limited(raised, raised, eligible, self.exploration.ceiling, self.exploration.floor)

    def _scores(self, member: ScoreTables, x: Float32Array) -> FloatArray:
        # Bit for bit the same on both paths, so votes are too.
        return kernels.scores(x, member) if self.fast and kernels.AVAILABLE else member.scores(x)


def mean_tables(members: tuple[ScoreTables, ...]) -> ScoreTables:
    """The mean of linear models is the linear model of their mean weights."""
    means = {
        field.name: np.stack([getattr(member, field.name) for member in members]).mean(axis=0, dtype=np.float64)
        for field in fields(ScoreTables)
    }
    # The mean of equal limits is the limit, also where it is infinite.
    return ScoreTables(**{name: np.asarray(mean, dtype=np.float32) for name, mean in means.items()})


def assembled(
    members: tuple[ScoreTables, ...],
    catalog: Catalog,
    encoder: Encoder,
    exploration: ExplorationConfig,
    rounds: int,
    name: str,
    version: str = "",
) -> CompiledPolicy:
    """The policy of one set of tables, or of an ensemble's."""
    if len(members) == 1:
        return CompiledPolicy(catalog, encoder, members[0], exploration, rounds, name, version)
    return EnsemblePolicy(catalog, encoder, mean_tables(members), exploration, rounds, name, version, members=members)
