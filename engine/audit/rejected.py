"""The rows that an import rejected: were they lost by their outcome, or by their action?"""

from __future__ import annotations

from typing import Final

import msgspec

from engine.audit.findings import WARN, Finding, graded, not_applicable, tested
from engine.audit.rule import AuditRule
from engine.records.schema import LogMeta, Rejections

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
