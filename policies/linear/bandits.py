"""LinUCB and linear Thompson sampling: policies on a ridge regression per action, their learners and trained folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np

from engine.catalog import Catalog
from engine.eligibility import require_eligible
from engine.errors import ArtefactError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.protocols import Policy
from engine.records.rounds import RoundBatch
from engine.types import BoolArray, FloatArray
from policies.exploring.best_of_normals import chance_of_best
from policies.exploring.exploration import one_hot_best
from policies.linear.ridge import LinearPosterior, LinearState, LinearSums
from policies.manifest import Manifest

SUMS: Final = ("gram", "moment")
Learns = Literal["linucb", "lin_ts"]


class LinUcb:
    """The eligible action with the largest x'w_a + alpha sqrt(x' inv(A_a) x), ties to the lower index.

    Source: Li, Chu, Langford & Schapire, "A Contextual-Bandit Approach to Personalized News Article Recommendation",
    WWW 2010, Algorithm 1 (disjoint models), equation (5). It is deterministic: propensities are 1, and its log has no
    support for other actions.

    Args:
        posterior: the posterior of every action.
        alpha: width of the bound in deviations, >= 0.

    Raises:
        ParameterError: a negative or non-finite alpha.
    """

    name = "linucb"

    def __init__(self, posterior: LinearPosterior, alpha: float = 1.0) -> None:
        if not 0.0 <= alpha < np.inf:
            raise ParameterError("alpha", "LinUcb", allowed="finite and at least 0", got=alpha)
        self._posterior, self._alpha = posterior, alpha

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give one-hot probabilities, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
            DataError: the context has another schema.
        """
        mean, deviation = self._posterior.predict(context)
        return one_hot_best(mean + self._alpha * deviation, eligible)


class LinearThompson:
    """Each eligible action with the chance that its draw of N(x'w_a, v^2 x' inv(A_a) x) is the largest.

    Source: Agrawal & Goyal, "Thompson Sampling for Contextual Bandits with Linear Payoffs", ICML 2013, Algorithm 1,
    with a model of its own for every action: their draws are then independent given the context, and the chance is a
    one-dimensional integral (`policies.exploring.best_of_normals`). The action is sampled from these chances, not by
    drawing weights, so the logged propensity is the probability of the draw by construction.

    Args:
        posterior: the posterior of every action.
        v: deviation of the noise, in reward units, >= 0; 0 is greedy.

    Raises:
        ParameterError: a negative or non-finite v.
    """

    name = "linear_thompson"

    def __init__(self, posterior: LinearPosterior, v: float = 0.25) -> None:
        if not 0.0 <= v < np.inf:
            raise ParameterError("v", "LinearThompson", allowed="finite and at least 0", got=v)
        self._posterior, self._v = posterior, v

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """Give the chances of the actions, (n, k).

        Raises:
            EligibilityError: a row without an eligible action.
            DataError: the context has another schema.
        """
        require_eligible(eligible)
        mean, deviation = self._posterior.predict(context)
        return chance_of_best(mean, self._v * deviation, eligible)


