"""The backtest's figures beside the live ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from engine.errors import DataError
from engine.monitor.effects import DayEffect
from engine.ope.estimate import Estimate
from engine.records.schema import CONTROL
from experiments.outputs_monitor import OfflineRow

HOLD, LEARNED = "always:", "vw"


class _Report(msgspec.Struct):
    """The part of a backtest's report that is read here: other fields may come and go."""

    results: tuple[Estimate, ...]
    comparisons: tuple[Estimate, ...] = ()


def offline_rows(path: Path, metric: str, live: Mapping[str, Sequence[DayEffect]]) -> tuple[OfflineRow, ...]:
    """The launched policy against doing nothing, and against the uniform choice where that was judged.

    Control gets nothing, so what it stands for offline is "hold for everybody".

    Args:
        path: report.json of `tactful backtest`.
        metric: that the live effects are of.
        live: the effect by day, by group.

    Raises:
        DataError: no such file, no report of a backtest, or one of another metric.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=_Report)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise DataError(
            f"{path} is no report of a backtest: {error}", hint="give report.json of `tactful backtest`"
        ) from error
    rows = [row for row in (*report.comparisons, *report.results) if row.difference is not None]
    if {row.metric for row in rows} - {metric}:
        raise DataError(f"{path} is about another metric than {metric!r}", hint="give the --metric of the backtest")
    found = []
    for against, days in live.items():
        row = _matching(rows, against)
        if row is None or row.difference is None:
            continue
        gap = row.difference
        agrees = None
        if days and gap.low is not None and gap.high is not None:
            agrees = days[-1].low <= gap.high and gap.low <= days[-1].high
        found.append(
            OfflineRow(
                against=against,
                policy=row.policy,
                baseline=gap.baseline,
                value=gap.value,
                low=gap.low,
                high=gap.high,
                agrees=agrees,
            )
        )
    return tuple(found)


def _matching(rows: Sequence[Estimate], against: str) -> Estimate | None:
    """The learned policy's row against the group's stand-in."""
    for row in rows:
        baseline = row.difference.baseline if row.difference else ""
        nothing = baseline.startswith(HOLD) if against == CONTROL else baseline == "uniform"
        if row.policy == LEARNED and nothing:
            return row
    return None
