"""How often intervals hold the truth, and how wide they are: writes docs/interval-coverage.md.

The worlds are synthetic bandits whose values are known in closed form (`experiments.study.worlds`); the reward model of
DR is least squares by action, cross-fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.eligibility import pack
from engine.features import ContextBatch, FeatureSchema
from engine.ope.estimate import Estimate
from engine.ope.evaluate import evaluate
from engine.ope.intervals.asymptotic import asymptotic_sequence
from engine.ope.intervals.confidence_sequence import betting_sequence
from engine.ope.settings import EvaluationSettings
from engine.ope.setup import Question
from engine.ope.target import PolicyTarget
from engine.records.rounds import RoundBatch
from engine.types import FloatArray
from experiments.judge.shared_models import SharedModels
from experiments.study.worlds import ARMS, Fixed, LeastSquares, World, rows_of, schema_of_x

DOC: Final = Path(__file__).resolve().parents[2] / "docs" / "interval-coverage.md"
REPLICATIONS: Final = 500
WINNER_REPLICATIONS: Final = 200
NOISE_ARMS: Final = 36
SEQUENCE_ROWS: Final = 20_000
STARTS: Final = (1, 200, 1_000)


@dataclass(frozen=True)
class Setting:
    """One world, and the intervals that are tried on each of its logs."""

    world: World
    intervals: tuple[str, ...]
    estimators: tuple[str, ...] = ("ips", "snips", "dr")


_NORMAL: Final = ("delta", "bootstrap", "studentised")
_DECLARED: Final = "catoni, sd declared"
_SPEND: Final = (*_NORMAL, "catoni", _DECLARED)
_MODEL_FREE: Final = ("ips", "snips")
_ALL: Final = (
    *_NORMAL,
    "asymptotic_sequence",
    "confidence_sequence",
    "empirical_bernstein",
    "cressie_read",
    "clopper_pearson",
    "catoni",
)
SETTINGS: Final = (
    Setting(World("money, even log"), (*_NORMAL, "asymptotic_sequence")),
    Setting(World("money, leaning log (weights up to 10)", lean=5.0), (*_NORMAL, "asymptotic_sequence")),
    Setting(World("money, 80 clusters of 10 rows", clusters=80), (*_NORMAL, "asymptotic_sequence")),
    Setting(World("share, even log (weights 0 or 3)", "share", 2000, lean=0.0, policies=ARMS), _ALL),
    Setting(World("share, leaning log (weights up to 16.7)", "share", 2000, lean=5.0, policies=ARMS), _ALL),
    Setting(World("spend, 12,000 rows, moderate tail", "spend", 12_000, lean=0.0, policies=ARMS), _SPEND, _MODEL_FREE),
    Setting(World("spend, heavy tail", "spend", 12_000, lean=0.0, tail=1.6, policies=ARMS), _SPEND, _MODEL_FREE),
)


@dataclass(frozen=True)
class Row:
    """Coverage and mean width of the 95 % intervals of one estimator, of values and of differences.

    `refused` is the share of logs on which the verdict was "insufficient"; they are counted in the coverage.
    """

    world: str
    interval: str
    estimator: str
    value: float
    value_width: float
    difference: float
    difference_width: float
    refused: float


def coverage(setting: Setting, replications: int, seed: int = 5) -> list[Row]:
    """Simulate and count.

    Args:
        setting: which world and intervals.
        replications: independent logs.
        seed: seed of the logs.
    """
    world, schema, rng = setting.world, schema_of_x(), np.random.default_rng(seed)
    target, base = world.policies
    truth = world.value(target)
    gap = truth - world.value(base)
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for _ in range(replications):
        log = world.log(rng, schema)
        models = SharedModels(lambda: LeastSquares(world))
        for interval in setting.intervals:
            for estimate in _judged(log, setting, interval, models):
                if (counted := _counted(estimate, truth, gap)) is not None:
                    found.setdefault((interval, estimate.estimator), []).append(counted)
    return [Row(world.name, *key, *np.mean(np.array(rows), axis=0)) for key, rows in found.items()]


def _judged(log: RoundBatch, setting: Setting, interval: str, models: SharedModels) -> Sequence[Estimate]:
    world = setting.world
    target, base = world.policies
    return evaluate(
        [log],
        [PolicyTarget(Fixed("target", target))],
        Question(
            metric="r",
            reward_range=world.reward_range,
            estimators=setting.estimators,
            baseline=PolicyTarget(Fixed("baseline", base)),
            clustered=world.clusters is not None,
        ),
        EvaluationSettings(
            interval=interval.partition(",")[0],
            clip=100.0,
            folds=2,
            replicates=400,
            largest_weight=world.largest_weight,
            largest_sd=world.largest_sd if interval == _DECLARED else None,
        ),
        reward_model_factory=models.factory(),
    ).results


def _counted(estimate: Estimate, truth: float, gap: float) -> tuple[float, ...] | None:
    own, other = estimate, estimate.difference
    if own.low is None or own.high is None or other is None or other.low is None or other.high is None:
        return None
    return (
        own.low <= truth <= own.high,
        own.high - own.low,
        other.low <= gap <= other.high,
        other.high - other.low,
        not own.trustworthy,
    )


@dataclass(frozen=True)
class SequenceRow:
    """How often a confidence sequence held the truth at every row from some start on, and its width at some rows.

    `always` has one share for each of `STARTS`.
    """

    terms: str
    sequence: str
    always: tuple[float, ...]
    at_the_end: float
    widths: tuple[float, ...]


SEQUENCE_AT: Final = (1_000, 5_000, SEQUENCE_ROWS)


def sequence_coverage(replications: int, seed: int = 6, rows: int = SEQUENCE_ROWS) -> list[SequenceRow]:
    """IPS and DR terms of a share of 0.14 under weights of 0 or 3, followed row by row.

    Args:
        replications: independent logs.
        seed: seed of the logs.
        rows: rows of a log.
    """
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for _ in range(replications):
        weight = np.where(rng.random(rows) < 1 / 3, 3.0, 0.0)
        reward = (rng.random(rows) < 0.14).astype(np.float64)
        for name, terms, bounds in (
            ("IPS", weight * reward, (0.0, 3.0)),
            ("DR", 0.2 + weight * (reward - 0.2), (-2.0, 4.0)),
        ):
            delta = 1.959964 * np.sqrt(_running_variance(terms) / np.arange(1.0, rows + 1))
            mean = np.cumsum(terms) / np.arange(1.0, rows + 1)
            for kind, (low, high) in (
                ("confidence_sequence", betting_sequence(terms, bounds, values=(0.0, 1.0))),
                ("asymptotic_sequence", asymptotic_sequence(terms)),
                ("delta, looked at after each row", (mean - delta, mean + delta)),
            ):
                held = (low <= 0.14) & (high >= 0.14)
                always = [float(held[start - 1 :].all()) for start in STARTS]
                width = [float(high[at - 1] - low[at - 1]) for at in SEQUENCE_AT if at <= rows]
                found.setdefault((name, kind), []).append((*always, float(held[-1]), *width))
    rates = {key: tuple(map(float, np.mean(np.array(counted), axis=0))) for key, counted in found.items()}
    many = len(STARTS)
    return [SequenceRow(*key, rate[:many], rate[many], rate[many + 1 :]) for key, rate in rates.items()]


def _running_variance(x: FloatArray) -> FloatArray:
    count = np.arange(1.0, len(x) + 1)
    variance: FloatArray = np.maximum(np.cumsum(x * x) / count - (np.cumsum(x) / count) ** 2, 0.0)
    return variance


@dataclass(frozen=True)
class WinnerRow:
    """Among arms that are all alike: how often some arm was called better than the first, and the mean half-width."""

    interval: str
    simultaneous: bool
    found_better: float
    reach: float


def noise_arms(replications: int, interval: str, *, simultaneous: bool, seed: int = 7, rows: int = 8000) -> WinnerRow:
    """A log over arms whose rewards are the same; each arm is judged against the first.

    Args:
        replications: independent logs.
        interval: which.
        simultaneous: whether the differences are corrected.
        seed: seed of the logs.
        rows: rows of a log.
    """
    rng, k = np.random.default_rng(seed), NOISE_ARMS + 1
    better, reach = [], []
    for _ in range(replications):
        results = evaluate(
            [_noise_log(rng, rows, k)],
            [PolicyTarget(Fixed(f"arm {arm}", np.eye(k)[arm])) for arm in range(1, k)],
            Question(
                metric="r",
                reward_range=(0.0, 1.0),
                estimators=("snips",),
                baseline=PolicyTarget(Fixed("arm 0", np.eye(k)[0])),
            ),
            EvaluationSettings(interval=interval, simultaneous=simultaneous, replicates=2000),
        ).results
        better.append(any(estimate.verdict == "better" for estimate in results))
        ends = [(e.difference.low, e.difference.high) for e in results if e.difference is not None]
        reach.append(np.mean([(high - low) / 2 for low, high in ends if low is not None and high is not None]))
    return WinnerRow(interval, simultaneous, float(np.mean(better)), float(np.mean(reach)))


def _noise_log(rng: np.random.Generator, rows: int, k: int) -> RoundBatch:
    ids, keys = rows_of(rows)
    return RoundBatch(
        chunk=0,
        decision_id=ids,
        context=ContextBatch(FeatureSchema(features=()), {}, rows),
        action=rng.integers(k, size=rows).astype(np.int32),
        propensity=np.full(rows, 1 / k),
        eligible=pack(np.ones((rows, k), dtype=np.bool_)),
        k=k,
        cluster=keys,
        rewards={"r": (rng.random(rows) < 0.3).astype(np.float64)},
        usable=np.ones(rows, dtype=np.bool_),
        decided_at=np.zeros(rows, dtype=np.int64),
        extra={},
    )


def main() -> None:
    """Run every study and write the tables."""
    rows = [row for setting in SETTINGS for row in coverage(setting, REPLICATIONS)]
    winners = [
        noise_arms(WINNER_REPLICATIONS, interval, simultaneous=simultaneous)
        for interval in ("delta", "asymptotic_sequence")
        for simultaneous in (False, True)
    ]
    DOC.write_text(document(rows, sequence_coverage(REPLICATIONS), winners), encoding="utf-8")


def document(rows: Sequence[Row], sequences: Sequence[SequenceRow], winners: Sequence[WinnerRow]) -> str:
    """The studies as Markdown."""
    return "\n".join([*_coverage_lines(rows), *_sequence_lines(sequences), *_winner_lines(winners)]) + "\n"


def _coverage_lines(rows: Sequence[Row]) -> list[str]:
    error = 100 * np.sqrt(0.95 * 0.05 / REPLICATIONS)
    lines = [
        "# Coverage of the 95 % intervals",
        "",
        f"{REPLICATIONS} seeded logs a world, in worlds whose values are known in closed form",
        f"(`python -m experiments.study.interval_coverage`). Monte Carlo error of a coverage: {error:.1f} points.",
        "Refused is the share of logs whose verdict was `insufficient`; they are counted in the coverage. An estimator",
        "is left out where the interval claims nothing for it. DR's model is least squares by action, cross-fitted.",
        "What each interval asks and promises: [intervals](intervals.md).",
    ]
    for world in dict.fromkeys(row.world for row in rows):
        lines += ["", f"## {world[:1].upper()}{world[1:]}", ""]
        lines += ["| interval | estimator | value covered | mean width | difference covered | mean width | refused |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [
            f"| {row.interval} | {row.estimator} | {100 * row.value:.1f} % | {row.value_width:.3g} "
            f"| {100 * row.difference:.1f} % | {row.difference_width:.3g} | {100 * row.refused:.0f} % |"
            for row in rows
            if row.world == world
        ]
    return lines


def _sequence_lines(rows: Sequence[SequenceRow]) -> list[str]:
    starts = " | ".join(f"held from row {start:,} on" for start in STARTS)
    widths = " | ".join(f"width at {at:,}" for at in SEQUENCE_AT)
    lines = [
        "",
        "## At all times",
        "",
        f"{REPLICATIONS} sequences of {SEQUENCE_ROWS:,} rows, a share of 0.14 under weights of 0 or 3, looked at",
        "after every row. DR has a fixed model.",
        "",
        f"| terms | interval | {starts} | at the last row | {widths} |",
        "|---" * (3 + len(STARTS) + len(SEQUENCE_AT)) + "|",
    ]
    for row in rows:
        shares = " | ".join(f"{100 * share:.1f} %" for share in (*row.always, row.at_the_end))
        lines.append(
            f"| {row.terms} | {row.sequence} | {shares} | " + " | ".join(f"{width:.3g}" for width in row.widths) + " |"
        )
    return lines


def _winner_lines(rows: Sequence[WinnerRow]) -> list[str]:
    return [
        "",
        "## A winner among noise",
        "",
        f"{WINNER_REPLICATIONS} logs on which {NOISE_ARMS} arms are no better than the first one: how often some arm",
        "was called better, by SNIPS.",
        "",
        "| interval | held together | some arm called better | mean half-width |",
        "|---|---|---|---|",
        *(
            f"| {row.interval} | {'yes' if row.simultaneous else 'no'} | {100 * row.found_better:.1f} % "
            f"| {row.reach:.3f} |"
            for row in rows
        ),
    ]


if __name__ == "__main__":
    main()
