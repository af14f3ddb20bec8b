"""The question by other figures: what answers are worth, what messages are credited with, money less the contact's own.

One of them decides, fixed in the configuration before any result is seen; the others stand beside it. A figure that
leaves something of the money out is checked: where that differs between the policies too, it gives no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from engine.errors import LearnError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection, Side
from engine.ope.estimate import INSUFFICIENT, Estimate
from engine.ope.evaluate import evaluate
from engine.ope.settings import EvaluationSettings
from engine.ope.target import Target
from engine.records.rounds import RoundBatch
from experiments.judge.contenders import LEARNED
from experiments.judge.evaluate import columns_needed, question_of
from experiments.outputs import Output
from experiments.settings import BacktestConfig
from policies.parts.learner import PartsLearner
from policies.parts.surrogate import ADJUSTED, BEYOND, FIGURES, SurrogateLog
from policies.registry import Learned
from policies.vw.arguments import VwConfig

# `judged_by` of the metric itself.
METRIC: Final = "metric"
# Without a reward model, on money from which the model of the contact was taken off.
CHECKING: Final = "snips"
NOT_REFUTED, REFUTED, UNBIASED, UNKNOWN = "not refuted", "refuted", "unbiased", "unknown"
# Longer logs are read anew for every figure.
_AT_ONCE: Final = 400_000


class View(Output, frozen=True, kw_only=True):
    """The learned policy against the baseline by one figure.

    Attributes:
        judged_by: value of the setting `judged_by` that lets it decide.
        decides: whether it did.
        estimate: by the deciding estimator where the figure decides, else by weighted means (snips), which need no
            reward model; its verdict is `insufficient` where the check refutes the figure.
        check: unbiased (nothing that an action changes is left out), not refuted, refuted, or unknown: whether what
            the figure leaves out differs between the policies.
        left_out: that difference, in money; null where nothing is left out, or it was not estimated.
        times: how many times narrower the interval is than that of the metric itself, both by weighted means; null
            where either is not known.
    """

    judged_by: str
    decides: bool
    estimate: Estimate
    check: str
    left_out: Estimate | None = None
    times: float | None = None


def views(
    reader: LogReader,
    metric: str,
    pair: tuple[Target, Target],
    side: Side,
    config: BacktestConfig,
    decided: Estimate,
    columns: tuple[str, ...] = (),
) -> tuple[View, ...]:
    """The metric itself first, then the figures, by weighted means; what decides as it was decided.

    Args:
        reader: a log that has the figures (`policies.parts.surrogate.SurrogateLog`).
        metric: the money.
        pair: the baseline and the learned policy.
        side: that judges.
        config: what decides, and how.
        decided: what the figure that decides says, by the deciding estimator.
        columns: stored columns that the policies read.
    """
    stored = {METRIC: metric, **{name: name for name in FIGURES}}
    every = (*stored.values(), *BEYOND.values())
    known = tuple(name for name in every if name in reader.meta.rewards)
    rounds = KnownRounds(reader, known, side, config.evaluation, columns)
    rows = {name: difference_by(rounds, stored[name], pair) for name in stored if stored[name] in known}
    left = {name: difference_by(rounds, rest, pair) if rest in known else None for name, rest in BEYOND.items()}
    width = _width(rows[METRIC])
    found = []
    for name, row in rows.items():
        if row is None:
            continue
        shown = decided if name == config.judged_by else row
        check = UNBIASED if name in (METRIC, ADJUSTED) else check_of(left[name])
        own = _width(row)
        found.append(
            View(
                judged_by=name,
                decides=name == config.judged_by,
                estimate=refuted(shown, left[name]) if check == REFUTED else shown,
                check=check,
                left_out=left.get(name),
                times=width / own if width and own else None,
            )
        )
    return tuple(found)


class KnownRounds:
    """The rows of one side that know all of some metrics; short logs are read once, long ones each time anew.

    Args:
        reader: the log.
        names: metrics.
        side: of the log; None is all of it.
        settings: of the evaluation, whose columns are read too.
        columns: stored columns that policies read.
    """

    def __init__(
        self,
        reader: LogReader,
        names: tuple[str, ...],
        side: Side | None,
        settings: EvaluationSettings,
        columns: Sequence[str] = (),
    ) -> None:
        self.reader, self.names, self.settings = reader, names, settings
        extra = list(dict.fromkeys((*columns_needed(settings, reader), *columns)))
        self._rounds = Selection(reader, names[0], side=side, extra=extra, rewards=names[1:])
        self._kept: list[RoundBatch] | None = None

    def __iter__(self) -> Iterator[RoundBatch]:
        if self._kept is None and self.reader.rows <= _AT_ONCE:
            self._kept = list(self._known())
        return iter(self._kept) if self._kept is not None else self._known()

    def _known(self) -> Iterator[RoundBatch]:
        for batch in self._rounds:
            known = np.flatnonzero(~np.isnan(np.stack([batch.rewards[name] for name in self.names])).any(axis=0))
            yield batch if len(known) == batch.n else batch.take(known)


def with_figures(reader: LogReader, learner: Learned, metric: str, config: BacktestConfig) -> LogReader:
    """The log with the figures that a verdict may rest on, where the parts know a stage on the way to money.

    Raises:
        ParameterError: one of them is to decide, and cannot be made.
        LearnError: the figure that is to decide does not differ between decisions.
    """
    known = figures_known(reader, learner, metric, config.learner)
    if known is not None and config.judged_by in (METRIC, *known.meta.rewards):
        return known
    if known is not None:
        raise LearnError(
            f"{config.judged_by!r} is the same for all decisions of {reader.path}: what was learnt sees no worth in it",
            hint=f"judge by the money itself (judged_by={METRIC}), or join the outcomes first",
        )
    if config.judged_by == METRIC:
        return reader
    why = "the learner is parts and the log has a stage between a message and its money"
    hint = "choose learner=parts" if not isinstance(learner, PartsLearner) else "name it: learner.parts.stage=NAME"
    raise ParameterError("judged_by", "backtest", allowed=f"{METRIC}, unless {why}", got=config.judged_by, hint=hint)


def figures_known(reader: LogReader, learner: Learned, metric: str, config: VwConfig) -> SurrogateLog | None:
    """The log with the figures; None where the learner knows no stage between a message and its money."""
    if not isinstance(learner, PartsLearner) or learner.state.stage in ("", metric):
        return None
    return SurrogateLog(reader, learner.state, metric, "" if config.parts is None else config.parts.cost)


def checked(rows: tuple[Estimate, ...], seen: Sequence[View], deciding: str) -> tuple[Estimate, ...]:
    """The rows, the learned policy's without a verdict where the figure that decides is refuted."""
    wrong = next((view for view in seen if view.decides and view.check == REFUTED), None)
    if wrong is None:
        return rows
    return tuple(wrong.estimate if row.policy == LEARNED and row.estimator == deciding else row for row in rows)


