"""Learning for the explorations that Vowpal Wabbit serves live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import ArtefactError, LearnError, ParameterError
from engine.features import FeatureSchema
from engine.log.training_rows import TrainingRows
from engine.records.rounds import RoundBatch
from engine.types import BoolArray
from policies.vw.arguments import LiveConfig, VwConfig, learning_arguments
from policies.vw.examples import context_row, context_text
from policies.vw.folder import LiveManifest
from policies.vw.live import LivePolicy, LiveSlotPolicy, Slots
from policies.vw.scoring.compiler import random_contexts
from policies.vw.training import LearnerState, VwTrainer


class LiveLearner(VwTrainer):
    """Contextual-bandit learning (`engine.protocols.Learner`) whose policies VW serves itself.

    Whole action sets are learnt from, except by slots. Going on after a reload is exact for regcb, large_action_space
    and slots; rnd draws its networks' targets anew and goes on as a new one would.

    Args:
        live: the exploration.
        others: see `VwTrainer`; mtr only, without an ensemble. What the configuration says of `live` is not read.

    Raises:
        ParameterError: as of `VwTrainer`, or a configuration that is not mtr's.
    """

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        live: LiveConfig,
        config: VwConfig | None = None,
        state: LearnerState | None = None,
    ) -> None:
        plain = msgspec.structs.replace(config or VwConfig(), live=None)
        super().__init__(catalog, schema, metric, reward_range, plain, state)
        if self.config.cb_type != "mtr" or self.config.ensemble is not None:
            raise ParameterError(
                "config", "LiveLearner", allowed="cb_type mtr without an ensemble", got=self.config.cb_type
            )
        self.live = live
        self._slots = Slots(catalog)

    @property
    def policy_name(self) -> str:
        return self.live.policy_name

    @property
    def one_action(self) -> bool:
        """Whether examples hold the chosen action alone: no exploration served live learns so."""
        return False

    def arguments(self, state: LearnerState, *, fresh: bool) -> str:
        """VW's arguments to learn on, or to begin; the scale of rewards is in them."""
        steps = f"-l {self.config.learning_rate:.9g} --power_t {self.config.power_t:.9g}"
        if not fresh:
            return steps
        plain = msgspec.structs.replace(self.config, cb_type="ips")
        _, _, rest = learning_arguments(plain, self.catalog.k).partition(f"-b {self.config.bit_precision}")
        head = self.live.arguments(state.centre, state.unit, self.reward_range)
        return f"{head} --cb_type mtr -b {self.config.bit_precision}{rest}"

    def require_sound(self, state: LearnerState) -> None:
        """Ask the model about one random context.

        Raises:
            LearnError: its answer is no distribution.
        """
        try:
            policy = self._served(state)
            text = context_row(state.encoder.column_names, random_contexts(state.encoder, 1, seed=0)[0])
            policy.row(text, np.ones(self.catalog.k, dtype=np.bool_))
            policy.close()
        except ArtefactError as error:
            raise LearnError(f"the model diverged: {error.message}", hint="lower learning_rate") from error

    def policy(self) -> LivePolicy:
        """The policy learnt so far, with a workspace of its own; it does not change when this learner learns on.

        Raises:
            LearnError: nothing has been learnt yet.
        """
        return self._served(self.state)

    def examples(self, batch: RoundBatch, state: LearnerState) -> bytes:
        """VW text of a batch whose rows may all train."""
        if self.live.kind != "slots":
            return super().examples(batch, state)
        texts = context_text(state.encoder, batch.context).to_pylist()
        costs = (state.centre - batch.rewards[self.metric]) / state.unit
        rows = zip(
            texts, batch.eligible_dense(), batch.action.tolist(), costs.tolist(), batch.propensity.tolist(), strict=True
        )
        return "".join(self._decision(*row) for row in rows).encode()

    def _decision(self, context: str, may: BoolArray, action: int, cost: float, propensity: float) -> str:
        offers = self._slots.offers(may)
        labels = self._slots.labels(may, offers, action, cost, propensity)
        return self._slots.question(context, offers, labels) + "\n"

    def _served(self, state: LearnerState) -> LivePolicy:
        kind = LiveSlotPolicy if self.live.kind == "slots" else LivePolicy
        return kind(self.catalog, state.encoder, state.model, self.policy_name)

    def export(
        self, folder: Path, *, source: dict[str, Any] | None = None, rows: TrainingRows | None = None
    ) -> LiveManifest:
        """Write what has been learnt as a trained folder (`policies.manifest.Exporting`)."""
        manifest = LiveManifest(live=self.live, **self.kept(source))
        return manifest.publish(folder, self.write_model, rows)
