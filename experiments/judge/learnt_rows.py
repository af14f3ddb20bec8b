"""Whether a log that is to judge a trained policy holds rows that the policy learnt from: they flatter it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.storage.versions import served_folder
from engine.types import NOT_AN_INSTANT
from policies.trained import TrainedFolder

LEARNT_FROM: Final = "learnt_from"
MARK: Final = "judged on rows it learnt from"


def span_of(reader: LogReader, metric: str) -> dict[str, int]:
    """The instants of the first and the last row that trains, microseconds UTC; empty where rows have none."""
    first = last = NOT_AN_INSTANT
    for batch in Selection(reader, metric, context=False):
        if not batch.n:
            continue
        low, high = int(batch.decided_at.min()), int(batch.decided_at.max())
        if low == NOT_AN_INSTANT:
            return {}
        first = low if first == NOT_AN_INSTANT else min(first, low)
        last = max(last, high)
    return {} if first == NOT_AN_INSTANT else {"first_at": first, "last_at": last}


def marked(
    specs: Sequence[str], reader: LogReader, metric: str, reason: str | None, *, option: str = "--override-learnt"
) -> dict[str, str]:
    """Refuse to judge trained folders on rows that they learnt from, or say that it is done.

    Args:
        specs: policies of the command line; those that are no folders have learnt from nothing that is known.
        reader: the log that is to judge them by `metric`.
        reason: why they are judged all the same; None refuses.
        option: the command's option that says so; it is shown in the hint.

    Returns:
        policy -> what every output must say of it; nothing of those that are judged on other rows.

    Raises:
        ArtefactError: a folder whose record is damaged.
        DataError: a policy learnt from rows of the log, and nothing overrides it.
        ParameterError: an override without a reason.
    """
    if reason is not None and not reason.strip():
        raise ParameterError(option.strip("-"), "the judgement", allowed="a reason in words", got=reason)
    found: dict[str, str] = {}
    for spec in dict.fromkeys(specs):
        if not Path(spec).is_dir():
            continue
        # A damaged folder is to be called damaged, whatever its record says.
        rows = TrainedFolder(served_folder(Path(spec))).training_rows()
        if rows is None:
            found[spec] = f"{spec} does not say which rows it learnt from; a log that it learnt from flatters it"
            continue
        shared = rows.shared(Selection(reader, metric, context=False))
        if shared and reason is None:
            raise DataError(
                f"{spec} learnt from {shared} of the rows of {reader.path}, so they cannot judge it",
                hint=f"give another log, judge by `tactful backtest`, or go on with {option} REASON, which is kept",
            )
        if shared:
            found[spec] = f"{spec} is {MARK} ({shared} rows): {reason}"
    return found
