"""How fast learners learn: writes docs/learning-speed.md and its picture.

Each learner begins with nothing, decides for the same contacts with the same luck, and learns at the end of every day
from what its own decisions brought. A decision is one that had a choice. It is judged by its expected gain over hold
given the latents (`simulator.world.expected`), against two others in the very same state: the static segments, tuned
beforehand on a whole randomised slice, and the best eligible action of the step (the myopic oracle), which regret is
taken to.

`python -m experiments.study.learning_speed` runs `SEEDS` seeds on all cores: some minutes of one core per seed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from engine.guardrails.layer import Guardrails
from engine.time.localtime import instant_of
from engine.types import HOLD, FloatArray
from experiments.report.figures import png_bytes
from experiments.season.actors import sendable_rows
from experiments.season.comparison import over_seeds
from experiments.season.config import ExperimentConfig, Variant
from experiments.season.policies import SharedLearning, tuned
from experiments.season.rounds import logged
from experiments.season.variants import restriction
from experiments.settings import compose_settings
from experiments.simulate.curves import curves_figure
from experiments.study.speed_learners import LEARNERS, Newcomer
from simulator.oracles.myopic import best_sends
from simulator.rollout import Actor, acted
from simulator.scenario import load_scenario
from simulator.world.expected import gains_of
from simulator.world.world import World

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
SCENARIO: Final = "newsletter"
SEEDS: Final = 3
# Decisions at which regret is read, and of a window whose mean says how good a learner is by now.
DECISIONS: Final = 50_000
WINDOW: Final = 2500


_HEAD: Final = """# Learning speed

`python -m experiments.study.learning_speed`: the newsletter, {seeds}, {contacts} contacts, the first {decisions}
decisions that had a choice. Each learner begins with nothing, decides for the same contacts with the same luck (its own
decisions change what state they are in) and learns at the end of each day. The static segments were tuned beforehand on
{slice} other contacts over 28 days, some 50,000 decisions at random that the learners get none of.

![learning speed](learning-speed.png)

- **Passes the segments**: decisions after which {window} decisions, and the next {window} too, are worth more in
  expectation than the segments' in the same states; seed by seed, - where it never did.
- **Lead, regret**: USD per 1,000 decisions, over the first {read}: the expected gain less the segments', and the best
  eligible action's (myopic oracle, which knows the latents) less the learner's. In brackets: standard error over seeds.

| learner | passes the segments after | lead by {read} | regret at {read} | lead in the last tenth of all |
|---|---|---|---|---|""".splitlines()
_FOOT: Final = """
Immediate gains alone: what a message does to later ones is in [season](season.md). LinUCB and linear Thompson sampling
have a model of their own for every action, their widths are in standard deviations of the rewards so far; the
recovering softmax learns from clicks and never holds; stock Vowpal Wabbit learns from one event after the other, at the
end of the day too, with its own step sizes on raw USD.""".splitlines()


@dataclass(frozen=True)
class Size:
    """How large one run is.

    Attributes:
        contacts: size of the world; about a quarter of their days have a choice.
        decisions: after which a run ends; regret is read after `DECISIONS` of them, or all.
        days: after which it ends in any case.
        slice_contacts: number in the slice on which the segments are tuned; so many give about as many decisions.
    """

    contacts: int = 2500
    decisions: int = 150_000
    days: int = 400
    slice_contacts: int = 3600


@dataclass(frozen=True)
class Course:
    """One learner in one world.

    Attributes:
        gain: (T,) expected gain over hold of each decision with a choice, in order of days.
        segments: (T,) that of the tuned segments in the same states.
        best: (T,) that of the best eligible action.
    """

    gain: FloatArray
    segments: FloatArray
    best: FloatArray

    def passed(self, window: int) -> int | None:
        """Decisions after which the mean of a window lies above that of the segments, and of the next window too."""
        count = len(self.gain) // window
        ahead = (self.gain - self.segments)[: count * window].reshape(count, window).mean(axis=1) > 0.0
        # The last window has no next one; being ahead in it alone is too little.
        good = ahead[:-1] & ahead[1:]
        return int(good.argmax()) * window if good.any() else None

    def regret(self, decisions: int) -> float:
        """Sum over the first decisions of what the best action would have brought more, USD."""
        return float((self.best - self.gain)[:decisions].sum())

    def lead(self, decisions: int) -> float:
        """Sum over the first decisions of what was brought more than by the segments, USD."""
        return float((self.gain - self.segments)[:decisions].sum())


def run(name: str, shared: SharedLearning, size: Size) -> Course:
    """One learner in one world, from nothing.

    Args:
        name: in `LEARNERS`.
        shared: what the seed shares; its slice tunes the segments, the learner sees none of it.
        size: size of the run.
    """
    segments = tuned("segments", shared)
    world = World(shared.scenario, size.contacts, shared.seed, guardrails=shared.guardrails)
    found: list[FloatArray] = []
    with LEARNERS[name](shared) as learner:
        done = 0
        for _ in range(size.days):
            judged = _day(world, learner, segments, shared)
            found.append(judged)
            done += judged.shape[1]
            if done >= size.decisions:
                break
    gain, theirs, best = np.concatenate(found, axis=1)[:, : size.decisions]
    return Course(gain, theirs, best)


def shared_learning(seed: int, size: Size) -> SharedLearning:
    """What the learners of a seed share."""
    config = compose_settings("experiment", [f"slice.contacts={size.slice_contacts}"], ExperimentConfig)
    scenario = load_scenario(SCENARIO)
    guardrails = Guardrails(scenario.pack, scenario.catalog, scenario.packages, scenario.features)
    return SharedLearning(
        config, scenario, seed, restriction(Variant(), scenario.catalog, scenario.features), guardrails
    )


def _day(world: World, learner: Newcomer, segments: Actor, shared: SharedLearning) -> FloatArray:
    """(3, m) gains of a day's decisions with a choice: the learner's, the segments', the best."""
    turn = shared.restriction.turn(world)
    some = sendable_rows(turn)
    action, propensity = acted(learner, turn)
    theirs, _ = acted(segments, turn)
    _, best = best_sends(turn)
    rows = turn.rows[some]
    judged = np.stack(
        [gains_of(world, rows, action[some]), gains_of(world, rows, theirs[some]), np.maximum(best[some], 0.0)]
    )
    everybody = np.full(world.n, HOLD, dtype=np.int32)
    everybody[turn.rows] = action
    at, step = instant_of(world.now, owner="learning_speed"), world.state.step
    happened = world.advance(everybody)
    block = logged(turn, action, propensity, happened, at, step)
    if len(some):
        learner.learn(block.take(block.usable))
    return judged


