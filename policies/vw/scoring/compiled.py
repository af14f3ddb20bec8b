"""Compiled policies: encoder, score tables and exploration. Serving needs numpy, never Vowpal Wabbit.

An ensemble has one set of tables per policy of a bag or a cover; they vote.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import Eligibility
from engine.encoder import Encoder
from engine.errors import ParameterError
from engine.features import ContextBatch
from engine.sampling import draw
from engine.types import HOLD, BoolArray, CodeArray, Float32Array, FloatArray
from policies.exploring.bounds import bounded
from policies.exploring.config import ExplorationConfig
from policies.exploring.exploration import vote_shares, with_minimum
from policies.exploring.unseen import Unseen
from policies.parts.tables import PartTables
from policies.vw.scoring import kernels
from policies.vw.scoring.tables import BATCH_ROWS, ScoreTables


@dataclass(frozen=True)
class CompiledPolicy:
    """A policy of arrays alone (`engine.protocols.Policy`), with a fused fast path.

    Attributes:
        catalog: the actions.
        encoder: the encoder of the context.
        tables: scores of every action.
        exploration: from scores to probabilities.
        rounds: rounds that were learnt from; SquareCB's gamma grows with them.
        name: begins with "vw".
        version: the version of the artefact it was loaded from; "" for one that was never exported.
        fast: use the numba kernels where numba is installed. Actions are the same but for rounding at the edge of a
            draw, propensities to 1e-12; so a job sets it once, from its size, never batch by batch.
        never_held: the log that was learnt from held nobody, so nothing is known of holding: it is chosen only where
            nothing may be sent, and what it scores plays no part.
        unseen: actions that the log never took for some contacts: there they come after all that it took, whatever they
            score, so that only exploring chooses them.
    """

    catalog: Catalog
    encoder: Encoder
    tables: ScoreTables | PartTables
    exploration: ExplorationConfig
    rounds: int
    name: str = "vw"
    version: str = ""
    fast: bool = True
    never_held: bool = False
    unseen: Unseen | None = None

    @property
    def fused(self) -> bool:
        """Whether `choose` runs in one kernel, for which hold is always eligible and every score counts."""
        return self.fast and kernels.AVAILABLE and not self.never_held and self.unseen is None

    def scores(self, context: ContextBatch) -> FloatArray:
        """(n, k) predicted rewards of every action, eligible or not.

        Raises:
            DataError: the context has another schema.
        """
        x = self.encoder.encode(context)
        if isinstance(self.tables, PartTables) and self.fast and kernels.AVAILABLE:
            # Bit for bit the same: the kernel repeats the sums of the tables in their order.
            return kernels.scores(x, self.tables)
        return self.tables.scores(x)

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) probabilities; rows sum to 1, removed actions have exactly 0.

        Raises:
            EligibilityError: a row without an eligible action.
            ParameterError: eligible is not of shape (n, k).
            DataError: the context has another schema.
        """
        if eligible.shape != (context.n, self.catalog.k):
            raise ParameterError(
                "eligible", self.name, allowed=f"of shape {(context.n, self.catalog.k)}", got=eligible.shape
            )
        offered = self._offered(eligible)
        out = np.empty(eligible.shape, dtype=np.float64)
        for start in range(0, context.n, BATCH_ROWS):
            rows = slice(start, min(start + BATCH_ROWS, context.n))
            out[rows] = self.batch_distribution(context.take(rows), offered[rows])
        return out

    def _offered(self, eligible: BoolArray) -> BoolArray:
        """(n, k) what is chosen among."""
        if not self.never_held:
            return eligible
        offered = eligible.copy()
        offered[:, HOLD] &= ~eligible[:, 1:].any(axis=1)
        return offered

    def batch_distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """`distribution` of a batch of at most some hundred rows, of checked shape."""
        return self.exploration.distribution(
            self.known_first(self.scores(context), context, eligible), eligible, self.rounds
        )

    def known_first(self, scores: FloatArray, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) scores in which what the log never took for a contact is behind all else."""
        return scores if self.unseen is None else self.unseen.known_first(scores, context, eligible)

    def choose(
        self, context: ContextBatch, eligibility: Eligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """`distribution` and `engine.sampling.draw` in one, without ever holding (n, k) for all rows.

        Args:
            eligibility: factored; hold is always eligible.
            uniform: (n,) in [0, 1), one per decision (`engine.identity.uniforms`).

        Returns:
            action (n,) int32 and its propensity (n,) in (0, 1].

        Raises:
            ParameterError: row counts differ, or the eligibility is not of this catalog.
            DataError: the context has another schema.
        """
        if eligibility.n != context.n or len(uniform) != context.n or eligibility.k != self.catalog.k:
            raise ParameterError(
                "eligibility",
                self.name,
                allowed=f"of {context.n} rows and {self.catalog.k} actions, with as many uniforms",
                got=(eligibility.n, eligibility.k, len(uniform)),
            )
        if self.fused:
            return self._choose_fast(context, eligibility, uniform)
        action, propensity = np.zeros(context.n, dtype=np.int32), np.ones(context.n)
        # Where only hold is left it is certain, and nothing has to be scored.
        some = np.flatnonzero(eligibility.sendable())
        for start in range(0, len(some), BATCH_ROWS):
            rows = some[start : start + BATCH_ROWS]
            probabilities = self.distribution(context.take(rows), eligibility.take(rows).dense())
            action[rows], propensity[rows] = draw(probabilities, uniform[rows])
        return action, propensity

    def _choose_fast(
        self, context: ContextBatch, eligibility: Eligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        """Choose by kernel; where only hold is left it is certain, and nothing has to be encoded or scored."""
        rows = np.flatnonzero(eligibility.sendable())
        action, propensity = np.zeros(context.n, dtype=np.int32), np.ones(context.n)
        some = len(rows) < context.n
        x = self.encoder.encode(context.take(rows) if some else context)
        left, draws = (eligibility.take(rows), uniform[rows]) if some else (eligibility, uniform)
        action[rows], propensity[rows] = kernels.choose(x, self.tables, left, self.exploration, self.rounds, draws)
        return action, propensity


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

    def batch_distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """`distribution` of a small batch: the votes, raised to epsilon / m each, then the bounds.

        The bounds know no scores here: the actions with the most votes count as the greedy ones.
        """
        if not self.exploration.votes:
            return super().batch_distribution(context, eligible)
        x = self.encoder.encode(context)
        scores = (self.known_first(self._scores(member, x), context, eligible) for member in self.members)
        shares = vote_shares(scores, eligible)
        raised = with_minimum(shares, eligible, self.exploration.epsilon)
        return bounded(raised, raised, eligible, self.exploration.ceiling, self.exploration.floor)

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
