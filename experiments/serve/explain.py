"""Explain one logged decision: replay the rules on what they read, and the policy on the logged context."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.contacts.contacts import ContactBatch
from engine.content.refusals import refuse_modular
from engine.decide.asking import distribution_of
from engine.errors import DataError
from engine.guardrails.conditions import conditions_from
from engine.guardrails.layer import Guardrails, Removal
from engine.guardrails.pack import pack_from
from engine.guardrails.replay import contacts_from_rule_inputs
from engine.limits.config import limits_from
from engine.limits.reasons import limits_of, removed_by_limits
from engine.log.parquet import LogReader, context_of, instants
from engine.records.schema import SUPPRESSED
from engine.storage.given import Given
from engine.storage.versions import served_folder
from engine.types import NOT_AN_INSTANT
from experiments.outputs import RemovalRow
from experiments.outputs_explain import ActionRow, ExplainOutput
from experiments.serve.explain_prices import charged
from experiments.serve.explain_scores import comparisons, holdback_row, outlook, policy_notes
from policies.trained import TrainedFolder
from policies.wrappers.holdback import holdback

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def explain_decision(log: Given, decision_id: str, policy_folder: Path | None = None) -> ExplainOutput:
    """Every action of a decision with its score, its probability and the rules that removed it.

    Args:
        log: a decision log that `decide` wrote.
        decision_id: one of its ids.
        policy_folder: the policy, where it is no longer in the folder that the log names.

    Raises:
        DataError: no such decision, or a log without guardrail pack or policy.
        ArtefactError: a damaged policy folder.
    """
    # Of several files the one that holds it: its footer says under which pack, catalog and conditions.
    reader = _holding(LogReader(log), decision_id)
    refuse_modular(reader.meta.catalog, "explain")
    batch = _row(reader, decision_id)
    if reader.meta.pack is None or batch.column("rule_inputs").null_count:
        raise DataError(
            f"{reader.path} was not written by `tactful decide`, so no rules can be replayed",
            hint="explain works on decision logs; for logs of others there were no guardrails of ours",
        )
    catalog = reader.meta.catalog
    who = [batch.column("contact_id")[0].as_py()]
    contacts = contacts_from_rule_inputs([batch.column("rule_inputs")[0].as_py()], who, catalog)
    guardrails = Guardrails(pack_from(reader.meta.pack, source=f"the footer of {reader.path}"), catalog)
    now_at = int(instants(batch.column("decided_at"))[0])
    conditions = conditions_from(reader.meta.conditions or {}, source=f"the footer of {reader.path}")
    explained = guardrails.explain(contacts, 0, _datetime(now_at), conditions)
    limited = False
    for action, removal in _by_limits(reader, batch, contacts, guardrails, now_at):
        if not explained[action][1]:
            explained[action][1].append(removal)
            limited = True
    return _explained(reader, batch, explained, _folder(reader, policy_folder), limited=limited)


def _explained(
    reader: LogReader,
    batch: pa.RecordBatch,
    explained: Sequence[tuple[int, list[Removal]]],
    folder: Path,
    *,
    limited: bool,
) -> ExplainOutput:
    trained = TrainedFolder(folder)
    policy, responses = trained.scored(), trained.responses()
    names, context = reader.meta.catalog.action_names, context_of(batch, reader.meta)
    eligible = np.array([not reasons for _, reasons in explained])
    dear = charged(reader, str(batch.column("policy_version")[0].as_py()), policy, context)
    probability = distribution_of(dear.policy, context, eligible[None, :])[0]
    seen = outlook(policy, responses, context)
    action, group = int(batch.column("action")[0].as_py()), str(batch.column("group")[0].as_py())
    rows = tuple(
        ActionRow(
            action=names[index],
            eligible=not reasons,
            score=None if seen.scores is None else float(seen.scores[index]),
            probability=float(probability[index]),
            removed_by=_removals(reasons),
            p_respond=seen.response("respond", index),
            p_unsub=seen.response("unsub", index),
            price=float(dear.price[index]),
        )
        for index, reasons in explained
    )
    held = None
    if seen.scores is not None:
        suppressed = batch.column("state")[0].as_py() == SUPPRESSED
        held = holdback(
            seen.scores, eligible, action, group=group, suppressed=suppressed, limited=limited, price=dear.price
        )
    return ExplainOutput(
        decision_id=batch.column("decision_id")[0].as_py(),
        decided_at=_datetime(int(instants(batch.column("decided_at"))[0])).isoformat(),
        action=names[action],
        propensity=batch.column("propensity")[0].as_py(),
        actions=rows,
        group=group,
        metric=trained.manifest.metric,
        expected_value=None if seen.scores is None else float(seen.scores[action]),
        p_respond=seen.response("respond", action),
        p_unsub=seen.response("unsub", action),
        holdback=None if held is None else holdback_row(held, names),
        comparisons=comparisons(policy, context, seen.scores, eligible, action),
        notes=(*policy_notes(policy, responses), *dear.notes),
        prices=dear.prices,
    )


def _by_limits(
    reader: LogReader, batch: pa.RecordBatch, contacts: ContactBatch, guardrails: Guardrails, now_at: int
) -> list[tuple[int, Removal]]:
    """What set-level limits took from the contact of one decision."""
    if not isinstance(reader.meta.limits, dict):
        return []
    found = limits_of(batch.column("rule_inputs")[0].as_py())
    limits = limits_from(reader.meta.limits, source=f"the footer of {reader.path}")
    planned = guardrails.scene(contacts, _datetime(now_at)).slots[contacts.zone_code[0]]
    planned = np.where(planned == NOT_AN_INSTANT, now_at, planned)
    return removed_by_limits(limits.limits, found, guardrails.catalog, planned, limits.zone)


def _holding(reader: LogReader, decision_id: str) -> LogReader:
    if len(reader.paths) == 1:
        return reader
    for path in reader.paths:
        one = LogReader(path)
        if any(pc.index(batch.column(0), decision_id).as_py() >= 0 for batch in one.batches(["decision_id"])):
            return one
    raise DataError(f"{reader.path} have no decision {decision_id!r}", hint="decision ids stand in column decision_id")


def _row(reader: LogReader, decision_id: str) -> pa.RecordBatch:
    for batch in reader.batches():
        found = pc.index(batch.column("decision_id"), decision_id).as_py()
        if found >= 0:
            return batch.slice(found, 1)
    raise DataError(f"{reader.path} has no decision {decision_id!r}", hint="decision ids stand in column decision_id")


def _folder(reader: LogReader, folder: Path | None) -> Path:
    named = folder or (Path(reader.meta.policy) if reader.meta.policy else None)
    if named is None or not named.is_dir():
        raise DataError(f"the policy of {reader.path} is not at {str(named)!r}", hint="give its folder with --policy")
    return served_folder(named)


def _removals(reasons: Sequence[Removal]) -> tuple[RemovalRow, ...]:
    return tuple(
        RemovalRow(
            rule=f"{removal.id} {removal.rule}",
            reason=removal.reason,
            observed=_plain(removal.observed),
            limit=_plain(removal.limit),
            next_allowed_at=_instant(removal.next_allowed_at),
        )
        for removal in reasons
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _instant(at: Any) -> str | None:
    if at is None or isinstance(at, str):
        return at
    return at.isoformat() if isinstance(at, datetime) else (None if at == NOT_AN_INSTANT else _datetime(at).isoformat())


def _datetime(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=int(at))
