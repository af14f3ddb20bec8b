"""The gate before training, backtests and promotions: no log is learnt from or judged on that its audit fails."""

from __future__ import annotations

from engine.audit.audit import Audit, audit_log
from engine.audit.findings import FAIL, WARN
from engine.audit.rule import AuditRule
from engine.errors import DataError, ParameterError
from engine.log.parquet import LogReader
from engine.log.structure import accept
from experiments.outputs import Output


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
        metric: that is to be learnt or judged by.
        rule: limits.
        override: the reason to go on in spite of a failed check; None is no override.
        option: of the command, that overrides; shown in the hint.

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
