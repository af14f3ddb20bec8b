"""The audit of a log: one pass for all checks that add up, one more for duplicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.audit.batch import AuditBatch, batches_of
from engine.audit.bins import FeatureBins
from engine.audit.checks.consent import Consent
from engine.audit.checks.contact_groups import ContactGroups
from engine.audit.checks.credited import credited
from engine.audit.checks.draws import MeanWeight, SampleRatio
from engine.audit.checks.drift import Drift
from engine.audit.checks.leaks import Explained, Future, Independence
from engine.audit.checks.logged_actions import LoggedAction, actions
from engine.audit.checks.missing_rows import Calendar, Dispatch, duplicates, rejected
from engine.audit.checks.rewards import RESOLUTION, VALIDITY, Maturity, audit_outcomes
from engine.audit.checks.support import Support, propensities
from engine.audit.findings import FAIL, Finding, not_applicable, overall, settle
from engine.audit.groups import action_groups
from engine.audit.rule import AuditRule
from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.records.schema import LogMeta
from engine.storage.given import Given

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        verdict: the worst of the findings': pass, warn or fail.
        findings: one per check; `actions` alone where it fails, since nothing can then be read.
        rows: number of rows of the log.
        metrics: names of the metrics that were looked at.
    """

    verdict: str
    findings: tuple[Finding, ...]
    rows: int
    metrics: tuple[str, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Findings that fail."""
        return tuple(found for found in self.findings if found.verdict == "fail")


class _Check(Protocol):
    """A check that adds up over batches, and over parts of a log."""

    def add(self, batch: AuditBatch) -> None: ...

    def merge(self, other: Any) -> None: ...


class AuditSums:
    """What all batches of a log add up to; parts of a log with the same cuts merge.

    Args:
        meta: footer of the log.
        rule: limits.
        metrics: names of the log's metrics that are looked at.
        bins: cuts of the features; those of another part where parts are merged later.
    """

    def __init__(self, meta: LogMeta, rule: AuditRule, metrics: Sequence[str], bins: FeatureBins | None = None) -> None:
        self.meta, self.rule, self.metrics = meta, rule, tuple(metrics)
        self.bins = FeatureBins(meta.features, rule.top_levels) if bins is None else bins
        self.groups = action_groups(meta.catalog)
        self.available = 0
        self.logged_action = LoggedAction()
        self.support = Support(self.groups)
        self.mean_weight = MeanWeight(self.groups)
        self.sample_ratio = SampleRatio(self.groups)
        self.contact_groups = ContactGroups()
        self.calendar = Calendar()
        self.dispatch = Dispatch(self.groups)
        self.independence = Independence(self.groups, self.bins)
        self.explained = Explained(meta.features, self.bins, metrics)
        self.future = Future(meta.features, rule)
        self.drift = Drift(meta.features, self.bins)
        self.maturity = Maturity(self.groups, metrics)
        self.consent = Consent(meta.catalog)
        self._checks: tuple[_Check, ...] = (
            *(self.logged_action, self.support, self.mean_weight, self.sample_ratio, self.contact_groups),
            *(self.calendar, self.dispatch, self.independence, self.explained, self.future),
            *(self.drift, self.maturity, self.consent),
        )

    def add(self, batch: AuditBatch) -> None:
        """Add the rows of a batch."""
        self.available += int(batch.available.sum())
        for check in self._checks:
            check.add(batch)

    def merge(self, other: AuditSums) -> None:
        """Take over the sums of another part of the same log.

        Raises:
            DataError: the other part was cut into other bins.
        """
        if self.bins is not other.bins:
            raise DataError("parts of an audit must share their bins", hint="give the bins of the first part")
        self.available += other.available
        for mine, theirs in zip(self._checks, other._checks, strict=True):
            mine.merge(theirs)

    def findings(self) -> list[Finding]:
        """All checks that need nothing but these sums."""
        rule, support = self.rule, self.support
        drawn = self.mean_weight.finding(support, rule)
        return [
            self.logged_action.finding(),
            propensities(self.meta, support, self.available),
            drawn,
            self.sample_ratio.finding(support, rule),
            self.contact_groups.shares(rule),
            self.contact_groups.kept(),
            self.calendar.finding(rule),
            self.dispatch.finding(rule),
            self.independence.finding(drawn, rule),
            self.explained.finding(rule),
            self.future.finding(rule),
            self.drift.features(rule),
            self.drift.propensities(rule),
            self.maturity.finding(rule),
            self.maturity.by_action(drawn, rule),
            self.consent.of_sends(rule),
            self.consent.coverage(rule),
        ]


def audit_log(
    reader: LogReader,
    rule: AuditRule,
    *,
    metrics: Sequence[str] | None = None,
    outcomes: Given | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit a log; memory does not grow with its rows but for hashes that are bounded.

    Args:
        reader: the log.
        rule: limits.
        metrics: to look at; all of the log where None.
        outcomes: files of outcomes, for validity and resolution.
        progress: told of rows that are done.

    Raises:
        LogFormatError: rows that break the schema, a propensity outside (0, 1] among them.
        DataError: unknown metric, or outcomes that cannot be read.
    """
    wanted = tuple(reader.meta.rewards if metrics is None else metrics)
    named = actions(reader)
    if named.verdict == FAIL:
        return Audit(FAIL, (named,), reader.rows, wanted)
    sums = AuditSums(reader.meta, rule, wanted)
    for batch in batches_of(reader, sums.groups, sums.bins, wanted):
        sums.add(batch)
        if progress is not None:
            progress(batch.n)
    found = [named, *sums.findings(), duplicates(reader, rule), *rejected(reader.meta, rule), credited(reader.meta)]
    if outcomes is None:
        why = "no outcome file was given (--outcomes)"
        found += [not_applicable(VALIDITY, why), not_applicable(RESOLUTION, why)]
    else:
        found += audit_outcomes(outcomes, reader, rule)
    settled = settle(found, rule)
    return Audit(overall(settled), settled, reader.rows, wanted)
