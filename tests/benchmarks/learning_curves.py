"""Value against rows: what learners earn from logs of 5,000 to 1,000,000 decisions, what they take, and who else does.

The worlds are those of `experiments.study.stage_worlds`, whose truth is exact. Each learner meets the same log in a
process of its own, so that time and memory are its own:

* `parts` and `money`: this package's default learner, and its regression of the money itself;
* `LightGBM x worth`: LightGBM's chance of a click times a ridge regression of a click's worth, as a data scientist
  would put them together; left out, and said so, where LightGBM is not installed;
* `logistic x worth`: the same with scikit-learn's logistic regression on logs, squares, levels and pairs with actions;
* `stock VW`: `vw --cb_explore_adf` on the money of every decision, one pass, with pairs of context and action.

`python tests/benchmarks/learning_curves.py` writes docs/learning-curves.md and its picture.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import typer
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from peak_memory import peak_mib, reset_peak

from engine.records.rounds import RoundBatch
from engine.types import HOLD, FloatArray, IntArray
from experiments.report.figures import GRID, STYLE, png_bytes
from experiments.report.files import write_whole
from experiments.study.stage_worlds import (
    CLICKED,
    COST_USD,
    LEARNERS,
    MONEY,
    WORLDS,
    People,
    catalog,
    reward_range,
    schema,
)
from policies.exploring.config import ExplorationConfig
from policies.registry import begin
from simulator.processes import worker_processes

ROWS: Final = (5_000, 20_000, 50_000, 200_000, 1_000_000)
JUDGED: Final = 20_000
DOCS: Final = Path(__file__).resolve().parents[2] / "docs" / "learning-curves.md"
_STRENGTHS: Final = ("through the click", "weak")
_PASSED: Final = {"parts": "#0b6e99", "money": "#7a8794", "LightGBM x worth": "#11734b"}
_OTHERS: Final = ("#c4552d", "#8a5aa8")
# Logs beyond this length are learnt from in the first world alone.
_LONG: Final = 500_000

# Rounds, then judged people -> (n, 19) scores of the actions.
Scorer = Callable[[People], FloatArray]
Learn = Callable[[Sequence[RoundBatch], People], Scorer]


@dataclass(frozen=True)
class Point:
    """One learner on one log.

    Attributes:
        world / learner / rows / seed: which.
        value: USD per decision over hold of its best action, in truth, on 20,000 other contacts.
        constant / oracle: the same of the best action for all, and of the best for each.
        seconds: of learning, by the clock.
        mib: by which the memory of the process grew while it learnt.
    """

    world: str
    learner: str
    rows: int
    seed: int
    value: float
    constant: float
    oracle: float
    seconds: float
    mib: float


def measured(world: str, learner: str, rows: int, seed: int) -> Point:
    """Learn from one log and be judged by the truth; run it in a fresh process, or the memory is not its own."""
    truth = WORLDS[world]
    log, logged, people = truth.log(rows, seed), truth.people(rows, seed), truth.people(JUDGED, seed + 1000)
    before, started = reset_peak(), time.perf_counter()
    scorer = learners()[learner](log, logged)
    seconds, grown = time.perf_counter() - started, peak_mib() - before
    gain = truth.gain(people)
    value = truth.value(scorer(people).argmax(axis=1), people)
    return Point(world, learner, rows, seed, value, gain.mean(axis=0).max(), gain.max(axis=1).mean(), seconds, grown)


def learners() -> dict[str, Learn]:
    """Every learner that can run here, by its name."""
    found: dict[str, Learn] = {name: _ours(name) for name in LEARNERS}
    if find_spec("lightgbm"):
        found["LightGBM x worth"] = _by_worth(_boosted)
    return found | {"logistic x worth": _by_worth(_logistic), "stock VW": _stock}


def _ours(name: str) -> Learn:
    def learn(log: Sequence[RoundBatch], logged: People) -> Scorer:
        learner = begin(catalog(), schema(), MONEY, reward_range(), LEARNERS[name], ExplorationConfig(kind="greedy"))
        learner.learn(log)
        policy: Any = learner.policy()
        return lambda people: np.asarray(policy.scores(people.context()))

    return learn


def _columns(log: Sequence[RoundBatch], name: str) -> FloatArray:
    return np.concatenate([batch.rewards[name] for batch in log])


def _by_worth(chance: Callable[[People, IntArray, FloatArray], Callable[[People, IntArray], FloatArray]]) -> Learn:
    """Chance of a click x its worth - cost: the worth is what clicks bring over decisions without one, by context."""

    def learn(log: Sequence[RoundBatch], logged: People) -> Scorer:
        from sklearn.linear_model import RidgeCV

        action = np.concatenate([batch.action for batch in log])
        clicked, money = _columns(log, CLICKED), _columns(log, MONEY) - _columns(log, "send_cost")
        sent = action != HOLD
        clicks = chance(_taken(logged, sent), action[sent], clicked[sent])
        brought = money[clicked > 0] - money[clicked == 0].mean()
        worth = RidgeCV(alphas=np.logspace(1, 4, 7)).fit(_smooth(_taken(logged, clicked > 0)), brought)

        def scores(people: People) -> FloatArray:
            out = np.zeros((people.n, 19))
            each = np.maximum(worth.predict(_smooth(people)), 0.0)
            for one in range(1, 19):
                cost = np.repeat(COST_USD, 6)[one - 1]
                out[:, one] = clicks(people, np.full(people.n, one)) * each - cost
            return out

        return scores

    return learn


def _taken(people: People, rows: Any) -> People:
    return People(people.numbers[rows], people.levels[rows])


def _smooth(people: People) -> FloatArray:
    """(n, 15) standardised by fixed figures: numbers, logs of them, squares of the logs."""
    logs = np.log1p(people.numbers)
    return np.hstack([people.numbers / 100.0, logs / 3.0, (logs / 3.0) ** 2])


def _hot(codes: IntArray, size: int) -> FloatArray:
    return np.asarray(codes[:, None] == np.arange(size), dtype=np.float64)


def _split(action: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    return (action - 1) // 6, (action - 1) // 3 % 2, (action - 1) % 3


def _logistic(people: People, action: IntArray, clicked: FloatArray) -> Callable[[People, IntArray], FloatArray]:
    from sklearn.linear_model import LogisticRegression

    def design(people: People, action: IntArray) -> FloatArray:
        levels = [_hot(people.levels[:, one], size) for one, size in enumerate((4, 3, 3))]
        context = np.hstack([_smooth(people), *levels])
        does = np.hstack([_hot(part, size) for part, size in zip(_split(action), (3, 2, 3), strict=True)])
        pairs = (context[:, :, None] * does[:, None, :]).reshape(len(context), -1)
        return np.hstack([context, does, pairs]).astype(np.float32)

    model = LogisticRegression(C=0.1, max_iter=300).fit(design(people, action), clicked)
    return lambda people, action: np.asarray(model.predict_proba(design(people, action))[:, 1])


def _boosted(people: People, action: IntArray, clicked: FloatArray) -> Callable[[People, IntArray], FloatArray]:
    import lightgbm

    def design(people: People, action: IntArray) -> FloatArray:
        channel, hour, arm = _split(action)
        match = people.levels[:, 0] == arm
        return np.column_stack([people.numbers, people.levels, channel, hour, arm, match])

    settings = {"objective": "binary", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100, "verbose": -1}
    settings |= {"num_threads": 1, "seed": 1, "lambda_l2": 10.0}
    own = np.arange(people.n) % 5 == 0
    x = design(people, action)
    fit, held = lightgbm.Dataset(x[~own], clicked[~own]), lightgbm.Dataset(x[own], clicked[own])
    stop = lightgbm.early_stopping(30, verbose=False)
    model = lightgbm.train(settings, fit, 600, valid_sets=[held], callbacks=[stop])
    return lambda people, action: np.asarray(model.predict(design(people, action)))


def _stock(log: Sequence[RoundBatch], logged: People) -> Scorer:
    """`vw --cb_explore_adf`, one pass over text lines, greedy when judged."""
    from vowpalwabbit import Workspace

    vw = Workspace("--cb_explore_adf --epsilon 0.05 --cb_type mtr -q CA --quiet -b 18")
    lines = ["|A hold=1"]
    for one in range(1, 19):
        channel, hour, arm = (int(part) for part in _split(np.array(one)))
        lines.append(f"|A channel={channel} hour={hour} arm={arm}")

    def shared(people: People, row: int) -> str:
        numbers = " ".join(f"n{i}:{value:.4g}" for i, value in enumerate(np.log1p(people.numbers[row])))
        motive, tier, device = people.levels[row]
        return f"shared |C {numbers} motive={motive} tier={tier} device={device}"

    row = 0
    for batch in log:
        for action, chance, money in zip(batch.action, batch.propensity, batch.rewards[MONEY], strict=True):
            told = list(lines)
            told[action] = f"0:{-money:.4f}:{chance:.6f} {told[action]}"
            vw.learn([shared(logged, row), *told])
            row += 1

    def scores(people: People) -> FloatArray:
        return np.array([vw.predict([shared(people, row), *lines]) for row in range(people.n)])

    return scores


def alone(world: str, learner: str, rows: int, seed: int) -> Point:
    """`measured` in a process of its own."""
    with worker_processes(1) as pool:
        return pool.submit(measured, world, learner, rows, seed).result()


def curves(worlds: Sequence[str], rows: Sequence[int], seeds: int, chosen: Sequence[str]) -> list[Point]:
    """Every learner on every log, one after the other, each in a new process."""
    found = []
    for size in rows:
        for world in worlds:
            # Few rows vary more from log to log, and cost less.
            if size > _LONG and world != worlds[0]:
                continue
            for seed in range(1, 1 + (seeds if size < 100_000 else 1)):
                for learner in chosen:
                    one = alone(world, learner, size, seed)
                    found.append(one)
                    typer.echo(
                        f"{one.rows:>9,} {world:18} {learner:18} {one.value:+.4f} USD, oracle {one.oracle:+.4f}, "
                        f"{one.seconds:.1f} s, {one.mib:.0f} MiB"
                    )
    return found


def picture(points: Sequence[Point]) -> Figure:
    """One panel per world: value against rows, with the best constant and the oracle."""
    names = list(dict.fromkeys(one.world for one in points))
    learner_names = list(dict.fromkeys(one.learner for one in points))
    others = iter(_OTHERS)
    colours = {name: _PASSED.get(name) or next(others) for name in learner_names}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2 * len(names), 3.8), layout="constrained")
        for at, world in enumerate(names):
            axes = figure.add_subplot(1, len(names), at + 1)
            here = [one for one in points if one.world == world]
            for name in learner_names:
                sizes = sorted({one.rows for one in here if one.learner == name})
                means = [
                    float(np.mean([one.value for one in here if (one.learner, one.rows) == (name, size)]))
                    for size in sizes
                ]
                axes.plot(sizes, means, "o-", color=colours[name], label=name, markersize=4)
            for level, style, label in (("oracle", "--", "oracle"), ("constant", ":", "best action for all")):
                height = float(np.mean([getattr(one, level) for one in here]))
                axes.axhline(height, color="#1b2733", linewidth=1, linestyle=style, label=label)
            axes.set_xscale("log")
            axes.set_title(f"Effects: {'strong' if world == _STRENGTHS[0] else world}", loc="left", fontweight="bold")
            axes.set_xlabel("decisions in the log")
            axes.set_ylabel("USD per decision over hold")
            axes.grid(color=GRID, linewidth=0.8)
        axes.legend(fontsize=8)
        return figure


def page(points: Sequence[Point], missing: Sequence[str]) -> list[str]:
    """Lines of the page."""
    lines = [
        "# Learning curves",
        "",
        "What does a learner earn from a log of so many decisions, and what does it take? The worlds are made of plain",
        "arrays with exact truth ([parts](parts.md), `experiments/study/stage_worlds.py`): 19 actions, money that is",
        "mostly orders which come by themselves, messages that act through a click. Every learner meets the same logs,",
        "of decisions at random; what it would choose is judged by the truth on 20,000 other contacts. Values are USD",
        "per decision over hold; below 100,000 rows they are means over several logs, above it is one.",
        "",
        "![value against rows](learning-curves.png)",
        "",
    ]
    for world in dict.fromkeys(one.world for one in points):
        here = [one for one in points if one.world == world]
        sizes = sorted({one.rows for one in here})
        lines += [f"## {'Strong effects' if world == _STRENGTHS[0] else 'Weak effects'}", ""]
        oracle, constant = (float(np.mean([getattr(one, name) for one in here])) for name in ("oracle", "constant"))
        lines += [f"Best action for all {constant:+.4f}, oracle {oracle:+.4f}.", ""]
        lines += ["| rows | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
        for learner in dict.fromkeys(one.learner for one in here):
            cells = []
            for size in sizes:
                own = [one for one in here if (one.learner, one.rows) == (learner, size)]
                cells.append(f"{np.mean([one.value for one in own]):+.4f}" if own else "-")
            lines.append(f"| {learner} | " + " | ".join(cells) + " |")
        lines.append("")
    largest = max(one.rows for one in points)
    lines += [f"## What {largest:,} rows take", "", "| learner | seconds | MiB more than the log |", "|---|---|---|"]
    for learner in dict.fromkeys(one.learner for one in points):
        own = [one for one in points if (one.learner, one.rows) == (learner, largest)]
        if own:
            taken = np.mean([(one.seconds, one.mib) for one in own], axis=0)
            lines.append(f"| {learner} | {taken[0]:.0f} | {taken[1]:,.0f} |")
    lines += ["", "One process and one thread each, by the clock of a machine that may have had other work."]
    lines += [f"Not run here, as it is not installed: {name}." for name in missing]
    lines += ["", "`python tests/benchmarks/learning_curves.py` makes this page again."]
    return lines


def main(rows: list[int] | None = None, seeds: int = 3, docs: Path = DOCS) -> None:
    """Measure, and write the page and its picture."""
    known = list(learners())
    points = curves(_STRENGTHS, rows or ROWS, seeds, known)
    missing = [] if "LightGBM x worth" in known else ["LightGBM x worth"]
    write_whole(docs.with_suffix(".png"), png_bytes(lambda: picture(points), dpi=90))
    write_whole(docs, "\n".join(page(points, missing)) + "\n")


if __name__ == "__main__":
    typer.run(main)
