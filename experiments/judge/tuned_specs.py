"""Policies of the command line that are tuned on another log: NAME@TRAINING_LOG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.ope.target import PolicyTarget, Target
from engine.types import KeyArray
from policies.peers.config import LEARNING, TUNED, PeerConfig
from policies.peers.segments import SegmentConfig
from policies.registry import Setting, make
from policies.vw.arguments import VwConfig

MARK: Final = "@"
# What learns with Vowpal Wabbit has a trained folder of its own, which names its configuration.
NAMES: Final = tuple(name for name in (*TUNED, *LEARNING) if name != "vw")


@dataclass(frozen=True)
class Tuning:
    """How rules are tuned for an evaluation.

    Attributes:
        metric: the reward to maximise, the one that is judged by.
        peer / segments / model: see `policies.registry.Setting`.
    """

    metric: str
    peer: PeerConfig
    segments: SegmentConfig
    model: VwConfig


def is_tuned(spec: str) -> bool:
    """Whether a specification asks for a policy that is tuned on another log."""
    name, mark, _ = spec.partition(MARK)
    return bool(mark) and name in NAMES


def tuned_target(spec: str, reader: LogReader, tuning: Tuning) -> Target:
    """The policy that a specification means, tuned on its training log.

    Raises:
        ConfigError: a rule that needs features which the log lacks.
        DataError: a training log that cannot be read, of other actions or features, without the metric, or one that
            shares contacts with the log that is to judge.
        MissingPropensityError, LearnError: a training log from which it cannot be tuned.
    """
    name, _, path = spec.partition(MARK)
    training = LogReader(path)
    meta, own = training.meta, reader.meta
    if (meta.catalog.version, meta.features.version) != (own.catalog.version, own.features.version):
        raise DataError(
            f"{path} has other actions or features than {reader.path}", hint="tune and judge on parts of one log"
        )
    if tuning.metric not in meta.rewards:
        raise DataError(f"{path} has no metric {tuning.metric!r}", hint=f"the log knows: {sorted(meta.rewards)}")
    rounds = Selection(training, tuning.metric)
    shared = np.intersect1d(_clusters(rounds), _clusters(Selection(reader, tuning.metric, context=False)))
    if len(shared):
        raise DataError(
            f"{path} and {reader.path} share {len(shared)} contacts",
            hint="no policy is judged on what it was tuned on: split by contact first, as `tactful backtest` does",
        )
    spec_of = meta.rewards[tuning.metric]
    setting = Setting(
        meta.catalog,
        meta.features,
        tuning.metric,
        (spec_of.low, spec_of.high),
        peer=tuning.peer,
        segments=tuning.segments,
        model=tuning.model,
    )
    return PolicyTarget(make(name, rounds, setting), spec)


def _clusters(rounds: Selection) -> KeyArray:
    found = [np.unique(block.cluster) for block in rounds]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.uint64)
