"""Every yaml in conf/ composes and is accepted by the class that it configures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from engine.audit.rule import AuditRule
from engine.catalog import catalog_from
from engine.errors import ConfigError
from engine.features import schema_from
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import pack_from
from engine.limits.limit_set import limits_from
from engine.log.join import MetricSpec
from engine.mapping.dialect import load_mapping
from engine.monitor.rule import MonitorRule
from engine.ope.metrics.definition import MetricStack
from engine.ope.settings import EvaluationSettings
from engine.optout.codes import provider_codes
from engine.optout.lists import lists_from, load_lists
from engine.optout.own_text import vocabulary
from engine.time.localtime import zone_names
from experiments.demo.run import shipped_catalog
from experiments.judge.ablate import AblateConfig
from experiments.judge.audit import AuditConfig
from experiments.judge.promotion_gate import PromoteConfig
from experiments.season.config import ExperimentConfig
from experiments.serve.monitor import MonitorConfig
from experiments.settings import (
    BacktestConfig,
    DecideConfig,
    EvaluateConfig,
    JoinConfig,
    PlanConfig,
    TrainConfig,
    compose_settings,
)
from experiments.simulate.run_spec import SimulateConfig
from policies.exploring.config import ExplorationConfig
from policies.peers.config import PeerConfig
from policies.peers.segments import SegmentConfig
from policies.prices.config import PriceConfig
from policies.vw.arguments import VwConfig
from simulator.calibration.files import CalibrationFile
from simulator.calibration.targets.published import published_from
from simulator.scenario import faults_from, make_part, scenario_from

CONF = Path(__file__).resolve().parents[3] / "conf"
FILES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml"))


def _opt_out(data: dict[str, Any]) -> object:
    """What kind of list it is shows by its keys; ordinary words are one list with the keywords."""
    if "codes" in data:
        return provider_codes()
    if "attribution" in data:
        return vocabulary()
    return lists_from(data) if "sources" in data else load_lists()


COMMANDS: dict[str, Any] = {
    "ablate": AblateConfig,
    "audit": AuditConfig,
    "monitor": MonitorConfig,
    "backtest": BacktestConfig,
    "decide": DecideConfig,
    "evaluate": EvaluateConfig,
    "experiment": ExperimentConfig,
    "join": JoinConfig,
    "simulate": SimulateConfig,
    "plan": PlanConfig,
    "promote": PromoteConfig,
    "train": TrainConfig,
}
# The commands that a group belongs to.
USED_BY = {
    "audit": ("audit", "train", "backtest", "monitor", "promote"),
    "monitor": ("monitor",),
    "evaluation": ("evaluate", "backtest", "plan"),
    "model": ("evaluate", "backtest"),
    "learner": ("train", "backtest", "simulate", "experiment"),
    "exploration": ("train", "backtest", "simulate", "experiment"),
    "scenario": ("simulate",),
    "segments": ("evaluate", "backtest", "simulate", "experiment"),
    "peer": ("evaluate", "backtest", "simulate"),
    "guardrails": ("decide",),
    "metric_stack": ("evaluate", "backtest"),
    "metrics": ("join",),
    "prices": ("backtest", "decide", "simulate"),
}


def of_struct(kind: type) -> Callable[[Any], object]:
    return lambda data: msgspec.convert(data, kind)


VALIDATE: dict[str, Callable[[Any], object]] = {
    "audit": of_struct(AuditRule),
    "monitor": of_struct(MonitorRule),
    "evaluation": of_struct(EvaluationSettings),
    "model": of_struct(VwConfig),
    "learner": of_struct(VwConfig),
    "exploration": of_struct(ExplorationConfig),
    "segments": of_struct(SegmentConfig),
    "peer": of_struct(PeerConfig),
    "metric_stack": of_struct(MetricStack),
    "metrics": of_struct(dict[str, MetricSpec]),
    "prices": of_struct(PriceConfig),
    "catalog": catalog_from,
    "features": schema_from,
    "guardrails": lambda data: Guardrails(pack_from(data), shipped_catalog("default")),
    "limits": limits_from,
    "moments": published_from,
    "optout": _opt_out,
    "calibration": lambda data: [_fitted(data), *(make_part(kind, params) for kind, params in data["parts"].items())],
    "scenario": scenario_from,
    "fault": faults_from,
    "experiment": lambda data: msgspec.convert(data, ExperimentConfig),
    "zones": lambda data: [_known_zones(entry) for entry in data.values()],
}


def _fitted(data: Any) -> CalibrationFile:
    return msgspec.convert(data, CalibrationFile)


def _known_zones(entry: Any) -> None:
    """Every zone name anywhere in an entry of the zone tables is one of the tz database."""
    for value in entry.values() if isinstance(entry, dict) else entry:
        if isinstance(value, list | dict):
            _known_zones(value)
        elif "/" in value:
            assert value in zone_names(), value


@pytest.mark.parametrize("file", FILES)
def test_every_yaml_is_accepted(file: str) -> None:
    path = CONF / file
    group = path.parent.name if path.parent != CONF else ""
    if not group:
        assert isinstance(compose_settings(path.stem, [], COMMANDS[path.stem]), COMMANDS[path.stem])
    elif group == "mapping":
        assert load_mapping(path.stem).name == path.stem
    else:
        VALIDATE[group](yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("file", [file for file in FILES if file.split("/")[0] in USED_BY])
def test_every_choice_of_a_group_composes(file: str) -> None:
    group, choice = file.removesuffix(".yaml").split("/")
    for command in USED_BY[group]:
        config = compose_settings(command, [f"{group}={choice}"], COMMANDS[command])
        assert msgspec.to_builtins(getattr(config, group)) is not None


@pytest.mark.parametrize("catalog", sorted(path.stem for path in (CONF / "catalog").glob("*.yaml")))
def test_every_pack_fits_every_catalog(catalog: str) -> None:
    for path in sorted((CONF / "guardrails").glob("*.yaml")):
        assert Guardrails(pack_from(yaml.safe_load(path.read_text())), shipped_catalog(catalog)).version


def test_yaml_of_a_class_repeats_its_defaults() -> None:
    """Where a yaml says nothing the class decides; shipped defaults of evaluation are the class's own."""
    assert compose_settings("evaluate", [], EvaluateConfig).evaluation == EvaluationSettings()


