"""Explain every action of the catalog for one contact of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from engine.contacts.contacts import ContactBatch
from engine.errors import DataError
from engine.guardrails.layer import Removal
from engine.storage.given import named
from engine.time.localtime import datetime_of
from engine.types import HOLD
from experiments.outputs import RemovalRow
from experiments.outputs_guardrails import ExplainContactOutput, ExplainedAction, plain
from experiments.serve.guardrail_sources import Setting, blocks, bound, catalog_named, conditions_of

Advance = Callable[[float], None]
ROWS = 8192


def explain_contact(contact: str, pack: str, setting: Setting, advance: Advance | None = None) -> ExplainContactOutput:
    """Every action of the catalog with every rule that removes it for one contact.

    Raises:
        ConfigError: a pack, catalog, feature schema or conditions that cannot be used.
        EligibilityError: a pack that must not start.
        DataError: no such contact, or contacts that cannot be read.
    """
    catalog = catalog_named(setting.catalog)
    guardrails = bound(pack, catalog)
    conditions = conditions_of(setting.conditions)
    batch = _found(contact, blocks(setting, catalog, guardrails.extra_inputs, ROWS), setting, advance)
    explained = guardrails.explain(batch, 0, setting.now, conditions)
    removed = sum(bool(reasons) for action, reasons in explained if action != HOLD)
    return ExplainContactOutput(
        contact=contact,
        now=setting.now.isoformat(),
        pack=guardrails.version,
        catalog=catalog.name,
        allowed=catalog.k - 1 - removed,
        removed=removed,
        actions=tuple(
            ExplainedAction(
                action=catalog.action_names[action],
                allowed=not reasons,
                removed_by=tuple(_row(removal) for removal in reasons),
            )
            for action, reasons in explained
        ),
    )


def _found(contact: str, batches: Iterable[ContactBatch], setting: Setting, advance: Advance | None) -> ContactBatch:
    for contacts in batches:
        if advance is not None:
            advance(contacts.n)
        rows = np.flatnonzero(contacts.contact_id == contact)
        if len(rows):
            return contacts.alone(int(rows[0]))
    raise DataError(f"{named(setting.contacts)} has no contact {contact!r}", hint="ids stand in the column contact_id")


def _row(removal: Removal) -> RemovalRow:
    later = removal.next_allowed_at
    return RemovalRow(
        rule=f"{removal.id} {removal.rule}",
        reason=removal.reason,
        observed=plain(removal.observed),
        limit=plain(removal.limit),
        next_allowed_at=None if later is None else datetime_of(later).isoformat(),
    )
