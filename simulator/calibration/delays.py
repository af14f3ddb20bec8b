"""How soon events become known: the delays that a scenario draws, against the published curves."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.types import FloatArray
from simulator.scenario import Scenario
from simulator.world.delay import US_PER_HOUR
from simulator.world.world import World

# figure -> (event, channel, hours after the send).
WITHIN: Final = {
    "email_open_within_1h_2020": ("seen", "email", 1.0),
    "email_open_within_6h_2020": ("seen", "email", 6.0),
    "email_open_within_24h_2020": ("seen", "email", 24.0),
    "email_click_within_1h_2020": ("clicked", "email", 1.0),
    "email_click_within_3h_2020": ("clicked", "email", 3.0),
    "email_click_within_24h_2020": ("clicked", "email", 24.0),
}
MEDIAN: Final = "push_open_median_delay_leanplum"
DELAY_IDS: Final = (*WITHIN, MEDIAN)
# A published push open is the reader's tap, which is a click here.
TAP: Final = ("clicked", "push")


def delay_moments(scenario: Scenario, contacts: int, seed: int) -> dict[str, float]:
    """Shares of events within so many hours, and the median of a push, in minutes; one draw per contact."""
    world = World(scenario, contacts, seed)

    def hours(event: str, channel: str) -> FloatArray:
        drawn = scenario.delay.delay_us(event, channel, world.draw(f"delay {event}", 0))
        return np.asarray(drawn / US_PER_HOUR, dtype=np.float64)

    found = {name: float((hours(event, on) <= within).mean()) for name, (event, on, within) in WITHIN.items()}
    return {**found, MEDIAN: 60.0 * float(np.median(hours(*TAP)))}
