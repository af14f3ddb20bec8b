"""The outcome join: outcomes meet their decisions by id and become `reward_NAME` columns.

A metric counts the outcomes within its window, which begins at the decision (not at the send), so that holds and sends
are measured over the same time. Until the window has closed the reward is null, even where a conversion has come
already: the rows known early would all be the successful ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from engine.audit.checks.credited import misspelt, uncredited
from engine.errors import DataError, ParameterError
from engine.identity import keyed_hash
from engine.log.parquet import LogReader, ParquetFile, instants
from engine.log.sql import micros
from engine.names import name_key
from engine.records import schema as records
from engine.records.outcomes import as_state, check_outcomes, outcome_frame
from engine.records.schema import JoinedOutcomes, LogMeta, RewardSpec, advance_states
from engine.storage.given import Given
from engine.types import HOLD, MICROSECONDS_PER_S, NOT_AN_INSTANT, BoolArray, FloatArray, IntArray, ObjectArray

SHOWN: Final = 20
_CHUNKS_PER_GROUP: Final = 16
# Events that take money away, by the key of their name: in a sum that also counts gains they lie below zero.
_LOSSES: Final = frozenset(
    name_key(event)
    for event in (
        *("refund", "refunds", "refunded", "return", "returned", "chargeback", "charged back", "cancelled", "canceled"),
        *("sent", "send cost", "cost", "fee", "bounced", "complained", "complaint", "unsubscribe", "unsubscribed"),
    )
)


class MetricSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How outcomes become a reward.

    Attributes:
        events: outcomes that count.
        kind: any (1 where there is at least one, else 0), count, or sum of `value_usd`.
        window_s: an outcome counts from the decision up to and including this many seconds after it.
        low / high: declared range of the reward, inclusive.
        unit: "share", "count", "usd" ...
        description: one line for reports.
    """

    events: tuple[str, ...]
    kind: Literal["any", "count", "sum"]
    window_s: float
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if not self.events:
            raise ParameterError("events", "a metric", allowed="at least one event", got=self.events)
        if not 0 < self.window_s < float("inf"):
            raise ParameterError("window_s", "a metric", allowed="positive and finite", got=self.window_s)
        self.reward()

    @property
    def window_us(self) -> int:
        """The window in microseconds."""
        return round(self.window_s * MICROSECONDS_PER_S)

    def reward(self) -> RewardSpec:
        """The range that the log declares."""
        return RewardSpec(low=self.low, high=self.high, unit=self.unit, description=self.description)


@dataclass(frozen=True)
class MetricCounts:
    """Attributes: credited, late: outcomes of the metric's events in and after the window; without_value: credited ones
    without a `value_usd` where the metric sums it (they add 0); matured, pending: decisions with and without a reward.
    """

    credited: int = 0
    late: int = 0
    without_value: int = 0
    matured: int = 0
    pending: int = 0


@dataclass(frozen=True)
class JoinReport:
    """What happened to every decision and every outcome.

    Attributes:
        decisions: rows of the log, all kept.
        unusable: of them, rows that were not dispatched (failed, suppressed, still decided) or not available.
        outcomes: rows given.
        duplicates: exact repeats, counted once.
        after_now: outcomes later than `now`, ignored.
        before_decision / before_decision_ids: outcomes earlier than their decision, rejected; the first `SHOWN` ids.
        without_decision / without_decision_ids: outcomes whose decision is not in this log; the first `SHOWN` ids.
        unused: matched outcomes of events that no metric counts and that name no state.
        illegal_states: outcomes naming a state that could not follow the decision's state, passed over.
        taken_back: decisions reported as dispatched and as suppressed; they count as not sent.
        metrics: counts by metric.
        joined: what became of the outcomes, as the footer of the new log keeps it.
    """

    decisions: int
    unusable: int
    outcomes: int
    duplicates: int
    after_now: int
    before_decision: int
    before_decision_ids: tuple[str, ...]
    without_decision: int
    without_decision_ids: tuple[str, ...]
    unused: int
    illegal_states: int
    taken_back: int
    metrics: Mapping[str, MetricCounts]
    joined: JoinedOutcomes


