"""Random senders: healthy, braked, paused, or of whom nothing is known."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.guardrails.conditions import ChannelHealth, Conditions
from engine.guardrails.pack import Pack

SENT = np.array([0, 1, 39, 100, 500, 1_000, 5_000, 50_000])
SHARES = np.array([0, 0, 0.0005, 0.001, 0.002, 0.003, 0.01, 0.02, 0.026, 0.03, 0.1, 1.0])


def sender(rng: np.random.Generator, catalog: Catalog, pack: Pack) -> Conditions:
    """One sender's side; `pack` names the brakes that may have been on before."""
    health = None if rng.random() < 0.1 else {c: _health(rng, pack) for c in catalog.channels if rng.random() < 0.9}
    today, yesterday = ({c: int(rng.choice(SENT)) for c in catalog.channels if rng.random() < 0.95} for _ in range(2))
    return Conditions(
        use_case=str(rng.choice(["", "welcome", "winback"])),
        health=health,
        sent_today=None if rng.random() < 0.05 else today,
        sent_yesterday=None if rng.random() < 0.05 else yesterday,
        killed=bool(rng.random() < 0.08),
        paused_channels=frozenset(c for c in catalog.channels if rng.random() < 0.08),
        paused_arms=frozenset(a for a in catalog.arm_ids if rng.random() < 0.08),
        paused_use_cases=frozenset(["winback"] if rng.random() < 0.3 else []),
    )


def _health(rng: np.random.Generator, pack: Pack) -> ChannelHealth:
    sent = int(rng.choice(SENT))

    def part() -> int:
        return min(sent, round(sent * float(rng.choice(SHARES))) + int(rng.integers(0, 2)))

    on = frozenset(entry.id for entry in pack.rules if rng.random() < 0.3)
    return ChannelHealth(sent, part(), part(), part(), part(), on)
