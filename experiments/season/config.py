"""Configuration of `tactful experiment`."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from engine.errors import ParameterError
from experiments.horizon.simulated import SimulatedConfig
from policies.exploring.config import ExplorationConfig
from policies.horizon.config import HorizonConfig
from policies.parts.config import PartsConfig
from policies.peers.segments import SegmentConfig
from policies.vw.arguments import VwConfig

METRICS: Final = ("message", "margin")
AS_IT_IS: Final = "as it is"


def _within(owner: str, name: str, got: int, low: int, high: int) -> None:
    if not low <= got <= high:
        raise ParameterError(name, owner, allowed=f"in {low}..{high}", got=got)


class SliceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The randomised slice that every learner and every tuned rule learns from.

    Attributes:
        contacts: other contacts of the same world.
        days: they are decided for at random for so long.
        hold_share: probability of a hold in each of their decisions; the rest is spread evenly over the eligible sends.
    """

    contacts: int = 15_000
    days: int = 28
    hold_share: float = 0.5

    def __post_init__(self) -> None:
        _within("slice", "contacts", self.contacts, 2, 10_000_000)
        _within("slice", "days", self.days, 1, 3660)
        if not 0.0 < self.hold_share < 1.0:
            raise ParameterError("hold_share", "slice", allowed="in (0, 1)", got=self.hold_share)


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One answer to a strategic question; everything left out stays as it is.

    Attributes:
        changes: keys that replace those of the scenario's yaml, mappings merged.
        first_channel: the first message to a contact may go out on this channel alone.
        hour: messages may go out at this hour of the catalog alone, by its label.
        first_discount: whether the first message to a contact must be one with a discount (true) or without (false).
        without: signal groups that learners and policies do not see.
        monthly_cap: messages in 30 days over all channels, in place of the pack's cap.
    """

    changes: dict[str, Any] = {}
    first_channel: str = ""
    hour: str = ""
    first_discount: bool | None = None
    without: tuple[str, ...] = ()
    monthly_cap: int | None = None

    def __post_init__(self) -> None:
        if self.monthly_cap is not None:
            _within("variant", "monthly_cap", self.monthly_cap, 1, 1000)


class OracleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The references that know the latents.

    Attributes:
        rollouts: futures per contact and price of the planner.
        bound_contacts: contacts for which the proved bound is worked out; 0 leaves it out.
    """

    rollouts: int = 2
    bound_contacts: int = 200

    def __post_init__(self) -> None:
        _within("oracle", "rollouts", self.rollouts, 1, 1000)
        _within("oracle", "bound_contacts", self.bound_contacts, 0, 10_000_000)
        if self.bound_contacts == 1:
            raise ParameterError("bound_contacts", "oracle", allowed="0, or at least 2", got=1)


class ExperimentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful experiment`.

    Attributes:
        name: name of the experiment.
        question: that it answers, one sentence.
        scenarios: names of yaml files in conf/scenario/, swept over with -m.
        variants: name -> what is changed; the first one is the reference. Swept over with -m.
        policies: names, see docs/season.md; swept over with -m.
        baseline: the policy that differences are taken to.
        versus: what the rows of further variants are compared with: "variant", the same policy in the first variant, or
            "baseline", the baseline in the same variant: then it is told which verdicts change with the variant.
        reference: the policy that per-day regret and the gap are taken to.
        seeds: numbers of the worlds, or how many (1, 2, ...).
        contacts / days: size of every cell.
        at_most: policy -> contacts at most, the first ones of the cell, for those that are slow; differences are then
            paired on these contacts.
        slice: what learners and tuned rules get to learn from.
        metric: that learners learn from: `message`, what a message brings and costs (0 for hold), or `margin`, all
            money of the day.
        learn_every_days: learners learn on from their own decisions after so many days; 0 never does.
        oracle: the references.
        alpha: 1 - confidence of the intervals.
        workers: processes: time, never results.
        learner / exploration / segments: as of the other commands.
        parts: the learner of `vw_parts`.
        horizon: the learner of `vw_horizon` and of `vw_horizon_simulated`.
        simulated: what `vw_horizon_simulated` is trained on, in place of the slice; the seed is added to its own.
    """

    name: str = "season"
    question: str = ""
    scenarios: tuple[str, ...] = ("newsletter",)
    variants: dict[str, Variant] = msgspec.field(default_factory=lambda: {AS_IT_IS: Variant()})
    policies: tuple[str, ...] = ("never", "segments", "vw")
    baseline: str = "segments"
    versus: Literal["variant", "baseline"] = "variant"
    reference: str = "planner"
    seeds: int | tuple[int, ...] = 1
    contacts: int = 20_000
    days: int = 90
    at_most: dict[str, int] = {}
    slice: SliceConfig = SliceConfig()
    metric: str = "message"
    learn_every_days: int = 0
    oracle: OracleConfig = OracleConfig()
    alpha: float = 0.05
    workers: int = 1
    learner: VwConfig = VwConfig()
    parts: VwConfig = VwConfig(parts=PartsConfig())
    horizon: VwConfig = VwConfig(horizon=HorizonConfig())
    simulated: SimulatedConfig = SimulatedConfig(contacts=4000, rounds=5)
    exploration: ExplorationConfig = ExplorationConfig()
    segments: SegmentConfig = SegmentConfig()

    def __post_init__(self) -> None:
        _within("experiment", "contacts", self.contacts, 2, 5_000_000)
        _within("experiment", "days", self.days, 1, 3660)
        _within("experiment", "learn_every_days", self.learn_every_days, 0, 3660)
        _within("experiment", "workers", self.workers, 1, 256)
        for name in ("scenarios", "policies", "variants"):
            named = list(getattr(self, name))
            if not named or len(set(named)) != len(named):
                raise ParameterError(name, "experiment", allowed="at least one, all distinct", got=named)
        numbers = self.seed_numbers
        if not numbers or len(set(numbers)) != len(numbers) or min(numbers) < 0 or max(numbers) >= 2**31:
            raise ParameterError("seeds", "experiment", allowed="at least one, distinct, in 0..2**31-1", got=self.seeds)
        if self.metric not in METRICS:
            raise ParameterError("metric", "experiment", allowed=f"one of {METRICS}", got=self.metric)
        if not 0.0 < self.alpha < 1.0:
            raise ParameterError("alpha", "experiment", allowed="in (0, 1)", got=self.alpha)
        for policy, most in self.at_most.items():
            _within("at_most", policy, most, 2, 5_000_000)
        if self.baseline in self.at_most:
            raise ParameterError("at_most", "experiment", allowed="not for the baseline", got=self.baseline)

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(range(1, self.seeds + 1)) if isinstance(self.seeds, int) else self.seeds

    def contacts_of(self, policy: str) -> int:
        """How many contacts a policy's cell has."""
        return min(self.contacts, self.at_most.get(policy, self.contacts))

    @property
    def prefixes(self) -> tuple[int, ...]:
        """Numbers of first contacts on which some policy is compared, ascending."""
        return tuple(sorted({self.contacts, *(min(self.contacts, most) for most in self.at_most.values())}))

    @property
    def all_policies(self) -> tuple[str, ...]:
        """The policies, the baseline first."""
        return (self.baseline, *(name for name in self.policies if name != self.baseline))


def one_cell(config: ExperimentConfig) -> ExperimentConfig:
    """The first value of every axis, beside the baseline: what is run without a sweep."""
    others = [name for name in config.policies if name != config.baseline]
    return msgspec.structs.replace(
        config,
        scenarios=config.scenarios[:1],
        variants=dict(list(config.variants.items())[:1]),
        policies=tuple(others[:1]) or config.policies[:1],
        seeds=config.seed_numbers[:1],
    )
