"""Configuration of `tactful simulate`."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.decide.groups import require_shares
from engine.errors import ParameterError
from policies.exploring.config import ExplorationConfig
from policies.peers.config import LEARNING, TUNED, PeerConfig
from policies.peers.segments import SegmentConfig
from policies.prices.config import PriceConfig
from policies.vw.arguments import VwConfig


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
