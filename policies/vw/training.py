"""From logged rounds to a model of Vowpal Wabbit. It sees nothing that was not checked; a failure changes nothing."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder, fit_encoder
from engine.errors import LearnError, ParameterError
from engine.features import FeatureSchema
from engine.numeric.moments import Moments
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from policies.vw import wall
from policies.vw.arguments import (
    VwConfig,
    continuing_arguments,
    learning_arguments,
    learns_one_action,
    model_layout,
)
from policies.vw.examples import action_lines, context_text, mtr_probability, one_action_examples, whole_set_examples
from policies.vw.folder import MODEL
from policies.vw.rows import repeatable, trainable

LINES_PER_PIECE: Final = 500_000


@dataclass(frozen=True)
class LearnerState:
    """Everything that a learner has learnt.

    Attributes:
        encoder: fitted at the first `learn`, then kept.
        model: bytes of the VW model; empty where nothing but encoder and scale is known yet (`VwTrainer.prepare`).
        rounds: rounds learnt from.
        eligible_sum: sum of their numbers of eligible actions.
        skipped: rounds left out: not usable, or the metric not known yet.
        centre / unit: mean and standard deviation of the rewards of the first `learn`. VW learns the cost
            (centre - reward) / unit: its steps have a fixed size, so rewards of another scale would learn too slowly or
            overshoot, and ips has the least variance where the costs are centred.
    """

    encoder: Encoder
    model: bytes
    rounds: int
    eligible_sum: int
    skipped: int
    centre: float
    unit: float

    @classmethod
    def kept(cls, manifest: Any, model: bytes) -> LearnerState:
        """The state that a manifest of ours keeps beside the model's bytes: fields of the same names."""
        return cls(model=model, **{one.name: getattr(manifest, one.name) for one in fields(cls) if one.name != "model"})


