"""Outcomes and rewards: events that pass the schema and belong to a decision, and rewards that are not known.

A window that is still open is no fault. But where rewards are known for some actions only (sends that somebody reacted
to, say), the known rows are no sample of the draws: E[known (w - target)] is then above 0 for some group of actions,
which is tested as in `checks.leaks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from engine.audit.batch import AuditBatch
from engine.audit.evidence import smallest, upper_p
from engine.audit.findings import FAIL, Finding, graded, not_applicable, tested
from engine.audit.groups import ActionGroups
from engine.audit.rule import AuditRule
from engine.errors import DataError
from engine.files.tables import ENDINGS, table_batches
from engine.identity import keyed_hash
from engine.log.parquet import LogReader
from engine.storage.given import Given, files_of, named
from engine.types import BoolArray, FloatArray, KeyArray, ObjectArray

VALIDITY, RESOLUTION = "event_validity", "profile_resolution"
_BLOCK_ROWS: Final = 65_536
_READ: Final = frozenset({"decision_id", "event", "at", "value_usd"})
_OFFSET: Final = r"(?:[Zz]|[+-]\d{2}:?\d{2})$"


def audit_outcomes(given: Given, reader: LogReader, rule: AuditRule) -> tuple[Finding, Finding]:
    """Validity and resolution of outcome files; memory holds the hashes of its decision ids.

    Raises:
        DataError: no such file, not readable, or without the columns `decision_id`, `event` and `at`.
    """
    rows = invalid = 0
    keys: list[KeyArray] = []
    for frame in (frame for path in files_of(given, what="outcome", endings=ENDINGS) for frame in _frames(path)):
        ok = _valid(frame)
        rows += len(frame)
        invalid += int((~ok).sum())
        ids: ObjectArray = frame["decision_id"].to_numpy(dtype=object)[ok]
        keys.append(keyed_hash(ids, "audit/outcomes"))
    if not rows:
        raise DataError(f"{named(given)} holds no outcomes", hint="an empty file is more often a failed export")
    given_keys = np.concatenate(keys)
    open_keys = np.setdiff1d(given_keys, _decided(reader))
    orphans = int(np.isin(given_keys, open_keys).sum())
    return _findings(rows, invalid, orphans, rule)


def _findings(rows: int, invalid: int, orphans: int, rule: AuditRule) -> tuple[Finding, Finding]:
    valid = rows - invalid
    advice = (
        "mend the feed: a row needs a decision id, an event, an instant with its offset, and a finite value or none"
    )
    what = f"{valid} of {rows} events pass the schema ({valid / rows:.2%})"
    validity = graded(VALIDITY, invalid / rows, rule.invalid_events, what, advice)
    resolved = valid - orphans
    what = f"{resolved} of {valid} events belong to a decision of this log, and by it to a profile"
    advice = "outcomes without their decision: a file of decisions is missing, or the feed carries foreign ids"
    share = orphans / valid if valid else 1.0
    return validity, graded(RESOLUTION, share, rule.unresolved, what, advice)


def _decided(reader: LogReader) -> KeyArray:
    parts = [
        keyed_hash(batch.column("decision_id").to_numpy(zero_copy_only=False).astype(object), "audit/outcomes")
        for batch in reader.batches(["decision_id"])
    ]
    return np.concatenate(parts)


def _frames(path: Path) -> Any:
    """Blocks of the file as they stand, every column as it comes."""
    for columns, rows in table_batches(path, _BLOCK_ROWS):
        if rows:
            yield _checked(_plain(columns), path)


def _plain(found: dict[str, pa.Array]) -> pd.DataFrame:
    columns = {}
    for name in _READ & found.keys():
        column = found[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        if pa.types.is_timestamp(column.type):
            # An instant that has a zone is right; one without is told by its empty text.
            texts = pc.if_else(column.is_valid(), "1970-01-01T00:00:00Z" if column.type.tz else "", None)
            columns[name] = texts.to_numpy(zero_copy_only=False).astype(object)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False).astype(object)
    return pd.DataFrame(columns)


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    missing = [name for name in ("decision_id", "event", "at") if name not in frame.columns]
    if missing:
        raise DataError(f"{path} lacks the columns {missing}", hint="see docs/schema.md, outcomes")
    return frame


def _valid(frame: pd.DataFrame) -> BoolArray:
    """(n,) rows that pass the schema."""
    ok = _text(frame["decision_id"]) & _text(frame["event"]) & _text(frame["at"])
    at = frame["at"].where(ok, "").astype(str).str.strip()
    ok &= at.str.contains(_OFFSET, regex=True).to_numpy(dtype=bool)
    known = pd.to_datetime(at.where(ok, None), format="ISO8601", utc=True, errors="coerce").notna().to_numpy(dtype=bool)
    ok &= known
    if "value_usd" in frame.columns:
        raw = frame["value_usd"]
        empty = (raw.isna() | (raw.astype(str).str.strip() == "")).to_numpy(dtype=bool)
        number = pd.to_numeric(raw.where(~empty, None), errors="coerce").to_numpy(dtype=np.float64)
        ok &= empty | np.isfinite(number)
    return ok


def _text(column: pd.Series[Any]) -> BoolArray:
    return np.array([isinstance(value, str) and bool(value.strip()) for value in column], dtype=np.bool_)


MATURITY, OUTCOMES_BY_ACTION = "maturity", "outcomes_by_action"


class Maturity:
    """Known and unknown rewards, and their sums of weights, by metric.

    Args:
        groups: groups of actions whose draws are counted.
        metrics: names of the metrics.
    """

    def __init__(self, groups: ActionGroups, metrics: Sequence[str]) -> None:
        self._groups = groups
        self._rows = 0
        self._unknown = dict.fromkeys(metrics, 0)
        self._sums: dict[str, FloatArray] = {name: np.zeros((2, 3, len(groups.names))) for name in metrics}

    def add(self, batch: AuditBatch) -> None:
        usable = batch.rounds.usable
        self._rows += int(usable.sum())
        parts = np.stack([batch.weight, batch.weight * batch.weight, batch.target])
        for name in self._unknown:
            unknown = np.isnan(batch.rounds.rewards[name])
            self._unknown[name] += int((unknown & usable).sum())
            own = unknown[batch.rows]
            self._sums[name] += np.stack([parts[:, own].sum(axis=1), parts[:, ~own].sum(axis=1)])

    def merge(self, other: Maturity) -> None:
        self._rows += other._rows
        for name, count in other._unknown.items():
            self._unknown[name] += count
            self._sums[name] = self._sums[name] + other._sums[name]

    def finding(self, rule: AuditRule) -> Finding:
        """Share of usable rows without a reward, of the metric with most."""
        if not self._unknown:
            return not_applicable(MATURITY, "the log has no rewards yet: join outcomes first (`tactful join`)")
        if not self._rows:
            return not_applicable(MATURITY, "no row is usable")
        worst = max(self._unknown, key=lambda name: self._unknown[name])
        share = self._unknown[worst] / self._rows
        what = f"{self._unknown[worst]} of {self._rows} usable rows have no {worst} yet"
        advice = "wait until the windows have closed, or join with a later --now"
        return graded(MATURITY, share, rule.immature, what, advice)

    def by_action(self, drawn: Finding, rule: AuditRule) -> Finding:
        """Whether a reward is known depends on the action: the worst metric and group."""
        if drawn.verdict == FAIL:
            return not_applicable(OUTCOMES_BY_ACTION, f"{drawn.check} fails: nothing more can be said of the draw")
        names = [name for name, count in self._unknown.items() if 0 < count < self._rows]
        if not names:
            return not_applicable(OUTCOMES_BY_ACTION, "every usable row has its reward, or none has")
        table = np.stack([self._sums[name] for name in names])
        total, squares, target = np.moveaxis(table, 2, 0)
        p_values = upper_p(total - target, squares - 2.0 * total + target)
        metric, known, group = np.unravel_index(int(np.argmin(p_values)), p_values.shape)
        which = "known" if known else "unknown"
        what = f"{names[metric]} is {which} unevenly for {self._groups.names[group]}; {p_values.size} means tested"
        advice = "rewards are known for some actions only: give every decision its reward, zeros among them"
        return tested(OUTCOMES_BY_ACTION, smallest(p_values), rule, what, advice)