def join(
    log_path: Given,
    outcomes: pa.Table,
    metrics: Mapping[str, MetricSpec],
    now: datetime,
    out_path: Path,
    *,
    strict: bool = False,
) -> JoinReport:
    """Write a log again with one reward column per metric; the result does not depend on the order of the outcomes.

    Outcomes whose event is a state (dispatched, delivered, failed, suppressed) move the decision's state, so that only
    what was really dispatched trains.

    Memory holds the outcomes and a few chunks of decisions.

    Args:
        log_path: a log of ours, one file or several; rewards that it has already are kept.
        outcomes: events as `outcomes.read_outcomes` gives them.
        metrics: names of the metrics.
        now: aware; windows that are still open at `now` give null.
        out_path: final name of the new log; appears whole or not at all.
        strict: refuse outcomes that lie before their decision or have none.

    Raises:
        DataError: bad outcomes, a metric that the log has already, a decision without an instant or twice in the log
            where outcomes are matched, a reward outside its declared range, or, if strict, a rejected outcome.
        LogFormatError: no log of ours.
        ParameterError: no metric, or a naive `now`.
        StorageError: the new log could not be written.

    Outcomes that contradict the log are refused too (`DataError`): a dispatch report of a decision that was to hold, or
    a message that left though its decision reads suppressed. Such a log is not the one that the sender had.
    """
    now_us = micros(now, owner="join")
    reader = LogReader(log_path)
    _check_metrics(metrics, reader)
    metrics = {name: _in_our_spelling(metric) for name, metric in metrics.items()}
    unique, given = check_outcomes(outcomes, source="the outcomes")
    frame = outcome_frame(unique)
    _check_signs(metrics, frame)
    index = _Index(frame, now_us, _events(metrics))
    added = {name: metric.reward() for name, metric in metrics.items()}
    meta = msgspec.structs.replace(reader.meta, rewards={**reader.meta.rewards, **added})
    run = _Run(reader, index, metrics, now_us)
    with ParquetFile(Path(out_path), _schema(reader, meta), late_footer=True) as file:
        held: list[pa.Table] = []
        for batch in reader.batches():
            held.append(run.joined(batch, file_schema=_schema(reader, meta)))
            if len(held) == _CHUNKS_PER_GROUP:
                file.append(_together(held))
                held = []
        if held:
            file.append(_together(held))
        run.refuse_contradictions()
        report = run.report(given.rows_read, given.duplicates)
        if strict and (report.before_decision or report.without_decision):
            raise DataError(
                f"{report.before_decision} outcomes lie before their decision {list(report.before_decision_ids)[:5]}, "
                f"{report.without_decision} have none {list(report.without_decision_ids)[:5]}",
                hint="mend the outcomes, or join without strict to have them counted and left out",
            )
        file.set_footer(_schema(reader, _with_joined(meta, report.joined)).metadata)
    return report


class _Index:
    """Outcomes sorted by (hash of the decision id, instant, event, value), so that sums never depend on the input."""

    def __init__(self, frame: pd.DataFrame, now_us: int, events: Sequence[str]) -> None:
        late = frame["at"] > now_us
        self.after_now = int(late.sum())
        # A state of the dispatch is an outcome only where a metric counts it.
        outcome = ~frame["event"].isin(records.STATES) | frame["event"].isin(events)
        self.given, self.outcomes_after_now = int(outcome.sum()), int((late & outcome).sum())
        frame = frame.assign(outcome=outcome)
        frame = frame[frame["at"] <= now_us].copy()
        frame["key"] = keyed_hash(frame["decision_id"].to_numpy(dtype=object), "join")
        frame = frame.sort_values(["key", "decision_id", "at", "event", "value_usd"], kind="stable")
        self.key = frame["key"].to_numpy(dtype=np.uint64)
        self.decision_id: ObjectArray = frame["decision_id"].to_numpy(dtype=object)
        self.at: IntArray = frame["at"].to_numpy(dtype=np.int64)
        self.event: ObjectArray = frame["event"].to_numpy(dtype=object)
        self.value: FloatArray = frame["value_usd"].to_numpy(dtype=np.float64)
        self.matched: BoolArray = np.zeros(len(frame), dtype=np.bool_)
        self.outcome: BoolArray = frame["outcome"].to_numpy(dtype=np.bool_)

    def match(self, decision_ids: ObjectArray) -> tuple[IntArray, IntArray]:
        """Pairs (position among the decisions, position among the outcomes)."""
        keys = keyed_hash(decision_ids, "join")
        left = np.searchsorted(self.key, keys, side="left")
        count = np.searchsorted(self.key, keys, side="right") - left
        row = np.repeat(np.arange(len(keys)), count)
        first = np.repeat(np.cumsum(count) - count, count)
        outcome = np.repeat(left, count) + np.arange(len(row)) - first
        # Two ids may share a hash: only equal ids belong together.
        same = np.asarray(self.decision_id[outcome] == decision_ids[row], dtype=bool)
        row, outcome = row[same], outcome[same]
        if self.matched[outcome].any() or len(np.unique(outcome)) != len(outcome):
            raise DataError(
                f"the log holds a decision id twice, among them one of {sorted(set(decision_ids[row]))[:5]}",
                hint="decision ids must be unique; an outcome can be credited to one decision only",
            )
        self.matched[outcome] = True
        return row, outcome


