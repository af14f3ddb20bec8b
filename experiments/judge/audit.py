"""Audit a log, write its report, and refuse to learn from or judge on a log whose audit fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from engine.audit.audit import Audit, audit_log
from engine.audit.checks.consent import COVERAGE
from engine.audit.checks.rewards import RESOLUTION, VALIDITY
from engine.audit.findings import FAIL, WARN, Finding
from engine.audit.rule import AuditRule
from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.log.structure import accept
from engine.storage.given import Given, given_paths, named
from experiments.outputs import CommandOutput, Output, json_bytes
from experiments.report.audit import audit_page
from experiments.report.files import make_folder, write_whole

Advance = Callable[[float], None]


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
        notes: notes that the log carries.
        files: report.html and report.json, where --out was given.
    """

    log: str
    rows: int
    metrics: tuple[str, ...]
    verdict: str
    readiness: Readiness
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}


class AuditConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful audit`."""

    audit: AuditRule


def audit(
    log: Given,
    rule: AuditRule,
    *,
    metrics: Sequence[str] = (),
    outcomes: Given | None = None,
    out: Path | None = None,
    advance: Advance | None = None,
) -> AuditOutput:
    """Run every check on a log and write the report.

    Args:
        log: a log in our schema.
        rule: limits.
        metrics: metrics to look at; all of the log where empty.
        outcomes: files of outcomes that were joined to it, or None.
        out: folder for report.html and report.json, or None.
        advance: called with the rows of each batch.

    Raises:
        LogFormatError, DataError: a log or outcomes that cannot be read, or an unknown metric.
        StorageError: the report cannot be written.
    """
    reader = LogReader(log)
    told = None if advance is None else (lambda rows: advance(float(rows)))
    found = audit_log(reader, rule, metrics=tuple(metrics) or None, outcomes=outcomes, progress=told)
    output = AuditOutput(
        log=named(log),
        rows=found.rows,
        metrics=found.metrics,
        verdict=found.verdict,
        readiness=_readiness(found),
        findings=tuple(map(_printable, found.findings)),
        notes=reader.meta.notes,
    )
    if out is None:
        return output
    folder = make_folder(out)
    files = {"report": str(folder / "report.html"), "json": str(folder / "report.json")}
    output = msgspec.structs.replace(output, files=files)
    write_whole(folder / "report.json", json_bytes(output))
    write_whole(folder / "report.html", audit_page(output, named([path.name for path in given_paths(log)])))
    return output


def _printable(found: Finding) -> Finding:
    """The finding in plain data; what is not finite becomes null."""
    value = found.value if found.value is not None and math.isfinite(found.value) else None
    details = msgspec.json.decode(msgspec.json.encode(found.details, enc_hook=float))
    return replace(found, value=value, details=details)


def _readiness(found: Audit) -> Readiness:
    shares = {one.check: one.value for one in found.findings}

    def share(check: str) -> float | None:
        missing = shares.get(check)
        return None if missing is None else 1.0 - missing

    return Readiness(permission=share(COVERAGE), resolved=share(RESOLUTION), valid=share(VALIDITY))


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


def passed_gate(
    reader: LogReader, metric: str, rule: AuditRule, override: str | None, *, option: str = "--override-audit"
) -> AuditGate | None:
    """Audit before anything is learnt from a log or judged on it.

    A log without propensities, or without the metric, is left to the refusal of whoever asked.

    Args:
        reader: the log.
        metric: the metric that is to be learnt or judged by.
        rule: limits.
        override: the reason to go on in spite of a failed check; None is no override.
        option: the command's option that overrides; it is shown in the hint.

    Returns:
        What the audit said, to be kept in the report and the manifest.

    Raises:
        DataError: a check fails and nothing overrides it.
        ParameterError: an override without a reason.
    """
    if override is not None and not override.strip():
        raise ParameterError(
            "override-audit", "the audit", allowed="a reason in words", got=override, hint="it is kept in the report"
        )
    if reader.meta.propensity != "logged" or metric not in reader.meta.rewards:
        return None
    found = audit_log(reader, rule, metrics=(metric,))
    sums = {one.check: one.value for one in found.findings}
    if override is not None or not (sums.get("duplicates") or sums.get("logged_action") or sums.get("propensities")):
        # The same was looked at in these passes, or somebody answers for it.
        accept(reader)
    if found.failed and override is None:
        said = "; ".join(f"{one.check}: {one.what}" for one in found.failed)
        raise DataError(
            f"the audit of {reader.path} fails: {said}",
            hint=f"see `tactful audit {reader.path}`; mend the log, or go on with {option} REASON, which is kept",
        )
    return AuditGate(
        verdict=found.verdict,
        failed=_named(found, FAIL),
        warned=_named(found, WARN),
        overridden=str(override or "") if found.failed else "",
    )


def gate_sentence(gate: AuditGate | None) -> str:
    """What the audit said, for people."""
    if gate is None:
        return "not run"
    parts = [f"failed {', '.join(gate.failed)}"] if gate.failed else []
    parts += [f"warned of {', '.join(gate.warned)}"] if gate.warned else []
    parts += [f"overridden: {gate.overridden}"] if gate.overridden else []
    return "; ".join(parts) or "passed"


def _named(found: Audit, verdict: str) -> tuple[str, ...]:
    return tuple(one.check for one in found.findings if one.verdict == verdict)
