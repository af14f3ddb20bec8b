"""Rows that are missing or doubled.

Days may lack decisions, decisions may repeat, sends that were drawn may not have left (estimates see rows that left, so
a loss that depends on the action biases them), and an import may have rejected rows by their outcome or their action.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from engine.audit.batch import NO_DAY, AuditBatch
from engine.audit.findings import WARN, Finding, graded, not_applicable, tested
from engine.audit.groups import ActionGroups
from engine.audit.rule import AuditRule
from engine.audit.windows import DaySums, day_name
from engine.identity import keyed_hash
from engine.log.parquet import LogReader, instants
from engine.log.structure import HELD, repeats
from engine.records.schema import LogMeta, Rejections
from engine.types import KeyArray

MISSING_DECISIONS = "missing_decisions"
_MISSING_DECISIONS_ADVICE = (
    "a file or a batch may be missing: compare the number of decisions by day with the sender's own count"
)
# A day with less than this share of the median day's decisions counts as empty.
_HARDLY = 0.02


class Calendar:
    """Rows by day."""

    def __init__(self) -> None:
        self._rows = DaySums()
        self._timeless = 0

    def add(self, batch: AuditBatch) -> None:
        self._timeless += int((batch.day == NO_DAY).sum())
        ones = np.ones(batch.n)
        self._rows.add(batch.day, lambda rows: np.array([ones[rows].sum()]))

    def merge(self, other: Calendar) -> None:
        self._rows.merge(other._rows)
        self._timeless += other._timeless

    def finding(self, rule: AuditRule) -> Finding:
        """Share of the span's days that are empty."""
        days = self._rows.days
        if not days:
            return not_applicable(MISSING_DECISIONS, "no row says when it was decided")
        counts = np.array([self._rows.of(day)[0] for day in days])
        hardly = [day_name(day) for day, count in zip(days, counts, strict=True) if count < _HARDLY * np.median(counts)]
        span = days[-1] - days[0] + 1
        known = set(days)
        empty = [day_name(day) for day in range(days[0], days[-1]) if day not in known] if span < 4000 else []
        share = (span - len(days) + len(hardly)) / span
        shown = ", ".join([*empty, *hardly][:5])
        what = f"{span - len(days)} of {span} days have no decision, {len(hardly)} hardly any"
        what += f" ({shown})" if shown else ""
        what += f"; {self._timeless} rows have no instant" if self._timeless else ""
        if len(days) < span / 2:
            return not_applicable(
                MISSING_DECISIONS, f"decisions are taken on {len(days)} of {span} days: no day is missed"
            )
        found = graded(MISSING_DECISIONS, share, rule.empty_days, what, _MISSING_DECISIONS_ADVICE)
        found.details.update(
            days=len(days), rows_by_day={day_name(d): int(c) for d, c in zip(days, counts, strict=True)}
        )
        return found


DUPLICATES: Final = "duplicates"
_DUPLICATES_ADVICE: Final = "an export ran twice, or files overlap: write the log again with each decision once"
_COLUMNS: Final = ("decision_id", "contact_id", "use_case", "decided_at")
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


