"""A stranger's learner on `tactful/Subscriber-v0`: MaskablePPO of sb3-contrib, in its own loop, with its own masks.

`make rl` runs it and writes docs/other-library.md. What is shown is that the environment trains as it is, not that a
short run finds a good policy: an order is worth tens of dollars and comes about once in a hundred days, so a few
thousand steps hold some dozens of orders, and most of them need no message. So it is trained in a second world as
well, where every message costs five dollars: what a few thousand steps can teach there is to be silent.

The value of a policy is measured in `tactful/Campaign-v0` on contacts that training never met, with the same luck for
every policy; differences to never sending are paired by contact.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import gymnasium
import numpy as np

from engine.types import BoolArray, Float32Array, FloatArray, IntArray
from simulator.envs import SUBSCRIBER, CampaignEnv

DOC = Path(__file__).resolve().parents[2] / "docs" / "other-library.md"
TRAINING_WORLD, TEST_WORLD = 1, 2
Changes = Mapping[str, Any]
WORLDS: Final[Mapping[str, Changes]] = {
    "the newsletter scenario as shipped": {},
    "every message costs $5": {"money": {"send_cost_usd": {"email": 5.0, "sms": 5.0, "push": 5.0}}},
}


class Chooser(Protocol):
    """(n, d) observations and (n, k) masks -> (n,) actions."""

    def __call__(self, observations: Float32Array, masks: BoolArray) -> IntArray: ...


@dataclass(frozen=True)
class Row:
    """One policy in one world: mean reward per contact and episode, difference to never sending with its standard
    error, and messages per contact.
    """

    world: str
    name: str
    reward_usd: float
    difference_usd: float
    error_usd: float
    sends: float


def never(observations: Float32Array, masks: BoolArray) -> IntArray:  # noqa: ARG001 - the protocol's signature
    """Hold for everybody."""
    return np.zeros(len(observations), dtype=np.int64)


def predicting(model: Any) -> Chooser:
    """A model of sb3-contrib, drawing from its distribution."""

    def choose(observations: Float32Array, masks: BoolArray) -> IntArray:
        action, _ = model.predict(observations, action_masks=masks, deterministic=False)
        return np.asarray(action, dtype=np.int64)

    return choose


def value(choose: Chooser, changes: Changes, *, contacts: int, days: float) -> tuple[FloatArray, float]:
    """(contacts,) rewards of one episode in the test world, USD, and messages per contact."""
    env = CampaignEnv(contacts, changes=changes, days=days)
    observations, _ = env.reset(seed=TEST_WORLD)
    total, sends = np.zeros(contacts), 0
    while not env.over:
        actions = choose(observations, env.action_masks())
        observations, rewards, _, _, _ = env.step(actions)
        total += rewards
        sends += int((actions != 0).sum())
    return total, sends / contacts


def trained(changes: Changes, *, steps: int, days: float, seed: int = 0) -> tuple[Any, Any]:
    """A fresh MaskablePPO and the same after `steps` decisions in a world.

    Raises:
        ImportError: the extra `rl` is not installed.
    """
    from sb3_contrib import MaskablePPO  # noqa: PLC0415 - an extra

    def fresh() -> Any:
        env = gymnasium.make(SUBSCRIBER, changes=changes, days=days)
        env.reset(seed=TRAINING_WORLD)
        # Dollars to tens of dollars: a value function starts near zero.
        env = gymnasium.wrappers.TransformReward(env, lambda reward: 0.1 * float(reward))
        # Myopic: under frequency caps a message today is mostly the message that could not be sent tomorrow, and a
        # discounted sum over both hides the price of either from a short run.
        return MaskablePPO("MlpPolicy", env, seed=seed, n_steps=1024, batch_size=256, gamma=0.0, learning_rate=1e-3)

    untrained, model = fresh(), fresh()
    model.learn(total_timesteps=steps)
    return untrained, model


def compare(world: str, *, steps: int, contacts: int, days: float) -> list[Row]:
    """Train in one of `WORLDS`, and value the model before and after beside never sending."""
    changes = WORLDS[world]
    before, after = trained(changes, steps=steps, days=days)
    silence, _ = value(never, changes, contacts=contacts, days=days)
    rows = [Row(world, "never sending", float(silence.mean()), 0.0, 0.0, 0.0)]
    for name, model in (("MaskablePPO, untrained", before), (f"MaskablePPO, {steps:,} steps", after)):
        total, sends = value(predicting(model), changes, contacts=contacts, days=days)
        gain, error = total - silence, float((total - silence).std() / contacts**0.5)
        rows.append(Row(world, name, float(total.mean()), float(gain.mean()), error, sends))
    return rows


def table(rows: list[Row], *, contacts: int, days: float) -> str:
    """The comparison as Markdown."""
    lines = [
        "# Another library on the environments",
        "",
        "MaskablePPO of sb3-contrib on `tactful/Subscriber-v0`, in its own training loop with the masks of the",
        f"guardrail layer (`make rl`). Values: `tactful/Campaign-v0`, {contacts:,} contacts that training never met,",
        f"{days:g} days, the same luck for all; differences are paired by contact, with one standard error.",
        "",
        "| world | policy | reward, $ per contact | less never sending | messages per contact |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.world} | {row.name} | {row.reward_usd:.3f} | {row.difference_usd:+.3f} +- {row.error_usd:.3f} "
        f"| {row.sends:.2f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8_192, help="decisions to train on")
    parser.add_argument("--contacts", type=int, default=3_000, help="contacts of the comparison")
    parser.add_argument("--days", type=float, default=90.0)
    parser.add_argument("--out", type=Path, default=DOC)
    options = parser.parse_args()
    settings = {"steps": options.steps, "contacts": options.contacts, "days": options.days}
    rows = [row for world in WORLDS for row in compare(world, **settings)]
    options.out.write_text(table(rows, contacts=options.contacts, days=options.days), encoding="utf-8")


if __name__ == "__main__":
    main()
