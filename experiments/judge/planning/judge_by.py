"""Which figure should decide: decisions that each needs to see the same difference in money, on half of a pilot log."""

from __future__ import annotations

from engine.log.parquet import LogReader
from engine.log.selection import contact_split
from engine.ope.plan import Need, PilotSums, needed
from engine.ope.support import SupportRule
from engine.ope.target import Target
from experiments.judge.launch.views import (
    METRIC,
    NOT_REFUTED,
    UNBIASED,
    KnownRounds,
    check_of,
    difference_by,
    figures_known,
)
from experiments.judge.train import learn
from experiments.outputs import Output
from experiments.settings import PlanConfig
from policies.exploring.config import ExplorationConfig
from policies.parts.surrogate import BEYOND, FIGURES


class JudgedBy(Output, frozen=True, kw_only=True):
    """What it takes to judge by one figure.

    Attributes:
        judged_by: value of the setting `judged_by` of a backtest.
        decisions: that show the difference with the power that was asked for; null where no number does.
        check: unbiased, not refuted, refuted or unknown, as in a backtest's `views`.
    """

    judged_by: str
    decisions: int | None
    check: str


def judged_by(
    reader: LogReader,
    metric: str,
    pair: tuple[Target, Target],
    asked: tuple[float, float, float],
    config: PlanConfig,
    columns: tuple[str, ...] = (),
) -> tuple[JudgedBy, ...]:
    """The metric itself and the figures; empty where the pilot knows the metric alone.

    What the figures are made of is learnt from one half of the contacts, and their noise is measured on the other.

    Args:
        reader: the pilot.
        metric: the money.
        pair: the baseline and the policy.
        asked: the exploration, the difference, and the power.
        config: how figures are learnt and judged.
        columns: stored columns that the policies read.
    """
    spec = reader.meta.rewards[metric]
    if spec.unit != "usd":
        return ()
    learning, judging = contact_split(0.5, config.evaluation.seed)
    learner = learn(reader, metric, config.learner, ExplorationConfig(kind="greedy"), learning)
    known = figures_known(reader, learner, metric, config.learner)
    if known is None:
        return ()
    every = tuple(name for name in (metric, *FIGURES, *BEYOND.values()) if name in known.meta.rewards)
    rounds = KnownRounds(known, every, judging, config.evaluation, columns)
    found = []
    for name in (one for one in (metric, *FIGURES) if one in every):
        need = _need(rounds, name, pair, asked)
        check = UNBIASED
        if name in BEYOND:
            rest = BEYOND[name]
            check = check_of(difference_by(rounds, rest, pair) if rest in every else None)
        found.append(JudgedBy(judged_by=METRIC if name == metric else name, decisions=need.decisions, check=check))
    return tuple(found)


def advised(rows: tuple[JudgedBy, ...]) -> str:
    """The figure that needs the fewest decisions of those that nothing speaks against; "" where there is no choice."""
    possible = [row for row in rows if row.decisions is not None and row.check in (UNBIASED, NOT_REFUTED)]
    best = min(possible, key=lambda row: row.decisions or 0, default=None)
    return "" if best is None else best.judged_by


def _need(rounds: KnownRounds, name: str, pair: tuple[Target, Target], asked: tuple[float, float, float]) -> Need:
    exploration, difference, power = asked
    spec, settings = rounds.reader.meta.rewards[name], rounds.settings
    sums = PilotSums(pair[1], pair[0], metric=name, reward_range=(spec.low, spec.high), explorations=(exploration,))
    for batch in rounds:
        sums.add(batch)
    pilot = sums.result()
    return needed(
        pilot.terms[0],
        difference,
        alpha=settings.shared_alpha,
        power=power,
        interval=settings.interval,
        kurtosis=pilot.kurtosis,
        rule=SupportRule(),
    )
