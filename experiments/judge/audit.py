"""Audit a log: from a request to the object that `tactful audit` prints, and its report."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.audit.audit import Audit, audit_log
from engine.audit.checks.consent import COVERAGE
from engine.audit.checks.rewards import RESOLUTION, VALIDITY
from engine.audit.findings import Finding
from engine.audit.rule import AuditRule
from engine.log.parquet import LogReader
from engine.storage.given import Given, named
from experiments.outputs import json_bytes
from experiments.outputs_audit import AuditOutput, FindingRow, Readiness
from experiments.report.audit import audit_page
from experiments.report.files import make_folder, write_whole

Advance = Callable[[float], None]


class AuditConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful audit`."""

    audit: AuditRule


@dataclass(frozen=True)
class AuditRequest:
    """What is asked.

    Attributes:
        log: a log in our schema.
        metrics: to look at; all of the log where empty.
        outcomes: files of outcomes that were joined to it, or None.
        out: folder for report.html and report.json, or None.
    """

    log: Given
    metrics: tuple[str, ...] = ()
    outcomes: Given | None = None
    out: Path | None = None


def audit(request: AuditRequest, rule: AuditRule, advance: Advance | None = None) -> AuditOutput:
    """Run every check on a log and write the report.

    Raises:
        LogFormatError, DataError: a log or outcomes that cannot be read, or an unknown metric.
        StorageError: the report cannot be written.
    """
    reader = LogReader(request.log)
    told = None if advance is None else (lambda rows: advance(float(rows)))
    found = audit_log(reader, rule, metrics=request.metrics or None, outcomes=request.outcomes, progress=told)
    output = AuditOutput(
        log=named(request.log),
        rows=found.rows,
        metrics=found.metrics,
        verdict=found.verdict,
        readiness=_readiness(found),
        findings=tuple(finding_row(one) for one in found.findings),
        notes=reader.meta.notes,
    )
    if request.out is None:
        return output
    folder = make_folder(request.out)
    files = {"report": str(folder / "report.html"), "json": str(folder / "report.json")}
    output = msgspec.structs.replace(output, files=files)
    write_whole(folder / "report.json", json_bytes(output))
    write_whole(folder / "report.html", audit_page(output))
    return output


def finding_row(found: Finding) -> FindingRow:
    """A finding as it is printed; what is not finite becomes null."""
    value = found.value if found.value is not None and math.isfinite(found.value) else None
    return FindingRow(
        check=found.check,
        verdict=found.verdict,
        value=value,
        warn=found.warn,
        fail=found.limit,
        what=found.what,
        advice=found.advice,
        details=_plain(found.details),
    )


def _plain(details: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(details, enc_hook=float))
    return plain


def _readiness(found: Audit) -> Readiness:
    shares = {one.check: one.value for one in found.findings}

    def share(check: str) -> float | None:
        missing = shares.get(check)
        return None if missing is None else 1.0 - missing

    return Readiness(permission=share(COVERAGE), resolved=share(RESOLUTION), valid=share(VALIDITY))