def refuted(row: Estimate, left: Estimate | None) -> Estimate:
    """The row of a figure that leaves out what the policies differ in."""
    gap = None if left is None else left.difference
    low, high = (None, None) if gap is None else (gap.low, gap.high)
    said = "what this figure leaves out of the money differs between the policies too"
    figures = "" if low is None or high is None else f", by {low:+.4g} to {high:+.4g} per decision"
    why = f"{said}{figures}: it is no answer here"
    return msgspec.structs.replace(row, verdict=INSUFFICIENT, notes=(why, *row.notes))


def check_of(left: Estimate | None) -> str:
    """Whether what a figure leaves out differs between the policies, by its own interval."""
    gap = None if left is None else left.difference
    if left is None or gap is None or gap.low is None or gap.high is None:
        return UNKNOWN
    if not gap.low <= 0.0 <= gap.high:
        return REFUTED
    return UNKNOWN if left.verdict == INSUFFICIENT else NOT_REFUTED


def _width(row: Estimate | None) -> float:
    gap = None if row is None else row.difference
    return 0.0 if gap is None or gap.low is None or gap.high is None else gap.high - gap.low


def difference_by(rounds: KnownRounds, name: str, pair: tuple[Target, Target]) -> Estimate | None:
    """The second policy less the first by one metric and weighted means; None where they are not defined."""
    question = question_of(rounds.reader, name, rounds.settings, rounds, estimators=[CHECKING], baseline=pair[0])
    return next(iter(evaluate(rounds, [pair[1]], question, rounds.settings).results), None)