class LinearLearner(LinearSums, ABC):
    """Learns the sums that a linear policy stands on; what is done with them is its subclasses' `served`.

    Args:
        catalog / schema / metric / reward_range / ridge / state: see `LinearSums`.
        width: of the policy's deviations: alpha of `LinUcb`, v of `LinearThompson`; None is the subclass's default.
        relative: the width counts in standard deviations of the rewards (`LinearPosterior.unit`), not in their unit.
    """

    learns_as: ClassVar[Learns]
    usual_width: ClassVar[float]

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        *,
        width: float | None = None,
        ridge: float = 1.0,
        relative: bool = False,
        state: LinearState | None = None,
    ) -> None:
        super().__init__(catalog, schema, metric, reward_range, ridge=ridge, state=state)
        self.width, self.relative = self.usual_width if width is None else width, relative

    def learn(self, rounds: Iterable[RoundBatch]) -> None:
        """Learn on top of what was learnt before.

        Raises:
            LearnError: see `LinearSums.add`.
        """
        self.add(rounds)

    def export(
        self, folder: Path, *, source: dict[str, Any] | None = None, rows: TrainingRows | None = None
    ) -> LinearManifest:
        """Write what has been learnt as a trained folder (`policies.manifest.Exporting`)."""
        state = self.state
        manifest = LinearManifest(
            policy=self.learns_as,
            catalog=self.catalog,
            features=self.schema,
            encoder=state.encoder,
            metric=self.metric,
            reward_range=self.reward_range,
            width=self.width,
            relative=self.relative,
            ridge=self.ridge,
            centre=state.centre,
            unit=state.unit,
            rounds=state.rounds,
            source=source or {},
        )

        def write(part: Path) -> None:
            for name in SUMS:
                np.save(part / f"{name}.npy", getattr(state, name), allow_pickle=False)

        return manifest.publish(folder, write, rows)

    def policy(self) -> Policy:
        """The policy learnt so far.

        Raises:
            LearnError: nothing has been learnt yet.
            ParameterError: a width that the policy refuses.
        """
        posterior = self.posterior()
        return self.served(posterior, self.width * (posterior.unit if self.relative else 1.0))

    @abstractmethod
    def served(self, posterior: LinearPosterior, width: float) -> Policy:
        """The policy of a posterior; `width` in reward units."""


class LinUcbLearner(LinearLearner):
    """Learns from logged rounds and hands out `LinUcb` (`engine.protocols.Learner`)."""

    learns_as = "linucb"
    usual_width = 1.0

    def served(self, posterior: LinearPosterior, width: float) -> LinUcb:
        """The policy of a posterior.

        Raises:
            ParameterError: see `LinUcb`.
        """
        return LinUcb(posterior, width)


class LinearThompsonLearner(LinearLearner):
    """Learns from logged rounds and hands out `LinearThompson` (`engine.protocols.Learner`)."""

    learns_as = "lin_ts"
    usual_width = 0.25

    def served(self, posterior: LinearPosterior, width: float) -> LinearThompson:
        """The policy of a posterior.

        Raises:
            ParameterError: see `LinearThompson`.
        """
        return LinearThompson(posterior, width)


class LinearManifest(Manifest, frozen=True, kw_only=True):
    """What `manifest.json` says of the folder of a linear learner, whose sums lie beside it.

    Attributes:
        policy: the name in the registry.
        width / relative / ridge: see `LinearLearner`.
    """

    KIND: ClassVar[str] = "tactful-linear-policy"

    policy: Learns
    width: float
    relative: bool
    ridge: float

    @property
    def name(self) -> str:
        """Name of the policy."""
        return LinUcb.name if self.policy == "linucb" else LinearThompson.name

    @property
    def learns_as(self) -> str:
        """The name of the learner in `policies.registry`."""
        return self.policy

    def read_policy(self, folder: Path) -> Policy:
        """The policy.

        Raises:
            ArtefactError: see `read_learner`.
        """
        return self.read_learner(folder).policy()

    def read_learner(self, folder: Path) -> LinearLearner:
        """The learner, to learn on; it equals one that learnt everything in one go.

        Raises:
            ArtefactError: sums that do not fit the encoder and the catalog.
        """
        k, size = self.catalog.k, self.encoder.d + 1
        gram, moment = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in SUMS)
        if gram.shape != (k, size, size) or moment.shape != (k, size):
            raise ArtefactError(f"{folder} has sums of another size than its catalog and encoder", hint="train again")
        state = LinearState(self.encoder, gram, moment, self.centre, self.unit, self.rounds)
        of = (self.catalog, self.features, self.metric, self.reward_range)
        made = LinUcbLearner if self.policy == "linucb" else LinearThompsonLearner
        return made(*of, width=self.width, ridge=self.ridge, relative=self.relative, state=state)
