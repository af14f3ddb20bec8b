"""What a check found, and what all of them say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engine.audit.rule import AuditRule
from engine.ope.intervals.simultaneous import holm

PASS, WARN, FAIL, NOT_APPLICABLE = VERDICTS = ("pass", "warn", "fail", "n/a")
# The detail that marks a test: its p-value after the correction over checks. The verdict waits for `settle`.
ADJUSTED: Final = "adjusted_p"
_ORDER: Final = {NOT_APPLICABLE: 0, PASS: 0, WARN: 1, FAIL: 2}


@dataclass(frozen=True)
class Finding:
    """The answer of one check; `tactful audit` prints it.

    Attributes:
        check: its name.
        verdict: pass, warn, fail or n/a.
        value: what was measured; None where nothing was. With a test, the p-value before the correction over checks.
        warn: beyond which it warns; None where it never does.
        fail: beyond which it fails (of a test: the error that all tests share); None where it never fails.
        what: one sentence: what was seen, or why there is no answer.
        advice: what to do; "" where nothing is to be done.
        details: further figures, plain data.
    """

    check: str
    verdict: str
    value: float | None
    warn: float | None
    fail: float | None
    what: str
    advice: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def not_applicable(check: str, why: str) -> Finding:
    """A check that has no answer on this log."""
    return Finding(check, NOT_APPLICABLE, None, None, None, why)


def graded(check: str, value: float, limits: tuple[float | None, float | None], what: str, advice: str) -> Finding:
    """A finding by limits (warn, fail): above one is worse; None never is."""
    warn, fail = limits
    verdict = PASS
    if warn is not None and value > warn:
        verdict = WARN
    if fail is not None and value > fail:
        verdict = FAIL
    return Finding(check, verdict, value, warn, fail, what, advice if verdict != PASS else "")


def tested(check: str, p_value: float, rule: AuditRule, what: str, advice: str, **details: Any) -> Finding:
    """A finding by a test; `settle` gives it its verdict."""
    p_value = min(1.0, max(0.0, float(p_value)))
    details[ADJUSTED] = p_value
    found = Finding(check, PASS, p_value, rule.warn_error, rule.error, what, advice, details)
    return settle([found], rule)[0]


def settle(findings: Sequence[Finding], rule: AuditRule) -> tuple[Finding, ...]:
    """The tests judged together: Holm over checks, so that all of them err at most once in 1 / `error` healthy logs."""
    places = [i for i, found in enumerate(findings) if ADJUSTED in found.details]
    adjusted = dict(zip(places, holm([findings[i].value or 0.0 for i in places]), strict=True))
    out = []
    for place, found in enumerate(findings):
        if place not in adjusted:
            out.append(found)
            continue
        p_value = adjusted[place]
        verdict = FAIL if p_value < rule.error else WARN if p_value < rule.warn_error else PASS
        advice = "" if verdict == PASS else found.advice
        out.append(replace(found, verdict=verdict, advice=advice, details={**found.details, ADJUSTED: p_value}))
    return tuple(out)


def overall(findings: Sequence[Finding]) -> str:
    """The worst verdict; "pass" where there is none."""
    return max((found.verdict for found in findings), key=lambda verdict: _ORDER[verdict], default=PASS).replace(
        NOT_APPLICABLE, PASS
    )
