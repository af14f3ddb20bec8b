"""Several files that are one log: their order, what holds of all of them, and that no decision is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from engine.errors import DataError, LogFormatError
from engine.identity import keyed_hash
from engine.log.action_names import common_catalog
from engine.log.columns import instants
from engine.log.file import LogFile
from engine.records.schema import JoinedOutcomes, LogMeta, Rejections
from engine.types import KeyArray

# Hashes that are held at once, 8 bytes each; longer logs are read several times, a part of the hashes each.
HELD: Final = 8_000_000
_KEY: Final = "several"
# What the rules of a decision read beside the contact: it is kept where all files agree on all of it.
_RULES: Final = ("pack", "conditions", "limits")
APART: Final = (
    "the files were decided under different packs, conditions or limits, so no rules are replayed on them together"
)


def in_order(files: Sequence[LogFile]) -> list[LogFile]:
    """The files by their first decision, then by name."""

    def key(file: LogFile) -> tuple[int, str]:
        return int(instants(next(file.batches(["decided_at"])).column(0))[0]), str(file.path)

    return sorted(files, key=key)


def together(files: Sequence[LogFile]) -> LogMeta:
    """What is true of all files.

    Features, metrics, propensities, clusters and raw columns must be alike. The catalog is one under which the actions
    of all can be read. Packs, conditions and limits stay where all files have the same ones; notes and sources add up.

    Raises:
        LogFormatError: files that do not belong together; both are named.
    """
    first = files[0]
    for file in files[1:]:
        _require_alike(first, file)
    metas = [file.meta for file in files]
    catalog = common_catalog([meta.catalog for meta in metas])
    merged: dict[str, Any] = {
        "catalog": catalog,
        "source": "; ".join(dict.fromkeys(meta.source for meta in metas)),
        "policy": first.meta.policy if _same(metas, "policy") else "",
        "prices": _prices(metas),
        "rejections": _rejections(metas),
        "joined": _joined(metas),
    }
    notes = [note for meta in metas for note in meta.notes]
    others = {meta.catalog.version for meta in metas} - {catalog.version}
    if others:
        rows = sum(file.rows for file in files if file.meta.catalog.version != catalog.version)
        notes.append(f"{rows:,} rows of {_catalogs(len(others))} were read by the names of their actions")
    if not all(_same(metas, name) for name in _RULES):
        merged |= {"pack": None, "conditions": None, "limits": msgspec.UNSET}
        notes.append(APART)
    return msgspec.structs.replace(metas[-1], **merged, notes=tuple(dict.fromkeys(notes)))


def refuse_repeats(files: Sequence[LogFile]) -> None:
    """Refuse a decision id that stands in two files, or twice in one.

    Raises:
        DataError: there is one; its files are named.
    """
    rows = sum(file.rows for file in files)
    passes = max(1, -(-rows // HELD))
    for part in range(passes):
        found = [_hashes(file, passes, part) for file in files]
        every, times = np.unique(np.concatenate(found), return_counts=True)
        repeated = every[times > 1]
        if len(repeated):
            _refuse(files, repeated)


def _refuse(files: Sequence[LogFile], repeated: KeyArray) -> None:
    where: dict[str, list[str]] = {}
    for file in files:
        for batch in file.batches(["decision_id"]):
            ids = batch.column(0).to_numpy(zero_copy_only=False).astype(object)
            for name in ids[np.isin(keyed_hash(ids, _KEY), repeated)]:
                where.setdefault(name, []).append(str(file.path))
    # Two ids may share a hash.
    twice = {name: places for name, places in where.items() if len(places) > 1}
    if twice:
        name, places = next(iter(twice.items()))
        distinct = list(dict.fromkeys(places))
        there = f"in {distinct[0]} and in {distinct[1]}" if len(distinct) > 1 else f"twice in {distinct[0]}"
        raise DataError(
            f"decision {name!r} stands {there} ({len(twice)} such decisions)",
            hint="give each decision once: a cumulative log holds those of the days before",
        )


def _hashes(file: LogFile, passes: int, part: int) -> KeyArray:
    parts = []
    for batch in file.batches(["decision_id"]):
        hashed = keyed_hash(batch.column(0).to_numpy(zero_copy_only=False).astype(object), _KEY)
        parts.append(hashed if passes == 1 else hashed[hashed % np.uint64(passes) == part])
    return np.concatenate(parts)


def _require_alike(one: LogFile, other: LogFile) -> None:
    for name, what in (
        ("features", "features"),
        ("rewards", "metrics, or other ranges of them"),
        ("propensity", "propensities"),
        ("clustered", "clusters"),
        ("raw_columns", "raw columns"),
        ("memory", "counts of the contacts' past"),
        ("contact_key", "contact keys, so that one contact has several names"),
    ):
        if getattr(one.meta, name) != getattr(other.meta, name):
            raise LogFormatError(
                f"{one.path} and {other.path} are no one log: they have other {what}",
                hint="read together what was written alike: import or join the files in the same way",
            )
    if one.further() != other.further():
        raise LogFormatError(
            f"{one.path} and {other.path} are no one log: they have other columns beside those of the schema",
            hint="read together what was written alike: import or join the files in the same way",
        )


def _rejections(metas: Sequence[LogMeta]) -> Rejections | msgspec.UnsetType:
    """What the imports of the files rejected, one after the other."""
    found = [meta.rejections for meta in metas if meta.rejections is not msgspec.UNSET]
    if not found:
        return msgspec.UNSET
    return Rejections(
        rows_read=sum(one.rows_read for one in found),
        even=all(one.even for one in found),
        reasons=tuple(reason for one in found for reason in one.reasons),
    )


def _joined(metas: Sequence[LogMeta]) -> tuple[JoinedOutcomes, ...] | msgspec.UnsetType:
    """What became of the outcomes of every join."""
    return tuple(one for meta in metas for one in meta.joined or ()) or msgspec.UNSET


def _same(metas: Sequence[LogMeta], name: str) -> bool:
    return all(getattr(meta, name) == getattr(metas[0], name) for meta in metas)


def _prices(metas: Sequence[LogMeta]) -> dict[str, dict[str, Any]] | msgspec.UnsetType:
    """Policy version -> its prices; nothing where one version decided under different ones."""
    found: dict[str, dict[str, Any]] = {}
    for meta in metas:
        for version, prices in (meta.prices or {}).items():
            if found.setdefault(version, prices) != prices:
                return msgspec.UNSET
    return found or msgspec.UNSET


def _catalogs(count: int) -> str:
    return "another catalog" if count == 1 else f"{count} other catalogs"
