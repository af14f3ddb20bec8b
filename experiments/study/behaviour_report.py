"""What policies learn to do in the simulator, over independent worlds; writes docs/behaviour.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import t as student

from experiments.study.behaviour import (
    DEAR_SMS,
    EMAIL_ONLY,
    FREE,
    WORTHLESS,
    Contrast,
    Learnt,
    Sizes,
    discounts_at_first_touch,
    discounts_for_the_price_motive,
    evening_against_noon,
    evening_for_evening_openers,
    learnt,
    own_category,
    readers_first,
    silence,
    silence_by_ignored_sends,
    sms_when_urgent,
    usage_at_renewal,
)
from experiments.study.simulated_rounds import REWARD
from policies.parts.config import PartsConfig
from policies.vw.arguments import VwConfig

DOC: Final = Path(__file__).resolve().parents[2] / "docs" / "behaviour.md"
SEEDS: Final = (1, 2, 3, 4, 5)
EPSILON: Final = 0.05
GRID: Final = tuple(range(9))
WORLDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "mail": ("newsletter", EMAIL_ONLY),
    "dear": ("replenishment", DEAR_SMS),
    "renewal": ("renewal", FREE),
    "browse": ("browse_abandonment", FREE),
}
# Requirement, world, what is compared, how.
QUESTIONS: Final[Sequence[tuple[str, str, str, Callable[[Learnt], Contrast]]]] = (
    ("R6", "dear", "share of texts: high purchase intent, low", sms_when_urgent),
    ("R7", "mail", "share of sends from 17 h on: evening openers, openers at work", evening_for_evening_openers),
    ("R7", "mail", "a send is seen by an evening opener: as learnt, at 12 h", evening_against_noon),
    ("R8", "mail", "share of discounts: price motive, others", discounts_for_the_price_motive),
    (
        "R17",
        "mail",
        "gets one of the sends to 30 %: tenth that engaged last, others",
        lambda one: readers_first(one, 0.3),
    ),
    ("R19", "mail", "share of arms of a category: who likes it, others", own_category),
    ("R36", "browse", "share of discounts at first touch, other motives: learnt, even", discounts_at_first_touch),
    ("R37", "renewal", "total variation between high and low usage (asked: above 0.1)", usage_at_renewal),
)
_REWARDS: Final = (
    (
        "Learnt from expected gains",
        "The reward is the expected gain of the message given the simulator's latents: what a far longer log shows.",
    ),
    (
        "Learnt from drawn orders",
        "The reward is what happened: margin of orders on the day, less costs and lost permissions.",
    ),
    (
        "Learnt part by part from drawn orders",
        (
            "The reward is the same; `learner=parts`, the default, reads clicks, opens, lost permissions, revenue and "
            "costs beside it, as a sender's log has them, at the size of a season's log."
        ),
    ),
)
_READINGS: Final = (
    "The features carry these preferences, and the learner finds them.",
    (
        "Orders are rare and large: on a log of this size a difference of some cents between contents, hours or "
        "readers drowns in them, and what is not shown was not learnt. A longer log, or a reward that is less noisy "
        "than money, is needed."
    ),
    (
        "A click is some twenty times as frequent as an order, so what moves clicks shows; what moves the worth of an "
        "order alone, or what comes later, does not."
    ),
)
EXPECTED: Final = Sizes(contacts=4000, days=14, judged=3000)
# Orders are rare and large: many more contacts, smaller steps.
DRAWN: Final = Sizes(
    contacts=10_000, days=14, judged=3000, reward=REWARD, learner=VwConfig(learning_rate=0.01, passes=2)
)
PARTS: Final = Sizes(
    contacts=15_000,
    days=28,
    judged=3000,
    reward=REWARD,
    # A metric of a step covers a day.
    learner=VwConfig(parts=PartsConfig(money_days=1.0)),
)


@dataclass(frozen=True)
class Answer:
    """One question over the worlds.

    Attributes:
        first / second: means over the worlds.
        value / low / high: their difference, with the 95 % interval of Student's t over the worlds.
        holds: worlds in which the difference has the sign of the whole.
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    holds: int


@dataclass(frozen=True)
class Found:
    """All answers of one kind of reward.

    Attributes:
        sizes: sizes of every world.
        answers: to `QUESTIONS`.
        holds: (share of holds of the greedy policy, largest chance of a send) where nothing pays, of every world.
        ignored: (worlds, len(GRID)) mean chance of a hold by unopened streak.
        steps: share of (contact, step of the grid) at which the chance of a hold does not fall.
    """

    sizes: Sizes
    answers: tuple[Answer, ...]
    holds: tuple[tuple[float, float], ...]
    ignored: tuple[tuple[float, ...], ...]
    steps: float


