"""What the assumed numbers of the simulator decide: each is halved and doubled; writes docs/assumed-numbers.md.

For every number without a source (`simulator.numbers`, kind "assumed") the newsletter world is run with half
and with
twice its value. Measured in expectation per contact over 90 days: what contacts are worth without messages, what
e-mails at the best frequency add, and which frequency that is. A number that moves the last two is one to measure in a
house's own data before its conclusions are believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from simulator.calibration.programme import Programme, run_programme
from simulator.numbers import numbers_of
from simulator.people.population import ShopperPopulation
from simulator.scenario import load_scenario
from simulator.world.dynamics import ShopperDynamics
from simulator.world.happened import Money
from simulator.world.shopper_response import ShopperResponse

DOC: Final = Path(__file__).resolve().parents[2] / "docs" / "assumed-numbers.md"
PARTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "population": ShopperPopulation,
    "response": ShopperResponse,
    "dynamics": ShopperDynamics,
    "money": Money,
}
# Faults and scenario-made dates are choices, not guesses about people.
LEFT_OUT: Final = ("due_days", "due_sd", "due_window_days", "due_order", "due_intent", "tells_share")
PER_MONTH: Final = (2.0, 4.0, 7.0, 10.0, 14.0)
DAYS: Final = 90.0


@dataclass(frozen=True)
class Outcome:
    """One world.

    Attributes:
        organic_usd: per contact without messages.
        added_usd: by e-mails at the best of the frequencies tried.
        best: that frequency, e-mails a month.
    """

    organic_usd: float
    added_usd: float
    best: float


@dataclass(frozen=True)
class Sweep:
    """One number at half and at twice its value."""

    name: str
    value: str
    unit: str
    half: Outcome
    twice: Outcome

    @property
    def reach(self) -> float:
        """How far what e-mails add moves between the two, usd."""
        return abs(self.twice.added_usd - self.half.added_usd)


def assumed() -> Iterator[tuple[str, str, Any, str]]:
    """(part, name, default, unit) of every number that is assumed and has a value to scale."""
    for part, struct in PARTS.items():
        for one in numbers_of(struct):
            values = one.default.values() if isinstance(one.default, Mapping) else (one.default,)
            numeric = [value for value in values if isinstance(value, int | float) and value]
            if one.kind == "assumed" and one.name not in LEFT_OUT and numeric:
                yield part, one.name, one.default, one.unit


def scaled(default: Any, factor: float, unit: str) -> Any:
    """A number, or each of a mapping's numbers, times a factor; shares stay below 1."""
    if isinstance(default, Mapping):
        return {key: scaled(value, factor, unit) for key, value in default.items()}
    value = default * factor
    return float(min(value, 0.5 * (1.0 + default))) if unit.startswith("share") and default < 1.0 else float(value)


def outcome(changes: Mapping[str, Any], contacts: int, seed: int) -> Outcome:
    """Run one world at every frequency.

    Args:
        changes: changes of the newsletter scenario.
        contacts: number of contacts.
        seed: seed of the world.
    """
    scenario = load_scenario("newsletter", changes)

    def value(per_month: float) -> float:
        programme = Programme("email", per_month * 7.0 / 30.4, warm_up_days=0.0, days=DAYS)
        return run_programme(scenario, programme, contacts, seed).reward_usd

    organic = value(0.0)
    added = [value(per_month) - organic for per_month in PER_MONTH]
    best = int(np.argmax(added))
    return Outcome(organic, added[best], PER_MONTH[best])


def sweep(contacts: int, seed: int = 1, only: tuple[str, ...] = ()) -> tuple[Outcome, list[Sweep]]:
    """The shipped world, and every assumed number at half and twice its value, the strongest first.

    Args:
        contacts: per world.
        seed: seed of the worlds.
        only: names of numbers; empty is all.
    """
    found = []
    for part, name, default, unit in assumed():
        if only and name not in only:
            continue
        ends = [outcome({part: {name: scaled(default, factor, unit)}}, contacts, seed) for factor in (0.5, 2.0)]
        shown = ", ".join(f"{key} {value:g}" for key, value in default.items()) if isinstance(default, Mapping) else ""
        found.append(Sweep(f"{part}.{name}", shown or f"{default:g}", unit, *ends))
    return outcome({}, contacts, seed), sorted(found, key=lambda one: -one.reach)


def page(shipped: Outcome, sweeps: list[Sweep], contacts: int) -> str:
    """The document."""
    intro = (
        "Made by `python -m experiments.study.assumed_numbers`. Every number of the simulator for which no source was "
        f"found, at half and at twice its value, in the newsletter world: {contacts:,} contacts, {DAYS:g} days, "
        "expected values per contact. As shipped, contacts are worth "
        f"{shipped.organic_usd:.2f} usd without messages, and e-mails add {shipped.added_usd:.2f} usd at "
        f"{shipped.best:g} a month, the best of {', '.join(f'{one:g}' for one in PER_MONTH)}."
    )
    reading = (
        "Numbers at the top decide how much messages add: measure them in your own data, or sweep them, before you "
        "believe a result of the simulator. Numbers at the bottom hardly matter to it."
    )
    columns = ("number", "shipped", "unit", "worth without messages, half / twice", "e-mails add, half / twice")
    head = " | ".join((*columns, "best a month, half / twice"))
    lines = [
        "# What the assumed numbers decide",
        "",
        intro,
        "",
        reading,
        "",
        f"| {head} |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.name} | {one.value} | {one.unit} | {one.half.organic_usd:.2f} / {one.twice.organic_usd:.2f} | "
        f"{one.half.added_usd:+.2f} / {one.twice.added_usd:+.2f} | {one.half.best:g} / {one.twice.best:g} |"
        for one in sweeps
    ]
    return "\n".join(lines) + "\n"


def main(contacts: int = 3000) -> None:
    """Run the study and write the document."""
    DOC.write_text(page(*sweep(contacts), contacts), encoding="utf-8")


if __name__ == "__main__":
    main()
