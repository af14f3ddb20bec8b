"""What a check found, and what all of them say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engine.audit.rule import AuditRule
from engine.ope.intervals.simultaneous import holm

PASS, WARN, FAIL, NOT_APPLICABLE = VERDICTS = ("pass", "warn", "fail", "n/a")
_ORDER: Final = {NOT_APPLICABLE: 0, PASS: 0, WARN: 1, FAIL: 2}


@dataclass(frozen=True)
class Finding:
    """The answer of one check.

    Attributes:
        check: its name.
        verdict: pass, warn, fail or n/a.
        value: what was measured; None where nothing was. With a test, the p-value before the correction over checks.
        limit: beyond which it fails (of a test: the error that all tests share); None where it never fails.
        warn: beyond which it warns; None where it never does.
        what: one sentence: what was seen, or why there is no answer.
        advice: what to do; "" where nothing is to be done.
        tested: whether `value` is a p-value, so that the verdict waits for `settle`.
        details: further figures, plain data.
    """

    check: str
    verdict: str
    value: float | None
    limit: float | None
    warn: float | None
    what: str
    advice: str = ""
    tested: bool = False
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
    return Finding(check, verdict, value, fail, warn, what, advice if verdict != PASS else "")


def tested(check: str, p_value: float, rule: AuditRule, what: str, advice: str, **details: Any) -> Finding:
    """A finding by a test; `settle` gives it its verdict."""
    p_value = min(1.0, max(0.0, float(p_value)))
    found = Finding(check, PASS, p_value, rule.error, rule.warn_error, what, advice, tested=True, details=details)
    return settle([found], rule)[0]


def settle(findings: Sequence[Finding], rule: AuditRule) -> tuple[Finding, ...]:
    """The tests judged together: Holm over checks, so that all of them err at most once in 1 / `error` healthy logs."""
    places = [i for i, found in enumerate(findings) if found.tested and found.value is not None]
    adjusted = dict(zip(places, holm([findings[i].value or 0.0 for i in places]), strict=True))
    out = []
    for place, found in enumerate(findings):
        if place not in adjusted:
            out.append(found)
            continue
        p_value = adjusted[place]
        verdict = FAIL if p_value < rule.error else WARN if p_value < rule.warn_error else PASS
        out.append(replace(found, verdict=verdict, details={**found.details, "adjusted_p": p_value}))
    return tuple(out)


def overall(findings: Sequence[Finding]) -> str:
    """The worst verdict; "pass" where there is none."""
    return max((found.verdict for found in findings), key=lambda verdict: _ORDER[verdict], default=PASS).replace(
        NOT_APPLICABLE, PASS
    )
