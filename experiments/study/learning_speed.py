"""How fast learners learn: writes docs/learning-speed.md and its picture.

Each learner begins with nothing, decides for the same contacts with the same luck, and learns at the end of every day
from what its own decisions brought. A decision is one that had a choice. It is judged by its expected gain over hold
given the latents (`simulator.expected`), against two others in the very same state: the static segments, tuned
beforehand on a whole randomised slice, and the best eligible action of the step (the myopic oracle), which regret is
taken to.

`python -m experiments.study.learning_speed` runs `SEEDS` seeds on all cores: some minutes of one core per seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np

from engine.encoder import Encoder, fit_encoder
from engine.guardrails.layer import Guardrails
from engine.numeric.moments import Moments
from engine.records.rounds import RoundBatch
from engine.time.localtime import instant_of
from engine.types import HOLD, CodeArray, FloatArray
from experiments.report.figures import png_bytes
from experiments.season.actors import LinearActor, SparingActor, sendable_rows
from experiments.season.comparison import over_seeds
from experiments.season.config import ExperimentConfig, Variant
from experiments.season.policies import THOMPSON_V, UCB_ALPHA, SharedLearning, tuned
from experiments.season.recovering import recovering
from experiments.season.rounds import Slice, logged
from experiments.season.variants import restriction
from experiments.settings import compose_settings
from experiments.simulate.curves import curves_figure
from policies.exploring.config import ExplorationConfig
from policies.linear.ridge import LinearSums
from policies.peers.constant import UniformPolicy
from policies.vw import wall
from policies.vw.examples import action_lines, context_text
from policies.vw.learner import VwLearner
from simulator.expected import gains_of
from simulator.oracles.myopic import best_sends
from simulator.processes import worker_processes
from simulator.rollout import Actor, PolicyActor, Turn, acted
from simulator.scenario import load_scenario
from simulator.world.world import World

# VW's default share of exploration.
EPSILON: Final = 0.05
STOCK: Final = f"--cb_explore_adf --epsilon {EPSILON} --interactions xc --interactions xh --interactions xa"


class Newcomer(Protocol):
    """Decides, and learns from a day's decisions that had a choice; closed at the end."""

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]: ...

    def learn(self, batch: RoundBatch) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Daily:
    """Decides uniformly on the first day, and then as what it learnt says.

    Args:
        learn: from one more day's rounds to who decides next.
    """

    def __init__(self, learn: Callable[[RoundBatch], Actor]) -> None:
        self._actor: Actor = SparingActor(UniformPolicy())
        self._learn = learn

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities."""
        return self._actor.act(turn)

    def learn(self, batch: RoundBatch) -> None:
        """Take a day over."""
        self._actor = self._learn(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left behind."""


