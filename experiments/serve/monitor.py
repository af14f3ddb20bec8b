"""Watch a live policy: from its logs so far to effects, escalations and the conditions of the next decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from engine.audit.audit import AuditSums
from engine.audit.batch import AuditBatch, batch_of
from engine.audit.checks.credited import slips
from engine.audit.findings import settle
from engine.audit.rule import AuditRule
from engine.errors import DataError, reason_of
from engine.guardrails.brakes import Brake
from engine.guardrails.conditions import NOTHING_SAID, Conditions, load_conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import pack_from
from engine.log.parquet import LogReader, instants
from engine.log.structure import require_sound
from engine.monitor.effects import AGAINST, DayEffect, EffectSums, FirstValues, covariates_of
from engine.monitor.escalate import COUNTED, Escalations, Raised, conditions_after, judge
from engine.monitor.feeds import FeedSums
from engine.monitor.foresight import Foresight, ForesightSums
from engine.monitor.rates import RateSums, Reported
from engine.monitor.rule import MonitorRule
from engine.ope.estimate import Estimate
from engine.ope.support import SupportRule
from engine.records.outcomes import read_outcomes
from engine.records.schema import CONTROL, UNIFORM_SLICE, LogMeta
from engine.storage.given import Given
from engine.time.localtime import DAY_US, HOUR_US
from engine.types import NOT_AN_INSTANT, IntArray
from experiments.outputs import Output, json_bytes
from experiments.report.files import make_folder, write_whole
from experiments.report.monitor import monitor_page

OPERATIONS = "operations"
UNKNOWN = "unknown"
# What harm is seen by: while none of these could be judged, silence is no good sign.
_HARM = ("rate", "loss")
STATES = {"": "fine", "alert": "alert", "pause_arm": "pause", "pause_channel": "pause", "kill": "kill"}
_CONSTANT, _LEARNED = "always:", "vw"


class EffectOutput(Output, frozen=True, kw_only=True):
    """Treatment less another group.

    Attributes:
        against: control or uniform.
        verdict: better, worse, no difference, or insufficient (too few decisions).
        now: the effect today; null where there is none.
        days: the effect after each day.
        variance_left: share of the variance that the covariates left.
        missing: what it lacks and until when, at the pace so far; "" where it lacks nothing.
    """

    against: str
    verdict: str
    now: DayEffect | None
    days: tuple[DayEffect, ...]
    variance_left: float | None
    missing: str = ""


class MonitorOutput(Output, frozen=True, kw_only=True):
    """`tactful monitor --json`.

    Attributes:
        logs / rows: the logs that were read, and their rows.
        metric: the metric that the effects are of.
        state: fine, alert, pause or kill: the strongest escalation; unknown where none is on, no effect can be told and
            no rule of a rate or a loss could be judged.
        effects: against control and against the uniform slice.
        offline: the backtest's figures, where they were given.
        raised: escalations that are on, the strongest first.
        silent: rule -> why it could not be judged.
        foresight: what next month's log will be able to say; null where that is not known.
        conditions: the sender's side for the next decisions, as plain data.
        notes: notes that the logs carry, and events of the outcomes that look like slips of a state or a watched event.
        files: report.html, report.json and conditions.yaml, where --out was given.
    """

    logs: tuple[str, ...]
    rows: int
    metric: str
    state: str
    effects: tuple[EffectOutput, ...]
    offline: tuple[OfflineRow, ...]
    raised: tuple[Raised, ...]
    silent: dict[str, str]
    foresight: Foresight | None
    conditions: dict[str, Any]
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}


class MonitorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tactful monitor`."""

    monitor: MonitorRule
    audit: AuditRule


def monitor(
    logs: Given,
    metric: str,
    config: MonitorConfig,
    *,
    outcomes: Given | None = None,
    offline: Path | None = None,
    conditions: Path | None = None,
    now_at: int | None = None,
    out: Path | None = None,
) -> MonitorOutput:
    """Read the logs once and judge.

    Args:
        logs: joined logs of one catalog, feature schema and metric; read in the order of their first decision.
        metric: the metric that the effects are of.
        config: rules of the effects, the escalations and the audit.
        outcomes: events reported so far, or None: then no rate is watched.
        offline: report.json of the backtest, or None.
        conditions: the sender's side until now, or None: then nothing is known of it.
        now_at: microseconds; reports after it are not known yet; None for all.
        out: folder for the report and the conditions, or None.

    Raises:
        DataError: logs that do not belong together or repeat decisions, rows that contradict themselves, an unknown
            metric or covariate, unreadable outcomes or report.
        ConfigError: unreadable conditions.
        StorageError: the folder cannot be written.
    """
    reader = _reader(logs, metric)
    before = NOTHING_SAID if conditions is None else load_conditions(conditions)
    reported = None if outcomes is None else read_outcomes(outcomes)[0]
    sums = _Sums(reader.meta, metric, config, reported, now_at)
    sums.read(reader)
    rule = config.monitor
    effects = {name: sums.effects.sequence(name, rule.alpha, rule.tuned_for) for name in AGAINST}
    findings = settle(sums.audit.findings(), config.audit)
    foresight = sums.foresight.result(rule.window_days, SupportRule())
    judged = judge(rule, sums.rates_by_rule(), sums.feeds, findings, effects[AGAINST[0]], foresight)
    # What was in force last is what holds now.
    last = LogReader(reader.paths[-1])
    brakes = _brakes(last)
    after = conditions_after(before, judged.raised, sums.health, brakes, rule.window_days)
    output = MonitorOutput(
        logs=tuple(str(path) for path in reader.paths),
        rows=reader.rows,
        metric=metric,
        state=_state(judged, rule, effects),
        effects=tuple(_effect(name, days, sums.effects.missing(name)) for name, days in effects.items()),
        offline=() if offline is None else offline_rows(offline, metric, effects),
        raised=tuple(judged.raised),
        silent=judged.silent,
        foresight=None if isinstance(foresight, str) else foresight,
        conditions=after.to_builtins(),
        notes=(*reader.meta.notes, *_unheard(last), *sums.slips),
    )
    return output if out is None else _written(output, out, judged, after)


