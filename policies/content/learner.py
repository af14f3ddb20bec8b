"""The learner of modular content: logged rounds in, a policy over assemblies out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine.content.eligibility import modular_of
from engine.errors import LearnError, ParameterError
from engine.log.training_rows import TrainingRows
from engine.records.rounds import RoundBatch
from engine.types import FloatArray
from policies.content.compiler import block_parity, compile_blocks
from policies.content.names import interactions, lines_of, slot_links
from policies.content.policy import BlockManifest, BlockPolicy, require_staged
from policies.content.tables import BlockTables
from policies.exploring.config import ExplorationConfig
from policies.vw.examples import context_text, one_action_examples
from policies.vw.folder import TABLES
from policies.vw.learner import CompiledLearner
from policies.vw.training import LearnerState


class BlockLearner(CompiledLearner[BlockTables]):
    """Learns what each block, channel and hour adds, with Vowpal Wabbit, from the chosen actions alone.

    Every round counts alike (squared loss on the reward of the chosen action) unless the configuration's
    `largest_importance` is above 1: with propensities between 1 and one in many thousands, weights of 1 / propensity
    would leave the model to a few rounds.

    Args:
        catalog: modular.
        schema / metric / reward_range / state: see `CompiledLearner`.
        config: mtr, without ensemble, search and live exploration.
        exploration: the exploration of the policies handed out, see `policies.content.stages`.

    Raises:
        ParameterError: a catalog without blocks, or a configuration or exploration that has no form in blocks.
    """

    usual = ExplorationConfig(floor=0.0)

    def require_fitting(self) -> None:
        """Refuse what has no form in blocks.

        Raises:
            ParameterError: a catalog without blocks, or such a configuration or exploration.
        """
        modular_of(self.catalog)
        require_staged(self.exploration)
        config = self.config
        wrong = {"cb_type": config.cb_type != "mtr"}
        wrong |= {name: getattr(config, name) is not None for name in ("ensemble", "live", "horizon")}
        for name in (name for name, found in wrong.items() if found):
            raise ParameterError(
                name,
                "a learner of modular content",
                allowed="mtr with one compiled model",
                got=getattr(config, name),
                hint="learner=mtr",
            )
        self.links = slot_links(config, self.catalog)

    @property
    def policy_name(self) -> str:
        return f"vw_blocks_{self.exploration.kind}"

    @property
    def one_action(self) -> bool:
        """Always: the eligible actions are too many to list."""
        return True

    def require_sound(self, state: LearnerState) -> None:
        """Refuse a model that cannot serve.

        Raises:
            LearnError: its weights are not finite.
        """
        if not np.isfinite(self.compiled(state).linear).all():
            raise LearnError("the model diverged: its weights are not finite", hint="lower learning_rate")

    def arguments(self, state: LearnerState, *, fresh: bool) -> str:  # noqa: ARG002 - as of the base class
        """VW's arguments to learn on, or to begin.

        Labels carry the importance as 1 / probability >= 1, so weights are too large by `largest_importance`; the
        learning rate undoes it, as in `policies.vw.arguments.learning_arguments`.
        """
        config = self.config
        rate = config.learning_rate * config.largest_importance ** (config.power_t - 1.0)
        steps = f"-l {rate:.9g} --power_t {config.power_t:.9g}"
        if not fresh:
            return steps
        pairs = "".join(f" --interactions {pair}" for pair in interactions(config, self.catalog))
        return f"--cb_adf --cb_type mtr -b {config.bit_precision}{pairs} {steps}"

    def examples(self, batch: RoundBatch, state: LearnerState) -> bytes:
        """VW text of a batch whose rows may all train."""
        actions, position = np.unique(batch.action, return_inverse=True)
        lines = lines_of(self.catalog, actions)
        cost = (state.centre - batch.rewards[self.metric]) / state.unit
        text = context_text(state.encoder, batch.context)
        probability = self._probability(batch.propensity, state)
        return one_action_examples(text, lines, position.reshape(-1).astype(np.int32), cost, probability)

    def _probability(self, propensity: FloatArray, state: LearnerState) -> FloatArray:
        most = self.config.largest_importance
        if most == 1.0:
            return np.ones(len(propensity))
        weight = np.clip(1.0 / (propensity * (state.eligible_sum / state.rounds)), 1.0 / most, most)
        return 1.0 / (weight * most)

    def tables(self) -> BlockTables:
        """The learnt model as tables.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        return self.compiled(self.state)

    def policy(self) -> BlockPolicy:
        """The policy learnt so far; it does not change when this learner learns on.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        return BlockPolicy(
            self.catalog,
            self.state.encoder,
            self.tables(),
            self.exploration,
            self.state.rounds,
            self.links,
            self.policy_name,
        )

    def export(
        self, folder: Path, *, source: dict[str, Any] | None = None, rows: TrainingRows | None = None
    ) -> BlockManifest:
        """Write what has been learnt as a trained folder (`policies.manifest.Exporting`).

        Raises:
            LearnError: nothing has been learnt.
            ArtefactError: the tables differ from VW's own predictions by more than 1e-5 x max(1, width of the reward
                range); then nothing is written.
            StorageError: the disk refused a write.
        """
        tables = self.tables()
        manifest = BlockManifest(**self.facts(self.parity(), source))

        def write(part: Path) -> None:
            self.write_model(part)
            tables.save(part / TABLES)

        return manifest.publish(folder, write, rows)

    def parity(self) -> float:
        """Largest difference between the tables and VW's own predictions, in reward units."""
        state, tables = self.state, self.tables()
        with self.opened(state) as model:
            return block_parity(model, tables, state.encoder, self.catalog, scale=-state.unit, shift=state.centre)

    def compile(self, state: LearnerState) -> BlockTables:
        """Read out the tables of blocks."""
        scale, shift = -state.unit, state.centre
        with self.opened(state) as model:
            return compile_blocks(model, state.encoder, self.catalog, self.config, scale=scale, shift=shift)
