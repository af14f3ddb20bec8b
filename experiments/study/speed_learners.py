"""Learners that begin with nothing, for the study of learning speed: ours, the peers, and stock Vowpal Wabbit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np

from engine.encoder import Encoder, fit_encoder
from engine.numeric.moments import Moments
from engine.records.rounds import RoundBlock
from engine.types import HOLD, CodeArray, FloatArray
from experiments.season.actors import LinearActor, SparingActor, sendable_rows
from experiments.season.policies import THOMPSON_V, UCB_ALPHA, SharedLearning
from experiments.season.recovering import recovering
from experiments.season.rounds import Slice
from policies.exploring.config import ExplorationConfig
from policies.linear.ridge import LinearSums
from policies.peers.uniform import UniformPolicy
from policies.vw import wall
from policies.vw.examples import context_text
from policies.vw.learner import VwLearner
from policies.vw.names import action_lines
from simulator.rollout import Actor, PolicyActor, Turn

# VW's default share of exploration.
EPSILON: Final = 0.05
STOCK: Final = f"--cb_explore_adf --epsilon {EPSILON} --interactions xc --interactions xh --interactions xa"


class Newcomer(Protocol):
    """Decides, and learns from a day's decisions that had a choice; closed at the end."""

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]: ...

    def learn(self, block: RoundBlock) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Daily:
    """Decides uniformly on the first day, and then as what it learnt says.

    Args:
        learn: from one more day's rounds to who decides next.
    """

    def __init__(self, learn: Callable[[RoundBlock], Actor]) -> None:
        self._actor: Actor = SparingActor(UniformPolicy())
        self._learn = learn

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities."""
        return self._actor.act(turn)

    def learn(self, block: RoundBlock) -> None:
        """Take a day over."""
        self._actor = self._learn(block)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left behind."""


class StockVw:
    """Vowpal Wabbit on its own: epsilon-greedy over the eligible lines, one update per event at the end of the day.

    Args:
        shared: what the seed shares; the context is encoded as for our learners, fitted to the first day.
    """

    def __init__(self, shared: SharedLearning) -> None:
        self._metric = shared.config.metric
        self._schema = shared.scenario.features
        self._lines = action_lines(shared.scenario.catalog)
        self._model = wall.OnlineModel(STOCK.split())
        self._encoder: Encoder | None = None

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities; the first day is decided uniformly."""
        if self._encoder is None:
            return SparingActor(UniformPolicy()).act(turn)
        action, propensity = np.full(len(turn.rows), HOLD, dtype=np.int32), np.ones(len(turn.rows))
        some = sendable_rows(turn)
        texts = context_text(self._encoder, turn.contacts.context.take(some)).to_pylist()
        dense = turn.eligibility.take(some).dense()
        for row, text, may, point in zip(some.tolist(), texts, dense, turn.uniform[some], strict=True):
            actions = np.flatnonzero(may)
            lines = "\n".join(self._lines[one] for one in actions.tolist())
            chances = self._model.probabilities(f"shared {text}\n{lines}\n", len(actions))
            drawn = min(int(np.searchsorted(np.cumsum(chances), point, side="right")), len(actions) - 1)
            action[row], propensity[row] = actions[drawn], chances[drawn]
        return action, propensity

    def learn(self, block: RoundBlock) -> None:
        """Take a day over, event by event."""
        if self._encoder is None:
            self._encoder = fit_encoder(self._schema, [block.context])
        texts = context_text(self._encoder, block.context).to_pylist()
        reward, dense = block.rewards[self._metric], block.eligible_dense()
        for row, text in enumerate(texts):
            label = f"0:{-reward[row]:.9g}:{block.propensity[row]:.9g} "
            chosen = int(block.action[row])
            actions = np.flatnonzero(dense[row]).tolist()
            lines = "\n".join(label * (one == chosen) + self._lines[one] for one in actions)
            self._model.learn(f"shared {text}\n{lines}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the workspace."""
        self._model.close()


def _vw(exploration: Callable[[Moments], ExplorationConfig]) -> Callable[[SharedLearning], Newcomer]:
    def begin(shared: SharedLearning) -> Newcomer:
        learner: VwLearner = shared.vw_learner()
        seen = Moments()

        def learn(block: RoundBlock) -> Actor:
            seen.add(block.rewards[shared.config.metric])
            learner.learn([block])
            return PolicyActor(replace(learner.policy(), exploration=exploration(seen), fast=False))

        return Daily(learn)

    return begin


def _linear(width: float, *, thompson: bool) -> Callable[[SharedLearning], Newcomer]:
    def begin(shared: SharedLearning) -> Newcomer:
        sums = LinearSums(shared.scenario.catalog, shared.scenario.features, shared.config.metric, shared.reward_range)
        seen = Moments()

        def learn(block: RoundBlock) -> Actor:
            seen.add(block.rewards[shared.config.metric])
            sums.add([block])
            return LinearActor(sums.posterior(), width * seen.scale, thompson)

        return Daily(learn)

    return begin


def _recovering(shared: SharedLearning) -> Newcomer:
    blocks: list[RoundBlock] = []

    def learn(block: RoundBlock) -> Actor:
        blocks.append(block)
        return recovering(Slice(shared.scenario, shared.seed, tuple(blocks)))

    return Daily(learn)


LEARNERS: Final[Mapping[str, Callable[[SharedLearning], Newcomer]]] = {
    "vw, SquareCB": _vw(lambda _: ExplorationConfig(kind="squarecb", ceiling=0.1, floor=0.005)),
    # A sixtieth of the rewards' standard deviation makes an action e times as likely.
    "vw, softmax": _vw(lambda seen: ExplorationConfig(kind="softmax", inverse_temperature=60.0 / seen.scale)),
    "LinUCB": _linear(UCB_ALPHA, thompson=False),
    "linear Thompson sampling": _linear(THOMPSON_V, thompson=True),
    "recovering softmax": _recovering,
    f"stock VW --cb_explore_adf --epsilon {EPSILON}": StockVw,
}
