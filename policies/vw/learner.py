"""The learner: logged rounds in, a policy out. VW sees nothing that has not been checked; a failure changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.encoder import Encoder, fit_encoder
from engine.errors import LearnError, ParameterError
from engine.features import FeatureSchema
from engine.moments import Moments
from engine.rounds import CHUNK_ROWS, RoundBlock
from policies.exploration_config import ExplorationConfig
from policies.vw import wall
from policies.vw.arguments import (
    VwConfig,
    continuing_arguments,
    learning_arguments,
    learns_one_action,
    model_layout,
)
from policies.vw.compiled import CompiledPolicy
from policies.vw.compiler import compile_tables
from policies.vw.ensemble import assembled, mean_tables
from policies.vw.examples import context_text, mtr_probability, one_action_examples, whole_set_examples
from policies.vw.names import action_lines
from policies.vw.rows import eligible_counts, repeatable, trainable
from policies.vw.scratch import scratch
from policies.vw.tables import ScoreTables

LINES_PER_PIECE: Final = 500_000


@dataclass(frozen=True)
class LearnerState:
    """Everything that a learner has learnt.

    Attributes:
        encoder: fitted at the first `learn`, then kept.
        model: bytes of the VW model.
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


class VwLearner:
    """Contextual-bandit learning with Vowpal Wabbit.

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
        low, high = reward_range
        if not (np.isfinite([low, high]).all() and low < high):
            raise ParameterError("reward_range", "VwLearner", allowed="finite, low below high", got=reward_range)
        self.catalog = catalog
        self.schema = schema
        self.metric = metric
        self.reward_range = (float(low), float(high))
        self.config = config or VwConfig()
        self.exploration = exploration or ExplorationConfig()
        _check_votes(self.config, self.exploration)
        self._state = state

    @property
    def state(self) -> LearnerState:
        """What has been learnt.

        Raises:
            LearnError: nothing yet.
        """
        if self._state is None:
            raise LearnError("nothing has been learnt yet", hint="call learn first")
        return self._state

    @property
    def policy_name(self) -> str:
        return f"vw_{self.config.cb_type}_{self.exploration.kind}"

    def learn(self, rounds: Iterable[RoundBlock]) -> None:
        """Learn from rounds, on top of what was learnt before; rows that may not train are skipped and counted.

        The rounds are read twice (counts and encoder, then examples): give a list or an object whose `__iter__` starts
        anew. A one-shot iterator works too, but is held in memory.

        Raises:
            LearnError: a reward outside the declared range, a propensity outside (0, 1], an action that was not
                eligible, no usable round at all, or a failure of VW. The learner is then as it was.
        """
        blocks = repeatable(rounds)
        fresh = self._state is None
        tally = _Tally()
        checked = self._checked(blocks, tally)
        if self._state is None:
            encoder = fit_encoder(self.schema, (block.context for block in checked), self.config.max_levels)
        else:
            encoder = self._state.encoder
            for _ in checked:
                pass
        if tally.rewards.n == 0:
            raise LearnError(
                f"no usable round with a known {self.metric!r} among {tally.skipped} rows",
                hint="join the outcomes first, or wait until they mature",
            )
        rewards = tally.rewards
        before = self._state or LearnerState(encoder, b"", 0, 0, 0, rewards.mean, rewards.scale)
        after = replace(
            before,
            rounds=before.rounds + tally.rewards.n,
            eligible_sum=before.eligible_sum + tally.eligible,
            skipped=before.skipped + tally.skipped,
        )
        after = replace(after, model=self._train(blocks, after, fresh))
        if not all(np.isfinite(tables.linear).all() for tables in self._compiled(after)):
            raise LearnError("the model diverged: its weights are not finite", hint="lower learning_rate")
        self._state = after

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

    def _checked(self, blocks: Iterable[RoundBlock], tally: _Tally) -> Iterator[RoundBlock]:
        for block in blocks:
            kept = trainable(block, self.metric, self.reward_range, self.catalog, propensities=True)
            tally.rewards.add(kept.rewards[self.metric])
            tally.skipped += block.n - kept.n
            tally.eligible += int(eligible_counts(kept).sum())
            yield kept

    def _train(self, blocks: Iterable[RoundBlock], state: LearnerState, fresh: bool) -> bytes:
        k = self.catalog.k
        # Text of whole sets is long: in pieces, memory stays flat and Arrow's 2 GiB per string column is far off.
        rows = CHUNK_ROWS if learns_one_action(self.config) else max(1, LINES_PER_PIECE // k)
        with scratch() as folder:
            data, old, new = (folder / name for name in ("rounds.txt", "old.vw", "new.vw"))
            with data.open("wb") as stream:
                for block in self._checked(blocks, _Tally()):
                    for start in range(0, block.n, rows):
                        stream.write(self.examples(block.take(slice(start, start + rows)), state))
            if fresh:
                wall.train(learning_arguments(self.config, k), data, new, passes=self.config.passes)
            else:
                old.write_bytes(state.model)
                wall.train(continuing_arguments(self.config, k), data, new, old, passes=self.config.passes)
            return new.read_bytes()

    def examples(self, block: RoundBlock, state: LearnerState) -> bytes:
        """VW text of a block whose rows may all train."""
        text = context_text(state.encoder, block.context)
        lines = action_lines(self.catalog)
        cost = (state.centre - block.rewards[self.metric]) / state.unit
        if not learns_one_action(self.config):
            return whole_set_examples(text, lines, block.action, cost, block.propensity, block.eligible_dense())
        probability = mtr_probability(block.propensity, state.eligible_sum / state.rounds, self.catalog.k)
        return one_action_examples(text, lines, block.action, cost, probability)


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


@dataclass
class _Tally:
    rewards: Moments = field(default_factory=Moments)
    skipped: int = 0
    eligible: int = 0
