"""Random senders: healthy, braked, paused, or of whom nothing is known."""

from __future__ import annotations

import numpy as np

from engine.catalog import Catalog
from engine.guardrails.conditions import ChannelHealth, Conditions, Held
from engine.guardrails.pack import Pack

SENT = np.array([0, 1, 39, 100, 500, 1_000, 5_000, 50_000])
SHARES = np.array([0, 0, 0.0005, 0.001, 0.002, 0.003, 0.01, 0.02, 0.026, 0.03, 0.1, 1.0])


def sender(rng: np.random.Generator, catalog: Catalog, pack: Pack) -> Conditions:
    """One sender's side; `pack` names the brakes that may have been on before."""
    health = None if rng.random() < 0.1 else {c: _health(rng, pack) for c in catalog.channels if rng.random() < 0.9}
    today, yesterday, week = (
        None if rng.random() < 0.05 else {c: _volume(rng) for c in catalog.channels if rng.random() < 0.95}
        for _ in range(3)
    )
    return Conditions(
        use_case=str(rng.choice(["", "welcome", "winback"])),
        health=health,
        sent_today=today,
        sent_yesterday=yesterday,
        sent_7d=week,
        killed=[None, True, False][int(rng.choice(3, p=[0.05, 0.1, 0.85]))],
        paused_channels=frozenset(c for c in catalog.channels if rng.random() < 0.08),
        paused_arms=frozenset(a for a in catalog.arm_ids if rng.random() < 0.08),
        paused_use_cases=frozenset(["winback"] if rng.random() < 0.3 else []),
        paused_states=frozenset(s for s in ("FL", "TX", "NY") if rng.random() < 0.2),
        dispatching=bool(rng.random() < 0.15),
    )


def _volume(rng: np.random.Generator) -> int:
    return int(rng.choice(SENT)) + int(rng.integers(0, 200))


def _health(rng: np.random.Generator, pack: Pack) -> ChannelHealth:
    sent = int(rng.choice(SENT))

    def part() -> int:
        return round(sent * float(rng.choice(SHARES))) + int(rng.integers(0, 2))

    return ChannelHealth(sent, part(), part(), part(), part(), _held(rng, pack))


def _held(rng: np.random.Generator, pack: Pack) -> dict[str, Held]:
    """Brakes of the pack that may have been on at their last look."""
    found = {}
    for entry in pack.rules:
        brake = entry.params.get("brake")
        if brake is not None and rng.random() < 0.3:
            tiers = [tier["name"] for tier in brake["tiers"]]
            found[brake["rate"]] = Held(str(rng.choice([*tiers, "gone"])), int(rng.integers(0, 9)), 20_000)
    return found
