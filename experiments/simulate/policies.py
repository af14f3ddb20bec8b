"""Who decides: fixed policies, rules tuned on a randomised slice, a trained folder, or vw that learns in the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.artefact import sha256
from engine.errors import ConfigError, DataError
from engine.log.parquet import LogReader
from engine.protocols import Policy
from engine.rounds import RoundBlock
from engine.selection import Selection
from experiments.simulate.config import SimulateConfig
from experiments.simulate.job import DayPolicy
from policies.action_values import ActionSums
from policies.always import AlwaysPolicy
from policies.merge_tag import MergeTagBlast
from policies.segments import tune_segments
from policies.uniform import UniformPolicy
from policies.vw.folder import load_policy, read_manifest
from simulator.scenario import Scenario

NEVER, UNIFORM, MERGE_TAG, SEGMENTS, VW = "never", "uniform", "merge_tag", "segments", "vw"
TUNED = (MERGE_TAG, SEGMENTS)
ALWAYS = "always:"
# Decisions from which on the numba kernels save more than compiling them costs; a property of the whole run, because
# they agree with numpy to 1e-12 only.
FAST_FROM = 2_000_000


def check_policy(config: SimulateConfig, scenario: Scenario) -> dict[str, Any]:
    """What the policy's decisions depend on besides the configuration, as plain data.

    Raises:
        ConfigError: no policy of ours and no folder, or a trained folder of another catalog or other features.
        DataError: an unknown action.
        ArtefactError: a damaged folder.
    """
    found: dict[str, Any] = {}
    if config.policy.startswith(ALWAYS):
        scenario.catalog.resolve(config.policy.removeprefix(ALWAYS))
    elif config.policy not in (NEVER, UNIFORM, VW, *TUNED):
        found["policy"] = _folder_version(config.policy, scenario)
    if config.start is not None:
        found["start"] = _folder_version(config.start, scenario)
    if config.training is not None:
        LogReader(config.training)
        found["training"] = sha256(Path(config.training))
    return found


def _folder_version(name: str, scenario: Scenario) -> str:
    folder = Path(name)
    if not folder.is_dir():
        raise ConfigError(
            f"unknown policy {name!r}",
            hint=f"one of {NEVER}, {UNIFORM}, always:ACTION, {MERGE_TAG}, {SEGMENTS}, {VW}, or a trained folder",
        )
    manifest = read_manifest(folder)
    if (manifest.catalog.version, manifest.features.version) != (scenario.catalog.version, scenario.features.version):
        raise ConfigError(
            f"{folder} was trained with another catalog or other features than those of {scenario.name!r}",
            hint="train it on a log of this scenario",
        )
    return manifest.version


def fixed_policy(config: SimulateConfig, scenario: Scenario, tuning_log: Callable[[], Path]) -> DayPolicy:
    """The policy of every day, for all but vw.

    Args:
        config: names it.
        scenario: gives the catalog.
        tuning_log: makes or finds the log of the randomised slice.

    Raises:
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
    loaded = load_policy(folder)
    return DayPolicy(replace(loaded, fast=config.contacts * config.days >= FAST_FROM), loaded.version)


def tuned_policy(config: SimulateConfig, scenario: Scenario, log: Path) -> Policy:
    """Segments or a blast, tuned on a log.

    Raises:
        DataError: a log of another catalog, or without the metric.
        LearnError: no usable rounds in it.
    """
    reader = LogReader(log)
    if reader.meta.catalog.version != scenario.catalog.version or config.metric not in reader.meta.rewards:
        raise DataError(
            f"{log} has another catalog than {scenario.name!r}, or no metric {config.metric!r}",
            hint=f"simulate one with scenario={scenario.name}; the log knows: {sorted(reader.meta.rewards)}",
        )
    rounds = Selection(reader, config.metric)
    if config.policy == SEGMENTS:
        return tune_segments(rounds, config.metric, scenario.catalog, reader.meta.features, config.segments)
    sums = ActionSums(config.metric, scenario.catalog.k)
    for block in rounds:
        sums.add(block)
    return MergeTagBlast(sums.result())


class Rounds:
    """The usable rounds of several logs, one after the other, as often as they are asked for.

    Args:
        logs: files.
        metric: that must be known.
    """

    def __init__(self, logs: list[Path], metric: str) -> None:
        self._logs, self._metric = logs, metric

    def __iter__(self) -> Iterator[RoundBlock]:
        for log in self._logs:
            yield from Selection(LogReader(log), self._metric)

    def empty(self) -> bool:
        """Whether there is nothing to learn from."""
        return not any(block.n for block in self)
