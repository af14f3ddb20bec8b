"""Policies by name: what is tuned or learnt from logged rounds, each made in one way everywhere.

Commands, experiments and studies all come here, so a name means the same policy in a backtest, in an evaluation and in
the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from engine.catalog import Catalog
from engine.content.eligibility import is_modular
from engine.errors import ConfigError
from engine.features import FeatureSchema
from engine.protocols import Learner, Policy
from engine.records.rounds import RoundBatch
from policies.content.learner import BlockLearner
from policies.exploring.action_values import ActionSums, ActionValues
from policies.exploring.config import ExplorationConfig
from policies.horizon.learner import HorizonLearner
from policies.linear.bandits import LinearThompsonLearner, LinUcbLearner
from policies.parts.learner import PartsLearner
from policies.peers.config import DAY_PARTS, PeerConfig
from policies.peers.constant import BestAction, MergeTagBlast
from policies.peers.fixed_calendar import FixedCalendar
from policies.peers.recovering_softmax import RecoveringSoftmax, Recovery, difference_scores
from policies.peers.segments import SegmentConfig, tune_segments
from policies.peers.send_time import UsualHour, tune_send_time
from policies.peers.volume_threshold import tune_volume
from policies.vw.arguments import VwConfig
from policies.vw.learner import VwLearner
from policies.vw.live_learner import LiveLearner
from policies.vw.reward_model import VwRewardModel
from policies.vw.training import LearnerState

Rounds = Iterable[RoundBatch]
Learned = VwLearner | LiveLearner | BlockLearner | PartsLearner


@dataclass(frozen=True)
class Setting:
    """What a policy is made for, and how.

    Attributes:
        catalog / schema: those of the rounds.
        metric / reward_range: the reward to maximise, and its declared (low, high).
        peer / segments: parameters of the rules.
        model: how the reward model learns that volume_threshold stands on.
        learner / exploration: how vw learns and explores.
    """

    catalog: Catalog
    schema: FeatureSchema
    metric: str
    reward_range: tuple[float, float]
    peer: PeerConfig = field(default_factory=PeerConfig)
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    model: VwConfig = field(default_factory=VwConfig)
    learner: VwConfig = field(default_factory=VwConfig)
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)

    @property
    def of(self) -> tuple[Catalog, FeatureSchema, str, tuple[float, float]]:
        """Catalog, schema, metric and reward range: what every learner begins with."""
        return self.catalog, self.schema, self.metric, self.reward_range


def make(name: str, rounds: Rounds, setting: Setting) -> Policy:
    """The policy of a name, tuned or learnt from rounds; they are read more than once.

    Raises:
        ConfigError: an unknown name, or a policy that needs features which the schema lacks.
        MissingPropensityError: rounds without propensities.
        LearnError: no usable round, or rounds from which this policy cannot learn.
    """
    if name not in MAKERS:
        raise ConfigError(f"unknown policy {name!r}", hint=f"one of {', '.join(MAKERS)}")
    return MAKERS[name](rounds, setting)


def learner(name: str, setting: Setting) -> Learner:
    """A learner that goes on from day to day, for the names in `LEARNERS`.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in LEARNERS:
        raise ConfigError(f"{name!r} does not learn from day to day", hint=f"one of {', '.join(LEARNERS)}")
    return LEARNERS[name](setting)


def action_values(rounds: Rounds, setting: Setting) -> ActionValues:
    """Mean reward of each action over all rounds.

    Raises:
        MissingPropensityError, LearnError: see `policies.exploring.action_values.ActionSums`.
    """
    sums = ActionSums(setting.metric, setting.catalog.k)
    for batch in rounds:
        sums.add(batch)
    return sums.result()


def begin(
    catalog: Catalog,
    schema: FeatureSchema,
    metric: str,
    reward_range: tuple[float, float],
    config: VwConfig,
    exploration: ExplorationConfig | None = None,
    state: LearnerState | None = None,
) -> Learned:
    """A learner on Vowpal Wabbit: compiled, or served live where the configuration says `live`.

    Of a modular catalog it learns and decides by blocks.

    Args:
        catalog / schema / metric / reward_range / config / exploration: see `VwLearner`.
        state: what it has learnt before; None begins.

    Raises:
        ParameterError: see `VwLearner` and `LiveLearner`.
    """
    if is_modular(catalog):
        return BlockLearner(catalog, schema, metric, reward_range, config, exploration, state)
    if config.live is not None:
        return LiveLearner(catalog, schema, metric, reward_range, config.live, config, state)
    if config.parts is not None:
        return PartsLearner(catalog, schema, metric, reward_range, config, exploration)
    made = VwLearner if config.horizon is None else HorizonLearner
    return made(catalog, schema, metric, reward_range, config, exploration, state)


