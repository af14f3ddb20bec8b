"""Compare two packs on a contact file, in flat memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import pyarrow as pa

from engine.catalog import Catalog
from engine.content.eligibility import refuse_modular
from engine.guardrails.layer import Guardrails
from engine.guardrails.replay.compare import BLOCK_ROWS, BlockDifference, Comparison, by_axis
from engine.log.whole_file import ParquetFile
from engine.types import IntArray
from experiments.outputs_guardrails import Change, DiffOutput, RuleShare
from experiments.serve.guardrail_sources import Setting, blocks, bound, catalog_named, conditions_of

Advance = Callable[[float], None]

ROWS_SCHEMA: Final = pa.schema(
    [
        pa.field("contact_id", pa.string(), nullable=False),
        pa.field("before", pa.int32(), nullable=False),
        pa.field("after", pa.int32(), nullable=False),
        pa.field("gained_count", pa.int32(), nullable=False),
        pa.field("lost_count", pa.int32(), nullable=False),
        pa.field("gained", pa.binary(), nullable=False),
        pa.field("lost", pa.binary(), nullable=False),
    ]
)


def diff_packs(
    first: str, second: str, setting: Setting, out: Path | None = None, advance: Advance | None = None
) -> DiffOutput:
    """Who gains and who loses which actions when the second pack takes over from the first.

    Args:
        first / second: packs by name or path.
        setting: contacts, instant, catalog.
        out: Parquet file with one row per contact, or None; it appears whole or not at all.
        advance: told the contacts of each block.

    Raises:
        ConfigError: a pack, catalog, feature schema or conditions that cannot be used.
        EligibilityError: a pack that must not start.
        DataError: contacts that cannot be read, or a wrong value, with its row.
        StorageError: the file cannot be written.
    """
    catalog = catalog_named(setting.catalog)
    refuse_modular(catalog, "a comparison of packs")
    before, after = bound(first, catalog), bound(second, catalog)
    conditions = conditions_of(setting.conditions)
    comparison = Comparison(before, after)
    schema = ROWS_SCHEMA.with_metadata(
        {b"catalog": catalog.name.encode(), b"catalog_version": catalog.version.encode()}
    )
    with nullcontext(None) if out is None else ParquetFile(out, schema) as file:
        for contacts in blocks(setting, catalog, comparison.extra_inputs, BLOCK_ROWS):
            found = comparison.add(contacts, setting.now, conditions)
            if file is not None:
                file.append(_rows(found))
            if advance is not None:
                advance(contacts.n)
    total = comparison.total
    return DiffOutput(
        first=before.version,
        second=after.version,
        catalog=catalog.name,
        now=setting.now.isoformat(),
        contacts=total.contacts,
        gained=_change(catalog, before, total.gainers, total.gained, total.gained_by, total.gained_alone),
        lost=_change(catalog, after, total.losers, total.lost, total.lost_by, total.lost_alone),
        held=total.held,
        freed=total.freed,
        out=None if out is None else str(out),
    )


def _change(
    catalog: Catalog, remover: Guardrails, contacts: int, counts: IntArray, by: Counter[str], alone: Counter[str]
) -> Change:
    axes = by_axis(catalog, counts)
    return Change(
        contacts=contacts,
        pairs=int(counts.sum()),
        by_channel=axes["channel"],
        by_arm=axes["arm"],
        by_hour=axes["hour"],
        by_rule=tuple(
            RuleShare(id=entry.id, rule=entry.rule, pairs=by[entry.id], alone=alone[entry.id])
            for entry, _ in remover.rules
            if by[entry.id]
        ),
    )


def _rows(found: BlockDifference) -> pa.Table:
    columns = {
        "contact_id": pa.array(found.contact_id, pa.string()),
        "before": pa.array(found.before, pa.int32()),
        "after": pa.array(found.after, pa.int32()),
        "gained_count": pa.array(found.gained_count, pa.int32()),
        "lost_count": pa.array(found.lost_count, pa.int32()),
        "gained": pa.array([row.tobytes() for row in found.gained], pa.binary()),
        "lost": pa.array([row.tobytes() for row in found.lost], pa.binary()),
    }
    return pa.table(columns)
