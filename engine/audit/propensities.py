"""Are there propensities at all, and was anything explored?"""

from __future__ import annotations

from engine.audit.findings import FAIL, PASS, WARN, Finding
from engine.audit.support import Support
from engine.records.schema import LogMeta

NAME = "propensities"


def propensities(meta: LogMeta, support: Support, available: int) -> Finding:
    """Drawn rows without a propensity, and the share of rows in which something else could have been drawn."""
    if meta.propensity != "logged":
        advice = "log the probability of each choice, or give it in the mapping; until then nothing here is exact"
        return Finding(NAME, FAIL, 1.0, None, 0.0, "the log has no propensities", advice)
    absent = (available - support.rows) / available if available else 1.0
    if absent:
        what = (
            f"{available - support.rows} of {available} drawn rows have no propensity"
            if available
            else ("nothing was drawn in any row: everybody is in control or not available")
        )
        return Finding(NAME, FAIL, absent, None, 0.0, what, "log the probability of every choice")
    explored = support.below_one / support.rows
    what = f"{explored:.1%} of the drawn rows could have gone otherwise"
    if not support.below_one:
        advice = "without exploration the log says nothing of any other policy: decide with a uniform slice"
        return Finding(NAME, WARN, absent, None, 0.0, what, advice)
    return Finding(NAME, PASS, absent, None, 0.0, what, details={"explored": explored, "full_support": support.full})
