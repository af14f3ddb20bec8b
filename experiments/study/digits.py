"""scikit-learn's digits as a bandit: our learners beside stock Vowpal Wabbit; writes docs/digits.md.

1,797 images come in a shuffled order, a policy names one of ten digits, the reward is 1 where it is right and is all
that is learnt from. Progressive reward: the mean over all images, each judged before it is learnt from. Our policies go
the whole way: context batch, distribution, draw, logged round, learner, compiled tables (or VW live). They are updated
every `EVERY` images, stock VW after each one. Stock VW runs through the same wall, with its own exploration.

Needs scikit-learn, which is no dependency of the package (extra `dev`).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.catalog import Catalog, one_axis_catalog
from engine.eligibility import pack
from engine.features import Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.identity import keyed_hash
from engine.protocols import Learner, Policy
from engine.records.rounds import RoundBatch
from engine.sampling import draw
from engine.types import FloatArray, IntArray
from policies.exploring.config import ExplorationConfig
from policies.linear.bandits import LinearThompsonLearner, LinUcbLearner
from policies.peers.constant import UniformPolicy
from policies.vw import wall
from policies.vw.arguments import EnsembleConfig, LiveConfig, VwConfig
from policies.vw.learner import VwLearner
from policies.vw.live import LivePolicy
from policies.vw.live_learner import LiveLearner

DOC: Final = Path(__file__).resolve().parents[2] / "docs" / "digits.md"
SHUFFLES: Final = 5
EVERY: Final = 8
FIRST: Final = 10
RANGE: Final = (0.0, 1.0)
CATALOG: Final[Catalog] = one_axis_catalog("digits", [str(digit) for digit in range(10)])
# Figures that stock VW is known to reach.
KNOWN: Final = {"softmax": 0.675, "squarecb": 0.638, "rnd": 0.592}


@dataclass(frozen=True)
class Digits:
    """The images.

    Attributes:
        pixels: (n, 64) ink, 0 to 16.
        digit: (n,) 0 to 9.
        schema: one numeric feature per pixel that is ever inked.
    """

    pixels: FloatArray
    digit: IntArray
    schema: FeatureSchema

    def context(self, rows: IntArray) -> ContextBatch:
        columns = {
            name: Column(self.pixels[rows, int(name[1:])], np.zeros(len(rows), dtype=np.uint8))
            for name in self.schema.names
        }
        return ContextBatch(self.schema, columns, len(rows))


def load() -> Digits:
    """The data set that ships with scikit-learn.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra of development

    pixels, digit = load_digits(return_X_y=True)
    inked = np.flatnonzero(pixels.any(axis=0))
    return Digits(pixels.astype(np.float64), digit.astype(np.int64), _schema([f"p{pixel}" for pixel in inked]))


def _schema(names: Sequence[str]) -> FeatureSchema:
    spec = {"type": "numeric", "unit": "ink", "source": "scikit-learn", "collected_where": "envelopes"}
    benefit = "letters arrive where they should"
    return FeatureSchema(
        features=tuple(FeatureSpec(name=name, customer_benefit=benefit, **spec) for name in names)  # type: ignore[arg-type]
    )


def progressive(data: Digits, make: Callable[[], Learner], shuffle: int, images: int | None = None) -> float:
    """Mean reward of a learner over one shuffle; the first ten images are answered at random.

    Args:
        make: a new learner.
        shuffle: seed of order and draws.
        images: only so many; None is all.
    """
    rng = np.random.default_rng(shuffle)
    order = rng.permutation(len(data.digit))[:images]
    uniform = rng.random(len(order))
    learner, right, at = make(), 0.0, 0
    policy: Policy = UniformPolicy()
    while at < len(order):
        rows = order[at : at + (EVERY if at else FIRST)]
        batch = _answered(data, rows, policy, uniform[at : at + len(rows)])
        right += float(batch.rewards["right"].sum())
        learner.learn([batch])
        if isinstance(policy, LivePolicy):
            policy.close()
        policy = learner.policy()
        at += len(rows)
    return right / len(order)


def _answered(data: Digits, rows: IntArray, policy: Policy, uniform: FloatArray) -> RoundBatch:
    n = len(rows)
    may = np.ones((n, CATALOG.k), dtype=np.bool_)
    may[:, 0] = False
    context = data.context(rows)
    action, propensity = draw(policy.distribution(context, may), uniform)
    ids = np.array([f"image {row}" for row in rows], dtype=object)
    return RoundBatch(
        chunk=0,
        decision_id=ids,
        context=context,
        action=action,
        propensity=propensity,
        eligible=pack(may),
        k=CATALOG.k,
        cluster=keyed_hash(ids, "cluster"),
        rewards={"right": (action - 1 == data.digit[rows]).astype(np.float64)},
        usable=np.ones(n, dtype=np.bool_),
        decided_at=np.zeros(n, dtype=np.int64),
        extra={},
    )


def stock(data: Digits, arguments: str, shuffle: int, images: int | None = None) -> float:
    """Mean reward of VW on its own over one shuffle: raw ink / 16, updated after every image."""
    rng = np.random.default_rng(shuffle)
    order = rng.permutation(len(data.digit))[:images]
    uniform, right = rng.random(len(order)), 0.0
    lines = [f"|a a{digit}" for digit in range(10)]
    with wall.online(f"--cb_explore_adf {arguments} --interactions xa") as model:
        for row, point in zip(order.tolist(), uniform, strict=True):
            ink = " ".join(f"p{pixel}:{value / 16:.4g}" for pixel, value in enumerate(data.pixels[row]) if value)
            asked = f"shared |x {ink}\n"
            action, propensity = draw(model.probabilities(asked + "\n".join(lines) + "\n", 10)[None], np.array([point]))
            chosen = int(action[0])
            reward = float(chosen == data.digit[row])
            right += reward
            label = f"0:{-reward}:{propensity[0]:.6g} "
            taught = [label * (digit == chosen) + line for digit, line in enumerate(lines)]
            model.learn(asked + "\n".join(taught) + "\n")
    return right / len(order)


