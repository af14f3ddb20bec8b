"""The record of a block: every column of the decisions' schema, from what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.contacts.contacts import ContactBatch
from engine.guardrails.inputs_text import rule_inputs
from engine.guardrails.layer import Guardrails
from engine.log.parquet import context_arrays, labels
from engine.records import schema as records
from engine.types import HOLD, NOT_AN_INSTANT, ByteArray, CodeArray, FloatArray, IntArray, KeyArray, ObjectArray

# From here on most names of a catalog stand in no row of a block.
_MANY_NAMES: Final = 4096


@dataclass(frozen=True)
class DecisionRows:
    """What was decided for n contacts.

    Attributes:
        guardrails: the layer, with its catalog.
        contacts: as the rules saw them.
        use_case / policy_version / seed: of the plan.
        now_at: instant of the decisions.
        slots: (Z + 1, H) planned instants by zone code.
        ids / who / cluster: (n,) decision ids, pseudonyms and their hashes.
        group: (n,) positions in `records.GROUPS`.
        action / propensity: (n,).
        packed: (n, width) the eligible sets from which the actions were drawn.
        shortages: (n,) what set-level limits took; None without limits.
        refused: (n,) why a send must not leave, empty where it may; None without state.
    """

    guardrails: Guardrails
    contacts: ContactBatch
    use_case: str
    policy_version: str
    seed: int
    now_at: int
    slots: IntArray
    ids: ObjectArray
    who: ObjectArray
    cluster: KeyArray
    group: CodeArray
    action: CodeArray
    propensity: FloatArray
    packed: ByteArray
    shortages: Sequence[Sequence[Any]] | None = None
    refused: Sequence[Sequence[str]] | None = None


def decision_table(rows: DecisionRows) -> pa.Table:
    """n rows in the log's schema."""
    n, catalog = rows.contacts.n, rows.guardrails.catalog
    channel, hour, arm = catalog.split(rows.action)
    planned = rows.slots[rows.contacts.zone_code, np.maximum(hour, 0)]
    # A hold has nothing to dispatch, so it is over with the decision; a send waits for its dispatch.
    state = np.where(
        rows.action == HOLD, records.STATES.index(records.DISPATCHED), records.STATES.index(records.DECIDED)
    )
    if rows.refused is not None:
        state[[bool(reasons) for reasons in rows.refused]] = records.STATES.index(records.SUPPRESSED)
    same = np.zeros(n, dtype=np.int32)
    packed = pa.Array.from_buffers(pa.binary(rows.packed.shape[1]), n, [None, pa.py_buffer(rows.packed.tobytes())])
    instants = pa.array(np.full(n, rows.now_at), pa.int64()).cast(records.INSTANT)
    send_at = pa.array(planned, pa.int64(), mask=(rows.action == HOLD) | (planned == NOT_AN_INSTANT)).cast(
        records.INSTANT
    )
    return pa.table(
        {
            "decision_id": pa.array(rows.ids, pa.string()),
            "contact_id": pa.array(rows.who, pa.string()),
            "cluster": pa.array(rows.cluster, pa.uint64()),
            "decided_at": instants,
            "use_case": labels(same, [rows.use_case]),
            "group": labels(rows.group, records.GROUPS),
            "channel": labels(channel, catalog.channels),
            "send_hour": labels(hour, [str(slot) for slot in catalog.hours]),
            "arm": _labels(arm, catalog.arm_ids),
            "action_name": _labels(rows.action, catalog.action_names),
            "action": pa.array(rows.action, pa.int32()),
            "propensity": pa.array(rows.propensity, pa.float64()),
            "eligible": packed.cast(pa.binary()),
            # Nothing was drawn for a contact that is held out.
            "available": pa.array(rows.group != records.GROUPS.index(records.CONTROL)),
            "state": labels(state, records.STATES),
            "send_at": send_at,
            "policy_version": labels(same, [rows.policy_version]),
            "catalog_version": labels(same, [catalog.version]),
            "pack_version": labels(same, [rows.guardrails.version]),
            "schema_version": labels(same, [rows.contacts.context.schema.version]),
            "seed": pa.array(np.full(n, rows.seed), pa.int64()),
            "rule_inputs": rule_inputs(rows.contacts, rows.shortages, rows.refused),
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
