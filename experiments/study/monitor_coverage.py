"""How often do the monitor's intervals hold the effect on all days of a launch? Printed as a line for docs/monitor.md.

Contacts differ lastingly, are decided for on most days, and rewards are rare; a feature known before explains a part.
Somebody looks after every day. `python -m experiments.study.monitor_coverage`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.identity import keyed_hash
from engine.monitor.effects import EffectSums
from engine.records.schema import CONTROL, TREATMENT, UNIFORM_SLICE

EFFECT = 0.3


@dataclass(frozen=True)
class Coverage:
    """Shares of launches.

    Attributes:
        always: the sequence held the effect on all days.
        fixed: a 95 % interval of each day alone would have.
        variance_left: by what was known before, on average.
    """

    always: float
    fixed: float
    variance_left: float


def measure(launches: int, *, contacts: int = 600, days: int = 60, against: str = CONTROL) -> Coverage:
    """Simulate launches whose effect is `EFFECT` and count."""
    always = fixed = 0
    left = 0.0
    for seed in range(launches):
        sums = launch(np.random.default_rng([29, seed]), contacts, days)
        sequence = sums.sequence(against, 0.05, 50_000.0)
        always += all(day.low <= EFFECT <= day.high for day in sequence)
        fixed += all(abs(day.value - EFFECT) <= 1.96 * day.stderr for day in sequence)
        left += (sequence[-1].stderr / sequence[-1].plain_stderr) ** 2
    return Coverage(always / launches, fixed / launches, left / launches)


def launch(rng: np.random.Generator, contacts: int, days: int) -> EffectSums:
    """One launch: half of the contacts in control, a fifth of the others' decisions in the uniform slice."""
    key = keyed_hash(np.array([f"c{rng.integers(2**60)}" for _ in range(contacts)], dtype=object), "contact")
    before = rng.normal(size=contacts)
    taste = 0.6 * before + 0.6 * rng.normal(size=contacts)
    control = rng.random(contacts) < 0.5
    sums = EffectSums(256, 1)
    for day in range(days):
        here = np.flatnonzero(rng.random(contacts) < 0.7)
        sliced = ~control[here] & (rng.random(len(here)) < 0.2)
        group = np.where(control[here], CONTROL, np.where(sliced, UNIFORM_SLICE, TREATMENT)).astype(object)
        buys = rng.random(len(here)) < 0.1
        reward = taste[here] + np.where(buys, rng.exponential(5.0, len(here)), 0.0)
        reward += EFFECT * (group == TREATMENT)
        sums.add(np.full(len(here), day), group, key[here], reward, before[here, None])
    return sums


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=400)
    launches = parser.parse_args(arguments).launches
    for against in (CONTROL, UNIFORM_SLICE):
        found = measure(launches, against=against)
        sys.stdout.write(
            f"against {against}: all days held in {found.always:.1%} (95 % intervals of one day: {found.fixed:.1%}), "
            f"variance left {found.variance_left:.2f}\n"
        )


if __name__ == "__main__":
    main()
