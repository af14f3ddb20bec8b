"""Fault scenarios: conf/fault/NAME.yaml laid over any scenario."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.errors import ConfigError, ParameterError
from simulator.scenario import Scenario, shipped_yaml
from simulator.world.faults import Fault


class FaultFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A yaml of conf/fault/.

    Attributes:
        faults: at least one; as in a scenario.
    """

    faults: tuple[Fault, ...]

    def __post_init__(self) -> None:
        if not self.faults:
            raise ParameterError("faults", "a fault scenario", allowed="at least one fault", got=self.faults)


def faults_from(data: Any, *, source: str = "fault scenario") -> tuple[Fault, ...]:
    """Validate plain data as faults.

    Raises:
        ConfigError: unknown key, wrong type, or a value out of range.
    """
    try:
        return msgspec.convert(data, FaultFile).faults
    except (msgspec.ValidationError, ParameterError) as error:
        raise ConfigError(
            f"{source} is no fault scenario: {error}", hint="see docs/simulator.md for every fault"
        ) from error


def with_faults(scenario: Scenario, *names: str) -> Scenario:
    """A scenario with the faults of conf/fault/NAME.yaml, after its own.

    Raises:
        ConfigError: no such fault scenario, or a fault on a channel that the catalog does not have.
    """
    added = [
        one for name in names for one in faults_from(shipped_yaml("fault", name), source=f"conf/fault/{name}.yaml")
    ]
    for fault in added:
        if fault.channel and fault.channel not in scenario.catalog.channels:
            raise ConfigError(
                f"the fault {fault.kind!r} is on the channel {fault.channel!r}, which the catalog does not have",
                hint=f"its channels are {', '.join(scenario.catalog.channels)}",
            )
    return scenario.with_faults(*scenario.spec.faults, *added)