class _Sums:
    """Everything that is added up while the logs are read."""

    def __init__(
        self, meta: LogMeta, metric: str, config: MonitorConfig, outcomes: pa.Table | None, now_at: int | None
    ) -> None:
        rule = config.monitor
        self._metric = metric
        self._rule, self._now_at = rule, now_at
        names = covariates_of(meta.features, rule.covariates)
        self._first = FirstValues(names)
        self.effects = EffectSums(rule.buckets, len(names))
        self.foresight = ForesightSums(metric)
        self.feeds = FeedSums(meta.features, meta.catalog)
        self.audit = AuditSums(meta, config.audit, (metric,))
        watched = sorted({one.event for one in rule.escalations if one.watch == "rate"} | set(COUNTED))
        until = 2**62 if now_at is None else now_at
        self._reported = None if outcomes is None else Reported(outcomes, watched, until)
        self.slips = () if outcomes is None else slips(_counted(outcomes), watched)
        settles = sorted({one.settle_hours for one in rule.escalations if one.watch == "rate"} | {0.0})
        self._rates = {hours: RateSums(meta.catalog, watched) for hours in settles}

    @property
    def health(self) -> RateSums | None:
        """Counts of all sends; None without outcomes."""
        return None if self._reported is None else self._rates[0.0]

    def rates_by_rule(self) -> dict[str, RateSums] | None:
        """Rule of a rate -> counts of the sends that are old enough for it."""
        if self._reported is None:
            return None
        return {one.name: self._rates[one.settle_hours] for one in self._rule.escalations if one.watch == "rate"}

    def read(self, reader: LogReader) -> None:
        """Add all rows of a log."""
        extra = ("available", "group", "contact_id", "rule_inputs")
        sent_at = (instants(batch.column("send_at")) for batch in reader.batches(["send_at"]))
        for rounds in reader.rounds(rewards=(self._metric,), extra=extra):
            audited = batch_of(rounds, self.audit.groups, self.audit.bins)
            self.audit.add(audited)
            self.feeds.add(rounds, audited.day)
            self.foresight.add(rounds, audited.day)
            before = self._first.of(rounds)
            left = rounds.usable | (audited.group == "control")
            reward = rounds.rewards[self._metric].copy()
            reward[~left] = float("nan")
            self.effects.add(audited.day, audited.group, rounds.cluster, reward, before)
            self._count(audited, next(sent_at))

    def _count(self, batch: AuditBatch, sent_at: IntArray) -> None:
        if self._reported is None:
            return
        rounds = batch.rounds
        at = np.where(sent_at == NOT_AN_INSTANT, rounds.decided_at, sent_at)
        happened = self._reported.of(rounds.decision_id)
        # What bounced left as well; its state may say failed.
        left = rounds.usable | happened.any(axis=1)
        for hours, sums in self._rates.items():
            old = np.ones(rounds.n, dtype=np.bool_)
            if self._now_at is not None:
                old = at + round(hours * HOUR_US) <= self._now_at
            sums.add(at // DAY_US, rounds.action, left & old, happened)


def _reader(logs: Given, metric: str) -> LogReader:
    reader = LogReader(logs)
    reader.require_metric(metric)
    require_sound(reader)
    return reader


def _brakes(reader: LogReader) -> list[Brake]:
    """The brakes of the pack that was in force."""
    if reader.meta.pack is None:
        return []
    guardrails = Guardrails(pack_from(reader.meta.pack), reader.meta.catalog, (), reader.meta.features)
    return [brake for _, rule in guardrails.rules if isinstance(brake := getattr(rule, "brake", None), Brake)]


def _counted(outcomes: pa.Table) -> dict[str, int]:
    """Event -> rows."""
    counts = pc.value_counts(outcomes.column("event").cast(pa.string())).to_pylist()
    return {one["values"]: one["counts"] for one in counts}


def _unheard(reader: LogReader) -> list[str]:
    """Says so where the pack that was in force would not obey a pause or the kill switch."""
    rules = [] if reader.meta.pack is None else [rule.rule for rule in pack_from(reader.meta.pack).rules]
    if OPERATIONS in rules:
        return []
    return [f"the log's guardrail pack has no rule `{OPERATIONS}`: with it `decide` obeys no pause and no kill switch"]


def _state(judged: Escalations, rule: MonitorRule, effects: Mapping[str, Sequence[DayEffect]]) -> str:
    """The strongest escalation; without one, whether anything could have been seen at all."""
    harm = [one.name for one in rule.escalations if one.watch in _HARM]
    heard = [one.name for one in rule.escalations if one.name in harm or not harm]
    if judged.strongest or any(effects.values()) or any(name not in judged.silent for name in heard):
        return STATES[judged.strongest]
    return UNKNOWN


def _effect(against: str, days: Sequence[DayEffect], missing: str) -> EffectOutput:
    if not days:
        return EffectOutput(
            against=against, verdict="insufficient", now=None, days=(), variance_left=None, missing=missing
        )
    now = days[-1]
    verdict = "better" if now.low > 0 else "worse" if now.high < 0 else "no difference"
    left = (now.stderr / now.plain_stderr) ** 2 if now.plain_stderr > 0 else None
    return EffectOutput(against=against, verdict=verdict, now=now, days=tuple(days), variance_left=left)


def _written(output: MonitorOutput, folder: Path, judged: Escalations, after: Conditions) -> MonitorOutput:
    make_folder(folder)
    names = {"report": "report.html", "json": "report.json", "conditions": "conditions.yaml"}
    output = msgspec.structs.replace(output, files={name: str(folder / file) for name, file in names.items()})
    lines = "".join(f"# {one.effect}: {one.what}\n" for one in judged.raised)
    # The conditions first: what stops messages must not wait for a picture.
    write_whole(folder / names["conditions"], lines + yaml.safe_dump(_plain(after), sort_keys=True))
    write_whole(folder / names["json"], json_bytes(output))
    write_whole(folder / names["report"], monitor_page(output, UNIFORM_SLICE))
    return output


def _plain(conditions: Conditions) -> object:
    decoded: object = msgspec.json.decode(msgspec.json.encode(conditions.to_builtins()))
    return decoded


class OfflineRow(Output, frozen=True, kw_only=True):
    """What the backtest had said of the same difference, per decision.

    Attributes:
        against: control or uniform.
        policy / baseline: names of the two in the backtest.
        agrees: whether the two intervals overlap; null where one is missing.
    """

    against: str
    policy: str
    baseline: str
    value: float | None
    low: float | None
    high: float | None
    agrees: bool | None


class _Report(msgspec.Struct):
    """The part of a backtest's report that is read here: other fields may come and go."""

    results: tuple[Estimate, ...]
    comparisons: tuple[Estimate, ...] = ()


def offline_rows(path: Path, metric: str, live: Mapping[str, Sequence[DayEffect]]) -> tuple[OfflineRow, ...]:
    """The launched policy against doing nothing, and against the uniform choice where that was judged.

    Control gets nothing, so what it stands for offline is "hold for everybody".

    Args:
        path: report.json of `tactful backtest`.
        metric: the metric that the live effects are of.
        live: the effect by day, by group.

    Raises:
        DataError: no such file, no report of a backtest, or one of another metric.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=_Report)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise DataError(
            f"{path} is no report of a backtest: {reason_of(error)}", hint="give report.json of `tactful backtest`"
        ) from error
    rows = [row for row in (*report.comparisons, *report.results) if row.difference is not None]
    if {row.metric for row in rows} - {metric}:
        raise DataError(f"{path} is about another metric than {metric!r}", hint="give the --metric of the backtest")
    found = []
    for against, days in live.items():
        row = _matching(rows, against)
        if row is None or row.difference is None:
            continue
        gap = row.difference
        agrees = None
        if days and gap.low is not None and gap.high is not None:
            agrees = days[-1].low <= gap.high and gap.low <= days[-1].high
        found.append(
            OfflineRow(
                against=against,
                policy=row.policy,
                baseline=gap.baseline,
                value=gap.value,
                low=gap.low,
                high=gap.high,
                agrees=agrees,
            )
        )
    return tuple(found)


def _matching(rows: Sequence[Estimate], against: str) -> Estimate | None:
    """The learned policy's row against the group's stand-in."""
    for row in rows:
        baseline = row.difference.baseline if row.difference else ""
        nothing = baseline.startswith(_CONSTANT) if against == CONTROL else baseline == "uniform"
        if row.policy == _LEARNED and nothing:
            return row
    return None
