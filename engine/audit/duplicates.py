"""Decisions that are in the log twice: the same id, or the same contact, use case and instant under two ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from engine.audit.findings import WARN, Finding, graded
from engine.audit.rule import AuditRule
from engine.identity import keyed_hash
from engine.log.parquet import LogReader, instants
from engine.log.structure import HELD, repeats
from engine.types import KeyArray

NAME: Final = "duplicates"
ADVICE: Final = "an export ran twice, or files overlap: write the log again with each decision once"
_COLUMNS: Final = ("decision_id", "contact_id", "use_case", "decided_at")
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


def duplicates(reader: LogReader, rule: AuditRule, held: int = HELD) -> Finding:
    """Count repeats by 64-bit hashes; that hashes of two different ids are equal somewhere is as likely as n^2 / 2^65.

    A repeated id fails by `rule.duplicates`; a contact who was decided for twice at one instant is only warned of,
    because logs of others may hold several positions of one page.

    Raises:
        LogFormatError: rows that break the schema.
    """
    passes = max(1, -(-reader.rows // held))
    same_id = same_decision = 0
    for part in range(passes):
        ids: list[KeyArray] = []
        decisions: list[KeyArray] = []
        for one, other in _hashes(reader):
            ids.append(one[one % np.uint64(passes) == part])
            decisions.append(other[other % np.uint64(passes) == part])
        same_id += repeats(ids)
        same_decision += repeats(decisions)
    what = f"of {reader.rows} rows {same_id} repeat a decision id, {same_decision} a contact, use case and instant"
    found = graded(NAME, same_id / reader.rows, rule.duplicates, what, ADVICE)
    if found.verdict == "pass" and same_decision:
        advice = "several decisions about a contact at one instant: where they are not meant, learn from one of them"
        return Finding(NAME, WARN, found.value, found.warn, found.fail, what, advice)
    return found


def _hashes(reader: LogReader) -> Iterator[tuple[KeyArray, KeyArray]]:
    for batch in reader.batches(list(_COLUMNS)):
        yield _strings(batch.column("decision_id"), "id"), _decisions(batch)


def _decisions(batch: pa.RecordBatch) -> KeyArray:
    """(n,) hashes of contact, use case and instant."""
    cases = batch.column("use_case")
    case = _strings(cases.dictionary, "case")[cases.indices.to_numpy(zero_copy_only=False)]
    at = instants(batch.column("decided_at")).astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = (_strings(batch.column("contact_id"), "contact") ^ case * _MIX) + at * _MIX
        mixed ^= mixed >> np.uint64(29)
        out: KeyArray = mixed * _MIX
    return out


def _strings(column: pa.Array, salt: str) -> KeyArray:
    return keyed_hash(column.to_numpy(zero_copy_only=False).astype(object), f"audit/{salt}")
