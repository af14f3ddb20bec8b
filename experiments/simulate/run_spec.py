"""What every worker must know of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.decide.plan import Plan
from engine.guardrails.conditions import Conditions
from engine.guardrails.layer import Guardrails
from engine.protocols import Policy
from engine.records.schema import LogMeta
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
