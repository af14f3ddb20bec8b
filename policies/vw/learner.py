"""The learner: logged rounds in, a compiled policy or a trained folder out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.catalog import Catalog
from engine.errors import ArtefactError, LearnError, ParameterError
from engine.features import FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.records.rounds import RoundBlock
from policies.exploring.config import ExplorationConfig
from policies.vw import wall
from policies.vw.arguments import VwConfig, model_layout
from policies.vw.compiled import CompiledPolicy, assembled, mean_tables
from policies.vw.compiler import compile_tables, parity, vote_parity
from policies.vw.folder import PolicyManifest
from policies.vw.responses import ResponseModel, notes_of
from policies.vw.rows import repeatable
from policies.vw.soundness import Sample, require_finite, require_no_jump, sample_of
from policies.vw.tables import ScoreTables
from policies.vw.training import LearnerState, Tally, VwTrainer

PARITY_LIMIT: Final = 1e-5


class VwLearner(VwTrainer):
    """Contextual-bandit learning with Vowpal Wabbit (`engine.protocols.Learner`).

    Args:
        catalog: the actions.
        schema: the features of every context.
        metric: the reward to maximise.
        reward_range: declared (low, high) of the metric; rewards outside are refused.
        config: how to learn.
        exploration: how the policies explore; bag and cover need the ensemble of that name in the configuration.
        state: continue from an earlier learner (`policies.trained.TrainedFolder.learner`).

    Raises:
        ParameterError: low is not below high, or votes are wanted of an ensemble that is not learnt.
    """

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
        self.exploration = exploration or ExplorationConfig()
        self._read: tuple[LearnerState | None, tuple[ScoreTables, ...]] = (None, ())
        _check_votes(self.config, self.exploration)
        if self.config.live is not None:
            raise ParameterError(
                "config", "VwLearner", allowed="without `live`", got=self.config.live.kind, hint="see LiveLearner"
            )

    @property
    def policy_name(self) -> str:
        return f"vw_{self.config.cb_type}_{self.exploration.kind}"

    def learn(self, rounds: Iterable[RoundBlock]) -> None:
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
        read: tuple[LearnerState | None, tuple[ScoreTables, ...]],
    ) -> None:
        state = self.state
        mean = self.tables()
        try:
            require_no_jump(sample, mean, None, state.encoder, unit=state.unit)
        except LearnError:
            # Only now is the old model worth reading: on odd rows it may be as wrong as the new one.
            if before is None or not before.model:
                raise
            old = read[1] if read[0] is before else self._compile(before)
            require_no_jump(sample, mean, mean_tables(old) if len(old) > 1 else old[0], state.encoder, unit=state.unit)

    def require_sound(self, state: LearnerState) -> None:
        """Refuse a model that cannot serve.

        Raises:
            LearnError: its weights are not finite.
        """
        require_finite(self._compiled(state))

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
        return self._compiled(self.state)

    def policy(self) -> CompiledPolicy:
        """The policy learnt so far, compiled; it does not change when this learner learns on.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        return assembled(
            self.members(), self.catalog, self.state.encoder, self.exploration, self.state.rounds, self.policy_name
        )

    def _compiled(self, state: LearnerState) -> tuple[ScoreTables, ...]:
        if self._read[0] is not state:
            self._read = (state, self._compile(state))
        return self._read[1]

    def _compile(self, state: LearnerState) -> tuple[ScoreTables, ...]:
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
        measured = self._parity(members)
        require_parity(measured, self.reward_range if len(members) == 1 else (0.0, 1.0))
        manifest = PolicyManifest(
            responses=notes_of(responses), **compiled_facts(self, self.exploration, measured, source)
        )

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


def compiled_facts(
    learner: VwTrainer, exploration: ExplorationConfig, measured: float, source: dict[str, Any] | None
) -> dict[str, Any]:
    """What the manifest of a folder with tables says of its learner (`policies.vw.folder.CompiledManifest`).

    Args:
        learner: the learner that has learnt.
        exploration: the exploration of its policy.
        measured: its parity.
        source: about the training log.
    """
    return {
        **learner.kept(source),
        "exploration": exploration,
        "parity": measured,
        "name": learner.policy_name,
        "made_with": {"vowpalwabbit": wall.VERSION, "numpy": np.__version__},
    }


def require_parity(measured: float, reward_range: tuple[float, float]) -> None:
    """Refuse tables that are too far from what Vowpal Wabbit predicts.

    Raises:
        ArtefactError: farther than 1e-5 x max(1, width of the reward range).
    """
    limit = PARITY_LIMIT * max(1.0, reward_range[1] - reward_range[0])
    if not measured <= limit:
        raise ArtefactError(
            f"the compiled scores differ from Vowpal Wabbit's by {measured:.3g}, allowed is {limit:.3g}",
            hint="weights this large point to a diverged model: lower learning_rate",
        )


def _check_votes(config: VwConfig, exploration: ExplorationConfig) -> None:
    learnt = None if config.ensemble is None else config.ensemble.kind
    if exploration.votes and exploration.kind != learnt:
        raise ParameterError(
            "exploration",
            "VwLearner",
            allowed="the kind of its ensemble, or one that explores by scores",
            got=f"{exploration.kind} with an ensemble of kind {learnt}",
            hint="choose learner and exploration together: learner=bag exploration=bag",
        )