class _Run:
    """The counts of one join, and its work on one chunk of decisions."""

    def __init__(self, reader: LogReader, index: _Index, metrics: Mapping[str, MetricSpec], now_us: int) -> None:
        self._reader, self._index, self._metrics, self._now_us = reader, index, metrics, now_us
        self._counts = {name: Counter[str]() for name in metrics}
        self._unusable = 0
        self._unused = self._illegal = self._taken_back = self._late = self._credited = 0
        self._unread = Counter[str]()
        self._before: list[int] = []
        self._contradicted: list[str] = []

    def joined(self, batch: pa.RecordBatch, *, file_schema: pa.Schema) -> pa.Table:
        """The chunk with its reward columns, in the column order of the file."""
        ids: ObjectArray = batch.column("decision_id").to_numpy(zero_copy_only=False).astype(object)
        decided_at = instants(batch.column("decided_at"))
        row, outcome = self._index.match(ids)
        timeless = decided_at[row] == NOT_AN_INSTANT
        if timeless.any():
            raise DataError(
                f"decision {ids[row[timeless][0]]!r} has outcomes but no `decided_at`",
                hint="windows need the instant of every decision; map it from the source",
            )
        delay = self._index.at[outcome] - decided_at[row]
        self._before += outcome[delay < 0].tolist()
        valid = delay >= 0
        row, outcome, delay = row[valid], outcome[valid], delay[valid]
        event = self._index.event[outcome]
        # Few names, many outcomes: each name is compared once.
        code, names = pd.factorize(event)
        used: BoolArray = np.isin(names, records.STATES)[code]
        table = self._with_states(batch, row, event)
        read = np.isin(names, _events(self._metrics))[code]
        credited: BoolArray = np.zeros(len(row), dtype=np.bool_)
        for name, metric in self._metrics.items():
            counts: BoolArray = np.isin(names, metric.events)[code]
            used |= counts
            credited |= counts & (delay <= metric.window_us)
            reward = self._reward(name, metric, (row[counts], outcome[counts], delay[counts]), decided_at, ids)
            table = table.append_column(records.REWARD + name, pa.array(reward, from_pandas=True))
        self._unused += int((~used).sum())
        self._unread.update(event[~used].tolist())
        self._credited += int(credited.sum())
        self._late += int((read & ~credited).sum())
        return table.select(file_schema.names).cast(file_schema)

    def refuse_contradictions(self) -> None:
        """Refuse outcomes that say of a decision what its own log excludes.

        Raises:
            DataError: such outcomes.
        """
        if self._contradicted:
            raise DataError(
                f"{len(self._contradicted)} outcomes contradict {self._reader.path}: they report a dispatch of "
                f"decisions that read hold or suppressed, among them {self._contradicted[:5]}",
                hint="the log is another than the one that was dispatched; find that one, or read the day again from "
                "the state store with `tactful decide --state`",
            )

    def report(self, given: int, duplicates: int) -> JoinReport:
        index = self._index
        before = index.decision_id[sorted(self._before)].tolist()
        orphans = index.decision_id[~index.matched].tolist()
        return JoinReport(
            decisions=self._reader.rows,
            unusable=self._unusable,
            outcomes=given,
            duplicates=duplicates,
            after_now=index.after_now,
            before_decision=len(before),
            before_decision_ids=tuple(sorted(set(before))[:SHOWN]),
            without_decision=len(orphans),
            without_decision_ids=tuple(sorted(set(orphans))[:SHOWN]),
            unused=self._unused,
            illegal_states=self._illegal,
            taken_back=self._taken_back,
            metrics={name: MetricCounts(**counts) for name, counts in self._counts.items()},
            joined=JoinedOutcomes(
                given=index.given,
                without_decision=int((index.outcome & ~index.matched).sum()),
                after_now=index.outcomes_after_now,
                before_decision=int(index.outcome[self._before].sum()),
                unread=dict(sorted(self._unread.items())),
                late=self._late,
                credited=self._credited,
                metrics={name: counts["credited"] for name, counts in self._counts.items()},
                without_value={name: counts["without_value"] for name, counts in self._counts.items()},
                misspelt=misspelt(self._unread, _events(self._metrics)),
            ),
        )

    def _with_states(self, batch: pa.RecordBatch, row: IntArray, event: ObjectArray) -> pa.Table:
        """The chunk in the states that its dispatch reports led to; counts what is not usable then."""
        before: ObjectArray = batch.column("state").cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
        state, illegal = advance_states(before, row, event)
        self._illegal += illegal
        left = np.isin(event, (records.DISPATCHED, records.DELIVERED))
        self._taken_back += int((state[np.unique(row[left])] == records.SUPPRESSED).sum())
        held = batch.column("action").to_numpy(zero_copy_only=False) == HOLD
        wrong = (np.isin(event, records.STATES) & held[row]) | (left & (before[row] == records.SUPPRESSED))
        ids = batch.column("decision_id")
        self._contradicted += [str(ids[at]) for at in row[wrong].tolist()]
        available = batch.column("available").to_numpy(zero_copy_only=False).astype(bool)
        sent = np.isin(state, [records.DISPATCHED, records.DELIVERED])
        self._unusable += int((~(sent & available)).sum())
        place = batch.schema.get_field_index("state")
        column = pa.array(state, pa.string()).cast(records.LABEL)
        return pa.Table.from_batches([batch]).set_column(place, batch.schema.field("state"), column)

    def _reward(
        self,
        name: str,
        metric: MetricSpec,
        pairs: tuple[IntArray, IntArray, IntArray],
        decided_at: IntArray,
        ids: ObjectArray,
    ) -> FloatArray:
        row, outcome, delay = pairs
        window = metric.window_us
        inside = delay <= window
        row, outcome = row[inside], outcome[inside]
        known = decided_at != NOT_AN_INSTANT
        matured = known & (np.where(known, decided_at, 0) <= self._now_us - window)
        value = self._index.value[outcome]
        weight = np.nan_to_num(value) if metric.kind == "sum" else np.ones(len(row))
        # With no pair at all bincount answers integers, whatever the weights.
        reward: FloatArray = np.bincount(row, weights=weight, minlength=len(ids)).astype(np.float64)
        if metric.kind == "any":
            reward = np.minimum(reward, 1.0)
        _check_range(name, metric, reward, matured, ids)
        self._counts[name].update(
            credited=len(row),
            late=int((~inside).sum()),
            without_value=int(np.isnan(value).sum()) if metric.kind == "sum" else 0,
            matured=int(matured.sum()),
            pending=int((~matured).sum()),
        )
        return np.where(matured, reward, np.nan)