class StockVw:
    """Vowpal Wabbit on its own: epsilon-greedy over the eligible lines, one update per event at the end of the day.

    Args:
        shared: what the seed shares; the context is encoded as for our learners, fitted to the first day.
    """

    def __init__(self, shared: SharedLearning) -> None:
        self._metric = shared.config.metric
        self._schema = shared.scenario.features
        self._lines = action_lines(shared.scenario.catalog)
        self._model = wall.OnlineModel(STOCK.split())
        self._encoder: Encoder | None = None

    def act(self, turn: Turn) -> tuple[CodeArray, FloatArray]:
        """(m,) actions and propensities; the first day is decided uniformly."""
        if self._encoder is None:
            return SparingActor(UniformPolicy()).act(turn)
        action, propensity = np.full(len(turn.rows), HOLD, dtype=np.int32), np.ones(len(turn.rows))
        some = sendable_rows(turn)
        texts = context_text(self._encoder, turn.contacts.context.take(some)).to_pylist()
        dense = turn.eligibility.take(some).dense()
        for row, text, may, point in zip(some.tolist(), texts, dense, turn.uniform[some], strict=True):
            actions = np.flatnonzero(may)
            lines = "\n".join(self._lines[one] for one in actions.tolist())
            chances = self._model.probabilities(f"shared {text}\n{lines}\n", len(actions))
            drawn = min(int(np.searchsorted(np.cumsum(chances), point, side="right")), len(actions) - 1)
            action[row], propensity[row] = actions[drawn], chances[drawn]
        return action, propensity

    def learn(self, batch: RoundBatch) -> None:
        """Take a day over, event by event."""
        if self._encoder is None:
            self._encoder = fit_encoder(self._schema, [batch.context])
        texts = context_text(self._encoder, batch.context).to_pylist()
        reward, dense = batch.rewards[self._metric], batch.eligible_dense()
        for row, text in enumerate(texts):
            label = f"0:{-reward[row]:.9g}:{batch.propensity[row]:.9g} "
            chosen = int(batch.action[row])
            actions = np.flatnonzero(dense[row]).tolist()
            lines = "\n".join(label * (one == chosen) + self._lines[one] for one in actions)
            self._model.learn(f"shared {text}\n{lines}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the workspace."""
        self._model.close()


def _vw(exploration: Callable[[Moments], ExplorationConfig]) -> Callable[[SharedLearning], Newcomer]:
    def begin(shared: SharedLearning) -> Newcomer:
        learner: VwLearner = shared.vw_learner()
        seen = Moments()

        def learn(batch: RoundBatch) -> Actor:
            seen.add(batch.rewards[shared.config.metric])
            learner.learn([batch])
            return PolicyActor(replace(learner.policy(), exploration=exploration(seen), fast=False))

        return Daily(learn)

    return begin


def _linear(width: float, *, thompson: bool) -> Callable[[SharedLearning], Newcomer]:
    def begin(shared: SharedLearning) -> Newcomer:
        sums = LinearSums(shared.scenario.catalog, shared.scenario.features, shared.config.metric, shared.reward_range)
        seen = Moments()

        def learn(batch: RoundBatch) -> Actor:
            seen.add(batch.rewards[shared.config.metric])
            sums.add([batch])
            return LinearActor(sums.posterior(), width * seen.scale, thompson)

        return Daily(learn)

    return begin


def _recovering(shared: SharedLearning) -> Newcomer:
    batches: list[RoundBatch] = []

    def learn(batch: RoundBatch) -> Actor:
        batches.append(batch)
        return recovering(Slice(shared.scenario, shared.seed, tuple(batches)))

    return Daily(learn)


LEARNERS: Final[Mapping[str, Callable[[SharedLearning], Newcomer]]] = {
    "vw, SquareCB": _vw(lambda _: ExplorationConfig(kind="squarecb", ceiling=0.1, floor=0.005)),
    # A sixtieth of the rewards' standard deviation makes an action e times as likely.
    "vw, softmax": _vw(lambda seen: ExplorationConfig(kind="softmax", inverse_temperature=60.0 / seen.scale)),
    "LinUCB": _linear(UCB_ALPHA, thompson=False),
    "linear Thompson sampling": _linear(THOMPSON_V, thompson=True),
    "recovering softmax": _recovering,
    f"stock VW --cb_explore_adf --epsilon {EPSILON}": StockVw,
}


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
    batch = logged(turn, action, propensity, happened, at, step)
    if len(some):
        learner.learn(batch.take(batch.usable))
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


def course(job: tuple[str, int, Size]) -> Course:
    """One learner on one seed, for a pool."""
    name, seed, size = job
    return run(name, shared_learning(seed, size), size)


def study(size: Size, seeds: Sequence[int], workers: int) -> dict[str, Sequence[Course]]:
    """All learners on all seeds."""
    jobs = [(name, seed, size) for name in LEARNERS for seed in seeds]
    if workers == 1:
        courses = [course(job) for job in jobs]
    else:
        with worker_processes(workers) as pool:
            courses = list(pool.map(course, jobs))
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
