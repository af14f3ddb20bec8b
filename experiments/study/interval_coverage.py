"""How often intervals hold the truth, and how wide they are: writes docs/interval-coverage.md.

The world is a synthetic bandit whose values are known in closed form: x is uniform on (0, 1), the reward of action a is
1 + x + a (1 - x) plus noise, so a policy that ignores x and takes a with mean m is worth 1.5 + 0.5 m. The log's policy
leans on x; the reward model of DR is Vowpal Wabbit's, cross-fitted, as in the commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.catalog import Catalog, one_axis_catalog
from engine.eligibility import pack
from engine.features import ContextBlock, FeatureSchema, FeatureSpec, numeric_column
from engine.identity import keyed_hash
from engine.ope.evaluate import evaluate
from engine.ope.target import PolicyTarget
from engine.rounds import RoundBlock
from engine.types import BoolArray, FloatArray
from policies.vw.arguments import VwConfig
from policies.vw.reward_model import VwRewardModel

DOC: Final = Path(__file__).resolve().parents[2] / "docs" / "interval-coverage.md"
REPLICATIONS: Final = 300
ROWS: Final = 800
TARGET: Final = np.array([0.2, 0.2, 0.6])
BASE: Final = np.array([0.4, 0.4, 0.2])
RANGE: Final = (-20.0, 20.0)


@dataclass(frozen=True)
class Setting:
    """One line of the study: lean is how strongly the log's policy depends on x (weights grow with it)."""

    name: str
    interval: str = "delta"
    clusters: int | None = None
    lean: float = 1.0


SETTINGS: Final = (
    Setting("even log, delta"),
    Setting("even log, bootstrap", interval="bootstrap"),
    Setting("leaning log (largest weights about 15), delta", lean=5.0),
    Setting("leaning log (largest weights about 15), bootstrap", interval="bootstrap", lean=5.0),
    Setting("80 clusters of 10 rows, delta", clusters=80),
    Setting("80 clusters of 10 rows, bootstrap", interval="bootstrap", clusters=80),
)


@dataclass(frozen=True)
class Row:
    """Coverage and mean width of the 95 % intervals of one estimator, of values and of differences."""

    setting: str
    estimator: str
    value: float
    value_width: float
    difference: float
    difference_width: float


@dataclass(frozen=True)
class Fixed:
    """A policy that ignores the context."""

    name: str
    probabilities: FloatArray

    def distribution(self, context: ContextBlock, eligible: BoolArray) -> FloatArray:  # noqa: ARG002 - protocol
        """(n, k): the same row for everybody."""
        return np.tile(self.probabilities, (len(eligible), 1))


def coverage(setting: Setting, replications: int, seed: int = 5) -> list[Row]:
    """Simulate and count.

    Args:
        setting: which log and interval.
        replications: independent logs of `ROWS` rows.
        seed: of the logs.
    """
    catalog, schema, rng = one_axis_catalog("study", ["one", "two"]), _schema(), np.random.default_rng(seed)
    truth = 1.5 + 0.5 * float(TARGET @ np.arange(3))
    gap = truth - 1.5 - 0.5 * float(BASE @ np.arange(3))
    found: dict[str, list[tuple[bool, float, bool, float]]] = {}
    for _ in range(replications):
        results = evaluate(
            [_log(rng, schema, setting)],
            [PolicyTarget(Fixed("target", TARGET))],
            metric="r",
            reward_range=RANGE,
            estimators=("ips", "snips", "dr"),
            baseline=PolicyTarget(Fixed("baseline", BASE)),
            interval=setting.interval,
            reward_model_factory=_model(catalog, schema),
            folds=2,
            clustered=setting.clusters is not None,
            draws=400,
        ).results
        for estimate in results:
            own, other = estimate, estimate.difference
            if own.low is None or own.high is None or other is None or other.low is None or other.high is None:
                continue
            found.setdefault(own.estimator, []).append(
                (
                    own.low <= truth <= own.high,
                    own.high - own.low,
                    other.low <= gap <= other.high,
                    other.high - other.low,
                )
            )
    return [Row(setting.name, name, *np.mean(np.array(rows, dtype=np.float64), axis=0)) for name, rows in found.items()]


def _model(catalog: Catalog, schema: FeatureSchema) -> Callable[[], VwRewardModel]:
    return lambda: VwRewardModel(catalog, schema, "r", RANGE, VwConfig(interactions=("xa",)))


def _schema() -> FeatureSchema:
    x = FeatureSpec(
        name="x",
        type="numeric",
        unit="share",
        source="study",
        collected_where="study",
        customer_benefit="nobody is contacted in a study",
    )
    return FeatureSchema(features=(x,))


def _log(rng: np.random.Generator, schema: FeatureSchema, setting: Setting) -> RoundBlock:
    x = rng.random(ROWS)
    tilt = np.exp(setting.lean * np.outer(x - 0.5, [0.5, 0.0, -0.5]))
    logging = tilt / tilt.sum(axis=1, keepdims=True)
    action = (rng.random(ROWS)[:, None] > logging.cumsum(axis=1)).sum(axis=1).clip(0, 2).astype(np.int32)
    noise = 0.5 * rng.normal(size=ROWS)
    ids = np.array([f"d{row}" for row in range(ROWS)], dtype=object)
    cluster = keyed_hash(ids, "cluster")
    if setting.clusters is not None:
        member = np.arange(ROWS) % setting.clusters
        noise += 0.8 * rng.normal(size=setting.clusters)[member]
        cluster = member.astype(np.uint64)
    context = ContextBlock(schema, {"x": numeric_column(schema.features[0], x, np.zeros(ROWS, dtype=np.uint8))}, ROWS)
    return RoundBlock(
        chunk=0,
        decision_id=ids,
        context=context,
        action=action,
        propensity=logging[np.arange(ROWS), action],
        eligible=pack(np.ones((ROWS, 3), dtype=np.bool_)),
        k=3,
        cluster=cluster,
        rewards={"r": 1 + x + action * (1 - x) + noise},
        usable=np.ones(ROWS, dtype=np.bool_),
        decided_at=np.zeros(ROWS, dtype=np.int64),
        extra={},
    )


def table(rows: list[Row], replications: int) -> str:
    """The study as Markdown."""
    error = 100 * np.sqrt(0.95 * 0.05 / replications)
    lines = [
        "# Coverage of the 95 % intervals",
        "",
        f"{replications} seeded logs of {ROWS} rows a setting, in a world whose values are known in closed form",
        f"(`python -m experiments.study.interval_coverage`). Monte Carlo error of a coverage: {error:.1f} points.",
        "",
        "| log and interval | estimator | value covered | mean width | difference covered | mean width |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.setting} | {row.estimator} | {100 * row.value:.1f} % | {row.value_width:.3f} "
        f"| {100 * row.difference:.1f} % | {row.difference_width:.3f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every setting and write the table."""
    rows = [row for setting in SETTINGS for row in coverage(setting, REPLICATIONS)]
    DOC.write_text(table(rows, REPLICATIONS), encoding="utf-8")


if __name__ == "__main__":
    main()
