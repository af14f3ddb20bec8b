"""Which rows a trained policy learnt from, as its folder keeps it, and whether a log that is to judge it holds them.

A policy looks good on what it learnt from. The record is of the rows themselves, so that it holds however a log is
split, joined again, cut or put together with others: a row is known by its decision id, contact, instant and action.
Of many rows the record keeps the smallest `SAMPLE` of their 64-bit hashes (a bottom-k sketch, Cohen & Kaplan 2007): two
such sketches merge into that of both, and m shared rows of n that were learnt from are found but for a chance of about
(1 - SAMPLE / n) ** m.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from engine.errors import DataError, ParameterError
from engine.identity import keyed_hash
from engine.log.parquet import LogReader
from engine.rounds import RoundBlock
from engine.selection import Selection
from engine.types import NOT_AN_INSTANT, KeyArray
from engine.versions import served_folder
from policies.trained import head

LEARNT_FROM: Final = "learnt_from"
SAMPLE: Final = 8192
MARK: Final = "judged on rows it learnt from"
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(29)


class LearntRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The rows that a policy learnt from, in its manifest.

    Attributes:
        first_at / last_at: instants of the first and the last of them, microseconds UTC; None where rows have none.
        rows: their number; None in folders that keep the instants alone.
        sample: the smallest hashes of the rows, little-endian uint64, ascending; None likewise.
        complete: whether all that was learnt from is in here; False where a folder that was learnt on did not say.
    """

    first_at: int | None = None
    last_at: int | None = None
    rows: int | None = None
    sample: bytes | None = None
    complete: bool = True

    @property
    def hashes(self) -> KeyArray:
        """(m,) of the sample, ascending."""
        return np.frombuffer(self.sample or b"", dtype="<u8").astype(np.uint64)

    def to_builtins(self) -> dict[str, Any]:
        """For a manifest."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def learnt_rows(rounds: Iterable[RoundBlock]) -> LearntRows:
    """The record of the rows that train; memory does not grow with them.

    Args:
        rounds: without context is enough.
    """
    first = last = NOT_AN_INSTANT
    rows, dated, kept = 0, True, np.zeros(0, dtype=np.uint64)
    for block in rounds:
        if not block.n:
            continue
        rows += block.n
        kept = _smallest(kept, row_keys(block))
        low, high = int(block.decided_at.min()), int(block.decided_at.max())
        dated &= low != NOT_AN_INSTANT
        first = low if first == NOT_AN_INSTANT else min(first, low)
        last = max(last, high)
    known = dated and rows > 0
    return LearntRows(
        first_at=first if known else None, last_at=last if known else None, rows=rows, sample=_bytes(kept)
    )


def together(before: LearntRows | None, after: LearntRows) -> LearntRows:
    """What two trainings learnt from, the second on top of the first.

    Args:
        before: of the folder that was learnt on; None where it does not say.
    """
    if before is None or before.sample is None or before.rows is None:
        return msgspec.structs.replace(after, complete=False, first_at=None, last_at=None)
    dated = None not in (before.first_at, before.last_at, after.first_at, after.last_at)
    return LearntRows(
        first_at=min(before.first_at or 0, after.first_at or 0) if dated else None,
        last_at=max(before.last_at or 0, after.last_at or 0) if dated else None,
        rows=before.rows + (after.rows or 0),
        sample=_bytes(_smallest(before.hashes, after.hashes)),
        complete=before.complete and after.complete,
    )


def record_of(folder: Path) -> LearntRows | None:
    """What the manifest of a trained folder says; None where it says nothing.

    Raises:
        ArtefactError: a damaged or foreign folder.
        DataError: a record that cannot be read.
    """
    said = head(folder).source.get(LEARNT_FROM)
    if said is None:
        return None
    try:
        return msgspec.convert(said, LearntRows)
    except msgspec.ValidationError as error:
        raise DataError(
            f"what {folder} says of the rows that it learnt from cannot be read: {error}", hint="train it again"
        ) from error


def shared_rows(learnt: LearntRows, rounds: Iterable[RoundBlock]) -> int:
    """How many of some rows a policy learnt from, estimated from its sample where that does not hold all of them."""
    sample = learnt.hashes
    if not len(sample):
        return 0
    hits = sum(int(np.isin(row_keys(block), sample).sum()) for block in rounds)
    whole = learnt.rows is not None and learnt.rows <= len(sample)
    rate = 1.0 if whole else (float(sample[-1]) + 1.0) / 2.0**64
    return round(hits / rate)


def marked(
    specs: Sequence[str], reader: LogReader, metric: str, reason: str | None, *, option: str = "--override-learnt"
) -> dict[str, str]:
    """Refuse to judge trained folders on rows that they learnt from, or say that it is done.

    Args:
        specs: policies of the command line; those that are no folders have learnt from nothing that is known.
        reader: the log that is to judge them by `metric`.
        reason: to judge them all the same; None refuses.
        option: of the command; shown in the hint.

    Returns:
        policy -> what every output must say of it; nothing of those that are judged on other rows.

    Raises:
        DataError: a policy learnt from rows of the log, and nothing overrides it.
        ParameterError: an override without a reason.
    """
    if reason is not None and not reason.strip():
        raise ParameterError(option.strip("-"), "the judgement", allowed="a reason in words", got=reason)
    found: dict[str, str] = {}
    for spec in dict.fromkeys(specs):
        if not Path(spec).is_dir():
            continue
        record = record_of(served_folder(Path(spec)))
        if record is None or record.sample is None or not record.complete:
            found[spec] = f"{spec} does not say which rows it learnt from; a log that it learnt from flatters it"
        if record is None:
            continue
        shared = shared_rows(record, Selection(reader, metric, context=False))
        if shared and reason is None:
            raise DataError(
                f"{spec} learnt from about {shared} of the rows of {reader.path}, so they cannot judge it",
                hint=f"give another log, judge by `tactful backtest`, or go on with {option} REASON, which is kept",
            )
        if shared:
            found[spec] = f"{spec} is {MARK} (about {shared} rows): {reason}"
    return found


def row_keys(block: RoundBlock) -> KeyArray:
    """(n,) hashes of what makes a row itself: ids alone are row numbers in some logs, alike in all of them."""
    keys = keyed_hash(block.decision_id, "learnt rows")
    with np.errstate(over="ignore"):
        for part in (block.cluster, block.decided_at.astype(np.uint64), block.action.astype(np.uint64)):
            keys = (keys ^ (part * _MIX)) * _MIX
            keys ^= keys >> _SHIFT
    return keys


def _smallest(one: KeyArray, other: KeyArray) -> KeyArray:
    return np.unique(np.concatenate([one, other]))[:SAMPLE]


def _bytes(keys: KeyArray) -> bytes:
    return keys.astype("<u8").tobytes()
