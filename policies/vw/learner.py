"""The learner: logged rounds in, a compiled policy or a trained folder out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

import numpy as np

from engine.catalog import Catalog
from engine.errors import ArtefactError, LearnError, ParameterError
from engine.features import FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.records.rounds import RoundBatch
from policies.exploring.config import ExplorationConfig
from policies.vw import wall
from policies.vw.arguments import VwConfig, model_layout
from policies.vw.folder import PolicyManifest
from policies.vw.responses import ResponseModel, notes_of
from policies.vw.rows import repeatable
from policies.vw.scoring.compiled import CompiledPolicy, assembled, mean_tables
from policies.vw.scoring.compiler import compile_tables, parity, vote_parity
from policies.vw.scoring.soundness import Sample, require_finite, require_no_jump, sample_of
from policies.vw.scoring.tables import ScoreTables
from policies.vw.training import LearnerState, Tally, VwTrainer

PARITY_LIMIT: Final = 1e-5
T = TypeVar("T")


class CompiledLearner(VwTrainer, Generic[T]):
    """A trainer whose policies stand on tables T that are read out of its model.

    Args:
        catalog: the actions.
        schema: the features of every context.
        metric: the reward to maximise.
        reward_range: declared (low, high) of the metric; rewards outside are refused.
        config: how to learn.
        exploration: how the policies explore.
        state: continue from an earlier learner (`policies.trained.TrainedFolder.learner`).

    Raises:
        ParameterError: low is not below high, or settings that do not go together.
    """

    usual: ClassVar[ExplorationConfig] = ExplorationConfig()

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        config: VwConfig | None = None,
        exploration: ExplorationConfig | None = None,
        state: LearnerState | None = None,
    ) -> None:
        super().__init__(catalog, schema, metric, reward_range, config, state)
        self.exploration = exploration or self.usual
        self._read: tuple[LearnerState, T] | None = None
        self.require_fitting()

    @abstractmethod
    def require_fitting(self) -> None:
        """Refuse settings that do not go together.

        Raises:
            ParameterError: they do not.
        """

    @abstractmethod
    def compile(self, state: LearnerState) -> T:
        """Read the tables out of the model of a state."""

    def compiled(self, state: LearnerState) -> T:
        """The tables of a state; those of the last one are kept."""
        if self._read is None or self._read[0] is not state:
            self._read = (state, self.compile(state))
        return self._read[1]

    def facts(self, measured: float, source: dict[str, Any] | None) -> dict[str, Any]:
        """What the manifest of a folder says of the learner (`policies.vw.folder.CompiledManifest`).

        Args:
            measured: how far the tables are from what Vowpal Wabbit predicts.
            source: about the training log.

        Raises:
            ArtefactError: farther than 1e-5 x max(1, width of the rewards or votes that are compared).
        """
        low, high = self.reward_range if self.config.ensemble is None else (0.0, 1.0)
        limit = PARITY_LIMIT * max(1.0, high - low)
        if not measured <= limit:
            raise ArtefactError(
                f"the compiled scores differ from Vowpal Wabbit's by {measured:.3g}, allowed is {limit:.3g}",
                hint="weights this large point to a diverged model: lower learning_rate",
            )
        return {
            **self.kept(source),
            "exploration": self.exploration,
            "parity": measured,
            "name": self.policy_name,
            "made_with": {"vowpalwabbit": wall.VERSION, "numpy": np.__version__},
        }


class VwLearner(CompiledLearner[tuple[ScoreTables, ...]]):
    """Contextual-bandit learning with Vowpal Wabbit (`engine.protocols.Learner`).

    Bag and cover need the ensemble of that name in the configuration.
    """

    def require_fitting(self) -> None:
        """Refuse votes of an ensemble that is not learnt, and explorations that are served live.

        Raises:
            ParameterError: such settings.
        """
        learnt = None if self.config.ensemble is None else self.config.ensemble.kind
        if self.exploration.votes and self.exploration.kind != learnt:
            raise ParameterError(
                "exploration",
                "VwLearner",
                allowed="the kind of its ensemble, or one that explores by scores",
                got=f"{self.exploration.kind} with an ensemble of kind {learnt}",
                hint="choose learner and exploration together: learner=bag exploration=bag",
            )
        if self.config.live is not None:
            raise ParameterError(
                "config", "VwLearner", allowed="without `live`", got=self.config.live.kind, hint="see LiveLearner"
            )

    @property
    def policy_name(self) -> str:
        return f"vw_{self.config.cb_type}_{self.exploration.kind}"

    def learn(self, rounds: Iterable[RoundBatch]) -> None:
        """Learn from rounds, as `VwTrainer.learn`; an update that diverged is undone.

        Raises:
            LearnError: as there, or the predictions of the rows that were learnt from are far off.
        """
        batches, before, read = repeatable(rounds), self._state, self._read
        super().learn(batches)
        try:
            self._require_no_jump(sample_of(self._checked(batches, Tally()), self.metric), before, read)
        except LearnError:
            self._state, self._read = before, read
            raise

    def _require_no_jump(
        self,
        sample: Sample,
        before: LearnerState | None,
        read: tuple[LearnerState, tuple[ScoreTables, ...]] | None,
    ) -> None:
        state = self.state
        mean = self.tables()
        try:
            require_no_jump(sample, mean, None, state.encoder, unit=state.unit)
        except LearnError:
            # Only now is the old model worth reading: on odd rows it may be as wrong as the new one.
            if before is None or not before.model:
                raise
            old = read[1] if read is not None and read[0] is before else self.compile(before)
            require_no_jump(sample, mean, mean_tables(old) if len(old) > 1 else old[0], state.encoder, unit=state.unit)

    def require_sound(self, state: LearnerState) -> None:
        """Refuse a model that cannot serve.

        Raises:
            LearnError: its weights are not finite.
        """
        require_finite(self.compiled(state))

    def tables(self) -> ScoreTables:
        """The learnt model as score tables; of an ensemble the mean of its members.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        members = self.members()
        return members[0] if len(members) == 1 else mean_tables(members)

    def members(self) -> tuple[ScoreTables, ...]:
        """The tables of every policy that the model holds: one, or an ensemble's.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        return self.compiled(self.state)

    def policy(self) -> CompiledPolicy:
        """The policy learnt so far, compiled; it does not change when this learner learns on.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        return assembled(
            self.members(), self.catalog, self.state.encoder, self.exploration, self.state.rounds, self.policy_name
        )

    def compile(self, state: LearnerState) -> tuple[ScoreTables, ...]:
        """Read out the tables of every policy that the model holds."""
        _, positions = model_layout(self.config)
        scale, shift = -state.unit, state.centre
        with self.opened(state) as model:
            return tuple(
                compile_tables(
                    model, state.encoder, self.catalog, self.config, scale=scale, shift=shift, position=position
                )
                for position in positions
            )

    def export(
        self,
        folder: Path,
        *,
        source: dict[str, Any] | None = None,
        responses: Sequence[ResponseModel] = (),
        rows: TrainingRows | None = None,
    ) -> PolicyManifest:
        """Write what has been learnt as a trained folder (`policies.manifest.Exporting`).

        Args:
            folder / source / rows: as there.
            responses: models of p_respond and p_unsub to keep beside the policy.

        Raises:
            LearnError: nothing has been learnt.
            ArtefactError: the tables differ from VW's own predictions by more than 1e-5 x max(1, width of the reward
                range), or an ensemble's votes from VW's by more than 1e-5; then nothing is written. VW computes in
                float32, so its rounding grows with the rewards.
            StorageError: the disk refused a write.
        """
        members = self.members()
        facts = self.facts(self._parity(members), source)
        manifest = PolicyManifest(responses=notes_of(responses), **facts)

        def write(part: Path) -> None:
            self.write_model(part)
            for name, tables in zip(manifest.table_files, members, strict=True):
                tables.save(part / name)
            for response in responses:
                response.tables.save(part / response.note.file)

        return manifest.publish(folder, write, rows)

    def _parity(self, members: tuple[ScoreTables, ...]) -> float:
        """How far the tables are from VW's own predictions, in reward units; of an ensemble its votes."""
        state, ensemble = self.state, self.config.ensemble
        with self.opened(state) as model:
            if ensemble is not None:
                share = ensemble.served_share
                return vote_parity(model, members, state.encoder, self.catalog, share=share, shift=state.centre)
            return parity(model, members[0], state.encoder, self.catalog, scale=-state.unit, shift=state.centre)