def linucb(setting: Setting) -> LinUcbLearner:
    """LinUCB, its width in standard deviations of the reward."""
    peer = setting.peer
    return LinUcbLearner(*setting.of, width=peer.alpha, ridge=peer.ridge, relative=True)


def lin_ts(setting: Setting) -> LinearThompsonLearner:
    """Linear Thompson sampling, its width in standard deviations of the reward."""
    peer = setting.peer
    return LinearThompsonLearner(*setting.of, width=peer.v, ridge=peer.ridge, relative=True)


def vw(setting: Setting) -> Learner:
    """Vowpal Wabbit as configured: compiled, or served live."""
    return begin(*setting.of, setting.learner, setting.exploration)


def _learnt(start: Callable[[Setting], Learner]) -> Callable[[Rounds, Setting], Policy]:
    def made(rounds: Rounds, setting: Setting) -> Policy:
        one = start(setting)
        one.learn(rounds)
        return one.policy()

    return made


def _recovering(rounds: Rounds, setting: Setting) -> Policy:
    peer = setting.peer
    recovery = Recovery(peer.temperature, peer.penalty, peer.half_life_days, peer.last_seen)
    scores = difference_scores(rounds, setting.metric, setting.reward_range, setting.catalog)
    return RecoveringSoftmax(setting.catalog, setting.schema, scores, recovery)


def _calendar(rounds: Rounds, setting: Setting) -> Policy:
    """Every `every_days` days the send with the highest mean reward that may go."""
    peer, catalog = setting.peer, setting.catalog
    numeric = {spec.name for spec in setting.schema.features if spec.type == "numeric"}
    counts = peer.days_since not in numeric and peer.sends_7d in numeric
    means = action_values(rounds, setting).means()[0]
    ranked = [action for action in np.argsort(-means, kind="stable").tolist() if action and np.isfinite(means[action])]
    return FixedCalendar(
        catalog,
        setting.schema,
        [catalog.action_names[action] for action in ranked],
        peer.every_days,
        peer.sends_7d if counts else peer.days_since,
        counts=counts,
    )


def _send_time(rounds: Rounds, setting: Setting) -> Policy:
    peer, catalog, schema = setting.peer, setting.catalog, setting.schema
    usual = None
    if peer.usual_hour in {spec.name for spec in schema.features if spec.type == "categorical"}:
        slots = [hour for hour in catalog.hours if isinstance(hour, int)]
        parts = {
            part: tuple(str(hour) for hour in slots if low <= hour < high) for part, (low, high) in DAY_PARTS.items()
        }
        usual = UsualHour(peer.usual_hour, parts, peer.usual_opens)
    if usual is None and not peer.opens:
        raise ConfigError(
            f"send_time needs a categorical feature {peer.usual_hour!r}, or the features of opens by hour",
            hint="name them: peer.opens={9: opens_at_9, ...}",
        )
    return tune_send_time(rounds, setting.metric, catalog, schema, peer.opens, peer.prior, usual)


def _volume_threshold(rounds: Rounds, setting: Setting) -> Policy:
    model = VwRewardModel(*setting.of, setting.model)
    model.fit(rounds)
    return tune_volume(rounds, model.fitted.encoder, model.fitted.tables, setting.peer.volume)


def _segments(rounds: Rounds, setting: Setting) -> Policy:
    return tune_segments(rounds, setting.metric, setting.catalog, setting.schema, setting.segments)


LEARNERS: Final[dict[str, Callable[[Setting], Learner]]] = {"vw": vw, "linucb": linucb, "lin_ts": lin_ts}
PEERS: Final[dict[str, Callable[[Rounds, Setting], Policy]]] = {
    "linucb": _learnt(linucb),
    "lin_ts": _learnt(lin_ts),
    "recovering_softmax": _recovering,
    "best_action": lambda rounds, setting: BestAction(action_values(rounds, setting)),
    "calendar": _calendar,
    "send_time": _send_time,
    "volume_threshold": _volume_threshold,
}
MAKERS: Final[dict[str, Callable[[Rounds, Setting], Policy]]] = {
    "segments": _segments,
    "merge_tag": lambda rounds, setting: MergeTagBlast(action_values(rounds, setting)),
    "vw": _learnt(vw),
    **PEERS,
}
