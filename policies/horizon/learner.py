"""The long-horizon learner: immediate gain plus continuation value, compiled to the same score tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from engine.catalog import Catalog
from engine.errors import LearnError, ParameterError
from engine.features import ContextBatch, FeatureSchema
from engine.identity import keyed_hash
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.types import HOLD, FloatArray, IntArray
from policies.horizon.config import HorizonConfig
from policies.horizon.continuation import continuation, permission_loss
from policies.horizon.memory import changed_at, decayed
from policies.horizon.outcomes import Outcomes, learn_outcomes
from policies.horizon.panel import MOST_CELLS, Panel, panel_of, since_day, stacked
from policies.horizon.regression import Regression, plain_rounds
from policies.vw.arguments import VwConfig
from policies.vw.learner import VwLearner
from policies.vw.rows import repeatable


@dataclass(frozen=True)
class Advantages:
    """What each send of each decision is worth over hold, all in all.

    Attributes:
        panel: the n decisions, of a sample of contacts.
        gain: (n, k - 1) now.
        later: (n, k - 1) later: lost permissions and the continuation value; usually below 0.
        changed_at: day since which alone was learnt, because the world had changed; None where it had not.
    """

    panel: Panel
    gain: FloatArray
    later: FloatArray
    changed_at: float | None

    @property
    def total(self) -> FloatArray:
        """The sum of both, (n, k - 1)."""
        both: FloatArray = self.gain + self.later
        return both


def advantages(
    rounds: Iterable[RoundBatch], catalog: Catalog, schema: FeatureSchema, metric: str, config: VwConfig
) -> Advantages:
    """Immediate gains and continuation values on a log.

    Args:
        rounds: every decision, also those that had no choice, with the metrics that `HorizonConfig` names.
        catalog / schema / metric: those of the rounds.
        config: with `horizon`.

    Raises:
        LearnError: nothing to learn from, or a failure of Vowpal Wabbit.
    """
    horizon = config.horizon or HorizonConfig()
    plain = msgspec.structs.replace(config, horizon=None)
    whole = panel_of(rounds, catalog, horizon.outcome_rows, horizon.seed)
    found = _outcomes(whole, catalog, schema, metric, horizon, plain)
    since = changed_at(whole.at_days, found.residual) if horizon.alarm else None
    if since is not None:
        recent = panel_of(since_day(whole.batches, since), catalog, whole.n, horizon.seed)
        try:
            whole, found = recent, _outcomes(recent, catalog, schema, metric, horizon, plain)
        except LearnError:
            # What came after the change is too little to learn from: the whole memory is better than nothing.
            since = None
    panel = panel_of(whole.batches, catalog, min(horizon.rows, MOST_CELLS // catalog.k), horizon.seed)
    gain = np.concatenate([found.gain(context) for context in panel.contexts])
    losing = np.concatenate([found.losing(context) for context in panel.contexts])
    channel, _, _ = catalog.split(np.arange(1, catalog.k))
    missed = -losing * permission_loss(panel, gain, catalog, horizon)[:, channel]
    missed += np.concatenate([found.echoes(context) for context in panel.contexts])
    on = _regression(panel, catalog, schema, horizon, plain)
    later = missed + continuation(panel, on, gain + missed, horizon)
    return Advantages(panel, gain, later, since)


def _outcomes(
    whole: Panel, catalog: Catalog, schema: FeatureSchema, metric: str, horizon: HorizonConfig, config: VwConfig
) -> Outcomes:
    on = _regression(whole, catalog, schema, horizon, config)
    return learn_outcomes(whole, on, metric, horizon, config.interactions)


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

    def require_fitting(self) -> None:
        """Refuse settings that do not go together, as `VwLearner`.

        Raises:
            ParameterError: a configuration without `horizon`, or not mtr's, or with an ensemble; or as there.
        """
        super().require_fitting()
        config = self.config
        if config.horizon is None or config.cb_type != "mtr" or config.ensemble is not None:
            raise ParameterError(
                "config", "HorizonLearner", allowed="with `horizon`, cb_type mtr, no ensemble", got=config.cb_type
            )
        self._horizon = config.horizon

    @property
    def policy_name(self) -> str:
        return f"vw_horizon_{self.exploration.kind}"

    def learn(self, rounds: Iterable[RoundBatch]) -> None:
        """Learn from whole trajectories; rows that may not train say what followed.

        Args:
            rounds: every decision of the contacts, also those that had no choice (`usable` false), with the metrics of
                `HorizonConfig` beside the money.

        Raises:
            LearnError: nothing to learn from, advantages outside the declared range, or a failure of Vowpal Wabbit.
                The learner is then as it was.
        """
        batches = repeatable(rounds)
        found = advantages(batches, self.catalog, self.schema, self.metric, self.config)
        self.learn_advantages(found.panel.contexts, found.total, self._counted(batches))

    def learn_advantages(
        self, contexts: list[ContextBatch], advantage: FloatArray, counted: tuple[int, int, int] | None = None
    ) -> None:
        """Learn given advantages over hold.

        Args:
            contexts: the contexts of n decisions, in batches.
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

    def _counted(self, batches: Iterable[RoundBatch]) -> tuple[int, int, int]:
        rounds = eligible = skipped = 0
        for batch in batches:
            kept = batch.usable & ~np.isnan(batch.rewards[self.metric])
            rounds += int(kept.sum())
            skipped += batch.n - int(kept.sum())
            eligible += int(batch.eligible_counts()[kept].sum())
        return rounds, eligible, skipped

    def _examples(self, contexts: list[ContextBatch], advantage: FloatArray) -> list[RoundBatch]:
        """Decisions at random, each with hold and a few sends, all in an order at random.

        Day by day and decision by decision, stochastic steps would follow the last of what they saw, and the offset
        between send and hold, which decides, would be off.
        """
        n, sends = advantage.shape
        seed, per = f"horizon/{self._horizon.seed}", min(self._horizon.actions, sends)
        chosen = np.argsort(_keys(n, seed), kind="stable")[: self._horizon.examples]
        # Sends at even distances from a random one: every action comes as often, and a decision has none twice.
        first = _keys(len(chosen), f"{seed}/first") % sends
        drawn = (first[:, None] + (np.arange(per) * sends // per)[None, :]) % sends
        action = np.concatenate([np.full((len(chosen), 1), HOLD), 1 + drawn], axis=1).ravel()
        gained = np.take_along_axis(advantage[chosen], drawn, axis=1)
        reward = np.concatenate([np.zeros((len(chosen), 1)), gained], axis=1).ravel()
        order = np.argsort(_keys(len(action), f"{seed}/order"), kind="stable")
        row, whole = np.repeat(chosen, per + 1)[order], stacked(contexts)
        action, reward = action[order], reward[order]
        pieces = [slice(start, start + CHUNK_ROWS) for start in range(0, len(row), CHUNK_ROWS)]
        return [
            plain_rounds(chunk, whole.take(row[part]), action[part], sends + 1, self.metric, reward[part])
            for chunk, part in enumerate(pieces)
        ]


def _keys(n: int, salt: str) -> IntArray:
    """(n,) numbers at random, at least 0, the same on every machine."""
    names = np.array([str(row) for row in range(n)], dtype=object)
    keys: IntArray = (keyed_hash(names, salt) >> np.uint64(1)).astype(np.int64)
    return keys