def _events(metrics: Mapping[str, MetricSpec]) -> tuple[str, ...]:
    """Every event that some metric counts."""
    return tuple(dict.fromkeys(event for metric in metrics.values() for event in metric.events))


def _in_our_spelling(metric: MetricSpec) -> MetricSpec:
    """A metric that reads states of the dispatch as the outcomes spell them once they are read."""
    return msgspec.structs.replace(metric, events=tuple(as_state(event) for event in metric.events))


def _check_metrics(metrics: Mapping[str, MetricSpec], reader: LogReader) -> None:
    if not metrics:
        raise ParameterError("metrics", "join", allowed="at least one metric", got=dict(metrics))
    again = sorted(set(metrics) & set(reader.meta.rewards))
    if again:
        raise DataError(f"{reader.path} has the metrics {again} already", hint="join the log without rewards again")


def _check_signs(metrics: Mapping[str, MetricSpec], frame: pd.DataFrame) -> None:
    """Refuse a loss that would add to a sum of gains and losses: exports give refunds and costs without a sign."""
    for name, metric in metrics.items():
        losses = [event for event in metric.events if name_key(event) in _LOSSES]
        if metric.kind != "sum" or len(losses) == len(metric.events):
            continue
        wrong = frame[frame["event"].isin(losses) & (frame["value_usd"] > 0)]
        if len(wrong):
            first = wrong.iloc[0]
            raise DataError(
                f"`{first['event']}` of decision {first['decision_id']!r} is worth {float(first['value_usd'])!r}, "
                f"which would add to the metric {name!r} ({len(wrong)} such outcomes)",
                hint="write what a refund, a return or a cost takes away as a value below zero",
            )


def _check_range(name: str, metric: MetricSpec, reward: FloatArray, matured: BoolArray, ids: ObjectArray) -> None:
    out = matured & ((reward < metric.low) | (reward > metric.high))
    if out.any():
        raise DataError(
            f"metric {name!r} must be in [{metric.low:g}, {metric.high:g}], got {reward[out][0]!r} for decision "
            f"{ids[out][0]!r} ({int(out.sum())} such rows in its chunk)",
            hint="declare the true range: learning and intervals rely on it",
        )


def _schema(reader: LogReader, meta: LogMeta) -> pa.Schema:
    schema: Any = records.log_schema(meta)
    for field in reader.schema:
        if field.name not in schema.names:
            schema = schema.append(field)
    return schema


def _with_joined(meta: LogMeta, joined: JoinedOutcomes) -> LogMeta:
    before = () if isinstance(meta.joined, msgspec.UnsetType) else meta.joined
    return msgspec.structs.replace(meta, notes=(*meta.notes, *uncredited(joined)), joined=(*before, joined))


def _together(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()
