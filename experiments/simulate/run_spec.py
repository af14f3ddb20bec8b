"""A run: its configuration, and what every worker must know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.decide.groups import require_shares
from engine.decide.plan import Plan
from engine.errors import ParameterError
from engine.guardrails.conditions import Conditions
from engine.guardrails.layer import Guardrails
from engine.protocols import Policy
from engine.records.schema import LogMeta
from policies.exploring.config import ExplorationConfig
from policies.peers.config import LEARNING, TUNED, PeerConfig
from policies.peers.segments import SegmentConfig
from policies.prices.config import PriceConfig
from policies.vw.arguments import VwConfig
from simulator.scenario import Scenario
from simulator.world.faults import broken_at

NOTE = "SIMULATED: contacts and outcomes come from a simulated world, not from people."


@dataclass(frozen=True)
class RunSpec:
    """One run, without anything that is fixed by the day.

    Attributes:
        scenario: plain data of the scenario.
        packages: top-level packages from which its parts may be imported.
        contacts / first / seed: contacts and seed of the world.
        control_share / uniform_share: as of `engine.decide.plan.Plan`.
        contact_key: key of the contacts' pseudonyms.
        block_rows: contacts per batch.
        folder: folder of the parts.
    """

    scenario: dict[str, Any]
    packages: tuple[str, ...]
    contacts: int
    first: int
    seed: int
    control_share: float
    uniform_share: float
    contact_key: str
    block_rows: int
    folder: Path

    @property
    def batches(self) -> int:
        return -(-self.contacts // self.block_rows)

    def rows(self, batch: int) -> tuple[int, int]:
        """First contact and number of contacts of a batch."""
        start = batch * self.block_rows
        return self.first + start, min(self.block_rows, self.contacts - start)

    def part(self, kind: str, batch: int, step: int, ending: str = "parquet") -> Path:
        """File of one batch and day."""
        return self.folder / f"{kind}-{step:05d}-{batch:05d}.{ending}"


@dataclass(frozen=True)
class DayPolicy:
    """Who decides on a day.

    Attributes:
        policy: gives the distribution.
        version: written into each record.
    """

    policy: Policy
    version: str


def plan_of(
    spec: RunSpec, scenario: Scenario, guardrails: Guardrails, who: DayPolicy, day: float, conditions: Conditions
) -> Plan:
    """How a day decides.

    Args:
        spec: the run.
        scenario: made from the spec's.
        guardrails: the layer.
        who: decides.
        day: day of the world; faults of the draw act here.
        conditions: the sender's side.
    """
    return Plan(
        guardrails,
        broken_at(who.policy, scenario.spec.faults, day),
        who.version,
        seed=spec.seed,
        use_case=scenario.name,
        contact_key=spec.contact_key,
        control_share=spec.control_share,
        uniform_share=spec.uniform_share,
        conditions=conditions,
    )


def log_meta(spec: RunSpec, scenario: Scenario, guardrails: Guardrails, conditions: Conditions, policy: str) -> LogMeta:
    """The footer of the run's log.

    Args:
        spec: the run.
        scenario: made from the spec's.
        guardrails: the layer.
        conditions: the sender's side on the first day.
        policy: folder of the policy, "" where it is none.
    """
    sender = msgspec.structs.replace(conditions, use_case=scenario.name)
    return LogMeta(
        catalog=scenario.catalog,
        features=scenario.features,
        propensity="logged",
        clustered=True,
        source=f"tactful simulate scenario={scenario.name} seed={spec.seed}",
        notes=(NOTE,),
        policy=policy,
        pack=guardrails.pack.to_builtins(),
        conditions=sender.to_builtins(),
    )


class TuningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The randomised slice on which segments and blasts are tuned where no training log is given.

    Attributes:
        contacts: other contacts of the same world, decided for at random.
        days: for so long.
    """

    contacts: int = 5000
    days: int = 14

    def __post_init__(self) -> None:
        for name in ("contacts", "days"):
            if getattr(self, name) < 1:
                raise ParameterError(name, "tuning", allowed="at least 1", got=getattr(self, name))


class SimulateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful simulate`.

    Attributes:
        scenario: a yaml of conf/scenario/, as it stands there, with overrides.
        faults: fault scenarios of conf/fault/ that are laid over it.
        policy: never, uniform, always:ACTION, a name of `policies.registry`, or a trained folder.
        contacts / days: size of the run; a day is one step of the scenario's calendar.
        first: number of the first contact of the world.
        seed: seed of the world and of the sampling.
        explore_share: share of the decisions of any policy that are taken at random.
        control_share: share of contacts that are held out for good; not in learning and evaluation.
        uniform_share: share of decisions that take a uniform eligible action.
        block_rows: contacts per batch: memory, never results.
        workers: processes: time, never results.
        metric: that rules are tuned on and learners learn from, a metric of the log.
        training: log on which a rule is tuned; null makes a randomised slice first (`tuning`).
        tuning: size of that slice.
        start: trained folder from which a learner learns on; null starts at random.
        warm_up_days: known days before it learns for the first time; its scale of rewards is fitted on them.
        learner / exploration / segments / peer: as of the other commands.
        prices: budgets in expectation, anew every day; by default the volume of the baseline that a folder keeps.
        packages: top-level packages from which parts of the scenario may be imported.
    """

    scenario: dict[str, Any]
    faults: tuple[str, ...] = ()
    policy: str = "uniform"
    contacts: int = 10_000
    days: int = 30
    first: int = 0
    seed: int = 1
    explore_share: float = 0.0
    control_share: float = 0.0
    uniform_share: float = 0.0
    block_rows: int = 8192
    workers: int = 1
    metric: str = "margin"
    training: str | None = None
    tuning: TuningConfig = TuningConfig()
    start: str | None = None
    warm_up_days: int = 7
    learner: VwConfig = VwConfig()
    exploration: ExplorationConfig = ExplorationConfig()
    segments: SegmentConfig = SegmentConfig()
    prices: PriceConfig = PriceConfig()
    peer: PeerConfig = PeerConfig()
    packages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, low, high in (
            ("contacts", 1, 100_000_000),
            ("days", 1, 3660),
            ("first", 0, 99_999_999),
            ("seed", 0, 2**31 - 1),
            ("block_rows", 1, 1_000_000),
            ("workers", 1, 256),
            ("warm_up_days", 1, 3660),
        ):
            if not low <= getattr(self, name) <= high:
                raise ParameterError(name, "simulate", allowed=f"in {low}..{high}", got=getattr(self, name))
        if not 0.0 <= self.explore_share <= 1.0:
            raise ParameterError("explore_share", "simulate", allowed="in [0, 1]", got=self.explore_share)
        require_shares(self.control_share, self.uniform_share, "simulate")
        if self.start is not None and self.policy not in LEARNING:
            raise ParameterError(
                "start", "simulate", allowed=f"null unless policy is one of {', '.join(LEARNING)}", got=self.start
            )
        if self.training is not None and self.policy not in TUNED:
            raise ParameterError(
                "training", "simulate", allowed=f"null unless policy is one of {', '.join(TUNED)}", got=self.training
            )