def duplicates(reader: LogReader, rule: AuditRule, held: int = HELD) -> Finding:
    """Count repeats by 64-bit hashes; that hashes of two different ids are equal somewhere is as likely as n^2 / 2^65.

    A repeated id fails by `rule.duplicates`; a contact who was decided for twice at one instant is only warned of,
    because logs of others may hold several positions of one page.

    Raises:
        LogFormatError: rows that break the schema.
    """
    passes = max(1, -(-reader.rows // held))
    same_id = same_decision = 0
    for part in range(passes):
        ids: list[KeyArray] = []
        decisions: list[KeyArray] = []
        for one, other in _hashes(reader):
            ids.append(one[one % np.uint64(passes) == part])
            decisions.append(other[other % np.uint64(passes) == part])
        same_id += repeats(ids)
        same_decision += repeats(decisions)
    what = f"of {reader.rows} rows {same_id} repeat a decision id, {same_decision} a contact, use case and instant"
    found = graded(DUPLICATES, same_id / reader.rows, rule.duplicates, what, _DUPLICATES_ADVICE)
    if found.verdict == "pass" and same_decision:
        advice = "several decisions about a contact at one instant: where they are not meant, learn from one of them"
        return Finding(DUPLICATES, WARN, found.value, found.warn, found.fail, what, advice)
    return found


def _hashes(reader: LogReader) -> Iterator[tuple[KeyArray, KeyArray]]:
    for batch in reader.batches(list(_COLUMNS)):
        yield _strings(batch.column("decision_id"), "id"), _decisions(batch)


def _decisions(batch: pa.RecordBatch) -> KeyArray:
    """(n,) hashes of contact, use case and instant."""
    cases = batch.column("use_case")
    case = _strings(cases.dictionary, "case")[cases.indices.to_numpy(zero_copy_only=False)]
    at = instants(batch.column("decided_at")).astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = (_strings(batch.column("contact_id"), "contact") ^ case * _MIX) + at * _MIX
        mixed ^= mixed >> np.uint64(29)
        out: KeyArray = mixed * _MIX
    return out


def _strings(column: pa.Array, salt: str) -> KeyArray:
    return keyed_hash(column.to_numpy(zero_copy_only=False).astype(object), f"audit/{salt}")


UNDISPATCHED = "undispatched"
_UNDISPATCHED_ADVICE = (
    "sends were drawn but not handed over (failed, suppressed, or no dispatch report was joined yet): join the "
    "reports; where sends really fail, estimates hold for a world in which those decisions do not count"
)


class Dispatch:
    """Drawn and unusable rows by group of actions.

    Args:
        groups: groups of actions whose draws are counted.
    """

    def __init__(self, groups: ActionGroups) -> None:
        self._groups = groups
        self._sums = np.zeros((2, len(groups.names)))

    def add(self, batch: AuditBatch) -> None:
        rows = np.flatnonzero(batch.available)
        member = self._groups.member[batch.rounds.action[rows]].astype(np.float64)
        self._sums += np.stack([member.sum(axis=0), member[~batch.rounds.usable[rows]].sum(axis=0)])

    def merge(self, other: Dispatch) -> None:
        self._sums = self._sums + other._sums

    def finding(self, rule: AuditRule) -> Finding:
        """Share of all drawn rows, with the group that lost most."""
        drawn, lost = self._sums
        if not drawn[0]:
            return not_applicable(UNDISPATCHED, "nothing was drawn in any row")
        shares = np.divide(lost, drawn, out=np.zeros_like(lost), where=drawn > 0)
        worst = int(np.argmax(shares))
        what = f"{lost[0]:.0f} of {drawn[0]:.0f} drawn decisions did not leave"
        what += f"; most of {self._groups.names[worst]}: {shares[worst]:.1%}" if lost[0] else ""
        return graded(UNDISPATCHED, float(lost[0] / drawn[0]), rule.undispatched, what, _UNDISPATCHED_ADVICE)


BY_OUTCOME, UNREAD, BY_ACTION = "rejected_by_outcome", "rejected_unread", "rejected_by_action"
_NONE: Final = "no row was rejected when the log was imported"


def rejected(meta: LogMeta, rule: AuditRule) -> list[Finding]:
    """The checks of what the footer of a log says about its rejected rows."""
    found = meta.rejections
    if isinstance(found, msgspec.UnsetType):
        return [not_applicable(check, _NONE) for check in (BY_OUTCOME, UNREAD, BY_ACTION)]
    return [_by_outcome(found, rule), _unread(found, rule), _by_action(found, rule)]


def _by_outcome(found: Rejections, rule: AuditRule) -> Finding:
    what = f"{found.by_outcome} of {found.rows_read} rows were rejected because of their outcome"
    advice = (
        "import again so that every outcome is read: state the marks of numbers, widen low and high, name the markers "
        "of unknown outcomes; what is left is no sample of what was sent"
    )
    return graded(BY_OUTCOME, found.by_outcome / found.rows_read, rule.rejected_by_outcome, what, advice)


def _unread(found: Rejections, rule: AuditRule) -> Finding:
    what = f"{found.unread} of {found.rows_read} rows could not be read, or had the id of an earlier row"
    advice = "mend the export: a delimiter or a mark inside an outcome breaks just the rows that have it"
    return graded(UNREAD, found.unread / found.rows_read, rule.rejected_unread, what, advice)


def _by_action(found: Rejections, rule: AuditRule) -> Finding:
    least = min(found.reasons, key=lambda one: one.p_value)
    what = f"which rows were rejected varies with their action with p = {found.action_p:.2g} ({least.reason})"
    advice = "find out why: rows of one action were lost more often than those of another"
    if found.even:
        return tested(BY_ACTION, found.action_p, rule, what, advice)
    # Propensities vary with the context here, and so may rejection, without a fault.
    verdict = WARN if found.action_p < rule.warn_error else "pass"
    return Finding(BY_ACTION, verdict, found.action_p, rule.warn_error, None, what, advice if verdict == WARN else "")
