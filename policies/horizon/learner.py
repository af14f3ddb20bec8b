"""The long-horizon learner: immediate gain plus continuation value, compiled to the same score tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import LearnError, ParameterError
from engine.features import ContextBlock, FeatureSchema
from engine.identity import keyed_hash
from engine.rounds import RoundBlock
from engine.types import HOLD, FloatArray, IntArray
from policies.exploration_config import ExplorationConfig
from policies.horizon.config import HorizonConfig
from policies.horizon.continuation import continuation, permission_loss
from policies.horizon.decay import decayed
from policies.horizon.outcomes import learn_outcomes
from policies.horizon.panel import MOST_CELLS, Panel, panel_of
from policies.horizon.regression import Regression, plain_rounds
from policies.vw.arguments import VwConfig
from policies.vw.learner import VwLearner
from policies.vw.rows import eligible_counts, repeatable
from policies.vw.training import LearnerState

_BLOCK_ROWS: Final = 4096


@dataclass(frozen=True)
class Advantages:
    """What each send of each decision is worth over hold, all in all.

    Attributes:
        panel: the n decisions, of a sample of contacts.
        gain: (n, k - 1) now.
        later: (n, k - 1) later: lost permissions and the continuation value; usually below 0.
        whole: the m decisions from which the parts of the gain were learnt.
        residual: (m,) money of those, less what context and action let expect; NaN where not known.
    """

    panel: Panel
    gain: FloatArray
    later: FloatArray
    whole: Panel
    residual: FloatArray

    @property
    def total(self) -> FloatArray:
        """(n, k - 1)."""
        both: FloatArray = self.gain + self.later
        return both


def advantages(
    rounds: Iterable[RoundBlock], catalog: Catalog, schema: FeatureSchema, metric: str, config: VwConfig
) -> Advantages:
    """Immediate gains and continuation values on a log.

    Args:
        rounds: every decision, also those that had no choice, with the metrics that `HorizonConfig` names.
        catalog / schema / metric: of the rounds.
        config: with `horizon`.

    Raises:
        LearnError: nothing to learn from, or a failure of Vowpal Wabbit.
    """
    horizon = config.horizon or HorizonConfig()
    plain = msgspec.structs.replace(config, horizon=None)
    whole = panel_of(rounds, catalog, horizon.outcome_rows, horizon.seed)
    found = learn_outcomes(
        whole, _regression(whole, catalog, schema, horizon, plain), metric, horizon, config.interactions
    )
    panel = panel_of(whole.blocks, catalog, min(horizon.rows, MOST_CELLS // catalog.k), horizon.seed)
    gain = np.concatenate([found.gain(context) for context in panel.contexts])
    losing = np.concatenate([found.losing(context) for context in panel.contexts])
    channel, _, _ = catalog.split(np.arange(1, catalog.k))
    missed = -losing * permission_loss(panel, gain, catalog, horizon)[:, channel]
    on = _regression(panel, catalog, schema, horizon, plain)
    later = missed + continuation(panel, on, gain + missed, horizon)
    return Advantages(panel, gain, later, whole, found.residual)


def _regression(
    panel: Panel, catalog: Catalog, schema: FeatureSchema, horizon: HorizonConfig, config: VwConfig
) -> Regression:
    weight = decayed(panel.at_days, horizon.half_life_days)
    return Regression(catalog, schema, panel.contexts, panel.action, weight, config)


class HorizonLearner(VwLearner):
    """Learns what a message is worth over a horizon (`engine.protocols.Learner`); hands out a compiled policy.

    The advantage of every send over hold, now and later, is worked out on the decisions of the log; Vowpal Wabbit then
    learns these advantages from the contexts alone, as rewards of actions that were drawn evenly, and its model is
    compiled as any other. So a trained folder is an ordinary one; going on from it learns the advantages of the new
    log on top.

    Args:
        catalog / schema / metric / reward_range / exploration / state: see `VwLearner`.
        config: with `horizon`, mtr, and without an ensemble.

    Raises:
        ParameterError: a configuration that does not go together.
    """

    def __init__(
        self,
        catalog: Catalog,
        schema: FeatureSchema,
        metric: str,
        reward_range: tuple[float, float],
        config: VwConfig,
        exploration: ExplorationConfig | None = None,
        state: LearnerState | None = None,
    ) -> None:
        super().__init__(catalog, schema, metric, reward_range, config, exploration, state)
        if config.horizon is None or config.cb_type != "mtr" or config.ensemble is not None:
            raise ParameterError(
                "config", "HorizonLearner", allowed="with `horizon`, cb_type mtr, no ensemble", got=config.cb_type
            )
        self._horizon = config.horizon

    @property
    def policy_name(self) -> str:
        return f"vw_horizon_{self.exploration.kind}"

    def learn(self, rounds: Iterable[RoundBlock]) -> None:
        """Learn from whole trajectories; rows that may not train say what followed.

        Args:
            rounds: every decision of the contacts, also those that had no choice (`usable` false), with the metrics of
                `HorizonConfig` beside the money.

        Raises:
            LearnError: nothing to learn from, advantages outside the declared range, or a failure of Vowpal Wabbit.
                The learner is then as it was.
        """
        blocks = repeatable(rounds)
        found = advantages(blocks, self.catalog, self.schema, self.metric, self.config)
        self.learn_advantages(found.panel.contexts, found.total, self._counted(blocks))

    def learn_advantages(
        self, contexts: list[ContextBlock], advantage: FloatArray, counted: tuple[int, int, int] | None = None
    ) -> None:
        """Learn given advantages over hold.

        Args:
            contexts: of n decisions, in blocks.
            advantage: (n, k - 1) of every send.
            counted: rounds, eligible actions and skipped rows that they stand for; each decision once where None.

        Raises:
            LearnError: see `learn`.
        """
        n = len(advantage)
        if not np.isfinite(advantage).all():
            raise LearnError("the advantages are not finite", hint="raise learner.horizon.ridge")
        before = self._state
        super().learn(self._examples(contexts, advantage))
        rounds, eligible, skipped = counted or (n, n * self.catalog.k, 0)
        old = (0, 0, 0) if before is None else (before.rounds, before.eligible_sum, before.skipped)
        # Explorations go by the rounds of the log, not by the examples that were made of them.
        self._state = replace(
            self.state, rounds=old[0] + rounds, eligible_sum=old[1] + eligible, skipped=old[2] + skipped
        )

    def _counted(self, blocks: Iterable[RoundBlock]) -> tuple[int, int, int]:
        rounds = eligible = skipped = 0
        for block in blocks:
            kept = block.usable & ~np.isnan(block.rewards[self.metric])
            rounds += int(kept.sum())
            skipped += block.n - int(kept.sum())
            eligible += int(eligible_counts(block)[kept].sum())
        return rounds, eligible, skipped

    def _examples(self, contexts: list[ContextBlock], advantage: FloatArray) -> list[RoundBlock]:
        """Decisions at random, each with hold and a few sends, in an order at random."""
        n, sends = advantage.shape
        order = np.argsort(_keys(n, f"horizon/{self._horizon.seed}"), kind="stable")
        chosen = np.sort(order[: self._horizon.examples])
        per = min(self._horizon.actions, sends)
        out: list[RoundBlock] = []
        start = 0
        for context in contexts:
            rows = chosen[(chosen >= start) & (chosen < start + context.n)]
            if len(rows):
                out += self._block(context.take(rows - start), advantage[rows], rows, per, len(out))
            start += context.n
        return out

    def _block(
        self, context: ContextBlock, advantage: FloatArray, rows: IntArray, per: int, chunk: int
    ) -> list[RoundBlock]:
        n, sends = advantage.shape
        # Sends at even distances from a random one: every action comes as often, and a decision has no action twice.
        first = _keys(len(rows), f"horizon/{self._horizon.seed}/{chunk}").astype(np.int64) % sends
        drawn = (first[:, None] + (np.arange(per) * sends // per)[None, :]) % sends
        action = np.concatenate([np.full((n, 1), HOLD), 1 + drawn], axis=1)
        reward = np.concatenate([np.zeros((n, 1)), np.take_along_axis(advantage, drawn, axis=1)], axis=1)
        repeated = np.repeat(np.arange(n), per + 1)
        return [plain_rounds(chunk, context.take(repeated), action.ravel(), sends + 1, self.metric, reward.ravel())]


def _keys(n: int, salt: str) -> IntArray:
    """(n,) numbers at random, at least 0, the same on every machine."""
    names = np.array([str(row) for row in range(n)], dtype=object)
    keys: IntArray = (keyed_hash(names, salt) >> np.uint64(1)).astype(np.int64)
    return keys