@dataclass(frozen=True)
class Entry:
    """One line of the table: what runs, by name; `known` is the key of a figure that stock VW is known to reach."""

    name: str
    run: Callable[[Digits, int, int | None], float]
    known: str = ""


def _ours(make: Callable[[Digits], Learner]) -> Callable[[Digits, int, int | None], float]:
    return lambda data, shuffle, images: progressive(data, lambda: make(data), shuffle, images)


def _vw(
    exploration: ExplorationConfig, rate: float, ensemble: EnsembleConfig | None = None
) -> Callable[[Digits], Learner]:
    config = VwConfig(interactions=("xa",), bit_precision=14, learning_rate=rate, ensemble=ensemble)
    return lambda data: VwLearner(CATALOG, data.schema, "right", RANGE, config, exploration)


def _live(live: LiveConfig, rate: float) -> Callable[[Digits], Learner]:
    config = VwConfig(interactions=("xa",), bit_precision=14, learning_rate=rate)
    return lambda data: LiveLearner(CATALOG, data.schema, "right", RANGE, live, config)


def _stock(arguments: str) -> Callable[[Digits, int, int | None], float]:
    return lambda data, shuffle, images: stock(data, arguments, shuffle, images)


SOFTMAX: Final = Entry(
    "softmax, inverse temperature 10",
    _ours(_vw(ExplorationConfig(kind="softmax", inverse_temperature=10.0), 0.6)),
    "softmax",
)
SQUARECB: Final = Entry(
    "squarecb, gamma scale 5", _ours(_vw(ExplorationConfig(kind="squarecb", gamma_scale=5.0), 1.0)), "squarecb"
)
RND: Final = Entry(
    "rnd live, 3 networks, alpha 0.03, invlambda 0.01",
    _ours(_live(LiveConfig(kind="rnd", epsilon=0.0, rnd_alpha=0.03, rnd_invlambda=0.01), 1.0)),
    "rnd",
)
OURS: Final = (
    SOFTMAX,
    SQUARECB,
    RND,
    Entry("bag of 5", _ours(_vw(ExplorationConfig(kind="bag", epsilon=0.0), 0.5, EnsembleConfig(size=5)))),
    Entry(
        "cover of 5, psi 0.1, epsilon 0.05",
        _ours(_vw(ExplorationConfig(kind="cover"), 0.5, EnsembleConfig(kind="cover", size=5, psi=0.1))),
    ),
    Entry(
        "LinUCB, alpha 0.5",
        _ours(lambda data: LinUcbLearner(CATALOG, data.schema, "right", RANGE, width=0.5)),
    ),
    Entry(
        "linear Thompson, v 0.1",
        _ours(lambda data: LinearThompsonLearner(CATALOG, data.schema, "right", RANGE, width=0.1)),
    ),
)
STOCK: Final = (
    Entry("stock VW --softmax --lambda 10", _stock("--softmax --lambda 10")),
    Entry("stock VW --squarecb", _stock("--squarecb")),
    Entry("stock VW --rnd 3 --epsilon 0", _stock("--rnd 3 --epsilon 0")),
    Entry("stock VW --bag 5", _stock("--bag 5")),
    Entry("stock VW --cover 5 --psi 0.1 --epsilon 0.05", _stock("--cover 5 --psi 0.1 --epsilon 0.05")),
    Entry("stock VW --epsilon 0.05", _stock("--epsilon 0.05")),
)


def table(found: Sequence[tuple[Entry, Sequence[float]]]) -> str:
    """The study as Markdown."""
    lines = [
        "# Digits as a bandit",
        "",
        "scikit-learn's 1,797 images, ten actions, progressive reward over all of them",
        f"(`python -m experiments.study.digits`): mean and standard deviation over {len(found[0][1])} shuffles.",
        f"Ours learn every {EVERY} images through the whole pipeline, from ink standardised by the first {FIRST};",
        "stock VW learns after each image, from raw ink. Parameters of ours were chosen on the first shuffle.",
        "The column `known` is what stock VW is known to reach, with parameters of its own.",
        "",
        "| learner | progressive reward | deviation | known |",
        "|---|---|---|---|",
    ]
    for entry, values in found:
        known = f"{KNOWN[entry.known]:.3f}" if entry.known else ""
        lines.append(f"| {entry.name} | {np.mean(values):.3f} | {np.std(values, ddof=1):.3f} | {known} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run everything, on as many processes as there are cores, and write the table."""
    entries = (*OURS, *STOCK)
    jobs = [(entry, shuffle) for entry in range(len(entries)) for shuffle in range(SHUFFLES)]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        values = list(pool.map(reward, jobs))
    parts = [values[at : at + SHUFFLES] for at in range(0, len(values), SHUFFLES)]
    DOC.write_text(table(list(zip(entries, parts, strict=True))), encoding="utf-8")


def reward(job: tuple[int, int]) -> float:
    """Progressive reward of one entry (by its position in the table) on one shuffle."""
    entry, shuffle = job
    return (*OURS, *STOCK)[entry].run(load(), shuffle, None)


if __name__ == "__main__":
    main()
