"""What `tactful monitor` prints with `--json`."""

from __future__ import annotations

from typing import Any

from experiments.outputs_base import Output


class DayRow(Output, frozen=True, kw_only=True):
    """The effect of everything until the end of a day, per decision.

    Attributes:
        value / stderr / low / high: with what was known of contacts before taken off; the interval holds on all days.
        plain / plain_stderr: without.
        treated / others: decisions so far whose reward is known.
    """

    day: str
    value: float
    stderr: float
    low: float
    high: float
    plain: float
    plain_stderr: float
    treated: int
    others: int


class EffectOutput(Output, frozen=True, kw_only=True):
    """Treatment less another group.

    Attributes:
        against: control or uniform.
        verdict: better, worse, no difference, or insufficient (too few decisions).
        now: the effect today; null where there is none.
        days: the effect after each day.
        variance_left: share of the variance that the covariates left.
    """

    against: str
    verdict: str
    now: DayRow | None
    days: tuple[DayRow, ...]
    variance_left: float | None


class OfflineRow(Output, frozen=True, kw_only=True):
    """What the backtest had said of the same difference, per decision.

    Attributes:
        against: control or uniform.
        policy / baseline: of the backtest.
        agrees: whether the two intervals overlap; null where one is missing.
    """

    against: str
    policy: str
    baseline: str
    value: float | None
    low: float | None
    high: float | None
    agrees: bool | None


class RaisedRow(Output, frozen=True, kw_only=True):
    """An escalation that is on.

    Attributes:
        name / effect: of the rule: alert, pause_arm, pause_channel or kill.
        scope: channel, arm or feature; "" for all.
        value / limit: seen and allowed.
        since: day on which it went on; "" where none is known.
        what: one sentence.
    """

    name: str
    effect: str
    scope: str
    value: float
    limit: float
    since: str
    what: str


class MonitorOutput(Output, frozen=True, kw_only=True):
    """`tactful monitor --json`.

    Attributes:
        logs / rows: that were read.
        metric: of the effects.
        state: fine, alert, pause or kill: the strongest escalation.
        effects: against control and against the uniform slice.
        offline: the backtest's figures, where they were given.
        raised: escalations that are on, the strongest first.
        silent: rule -> why it could not be judged.
        conditions: the sender's side for the next decisions, as plain data.
        notes: of the logs.
        files: report.html, report.json and conditions.yaml, where --out was given.
    """

    logs: tuple[str, ...]
    rows: int
    metric: str
    state: str
    effects: tuple[EffectOutput, ...]
    offline: tuple[OfflineRow, ...]
    raised: tuple[RaisedRow, ...]
    silent: dict[str, str]
    conditions: dict[str, Any]
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}


MONITOR_OUTPUTS: dict[str, type[Output]] = {"monitor": MonitorOutput}
