"""Who decides: fixed policies, rules tuned on a randomised slice, a trained folder, or what learns in the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.decide.asking import unchecked_distribution
from engine.errors import ConfigError, DataError
from engine.features import ContextBatch
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.names import did_you_mean
from engine.protocols import Policy
from engine.records.rounds import RoundBatch
from engine.storage.artefact import sha256
from engine.types import BoolArray, FloatArray
from experiments.simulate.outcomes import scenario_metrics
from experiments.simulate.run_spec import DayPolicy, SimulateConfig
from policies.peers.config import LEARNING, TUNED
from policies.peers.constant import AlwaysPolicy, UniformPolicy
from policies.registry import Setting, make
from policies.trained import TrainedFolder
from policies.vw.scoring.compiled import CompiledPolicy
from simulator.scenario import Scenario

NEVER, UNIFORM = "never", "uniform"
ALWAYS = "always:"
# Decisions from which on the numba kernels save more than compiling them costs; a property of the whole run, because
# they agree with numpy to 1e-12 only.
FAST_FROM = 2_000_000


def check_policy(config: SimulateConfig, scenario: Scenario) -> dict[str, Any]:
    """What the policy's decisions depend on besides the configuration, as plain data.

    Raises:
        ConfigError: no policy of ours and no folder, or a trained folder of another catalog, other features, or of
            another learner than the one that is to go on.
        DataError: an unknown action.
        ArtefactError: a damaged folder.
    """
    found: dict[str, Any] = {}
    if config.policy.startswith(ALWAYS):
        scenario.catalog.resolve(config.policy.removeprefix(ALWAYS))
    elif config.policy not in (NEVER, UNIFORM, *LEARNING, *TUNED):
        found["policy"] = _folder_version(config.policy, scenario)
    if config.start is not None:
        found["start"] = _folder_version(config.start, scenario)
        if (other := TrainedFolder(Path(config.start)).manifest.learns_as) != config.policy:
            raise ConfigError(f"{config.start} was learnt by {other}", hint=f"say policy={other}, or start elsewhere")
    if config.training is not None:
        LogReader(config.training)
        found["training"] = sha256(Path(config.training))
    return found


def _folder_version(name: str, scenario: Scenario) -> str:
    folder = Path(name)
    if not folder.is_dir():
        known = (NEVER, UNIFORM, *TUNED, *LEARNING)
        raise ConfigError(
            f"unknown policy {name!r}",
            hint=f"{did_you_mean(name, known)}one of {', '.join(known)}, always:ACTION, or a trained folder",
        )
    manifest = TrainedFolder(folder).manifest
    if (manifest.catalog.version, manifest.features.version) != (scenario.catalog.version, scenario.features.version):
        raise ConfigError(
            f"{folder} was trained with another catalog or other features than those of {scenario.name!r}",
            hint="train it on a log of this scenario",
        )
    return manifest.version


def fixed_policy(config: SimulateConfig, scenario: Scenario, tuning_log: Callable[[], Path]) -> DayPolicy:
    """The policy of every day, for all that do not learn in the loop.

    Args:
        config: names it.
        scenario: gives the catalog.
        tuning_log: makes or finds the log of the randomised slice.

    Raises:
        ConfigError: a rule that needs features which the scenario does not show.
        DataError: a training log of another catalog, or without the metric.
        LearnError: a training log without usable rounds.
    """
    catalog, name = scenario.catalog, config.policy
    if name == NEVER:
        return DayPolicy(AlwaysPolicy(catalog, "hold"), NEVER)
    if name == UNIFORM:
        return DayPolicy(UniformPolicy(), UNIFORM)
    if name.startswith(ALWAYS):
        return DayPolicy(AlwaysPolicy(catalog, name.removeprefix(ALWAYS)), name)
    if name in TUNED:
        log = tuning_log() if config.training is None else Path(config.training)
        return DayPolicy(tuned_policy(config, scenario, log), f"{name}-{sha256(log)[:12]}")
    return trained(Path(name), config)


def trained(folder: Path, config: SimulateConfig) -> DayPolicy:
    """The policy of a trained folder.

    Raises:
        ArtefactError: a damaged folder.
    """
    opened = TrainedFolder(folder)
    loaded, version = opened.policy(), opened.version
    if isinstance(loaded, CompiledPolicy):
        loaded = replace(loaded, fast=config.contacts * config.days >= FAST_FROM)
    return DayPolicy(loaded, version)


def tuned_policy(config: SimulateConfig, scenario: Scenario, log: Path) -> Policy:
    """A rule, tuned on a log.

    Raises:
        ConfigError: it needs features which the scenario does not show.
        DataError: a log of another catalog, or without the metric.
        LearnError: no usable rounds in it, or a metric from which this rule cannot be tuned.
    """
    reader = LogReader(log)
    if reader.meta.catalog.version != scenario.catalog.version or config.metric not in reader.meta.rewards:
        raise DataError(
            f"{log} has another catalog than {scenario.name!r}, or no metric {config.metric!r}",
            hint=f"simulate one with scenario={scenario.name}; the log knows: {sorted(reader.meta.rewards)}",
        )
    return make(config.policy, Selection(reader, config.metric), setting_of(config, scenario))


def setting_of(config: SimulateConfig, scenario: Scenario) -> Setting:
    """What policies are tuned or learnt for in a run."""
    metric = scenario_metrics(scenario)[config.metric]
    return Setting(
        scenario.catalog,
        scenario.features,
        config.metric,
        (metric.low, metric.high),
        peer=config.peer,
        segments=config.segments,
        learner=config.learner,
        exploration=config.exploration,
    )


class Rounds:
    """The usable rounds of several logs, one after the other, as often as they are asked for.

    Args:
        logs: files.
        metric: that must be known.
    """

    def __init__(self, logs: list[Path], metric: str) -> None:
        self._logs, self._metric = logs, metric

    def __iter__(self) -> Iterator[RoundBatch]:
        for log in self._logs:
            yield from Selection(LogReader(log), self._metric)

    def empty(self) -> bool:
        """Whether there is nothing to learn from."""
        return not any(batch.n for batch in self)


@dataclass(frozen=True)
class ExploredPolicy:
    """(1 - share) policy + share uniform, decision by decision.

    Like the uniform slice of a plan (`uniform_share`), but part of the policy: its rows are in group treatment, and
    the version says so.

    Attributes:
        policy: that decides otherwise.
        share: share of the decisions that are taken at random, in [0, 1].
    """

    policy: Policy
    share: float

    @property
    def name(self) -> str:
        return f"{self.policy.name}, {self.share:g} at random"

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        """(n, k) the mixture.

        Raises:
            EligibilityError: a row without an eligible action.
        """
        mixed: FloatArray = (1.0 - self.share) * unchecked_distribution(self.policy, context, eligible)
        mixed += self.share * UniformPolicy().distribution(context, eligible)
        return mixed


def explored(who: DayPolicy, share: float) -> DayPolicy:
    """The policy of a day with its randomised slice; the version says so."""
    if not share:
        return who
    return DayPolicy(ExploredPolicy(who.policy, share), f"{who.version}, {share:g} at random")