def test_overrides_reach_the_class() -> None:
    config = compose_settings("train", ["learner=dr", "exploration=softmax", "learner.passes=3"], TrainConfig)
    assert (config.learner.cb_type, config.exploration.kind, config.learner.passes) == ("dr", "softmax", 3)


@pytest.mark.parametrize(
    ("command", "override", "named"),
    [
        ("evaluate", "evaluation.alpa=0.1", "alpa"),
        ("evaluate", "evaluation.alpha=2", "alpha"),
        ("evaluate", "evaluation.alpha=much", "alpha"),
        ("evaluate", "evaluation.interval=exact", "interval"),
        ("evaluate", "evaluation.largest_weight=0.5", "largest_weight"),
        ("evaluate", "evaluation.largest_weight=.inf", "largest_weight"),
        ("evaluate", "evaluation.largest_sd=0", "largest_sd"),
        ("evaluate", "evaluation.comparisons=0", "comparisons"),
        ("evaluate", "evaluation.simultaneous=3", "simultaneous"),
        ("evaluate", "evaluation.clip=0", "clip"),
        ("evaluate", "evaluation.clip=.nan", "clip"),
        ("evaluate", "evaluation.folds=1", "folds"),
        ("evaluate", "evaluation.replicates=3", "replicates"),
        ("train", "learner=deepest", "deepest"),
        ("train", "learner.passes=0", "passes"),
        ("train", "exploration.kind=greedier", "kind"),
        ("train", "no_key=1", "no_key"),
        ("train", "+extra=1", "extra"),
        ("train", "=", "="),
        ("backtest", "segments.bins=0", "bins"),
        ("backtest", "segments.max_features=-1", "max_features"),
        ("decide", "control_share=1.5", "control_share"),
        ("decide", "control_share=.nan", "control_share"),
        ("decide", "block_rows=0", "block_rows"),
        ("decide", "use_case=3", "use_case"),
        ("join", "metrics.margin.window_s=-1", "window_s"),
    ],
)
def test_a_wrong_override_is_named(command: str, override: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_settings(command, [override], COMMANDS[command])
    assert named in caught.value.message
    assert caught.value.hint


def test_shares_above_one_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="uniform_share"):
        compose_settings("decide", ["control_share=0.6", "uniform_share=0.6"], DecideConfig)