def study(sizes: Sizes, seeds: Sequence[int]) -> Found:
    """Ask every question in every world."""
    contrasts: list[list[Contrast]] = [[] for _ in QUESTIONS]
    holds, ignored, steps = [], [], []
    for seed in seeds:
        for world, (name, changes) in WORLDS.items():
            subject = learnt(name, changes, seed, sizes)
            for position, (_, where, _, ask) in enumerate(QUESTIONS):
                if where == world:
                    contrasts[position].append(ask(subject))
            if world == "mail":
                chances = silence_by_ignored_sends(subject, GRID)
                ignored.append(tuple(chances.mean(axis=1).tolist()))
                steps.append(float((np.diff(chances, axis=0) >= -1e-12).mean()))
        holds.append(silence(learnt("newsletter", WORTHLESS, seed, sizes), EPSILON))
    return Found(
        sizes, tuple(over_worlds(one) for one in contrasts), tuple(holds), tuple(ignored), float(np.mean(steps))
    )


def over_worlds(contrasts: Sequence[Contrast]) -> Answer:
    """Mean over independent worlds, with the interval of Student's t."""
    values = np.array([one.value for one in contrasts])
    mean = float(values.mean())
    width = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    first, second = (float(np.mean([getattr(one, name) for one in contrasts])) for name in ("first", "second"))
    return Answer(first, second, mean, mean - width, mean + width, int((np.sign(values) == np.sign(mean)).sum()))


def page(found: Sequence[Found]) -> str:
    """The document."""
    intro = (
        "Made by `python -m experiments.study.behaviour_report`. SIMULATED: these are properties of what is learnt in "
        "the simulator, not of people. Vowpal Wabbit learns (mtr where nothing else is said, squarecb) from decisions "
        "that were taken at random, and is judged on other contacts. Every row is the mean over so many worlds, with "
        "contacts, luck and learning of their own, as its last column says; the interval is Student's t over these "
        "worlds (95 %). R-numbers are requirements."
    )
    worlds = (
        "Worlds: `newsletter` reached by e-mail alone (R7, R8, R9, R17, R19), `replenishment` where a text costs 0.60 "
        "usd (R6), `renewal` (R37) and `browse_abandonment` (R36), each under the pack `permission`, so that nothing "
        "but the policy decides."
    )
    lines = ["# What policies learn to do", "", intro, "", worlds]
    for one in found:
        lines += ["", *_section(one, len(one.holds))]
    return "\n".join(lines) + "\n"


def _section(found: Found, worlds: int) -> list[str]:
    sizes = found.sizes
    kind = 2 if sizes.learner.parts else int(sizes.reward == REWARD)
    title, what = _REWARDS[kind]
    size = f"{sizes.contacts:,} contacts, {sizes.days} days; judged on {sizes.judged:,} others."
    columns = ("", "compared", "first", "second", "difference", "95 % interval", "shown", "same sign")
    lines = [f"## {title}", "", f"{what} {size}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for (name, _, compared, _), one in zip(QUESTIONS, found.answers, strict=True):
        shown = "yes" if one.low > 0.0 or one.high < 0.0 else "no"
        lines.append(
            f"| {name} | {compared} | {one.first:.3f} | {one.second:.3f} | {one.value:+.3f} | "
            f"{one.low:+.3f} to {one.high:+.3f} | {shown} | {one.holds} of {worlds} |"
        )
    lost = [name for (name, *_), one in zip(QUESTIONS, found.answers, strict=True) if one.low <= 0.0 <= one.high]
    reading = f"Not shown: {', '.join(dict.fromkeys(lost)) or 'nothing'}. {_READINGS[kind]}"
    return [*lines, "", reading, "", _silence(found, worlds), _ignored(found)]


def _silence(found: Found, worlds: int) -> str:
    held = min(hold for hold, _ in found.holds)
    sends = max(send for _, send in found.holds)
    return (
        f"- Every send costs 1 usd, more than it brings: the greedy policy holds for {held:.1%} of contacts (the least "
        f"of {worlds} worlds); under epsilon-greedy with {EPSILON:g} the chance of a send is at most {sends:.4f}."
    )


def _ignored(found: Found) -> str:
    shown = ", ".join(f"{value:.3f}" for value in np.mean(found.ignored, axis=0))
    least = float(np.diff(np.array(found.ignored), axis=1).min())
    falls = "the mean falls in no world" if least >= 0.0 else f"the mean falls in some world, by {-least:.4f} at most"
    return (
        f"- R9, chance of a hold by unopened streak 0 to {GRID[-1]}, everything else as it is: {shown}; {falls}; of "
        f"single contacts it does not fall at {found.steps:.1%} of steps."
    )


def main() -> None:
    """Run the study and write the document."""
    found = [study(EXPECTED, SEEDS), study(DRAWN, SEEDS), study(PARTS, SEEDS)]
    DOC.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
