"""The learner: logged rounds in, a compiled policy out."""

from __future__ import annotations

from collections.abc import Iterable

from engine.catalog import Catalog
from engine.errors import LearnError, ParameterError
from engine.features import FeatureSchema
from engine.records.rounds import RoundBlock
from policies.exploring.config import ExplorationConfig
from policies.vw import wall
from policies.vw.arguments import VwConfig, model_layout
from policies.vw.compiled import CompiledPolicy
from policies.vw.compiler import compile_tables
from policies.vw.ensemble import assembled, mean_tables
from policies.vw.rows import repeatable
from policies.vw.scratch import scratch
from policies.vw.soundness import Sample, require_finite, require_no_jump, sample_of
from policies.vw.tables import ScoreTables
from policies.vw.training import LearnerState, Tally, VwTrainer


class VwLearner(VwTrainer):
    """Contextual-bandit learning with Vowpal Wabbit (`engine.protocols.Learner`).

    Args:
        catalog: the actions.
        schema: the features of every context.
        metric: the reward to maximise.
        reward_range: declared (low, high) of the metric; rewards outside are refused.
        config: how to learn.
        exploration: of the policies handed out; bag and cover need the ensemble of that name in the configuration.
        state: continue from an earlier learner (`policies.vw.export.resume`).

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
        blocks, before, read = repeatable(rounds), self._state, self._read
        super().learn(blocks)
        try:
            self._require_no_jump(sample_of(self._checked(blocks, Tally()), self.metric), before, read)
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
        width, positions = model_layout(self.config)
        with scratch() as folder:
            path = folder / "model.vw"
            path.write_bytes(state.model)
            with wall.load(path, bits=self.config.bit_precision, width=width) as model:
                return tuple(
                    compile_tables(
                        model,
                        state.encoder,
                        self.catalog,
                        self.config,
                        scale=-state.unit,
                        shift=state.centre,
                        position=position,
                    )
                    for position in positions
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
