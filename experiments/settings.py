"""Configuration: Hydra composes the yaml of a command from `conf/`, a struct checks it and holds the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar, cast

import msgspec
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from engine.audit.rule import AuditRule
from engine.decide.groups import require_shares
from engine.errors import ParameterError
from engine.log.join import MetricSpec
from engine.ope.metrics.definition import MetricStack
from engine.ope.settings import EvaluationSettings
from experiments.overrides import not_composed, not_valid
from policies.exploring.config import ExplorationConfig
from policies.peers.config import PEER_NAMES, PeerConfig
from policies.peers.segments import SegmentConfig
from policies.prices.config import PriceConfig
from policies.vw.arguments import VwConfig

T = TypeVar("T")


class EvaluateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful evaluate`."""

    evaluation: EvaluationSettings
    model: VwConfig
    metric_stack: MetricStack | None = None
    segments: SegmentConfig = SegmentConfig()
    peer: PeerConfig = PeerConfig()


class PlanConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful plan`.

    Attributes:
        evaluation: how the log to come will be judged.
        learner: by which the figures are made that the log could be judged by.
    """

    evaluation: EvaluationSettings
    learner: VwConfig


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful train`."""

    learner: VwConfig
    exploration: ExplorationConfig
    audit: AuditRule = AuditRule()


class BacktestConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful backtest`.

    Attributes:
        deciding_estimator: the estimator that the launch verdict rests on, fixed before any result is seen; one of
            `estimators`.
        estimators: that every policy is judged by.
        judged_by: what the verdict is about, fixed before any result is seen: `metric`; `stage_worth`, what the stages
            of the learner of parts are worth; `credited`, the money of answered messages; `adjusted`, the money less
            what the contact brings by itself (docs/parts.md). The segments are tuned on the same.
        metric_stack: the metrics of a campaign and what a launch must not do to them; None leaves them out.
        gate_error: one-sided error of each demand of the promotion gate, in (0, 0.5).
        prices: sample and tolerance of the volume-matched comparison.
        peers: further policies to judge, names of `policies.registry.PEERS`; `peer` holds their parameters.
    """

    evaluation: EvaluationSettings
    model: VwConfig
    learner: VwConfig
    exploration: ExplorationConfig
    segments: SegmentConfig
    metric_stack: MetricStack | None = None
    audit: AuditRule = AuditRule()
    gate_error: float = 0.05
    prices: PriceConfig = PriceConfig()
    deciding_estimator: str = "dr"
    judged_by: Literal["metric", "stage_worth", "credited", "adjusted"] = "metric"
    estimators: tuple[str, ...] = ("ips", "clipped", "snips", "dm", "dr")
    seed: int = 0
    peers: tuple[str, ...] = ()
    peer: PeerConfig = PeerConfig()

    def __post_init__(self) -> None:
        unknown = [name for name in self.peers if name not in PEER_NAMES]
        if unknown or len(set(self.peers)) < len(self.peers):
            raise ParameterError("peers", "backtest", allowed=f"unique, among {PEER_NAMES}", got=self.peers)


class JoinConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful join`: metrics by name."""

    metrics: dict[str, MetricSpec]


class DecideConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful decide`.

    Attributes:
        use_case: written into every decision.
        seed: of the sampling.
        control_share: share of contacts that are held out for good; not in learning and evaluation.
        uniform_share: share of decisions that take a uniform eligible action.
        block_rows: contacts per block.
        prices: budgets in expectation; by default the volume of the baseline that the policy's folder keeps.
    """

    guardrails: dict[str, Any]
    prices: PriceConfig = PriceConfig()
    use_case: str = "default"
    seed: int = 0
    control_share: float = 0.0
    uniform_share: float = 0.0
    block_rows: int = 16384

    def __post_init__(self) -> None:
        require_shares(self.control_share, self.uniform_share, "decide")
        if not 1 <= self.block_rows <= 1_000_000:
            raise ParameterError("block_rows", "decide", allowed="in 1..1000000", got=self.block_rows)


def compose_settings(command: str, overrides: Sequence[str], kind: type[T]) -> T:
    """Compose `conf/<command>.yaml` with overrides and check it.

    Args:
        command: name of the primary yaml.
        overrides: Hydra overrides (`evaluation.alpha=0.1`, `exploration=softmax`).
        kind: the struct that the result must fit.

    Raises:
        ConfigError: unknown key or option, wrong type or a value out of range; it names the full key.
    """

    def plain(texts: Sequence[str]) -> dict[str, Any]:
        composed = OmegaConf.to_container(compose(config_name=command, overrides=list(texts)), resolve=True)
        return cast("dict[str, Any]", composed)

    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="conf"):
        try:
            found = plain(overrides)
        except Exception as error:
            loader = GlobalHydra.instance().config_loader()
            raise not_composed(command, overrides, kind, loader, plain, error) from error
    try:
        return msgspec.convert(found, kind)
    except (msgspec.ValidationError, ParameterError) as error:
        raise not_valid(command, kind, found, error) from error
