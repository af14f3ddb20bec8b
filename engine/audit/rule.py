"""What an audit demands of a log: the numbers of conf/audit/."""

from __future__ import annotations

import msgspec

from engine.decide.groups import require_shares
from engine.errors import ParameterError

Limits = tuple[float | None, float | None]


class AuditRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of the checks. A pair is (warn above, fail above); null never does.

    Attributes:
        error: probability that a healthy log fails any of the tests, all together, in (0, 1).
        warn_error: that it is warned by any; at least `error`.
        control_share: declared share of contacts in control, tested; null is not.
        uniform_share: declared share of decisions in the uniform slice (of all contacts), tested; null is not.
        top_levels: levels of a categorical feature that are looked at one by one.
        duplicates: decisions that are in the log twice, share of rows.
        undispatched: decisions that were drawn but did not leave, share of rows.
        empty_days: days without a decision inside the log's span, share of days.
        feature_drift / propensity_drift: population stability index of the later half of the days against the first.
        explained: share of a metric's variance that one feature alone explains.
        future_rows: rows in which an age in days is negative: a feature that is newer than its decision.
        immature: rows whose reward is not known, share of usable rows.
        without_consent: sends without a known consent, share of sends.
        no_consent_record: contacts (decisions) without a consent record on any channel, share.
        unresolved: outcomes that no decision of the log resolves, share.
        invalid_events: outcomes that break the schema, share.
        rejected_by_outcome: rows that an import rejected because of their outcome, share of rows read.
        rejected_unread: rows that an import could not read, or that repeat an id, share of rows read.
        age_features: patterns of features that count days back from the decision.
    """

    error: float = 0.001
    warn_error: float = 0.01
    control_share: float | None = None
    uniform_share: float | None = None
    top_levels: int = 8
    duplicates: Limits = (0.0, 0.0)
    undispatched: Limits = (0.02, 0.2)
    empty_days: Limits = (0.1, None)
    feature_drift: Limits = (0.25, None)
    propensity_drift: Limits = (0.25, None)
    explained: Limits = (0.3, 0.6)
    future_rows: Limits = (0.0, 0.0)
    immature: Limits = (0.5, 0.999)
    without_consent: Limits = (0.0, 0.0)
    no_consent_record: Limits = (0.2, 0.5)
    unresolved: Limits = (0.001, 0.05)
    invalid_events: Limits = (0.0, 0.05)
    rejected_by_outcome: Limits = (0.0, 0.0)
    rejected_unread: Limits = (0.0, 0.001)
    age_features: tuple[str, ...] = ("days_since_*", "hours_since_*")

    def __post_init__(self) -> None:
        for name in ("error", "warn_error"):
            if not 0 < getattr(self, name) < 1:
                raise ParameterError(name, "audit", allowed="in (0, 1)", got=getattr(self, name))
        if self.warn_error < self.error:
            raise ParameterError("warn_error", "audit", allowed=f"at least error = {self.error:g}", got=self.warn_error)
        require_shares(self.control_share or 0.0, self.uniform_share or 0.0, "audit")
        if self.top_levels < 1:
            raise ParameterError("top_levels", "audit", allowed="at least 1", got=self.top_levels)
        for name in _PAIRS:
            warn, fail = getattr(self, name)
            given = [limit for limit in (warn, fail) if limit is not None]
            if any(not limit >= 0 for limit in given) or sorted(given) != given:
                raise ParameterError(name, "audit", allowed="two limits, at least 0, rising, or null", got=(warn, fail))


_PAIRS = (
    "duplicates",
    "undispatched",
    "empty_days",
    "feature_drift",
    "propensity_drift",
    "explained",
    "future_rows",
    "immature",
    "without_consent",
    "no_consent_record",
    "unresolved",
    "invalid_events",
    "rejected_by_outcome",
    "rejected_unread",
)