def table(found: dict[str, Sequence[Course]], size: Size) -> str:
    """The study as Markdown."""
    seeds, read = len(next(iter(found.values()))), min(DECISIONS, size.decisions)
    lines = [
        line.format(
            seeds="1 seed" if seeds == 1 else f"{seeds} seeds",
            contacts=f"{size.contacts:,}",
            decisions=f"{size.decisions:,}",
            read=f"{read:,}",
            slice=f"{size.slice_contacts:,}",
            window=f"{WINDOW:,}",
        )
        for line in _HEAD
    ]
    for name, courses in found.items():
        passed = ", ".join("-" if (at := one.passed(WINDOW)) is None else f"{at:,}" for one in courses)
        per = 1000.0 / read
        lead = _figure([per * one.lead(read) for one in courses])
        regret = _figure([per * one.regret(read) for one in courses])
        last = _figure([1000.0 * float((one.gain - one.segments)[-len(one.gain) // 10 :].mean()) for one in courses])
        lines.append(f"| {name} | {passed} | {lead} | {regret} | {last} |")
    theirs = _figure([1000.0 * float((one.best - one.segments)[:read].mean()) for one in next(iter(found.values()))])
    lines.append(f"| tuned static segments, in the first learner's states | | 0 | {theirs} | |")
    lines += _FOOT
    return "\n".join(lines) + "\n"


def _figure(values: Sequence[float]) -> str:
    mean = over_seeds(values, None, 0.05).mean
    if len(values) == 1:
        return f"{mean:.1f}"
    return f"{mean:.1f} ({np.std(values, ddof=1) / np.sqrt(len(values)):.1f})"


def curves(found: dict[str, Sequence[Course]], size: Size) -> bytes:
    """Mean gain of windows, and regret so far, as PNG; the horizontal axis counts windows of 1,000 decisions."""
    step = max(1, min(1000, size.decisions // 10))

    def windows(values: FloatArray) -> FloatArray:
        count = len(values) // step
        means: FloatArray = values[: count * step].reshape(count, step).mean(axis=1)
        return means

    def over(courses: Sequence[Course], what: str) -> list[float]:
        shortest = min(len(one.gain) for one in courses) // step
        if what == "lead":
            series = [windows(one.gain - one.segments)[:shortest] for one in courses]
        else:
            series = [np.cumsum(windows(one.best - one.gain))[:shortest] * step for one in courses]
        return [float(value) for value in np.mean(series, axis=0)]

    panels = [
        ("Over the tuned segments", "USD per decision", {name: over(one, "lead") for name, one in found.items()}),
        ("Regret so far", "USD", {name: over(one, "regret") for name, one in found.items()}),
    ]
    text = f"SIMULATED: {SCENARIO}, learning from nothing; what the axis calls a day is {step:,} decisions"
    return png_bytes(lambda: curves_figure(panels, text))


def one(job: tuple[str, int, Size]) -> Course:
    """`run`, for a pool."""
    name, seed, size = job
    return run(name, shared_learning(seed, size), size)


def study(size: Size, seeds: Sequence[int], workers: int) -> dict[str, Sequence[Course]]:
    """All learners on all seeds."""
    jobs = [(name, seed, size) for name in LEARNERS for seed in seeds]
    if workers == 1:
        courses = [one(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            courses = list(pool.map(one, jobs))
    count = len(seeds)
    return {name: courses[at * count : (at + 1) * count] for at, name in enumerate(LEARNERS)}


def main() -> None:
    """Run the study and write table and picture."""
    size = Size()
    found = study(size, range(1, SEEDS + 1), os.cpu_count() or 1)
    (DOCS / "learning-speed.md").write_text(table(found, size), encoding="utf-8")
    (DOCS / "learning-speed.png").write_bytes(curves(found, size))


if __name__ == "__main__":
    main()
