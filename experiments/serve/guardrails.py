"""Lint, compare and explain guardrail packs, with catalogs, features and contacts as the command line names them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from engine.catalog import Catalog, catalog_from
from engine.contacts.contacts import ContactBatch
from engine.contacts.file import contact_batches
from engine.content.eligibility import refuse_modular
from engine.errors import DataError
from engine.features import FeatureSchema, schema_from
from engine.files.shipped import read_yaml
from engine.guardrails.conditions import NOTHING_SAID, Conditions, load_conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.lint.flaws import ERROR, Flaw
from engine.guardrails.lint.legal import legal_reference
from engine.guardrails.lint.pack import lint_pack
from engine.guardrails.pack import load_pack, read_pack
from engine.guardrails.replay.compare import BLOCK_ROWS, BatchDifference, Comparison, by_axis
from engine.log.whole_file import ParquetFile
from engine.storage.given import Given, named
from engine.types import HOLD, IntArray
from experiments.outputs import Output
from experiments.serve.explain import RemovalRow, removal_row

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
ROWS = 8192


@dataclass(frozen=True)
class Setting:
    """What packs are tried on.

    Attributes:
        contacts: contact file, see docs/contacts.md.
        now: aware instant of the decisions.
        catalog: name of a shipped catalog, or the path of a yaml file.
        features: the same for a feature schema; None for contacts without features.
        conditions: yaml file of the sender's side, or None: nothing is said, and rules that need it block.
    """

    contacts: Given
    now: datetime
    catalog: str
    features: str | None = None
    conditions: Path | None = None


def catalog_named(name: str) -> Catalog:
    """A shipped catalog by name, or a yaml file by path.

    Raises:
        ConfigError: no such file, no yaml, or no catalog.
    """
    return catalog_from(read_yaml("catalog", name, what="catalog"), source=name)


def features_named(name: str | None) -> FeatureSchema:
    """A shipped feature schema by name, a yaml file by path, or an empty schema.

    Raises:
        ConfigError: no such file, no yaml, or no feature schema.
    """
    if name is None:
        return FeatureSchema(features=())
    return schema_from(read_yaml("features", name, what="feature schema"), source=name)


def bound(pack: str, catalog: Catalog) -> Guardrails:
    """A pack by name or path, bound to a catalog.

    Raises:
        ConfigError: a pack that cannot be used.
        EligibilityError: a pack that must not start: empty, or without the consent rule.
    """
    return Guardrails(load_pack(pack), catalog)


def conditions_of(path: Path | None) -> Conditions:
    """The sender's side from a file, or nothing said.

    Raises:
        ConfigError: the file cannot be used.
    """
    return NOTHING_SAID if path is None else load_conditions(path)


def blocks(setting: Setting, catalog: Catalog, extra: tuple[str, ...], rows: int) -> Iterator[ContactBatch]:
    """The contacts, block by block.

    Raises:
        DataError: a wrong value, with its row, or a file that cannot be read.
        ConfigError: a feature schema that cannot be used.
    """
    schema = features_named(setting.features)
    return contact_batches(setting.contacts, schema, catalog, setting.now, rows, extra)


class LintOutput(Output, frozen=True, kw_only=True):
    """`tactful guardrails lint --json`.

    Attributes:
        pack: the pack as it was named.
        rules: entries of the pack.
        errors / warnings: how many.
        ok: whether the exit code is 0.
    """

    pack: str
    rules: int
    errors: int
    warnings: int
    ok: bool
    flaws: tuple[Flaw, ...]


def lint_named(pack: str, today: dt.date, catalog: str | None, *, strict: bool, part: bool) -> LintOutput:
    """Every flaw of a pack.

    Args:
        pack: name of a shipped pack, or path of a yaml file.
        today: provenance is judged against it.
        catalog: name or path, or None to leave out what depends on one.
        strict: whether warnings fail as well.
        part: the file is a fragment that lists nothing but `rules`.

    Raises:
        ConfigError: the pack, the catalog or the legal reference cannot be read at all.
    """
    data = read_pack(pack)
    flaws = lint_pack(
        data,
        today=today,
        reference=legal_reference(),
        catalog=None if catalog is None else catalog_named(catalog),
        part=part,
    )
    errors = sum(flaw.level == ERROR for flaw in flaws)
    rules = data.get("rules") if isinstance(data, dict) else None
    return LintOutput(
        pack=pack,
        rules=len(rules) if isinstance(rules, list) else 0,
        errors=errors,
        warnings=len(flaws) - errors,
        ok=not (flaws if strict else errors),
        flaws=flaws,
    )


class RuleShare(Output, frozen=True, kw_only=True):
    """(contact, action) pairs that change, credited to one rule.

    Attributes:
        id / rule: the entry of the pack that removes the pair.
        pairs: pairs that the rule removes; another rule may remove them as well.
        alone: those of them that no other rule of that pack removes.
    """

    id: str
    rule: str
    pairs: int
    alone: int


class Change(Output, frozen=True, kw_only=True):
    """Actions gained, or actions lost.

    Attributes:
        contacts: contacts that gain, or lose, at least one action.
        pairs: (contact, action).
        by_channel / by_arm / by_hour: pairs; all of the catalog's names, also those with 0.
        by_rule: the rules that remove: of the second pack for losses, of the first for gains.
    """

    contacts: int
    pairs: int
    by_channel: dict[str, int]
    by_arm: dict[str, int]
    by_hour: dict[str, int]
    by_rule: tuple[RuleShare, ...]


class DiffOutput(Output, frozen=True, kw_only=True):
    """`tactful guardrails diff --json`.

    Attributes:
        first / second: versions of the packs.
        held: contacts that the second pack leaves with hold alone, and the first does not.
        freed: the other way round.
    """

    first: str
    second: str
    catalog: str
    now: str
    contacts: int
    gained: Change
    lost: Change
    held: int
    freed: int
    out: str | None = None


def diff_packs(
    first: str, second: str, setting: Setting, out: Path | None = None, advance: Advance | None = None
) -> DiffOutput:
    """Who gains and who loses which actions when the second pack takes over from the first.

    Args:
        first / second: packs by name or path.
        setting: contacts, instant, catalog.
        out: Parquet file with one row per contact, or None; it appears whole or not at all.
        advance: called with the contacts of each block.

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


def _rows(found: BatchDifference) -> pa.Table:
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


class ExplainedAction(Output, frozen=True, kw_only=True):
    """One action for one contact; no reasons: allowed."""

    action: str
    allowed: bool
    removed_by: tuple[RemovalRow, ...] = ()


class ExplainContactOutput(Output, frozen=True, kw_only=True):
    """`tactful guardrails explain --json`.

    Attributes:
        allowed / removed: send actions; together all of the catalog's. Hold is always allowed.
    """

    contact: str
    now: str
    pack: str
    catalog: str
    allowed: int
    removed: int
    actions: tuple[ExplainedAction, ...]


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
                removed_by=tuple(map(removal_row, reasons)),
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
