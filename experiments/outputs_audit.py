"""What `tactful audit` prints with `--json`, and what training and backtests keep of it."""

from __future__ import annotations

from typing import Any

from experiments.outputs_base import CommandOutput, Output


class FindingRow(Output, frozen=True, kw_only=True):
    """One check of an audit.

    Attributes:
        check: its name (docs/audit.md).
        verdict: pass, warn, fail or n/a.
        value: what was measured; of a test its p-value.
        warn / fail: limits; null where it never warns or fails.
        what: what was seen, or why there is no answer.
        advice: what to do; "" where nothing is to be done.
        details: further figures.
    """

    check: str
    verdict: str
    value: float | None
    warn: float | None
    fail: float | None
    what: str
    advice: str = ""
    details: dict[str, Any] = {}


class Readiness(Output, frozen=True, kw_only=True):
    """The three questions before anything else, as shares; null where the log cannot say.

    Attributes:
        permission: decisions about contacts with a consent record (source and timestamp) on some channel.
        resolved: events that belong to a decision of the log, and by it to a profile.
        valid: events that pass the schema.
    """

    permission: float | None
    resolved: float | None
    valid: float | None


class AuditOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful audit --json`.

    Attributes:
        log / rows / metrics: what was audited.
        verdict: the worst of the checks': pass, warn or fail.
        readiness: the three questions.
        findings: one per check, always all.
        notes: of the log.
        files: report.html and report.json, where --out was given.
    """

    log: str
    rows: int
    metrics: tuple[str, ...]
    verdict: str
    readiness: Readiness
    findings: tuple[FindingRow, ...]
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}


class AuditGate(Output, frozen=True, kw_only=True):
    """What the audit said before training or a backtest.

    Attributes:
        verdict: pass, warn or fail.
        failed / warned: checks.
        overridden: the reason that was given to go on in spite of `failed`; "" where nothing was overridden.
    """

    verdict: str
    failed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    overridden: str = ""


AUDIT_OUTPUTS: dict[str, type[Output]] = {"audit": AuditOutput}