class VwTrainer(ABC):
    """Contextual-bandit training with Vowpal Wabbit; what is done with the model is its learners' business.

    Args:
        catalog: the actions.
        schema: the features of every context.
        metric: the reward to maximise.
        reward_range: declared (low, high) of the metric; rewards outside are refused.
        config: how to learn.
        state: continue from an earlier learner (`policies.trained.TrainedFolder.learner`).

    Raises:
        ParameterError: low is not below high.
    """

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        config: VwConfig | None = None,
        state: LearnerState | None = None,
    ) -> None:
        low, high = reward_range
        if not (np.isfinite([low, high]).all() and low < high):
            raise ParameterError(
                "reward_range", type(self).__name__, allowed="finite, low below high", got=reward_range
            )
        self.catalog = catalog
        self.schema = schema
        self.metric = metric
        self.reward_range = (float(low), float(high))
        self.config = config or VwConfig()
        if self.config.search is not None:
            raise ParameterError(
                "config", type(self).__name__, allowed="without a search", got="one", hint="choose first, see search.py"
            )
        self._state = state

    @property
    def state(self) -> LearnerState:
        """What has been learnt.

        Raises:
            LearnError: nothing yet.
        """
        if self._state is None or not self._state.model:
            raise LearnError("nothing has been learnt yet", hint="call learn first")
        return self._state

    def kept(self, source: dict[str, Any] | None) -> dict[str, Any]:
        """What the manifest of a folder says of any learner (`policies.vw.folder.VwManifest`)."""
        state = self.state
        return {
            "catalog": self.catalog,
            "features": self.schema,
            "metric": self.metric,
            "reward_range": self.reward_range,
            "config": self.config,
            "source": source or {},
            **{one.name: getattr(state, one.name) for one in fields(state) if one.name != "model"},
        }

    def write_model(self, folder: Path) -> None:
        """Write the model's file into a trained folder that is being made."""
        (folder / MODEL).write_bytes(self.state.model)

    @contextlib.contextmanager
    def opened(self, state: LearnerState) -> Iterator[wall.Model]:
        """The model of a state, loaded to be read.

        Raises:
            LearnError: no room for temporary files.
        """
        with wall.scratch() as folder:
            path = folder / MODEL
            path.write_bytes(state.model)
            with wall.load(path, bits=self.config.bit_precision, width=model_layout(self.config)[0]) as model:
                yield model

    def prepare(self, rounds: Iterable[RoundBatch]) -> LearnerState:
        """Encoder and scale of rewards from rounds, without learning: what learners on shards must share.

        Returns:
            The state to give to each of them; this learner is left as it was.

        Raises:
            LearnError: as of `learn`.
        """
        tally = Tally()
        checked = self._checked(rounds, tally)
        encoder = fit_encoder(self.schema, (batch.context for batch in checked), self.config.max_levels)
        self._require_rounds(tally)
        return LearnerState(encoder, b"", 0, 0, 0, tally.rewards.mean, tally.rewards.scale)

    def learn(self, rounds: Iterable[RoundBatch]) -> None:
        """Learn from rounds, on top of what was learnt before; rows that may not train are skipped and counted.

        The rounds are read twice (counts and encoder, then examples): give a list or an object whose `__iter__` starts
        anew. A one-shot iterator works too, but is held in memory.

        Raises:
            LearnError: a reward outside the declared range, a propensity outside (0, 1], an action that was not
                eligible, no usable round at all, or a failure of VW. The learner is then as it was.
        """
        batches = repeatable(rounds)
        fresh = self._state is None or not self._state.model
        tally = Tally()
        checked = self._checked(batches, tally)
        if self._state is None:
            encoder = fit_encoder(self.schema, (batch.context for batch in checked), self.config.max_levels)
        else:
            encoder = self._state.encoder
            for _ in checked:
                pass
        self._require_rounds(tally)
        rewards = tally.rewards
        before = self._state or LearnerState(encoder, b"", 0, 0, 0, rewards.mean, rewards.scale)
        after = replace(
            before,
            rounds=before.rounds + tally.rewards.n,
            eligible_sum=before.eligible_sum + tally.eligible,
            skipped=before.skipped + tally.skipped,
        )
        after = replace(after, model=self._train(batches, after, fresh))
        self.require_sound(after)
        self._state = after

    @property
    @abstractmethod
    def policy_name(self) -> str:
        """Name of the policies handed out."""

    @abstractmethod
    def require_sound(self, state: LearnerState) -> None:
        """Refuse a model that cannot serve.

        Raises:
            LearnError: it diverged.
        """

    def arguments(self, state: LearnerState, *, fresh: bool) -> str:  # noqa: ARG002 - some explorations need its scale
        """VW's arguments to learn on, or to begin.

        Args:
            state: after the rounds that are to be learnt, with the model before them.
            fresh: begin.
        """
        k = self.catalog.k
        return learning_arguments(self.config, k) if fresh else continuing_arguments(self.config, k)

    @property
    def one_action(self) -> bool:
        """Whether examples hold the chosen action alone."""
        return learns_one_action(self.config)

    def _require_rounds(self, tally: Tally) -> None:
        if tally.rewards.n == 0:
            raise LearnError(
                f"no usable round with a known {self.metric!r} among {tally.skipped} rows",
                hint="join the outcomes first, or wait until they mature",
            )

    def _checked(self, batches: Iterable[RoundBatch], tally: Tally) -> Iterator[RoundBatch]:
        for batch in batches:
            kept = trainable(batch, self.metric, self.reward_range, self.catalog, propensities=True)
            tally.rewards.add(kept.rewards[self.metric])
            tally.skipped += batch.n - kept.n
            tally.eligible += int(kept.eligible_counts().sum())
            yield kept

    def _train(self, batches: Iterable[RoundBatch], state: LearnerState, fresh: bool) -> bytes:
        # Text of whole sets is long: in pieces, memory stays flat and Arrow's 2 GiB per string column is far off.
        rows = CHUNK_ROWS if self.one_action else max(1, LINES_PER_PIECE // self.catalog.k)
        with wall.scratch() as folder:
            data, old, new = (folder / name for name in ("rounds.txt", "old.vw", "new.vw"))
            with data.open("wb") as stream:
                for batch in self._checked(batches, Tally()):
                    for start in range(0, batch.n, rows):
                        stream.write(self.examples(batch.take(slice(start, start + rows)), state))
            if not fresh:
                old.write_bytes(state.model)
            arguments = self.arguments(state, fresh=fresh)
            wall.train(arguments, data, new, None if fresh else old, passes=self.config.passes, durable=False)
            return new.read_bytes()

    def examples(self, batch: RoundBatch, state: LearnerState) -> bytes:
        """VW text of a batch whose rows may all train."""
        text = context_text(state.encoder, batch.context)
        lines = action_lines(self.catalog)
        cost = (state.centre - batch.rewards[self.metric]) / state.unit
        if not self.one_action:
            return whole_set_examples(text, lines, batch.action, cost, batch.propensity, batch.eligible_dense())
        probability = mtr_probability(batch.propensity, state.eligible_sum / state.rounds, self.catalog.k)
        return one_action_examples(text, lines, batch.action, cost, probability)


@dataclass
class Tally:
    """What one pass over rounds counts: rewards, rows left out, eligible actions."""

    rewards: Moments = field(default_factory=Moments)
    skipped: int = 0
    eligible: int = 0
