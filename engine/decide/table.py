"""The record of a batch: every column of the decisions' schema, from what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from engine.contacts.contacts import ContactBatch
from engine.decide.plan import Plan
from engine.guardrails.replay.texts import rule_inputs
from engine.limits.reasons import Shortage
from engine.log.parquet import context_arrays, labels
from engine.records import schema as records
from engine.types import HOLD, NOT_AN_INSTANT, ByteArray, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

# From here on most names of a catalog stand in no row of a batch.
_MANY_NAMES: Final = 4096


@dataclass(frozen=True)
class Draws:
    """What was drawn for n contacts, and from which sets.

    Attributes:
        action / propensity: (n,).
        packed: (n, width) the eligible sets from which the actions were drawn.
        shortages: (n,) what set-level limits took; None without limits.
    """

    action: CodeArray
    propensity: FloatArray
    packed: ByteArray
    shortages: Sequence[Sequence[Shortage]] | None = None


@dataclass(frozen=True)
class DecisionRows:
    """What was decided for n contacts.

    Attributes:
        plan: plan of the run.
        contacts: contacts as the rules saw them.
        now_at: instant of the decisions.
        slots: (Z + 1, H) planned instants by zone code.
        ids / who / cluster: (n,) decision ids, pseudonyms and their hashes.
        group: (n,) positions in `records.GROUPS`.
        draws: what was drawn.
        refused: (n,) why a send must not leave, empty where it may; None without state.
    """

    plan: Plan
    contacts: ContactBatch
    now_at: int
    slots: IntArray
    ids: ObjectArray
    who: ObjectArray
    cluster: KeyArray
    group: CodeArray
    draws: Draws
    refused: Sequence[Sequence[str]] | None = None


def decision_table(rows: DecisionRows) -> pa.Table:
    """n rows in the log's schema."""
    n, plan, catalog, draws = rows.contacts.n, rows.plan, rows.plan.catalog, rows.draws
    channel, hour, arm = catalog.split(draws.action)
    planned = rows.slots[rows.contacts.zone_code, np.maximum(hour, 0)]
    # A hold has nothing to dispatch, so it is over with the decision; a send waits for its dispatch.
    state = np.where(
        draws.action == HOLD, records.STATES.index(records.DISPATCHED), records.STATES.index(records.DECIDED)
    )
    if rows.refused is not None:
        state[[bool(reasons) for reasons in rows.refused]] = records.STATES.index(records.SUPPRESSED)
    same = np.zeros(n, dtype=np.int32)
    packed = pa.Array.from_buffers(pa.binary(draws.packed.shape[1]), n, [None, pa.py_buffer(draws.packed.tobytes())])
    instants = pa.array(np.full(n, rows.now_at), pa.int64()).cast(records.INSTANT)
    send_at = pa.array(planned, pa.int64(), mask=(draws.action == HOLD) | (planned == NOT_AN_INSTANT)).cast(
        records.INSTANT
    )
    return pa.table(
        {
            "decision_id": pa.array(rows.ids, pa.string()),
            "contact_id": pa.array(rows.who, pa.string()),
            "cluster": pa.array(rows.cluster, pa.uint64()),
            "decided_at": instants,
            "use_case": labels(same, [plan.use_case]),
            "group": labels(rows.group, records.GROUPS),
            "channel": labels(channel, catalog.channels),
            "send_hour": labels(hour, [str(slot) for slot in catalog.hours]),
            "arm": _labels(arm, catalog.arm_ids),
            "action_name": _labels(draws.action, catalog.action_names),
            "action": pa.array(draws.action, pa.int32()),
            "propensity": pa.array(draws.propensity, pa.float64()),
            "eligible": packed.cast(pa.binary()),
            # Nothing was drawn for a contact that is held out.
            "available": pa.array(rows.group != records.GROUPS.index(records.CONTROL)),
            "state": labels(state, records.STATES),
            "send_at": send_at,
            "policy_version": labels(same, [plan.policy_version]),
            "catalog_version": labels(same, [catalog.version]),
            "pack_version": labels(same, [plan.guardrails.version]),
            "schema_version": labels(same, [rows.contacts.context.schema.version]),
            "seed": pa.array(np.full(n, plan.seed), pa.int64()),
            "rule_inputs": rule_inputs(rows.contacts, draws.shortages, rows.refused),
            **context_arrays(rows.contacts.context),
        }
    )


def _labels(codes: CodeArray | IntArray, names: Sequence[str]) -> pa.DictionaryArray:
    """`labels`, with the names that occur alone where there are very many."""
    if len(names) <= _MANY_NAMES:
        return labels(codes, names)
    found, position = np.unique(codes, return_inverse=True)
    first = np.searchsorted(found, 0)
    return labels(position.reshape(-1) - first, [names[code] for code in found[first:].tolist()])
